// This file tells whether a recorded process id still belongs to a lab, so that nothing else is ever killed,
// and lets one process at a time start or end a lab.
package labdir

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Alive reports whether the process is there and was started for this directory.
func (d Dir) Alive(pid int) bool {
	if pid <= 0 || syscall.Kill(pid, 0) != nil {
		return false
	}
	// Every process of a lab carries the directory on its command line, as an argument of its own or of --dir.
	arguments := commandLine(pid)
	return slices.Contains(arguments, string(d)) || slices.Contains(arguments, "--dir="+string(d))
}

// Lock keeps others from starting or ending a lab in this directory until unlock is called or this process ends.
func (d Dir) Lock() (unlock func(), err error) {
	if err := os.MkdirAll(string(d), 0o700); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(d.Path(".lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX); err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("lock lab directory: %w", err)
	}
	return func() { _ = file.Close() }, nil
}

// Kill sends SIGKILL to a process of this lab and waits until it is gone.
func (d Dir) Kill(pid int) bool {
	if !d.Alive(pid) {
		return false
	}
	_ = syscall.Kill(pid, syscall.SIGKILL)
	for range 200 {
		if !d.Alive(pid) {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	return true
}

func commandLine(pid int) []string {
	if data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline"); err == nil {
		return strings.Split(string(data), "\x00")
	}
	out, _ := exec.Command("ps", "-ww", "-o", "command=", "-p", strconv.Itoa(pid)).Output()
	return strings.Fields(string(out))
}

// This file starts labs (`up`), in the foreground or detached, and holds the API server's own process.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"meshrun/lab/control"
	"meshrun/lab/controlplane"
	"meshrun/lab/double"
	"meshrun/lab/duration"
	"meshrun/lab/lab"
	"meshrun/lab/labdir"
	"meshrun/lab/loadbalancer"
)

const (
	startTimeout = 90 * time.Second
	// lockHeld tells the process in the background that its parent holds the directory's lock.
	lockHeld = "MESHRUN_LAB_LOCK_HELD"
)

func up(args []string) error {
	flags, dirFlag := newFlags("up", "up --dir DIR [flags]")
	options := lab.Options{
		Double: double.DefaultSettings(),
		LoadBalancer: loadbalancer.Settings{
			Delay: duration.D(250 * time.Millisecond), DeleteDelay: duration.D(250 * time.Millisecond),
		},
	}
	detach := flags.Bool("detach", false, "run in the background and return when ready")
	watch := flags.Int("watch-pid", 0, "end when this process is gone, e.g. the test runner's")
	flags.IntVar(&options.Nodes, "nodes", 2, "number of nodes, spread over zones")
	flags.DurationVar(&options.HPASync, "hpa-sync", time.Second, "how often HPAs are looked at; a real cluster does every 15s")
	flags.Var(&options.LoadBalancer.Delay, "lb-delay", "how long a LoadBalancer Service waits for its address")
	flags.BoolVar(&options.LoadBalancer.Hostname, "lb-hostname", false, "publish a host name instead of an IP address, as AWS does")
	flags.BoolVar(&options.Double.Enabled, "double", true, "play istiod while its pods are Ready; --double=false leaves webhooks unserved")
	flags.Var(&options.Double.CABundleDelay, "double-cabundle-delay", "from istiod Ready until caBundle is patched")
	flags.Var(&options.Double.FailurePolicyDelay, "double-failurepolicy-delay", "from istiod Ready until the validators' failurePolicy is Fail")
	flags.BoolVar(&options.Double.Residue, "double-residue", true, "create istio-ca-root-cert, istio-ca-secret and election objects")
	_ = flags.Parse(args)
	dir, err := absolute(*dirFlag)
	if err != nil {
		return err
	}
	options.Dir = dir

	if !*detach && os.Getenv(lockHeld) != "" {
		// The command that started this one in the background holds the lock until the lab is ready.
		return foreground(options, *watch, func() {})
	}
	unlock, err := dir.Lock()
	if err != nil {
		return err
	}
	if info, err := labdir.Read(dir); err == nil && dir.Alive(info.PID) {
		// Starting twice is the same as starting once, so that callers need not ask first.
		fmt.Println(info.Kubeconfig)
		return nil
	}
	if *detach {
		return background(dir, flags)
	}
	return foreground(options, *watch, unlock)
}

// foreground runs the lab until a signal comes or a component ends; ready is called once it can be used.
func foreground(options lab.Options, watch int, ready func()) error {
	if err := clean(options.Dir); err != nil {
		return err
	}
	ended := make(chan error, 4)
	startCtx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	running, err := startWithin(startCtx, options, func(err error) { ended <- err })
	if err != nil {
		return err
	}
	url, err := control.Serve(running)
	if err != nil {
		return err
	}
	if err := running.Publish(url); err != nil {
		return err
	}
	fmt.Println(running.Info.Kubeconfig)
	ready()

	if watch > 0 {
		go func() {
			for syscall.Kill(watch, 0) == nil {
				time.Sleep(500 * time.Millisecond)
			}
			ended <- nil
		}()
	}
	// Signals keep their default: a polite shutdown of all components takes 20 s and serves nobody.
	// The API server ends by itself when this process does.
	return <-ended
}

// startWithin starts a lab whose components outlive the limit on the start.
func startWithin(limit context.Context, options lab.Options, failed func(error)) (*lab.Lab, error) {
	type result struct {
		lab *lab.Lab
		err error
	}
	done := make(chan result, 1)
	go func() {
		l, err := lab.Start(context.Background(), options, failed)
		done <- result{l, err}
	}()
	select {
	case r := <-done:
		return r.lab, r.err
	case <-limit.Done():
		return nil, fmt.Errorf("the lab was not ready after %s", startTimeout)
	}
}

// background starts the same command again without --detach and waits until that lab is ready.
func background(dir labdir.Dir, flags *flag.FlagSet) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	args := []string{"up"}
	flags.Visit(func(f *flag.Flag) {
		if f.Name != "detach" && f.Name != "dir" {
			args = append(args, "--"+f.Name+"="+f.Value.String())
		}
	})
	args = append(args, "--dir="+string(dir))
	log, err := os.Create(dir.Log())
	if err != nil {
		return err
	}
	defer log.Close()
	_ = os.Remove(dir.InfoFile())
	child := exec.Command(self, args...)
	child.Stdout, child.Stderr = log, log
	child.Env = append(os.Environ(), lockHeld+"=1")
	child.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := child.Start(); err != nil {
		return err
	}
	exited := make(chan error, 1)
	go func() { exited <- child.Wait() }()
	deadline := time.After(startTimeout + 5*time.Second)
	for {
		if info, err := labdir.Read(dir); err == nil && info.PID == child.Process.Pid {
			fmt.Println(info.Kubeconfig)
			return nil
		}
		select {
		case err := <-exited:
			return fmt.Errorf("the lab ended while starting (%v), see %s", err, dir.Log())
		case <-deadline:
			_ = child.Process.Kill()
			return fmt.Errorf("the lab was not ready in time, see %s", dir.Log())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// apiserver is the child process that controlplane.APIServer starts.
func apiserver(args []string) error {
	flags, dirFlag := newFlags("apiserver", "apiserver --dir DIR -- FLAGS")
	_ = flags.Parse(args)
	dir, err := absolute(*dirFlag)
	if err != nil {
		return err
	}
	go func() {
		controlplane.Lifeline()
		os.Exit(0)
	}()
	return controlplane.ServeAPI(context.Background(), controlplane.Routes{Folder: dir.Routes()}, flags.Args())
}

func absolute(dir string) (labdir.Dir, error) {
	if dir == "" {
		return "", errors.New("--dir is required")
	}
	path, err := filepath.Abs(dir)
	return labdir.Dir(path), err
}

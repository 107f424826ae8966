// This file holds what may be changed while the lab runs, and puts it all back.
package lab

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"time"

	"meshrun/lab/labdir"
)

// Action is what can be done to the API server.
type Action string

// The actions on the API server.
const (
	ActionKill    Action = "kill"
	ActionStart   Action = "start"
	ActionRestart Action = "restart"
	ActionPause   Action = "pause"
	ActionResume  Action = "resume"
)

// APIServer does something to the API server. Starting returns when it is ready again; the data is kept.
func (l *Lab) APIServer(action Action) error {
	l.busy.Lock()
	defer l.busy.Unlock()
	l.disturbed = true
	switch action {
	case ActionKill:
		l.API.Kill()
		return l.saveInfo()
	case ActionRestart:
		l.API.Kill()
		return l.startAPIServer()
	case ActionStart:
		return l.startAPIServer()
	case ActionPause:
		return l.API.Signal(syscall.SIGSTOP)
	case ActionResume:
		return l.API.Signal(syscall.SIGCONT)
	}
	return fmt.Errorf("unknown action %q", action)
}

func (l *Lab) startAPIServer() error {
	if err := l.API.Start(); err != nil {
		return err
	}
	if err := l.saveInfo(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	return l.API.WaitReady(ctx)
}

// saveInfo writes lab.json with the API server's present process id.
func (l *Lab) saveInfo() error {
	l.Info.APIServerPID = l.API.PID()
	return labdir.Write(l.options.Dir, l.Info)
}

// Publish writes lab.json for the first time, once all of it is known.
func (l *Lab) Publish(control string) error {
	l.Info.Control = control
	return l.saveInfo()
}

// defaults takes back every fault and setting but the double's and makes sure that the API server runs.
func (l *Lab) defaults() error {
	l.Faults.Remove("")
	l.LB.Set(l.options.LoadBalancer)
	if len(l.Nodes.Rules()) > 0 {
		if err := l.Nodes.SetRules(nil); err != nil {
			return err
		}
	}
	if l.API.PID() == 0 {
		return l.startAPIServer()
	}
	return l.API.Signal(syscall.SIGCONT)
}

// removeRoute takes a route of the form `<namespace>.<service>.<port>` away.
func (l *Lab) removeRoute(name string) error {
	parts := strings.Split(name, ".")
	if len(parts) != 3 {
		return fmt.Errorf("route %q is not <namespace>.<service>.<port>", name)
	}
	port, err := strconv.Atoi(parts[2])
	if err != nil {
		return err
	}
	return l.Routes.Remove(parts[0], parts[1], port)
}

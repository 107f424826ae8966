// This file ends, resets and steers a running lab.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"meshrun/lab/control"
	"meshrun/lab/duration"
	"meshrun/lab/faultproxy"
	"meshrun/lab/labdir"
)

func down(args []string) error {
	flags, dirFlag := newFlags("down", "down --dir DIR")
	_ = flags.Parse(args)
	dir, err := absolute(*dirFlag)
	if err != nil {
		return err
	}
	unlock, err := dir.Lock()
	if err != nil {
		return err
	}
	defer unlock()
	return clean(dir)
}

// clean kills the processes that a lab of this directory left and removes its files, and nothing else.
func clean(dir labdir.Dir) error {
	if info, err := labdir.Read(dir); err == nil {
		if info.PID != os.Getpid() {
			dir.Kill(info.PID)
		}
		dir.Kill(info.APIServerPID)
	}
	for _, name := range []string{"lab.json", "kubeconfig", "kubeconfig.proxy", "pki", "etcd", "routes", "apiserver.log"} {
		if err := os.RemoveAll(dir.Path(name)); err != nil {
			return err
		}
	}
	return nil
}

func reset(args []string) error {
	flags, dirFlag := newFlags("reset", "reset --dir DIR")
	_ = flags.Parse(args)
	return call(*dirFlag, "POST", "/reset", nil)
}

func ctl(args []string) error {
	flags, dirFlag := newFlags("ctl", `ctl --dir DIR [[METHOD] PATH [JSON]]

Without a path: shows all settings. METHOD defaults to GET, or with JSON to what fits the path:
  ctl --dir DIR double '{"webhook":"hang"}'
  ctl --dir DIR loadbalancer '{"never":true}'
  ctl --dir DIR pods '{"image":"pilot","behaviour":"never-ready"}'
  ctl --dir DIR DELETE pods
  ctl --dir DIR apiserver '{"action":"restart"}'
  ctl --dir DIR routes '{"namespace":"x","service":"y","port":443,"address":"127.0.0.1:1234"}'`)
	_ = flags.Parse(args)
	rest := flags.Args()
	method := "GET"
	if len(rest) > 0 && strings.ToUpper(rest[0]) == rest[0] {
		method, rest = rest[0], rest[1:]
	} else if len(rest) == 2 {
		method = map[string]string{"double": "PATCH", "loadbalancer": "PATCH", "routes": "PUT"}[strings.Trim(rest[0], "/")]
		if method == "" {
			method = "POST"
		}
	}
	path, body := "", ""
	if len(rest) > 0 {
		path = strings.Trim(rest[0], "/")
	}
	if len(rest) > 1 {
		body = rest[1]
	}
	return call(*dirFlag, method, "/"+path, []byte(body))
}

func fault(args []string) error {
	flags, dirFlag := newFlags("fault", "fault --dir DIR [flags] add|list|clear")
	var rule faultproxy.Rule
	flags.StringVar(&rule.ID, "id", "", "name of the rule; with clear: only that one")
	flags.StringVar(&rule.Method, "method", "", "HTTP method; empty matches all")
	flags.StringVar(&rule.Path, "path", "", "regular expression on the path")
	flags.StringVar(&rule.Query, "query", "", "regular expression on the query, e.g. watch=")
	flags.StringVar(&rule.UserAgent, "user-agent", "", "regular expression on the client's name")
	flags.IntVar(&rule.Status, "status", 0, "answer with this HTTP status")
	flags.IntVar(&rule.RetryAfter, "retry-after", 0, "seconds in the Retry-After header")
	flags.StringVar(&rule.Message, "message", "", "message of the Status object")
	flags.Var((*duration.D)(&rule.Delay), "delay", "wait before anything else")
	flags.BoolVar(&rule.Reset, "reset", false, "close the connection with a TCP reset")
	flags.BoolVar(&rule.AfterServer, "after-server", false, "let the server do its work, then fail")
	flags.Int64Var(&rule.CutAfter, "cut-after", 0, "reset after so many bytes of the answer")
	flags.IntVar(&rule.Times, "times", 0, "act so often; 0 is without end")
	flags.IntVar(&rule.Skip, "skip", 0, "let the first matching requests pass")
	flags.IntVar(&rule.Percent, "percent", 0, "share of matching requests to hit; 0 is all")
	_ = flags.Parse(args)
	action := "list"
	if flags.NArg() > 0 {
		action = flags.Arg(0)
	}
	switch action {
	case "list":
		return call(*dirFlag, "GET", "/faults", nil)
	case "clear":
		return call(*dirFlag, "DELETE", strings.TrimSuffix("/faults/"+rule.ID, "/"), nil)
	case "add":
		body, err := json.Marshal(rule)
		if err != nil {
			return err
		}
		return call(*dirFlag, "POST", "/faults", body)
	}
	return fmt.Errorf("unknown action %q", action)
}

// call sends a request to the lab of a directory and prints the answer.
func call(dirFlag, method, path string, body []byte) error {
	dir, err := absolute(dirFlag)
	if err != nil {
		return err
	}
	info, err := labdir.Read(dir)
	if err != nil {
		return err
	}
	if !dir.Alive(info.PID) {
		return errors.New("the lab does not run any more")
	}
	answer, err := control.Call(info.Control, method, path, body)
	if err != nil {
		return err
	}
	fmt.Print(string(answer))
	return nil
}

// This file holds the commands that `kubectl exec` finds in a container. None of them runs anything on this machine.
package workloads

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"meshrun/lab/kubelet"
)

const notFound = 127

// shell is one exec session.
type shell struct {
	workloads *Workloads
	pod       *corev1.Pod
	container string
	streams   kubelet.Streams
}

func (s *shell) run(ctx context.Context, command []string) int {
	if len(command) == 0 {
		return notFound
	}
	name, args := command[0], command[1:]
	switch name {
	case "true", ":":
		return 0
	case "false":
		return 1
	case "echo":
		fmt.Fprintln(s.streams.Stdout, strings.Join(args, " "))
		return 0
	case "cat":
		_, _ = io.Copy(s.streams.Stdout, s.streams.Stdin)
		return 0
	case "hostname":
		fmt.Fprintln(s.streams.Stdout, s.pod.Name)
		return 0
	case "exit":
		return exitCode(args)
	case "sleep":
		return s.sleep(ctx, args)
	case "sh", "/bin/sh", "bash", "/bin/bash":
		if len(args) == 2 && args[0] == "-c" {
			return s.run(ctx, strings.Fields(args[1]))
		}
		return 0
	case "curl", "wget":
		return s.curl(args)
	case "pilot-discovery", "/usr/local/bin/pilot-discovery":
		if s.container == "discovery" {
			return s.istio(args, 15014)
		}
	case "pilot-agent", "/usr/local/bin/pilot-agent":
		if s.container == "istio-proxy" {
			return s.istio(args, 15000)
		}
	}
	fmt.Fprintf(s.streams.Stderr, "exec: %q: executable file not found in $PATH\n", name)
	return notFound
}

// istio is pilot-discovery and pilot-agent: `version` and `request METHOD PATH`.
func (s *shell) istio(args []string, port int) int {
	if len(args) > 0 && args[0] == "version" {
		for _, container := range append(s.pod.Spec.Containers, s.pod.Spec.InitContainers...) {
			if container.Name == s.container {
				tag := ImageTag(container.Image)
				fmt.Fprintf(s.streams.Stdout, "version.BuildInfo{Version:%q, GitRevision:\"lab\", GolangVersion:\"\", BuildStatus:\"Clean\", GitTag:%q}\n", tag, tag)
			}
		}
		return 0
	}
	if len(args) != 3 || args[0] != "request" {
		fmt.Fprintf(s.streams.Stderr, "Error: unknown command %q\n", strings.Join(args, " "))
		return 1
	}
	path := "/" + strings.TrimPrefix(args[2], "/")
	return s.request(args[1], port, path, false)
}

func (s *shell) curl(args []string) int {
	method, target := http.MethodGet, ""
	headers := false
	for i, arg := range args {
		switch {
		case arg == "-I" || arg == "--head":
			method, headers = http.MethodHead, true
		case (arg == "-X" || arg == "--request") && i+1 < len(args):
			method = args[i+1]
		case strings.Contains(arg, "://"):
			target = arg
		}
	}
	address, err := url.Parse(target)
	if err != nil || target == "" {
		fmt.Fprintln(s.streams.Stderr, "curl: (3) URL using bad/illegal format or missing URL")
		return 3
	}
	if host := address.Hostname(); host != "localhost" && host != "127.0.0.1" && host != s.pod.Status.PodIP {
		fmt.Fprintf(s.streams.Stderr, "curl: (6) Could not resolve host: %s\n", host)
		return 6
	}
	port, _ := strconv.Atoi(address.Port())
	if port == 0 {
		port = 80
	}
	return s.request(method, port, address.RequestURI(), headers)
}

// request calls the pod's own server on a port.
func (s *shell) request(method string, port int, path string, headers bool) int {
	handler := s.workloads.Handler(s.pod, port)
	if handler == nil {
		fmt.Fprintf(s.streams.Stderr, "Error: dial tcp 127.0.0.1:%d: connect: connection refused\n", port)
		return 7
	}
	recorder := httptest.NewRecorder()
	request := httptest.NewRequest(method, "http://localhost"+path, nil)
	handler.ServeHTTP(recorder, request)
	if headers {
		fmt.Fprintf(s.streams.Stdout, "HTTP/1.1 %d %s\r\n", recorder.Code, http.StatusText(recorder.Code))
		_ = recorder.Header().Write(s.streams.Stdout)
		return 0
	}
	_, _ = io.Copy(s.streams.Stdout, recorder.Body)
	if recorder.Code >= 400 && port != 80 {
		fmt.Fprintf(s.streams.Stderr, "Error: received unexpected status %d\n", recorder.Code)
		return 1
	}
	return 0
}

func (s *shell) sleep(ctx context.Context, args []string) int {
	seconds := 0.0
	if len(args) > 0 {
		seconds, _ = strconv.ParseFloat(args[0], 64)
	}
	select {
	case <-ctx.Done():
		return 130
	case <-time.After(time.Duration(seconds * float64(time.Second))):
		return 0
	}
}

func exitCode(args []string) int {
	if len(args) == 0 {
		return 0
	}
	code, err := strconv.Atoi(args[0])
	if err != nil {
		return 2
	}
	return code & 255
}

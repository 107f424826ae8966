// Package kubelet answers what the API server asks of a node: logs, exec and port-forward, all inside this process.
package kubelet

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/cri-streaming/pkg/streaming/portforward"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
	utilexec "k8s.io/utils/exec"

	"meshrun/lab/pki"
)

// Streams are a command's standard streams; Stdin is empty when the client sent none.
type Streams struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
}

// Line is one line of a container's log.
type Line struct {
	Time time.Time
	Text string
}

// Backend plays the containers.
type Backend interface {
	// Pod finds a pod; nil when there is none.
	Pod(namespace, name string) *corev1.Pod
	// Handler is what listens on a pod's port, nil when nothing does.
	Handler(pod *corev1.Pod, port int) http.Handler
	// Exec runs a command and returns its exit code.
	Exec(ctx context.Context, pod *corev1.Pod, container string, command []string, streams Streams) int
	// Logs returns the lines from index `from` on. It is polled while a client follows.
	Logs(pod *corev1.Pod, container string, from int) []Line
}

// Server is the nodes' kubelet; one serves them all.
type Server struct {
	// Port is on 127.0.0.1.
	Port    int
	backend Backend
}

const (
	idleTimeout     = time.Hour
	creationTimeout = remotecommand.DefaultStreamCreationTimeout
	followInterval  = 100 * time.Millisecond
	drainTimeout    = 200 * time.Millisecond
)

// Serve starts the kubelet's HTTPS server on a free loopback port.
func Serve(ca *pki.CA, backend Backend) (*Server, error) {
	pair, err := ca.Issue("kubelet", "127.0.0.1")
	if err != nil {
		return nil, err
	}
	certificate, err := pair.TLS()
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &Server{Port: listener.Addr().(*net.TCPAddr).Port, backend: backend}
	mux := http.NewServeMux()
	mux.HandleFunc("/containerLogs/{namespace}/{pod}/{container}", s.logs)
	mux.HandleFunc("/exec/{namespace}/{pod}/{container}", s.exec)
	mux.HandleFunc("/exec/{namespace}/{pod}/{uid}/{container}", s.exec)
	mux.HandleFunc("/portForward/{namespace}/{pod}", s.portForward)
	mux.HandleFunc("/portForward/{namespace}/{pod}/{uid}", s.portForward)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	// SPDY takes the connection over, which HTTP/2 cannot give.
	server.TLSNextProto = map[string]func(*http.Server, *tls.Conn, http.Handler){}
	go func() {
		_ = server.Serve(tls.NewListener(listener, &tls.Config{Certificates: []tls.Certificate{certificate}}))
	}()
	return s, nil
}

func (s *Server) exec(w http.ResponseWriter, r *http.Request) {
	options, err := remotecommand.NewOptions(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	remotecommand.ServeExec(w, r, s, r.PathValue("namespace")+"/"+r.PathValue("pod"), r.PathValue("uid"),
		r.PathValue("container"), r.Form["command"], options, idleTimeout, creationTimeout,
		remotecommand.SupportedStreamingProtocols)
}

// ExecInContainer implements remotecommand.Executor.
func (s *Server) ExecInContainer(ctx context.Context, name, _, container string, command []string,
	stdin io.Reader, stdout, stderr io.WriteCloser, _ bool, _ <-chan remotecommand.TerminalSize, _ time.Duration,
) error {
	pod, err := s.find(name)
	if err != nil {
		return err
	}
	streams := Streams{Stdin: stdin, Stdout: io.Discard, Stderr: io.Discard}
	if stdin == nil {
		streams.Stdin = strings.NewReader("")
	}
	if stdout != nil {
		streams.Stdout = stdout
	}
	if stderr != nil {
		streams.Stderr = stderr
	}
	code := s.backend.Exec(ctx, pod, container, command, streams)
	if stdin != nil {
		drain(stdin)
	}
	if code != 0 {
		return utilexec.CodeExitError{Err: fmt.Errorf("command terminated with exit code %d", code), Code: code}
	}
	return nil
}

// drain waits a moment for the client to finish sending. Commands here end at once, and a connection that is closed
// while input is still on its way is reset, which loses the output that the client has not read yet.
func drain(stdin io.Reader) {
	done := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, stdin)
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(drainTimeout):
	}
}

func (s *Server) portForward(w http.ResponseWriter, r *http.Request) {
	options, err := portforward.NewV4Options(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	portforward.ServePortForward(w, r, s, r.PathValue("namespace")+"/"+r.PathValue("pod"), r.PathValue("uid"),
		options, idleTimeout, creationTimeout, portforward.SupportedProtocols)
}

// PortForward implements portforward.PortForwarder.
func (s *Server) PortForward(_ context.Context, name, _ string, port int32, stream io.ReadWriteCloser) error {
	defer stream.Close()
	pod, err := s.find(name)
	if err != nil {
		return err
	}
	handler := s.backend.Handler(pod, int(port))
	if handler == nil {
		return fmt.Errorf("failed to connect to localhost:%d inside namespace %q: connection refused", port, name)
	}
	serveStream(stream, handler)
	return nil
}

func (s *Server) logs(w http.ResponseWriter, r *http.Request) {
	pod, err := s.find(r.PathValue("namespace") + "/" + r.PathValue("pod"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	container, query := r.PathValue("container"), r.URL.Query()
	if reason := waitingReason(pod, container); reason != "" {
		http.Error(w, fmt.Sprintf("container %q in pod %q is waiting to start: %s", container, pod.Name, reason), http.StatusBadRequest)
		return
	}
	lines := s.backend.Logs(pod, container, 0)
	next := len(lines)
	if tail, err := strconv.Atoi(query.Get("tailLines")); err == nil && tail < len(lines) {
		lines = lines[len(lines)-tail:]
	}
	if seconds, err := strconv.Atoi(query.Get("sinceSeconds")); err == nil {
		since := time.Now().Add(-time.Duration(seconds) * time.Second)
		for len(lines) > 0 && lines[0].Time.Before(since) {
			lines = lines[1:]
		}
	}
	w.Header().Set("Content-Type", "text/plain")
	for {
		for _, line := range lines {
			if query.Get("timestamps") == "true" {
				fmt.Fprint(w, line.Time.UTC().Format(time.RFC3339Nano), " ")
			}
			fmt.Fprintln(w, line.Text)
		}
		if query.Get("follow") != "true" || s.backend.Pod(pod.Namespace, pod.Name) == nil {
			return
		}
		_ = http.NewResponseController(w).Flush()
		select {
		case <-r.Context().Done():
			return
		case <-time.After(followInterval):
		}
		lines = s.backend.Logs(pod, container, next)
		next += len(lines)
	}
}

func (s *Server) find(name string) (*corev1.Pod, error) {
	namespace, pod, _ := strings.Cut(name, "/")
	if found := s.backend.Pod(namespace, pod); found != nil {
		return found, nil
	}
	return nil, fmt.Errorf("pod %q not found", name)
}

func waitingReason(pod *corev1.Pod, container string) string {
	for _, status := range append(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses...) {
		if status.Name == container && status.State.Waiting != nil && status.RestartCount == 0 {
			return status.State.Waiting.Reason
		}
	}
	return ""
}

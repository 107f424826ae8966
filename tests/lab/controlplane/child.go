// This file keeps the API server as a child process, so that tests can kill, freeze and restart it with its data kept.
package controlplane

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"meshrun/lab/labdir"
)

// APIServer is the child process and what is needed to start it again.
type APIServer struct {
	// URL is the same after every restart.
	URL string

	dir     labdir.Dir
	args    []string
	probe   *http.Client
	mu      sync.Mutex
	process *exec.Cmd
	exited  chan struct{}
}

// NewAPIServer prepares an API server on a free port; Start starts it.
func NewAPIServer(dir labdir.Dir, files Files, etcdURL string) (*APIServer, error) {
	port, err := FreePort()
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(files.CA.Cert)
	return &APIServer{
		URL: fmt.Sprintf("https://127.0.0.1:%d", port),
		dir: dir,
		args: []string{
			"--etcd-servers=" + etcdURL,
			"--bind-address=127.0.0.1",
			fmt.Sprintf("--secure-port=%d", port),
			// Loopback addresses may not be endpoints, so nobody publishes this server as one.
			"--advertise-address=127.0.0.1",
			"--endpoint-reconciler-type=none",
			"--tls-cert-file=" + files.ServingCert,
			"--tls-private-key-file=" + files.ServingKey,
			"--service-account-issuer=https://kubernetes.default.svc",
			"--service-account-key-file=" + files.ServiceAccountKey,
			"--service-account-signing-key-file=" + files.ServiceAccountKey,
			"--token-auth-file=" + files.Tokens,
			"--authorization-mode=RBAC",
			"--service-cluster-ip-range=10.96.0.0/16",
			"--kubelet-preferred-address-types=InternalIP",
			"--allow-privileged=true",
			"--profiling=false",
		},
		probe: &http.Client{
			Timeout:   2 * time.Second,
			Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true},
		},
	}, nil
}

// Start starts the process; it does nothing while one runs.
func (s *APIServer) Start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process != nil {
		return nil
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	log, err := os.OpenFile(s.dir.APIServerLog(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	command := exec.Command(self, append([]string{"apiserver", "--dir", string(s.dir), "--"}, s.args...)...)
	command.Stdout, command.Stderr = log, log
	// Webhooks given by URL (not by Service) go through Go's default transport: a proxy that nobody serves stops them.
	command.Env = append(os.Environ(),
		"HTTPS_PROXY=http://127.0.0.1:1", "HTTP_PROXY=http://127.0.0.1:1", "NO_PROXY=127.0.0.0/8,localhost,.svc")
	// The child ends when this pipe does, that is with its parent, however that one dies.
	lifeline, err := command.StdinPipe()
	if err != nil {
		return err
	}
	if err := command.Start(); err != nil {
		return fmt.Errorf("start API server: %w", err)
	}
	exited := make(chan struct{})
	s.process, s.exited = command, exited
	go func() {
		_ = command.Wait()
		_ = lifeline.Close()
		s.mu.Lock()
		if s.process == command {
			s.process = nil
		}
		s.mu.Unlock()
		close(exited)
	}()
	return nil
}

// Lifeline blocks until the parent process is gone; the child calls it.
func Lifeline() { _, _ = io.Copy(io.Discard, os.Stdin) }

// PID is the process's id, 0 when there is none.
func (s *APIServer) PID() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process == nil {
		return 0
	}
	return s.process.Process.Pid
}

// Kill ends the process as kill -9 does, and waits for its end.
func (s *APIServer) Kill() {
	s.mu.Lock()
	process, exited := s.process, s.exited
	s.mu.Unlock()
	if process == nil {
		return
	}
	_ = process.Process.Kill()
	<-exited
}

// Signal freezes (SIGSTOP) or thaws (SIGCONT) the process.
func (s *APIServer) Signal(signal syscall.Signal) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process == nil {
		return fmt.Errorf("the API server is not running")
	}
	return s.process.Process.Signal(signal)
}

// WaitReady returns when /readyz answers 200.
func (s *APIServer) WaitReady(ctx context.Context) error {
	for {
		response, err := s.probe.Get(s.URL + "/readyz")
		if err == nil {
			response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return nil
			}
		}
		if s.PID() == 0 {
			return fmt.Errorf("the API server ended, see %s", s.dir.APIServerLog())
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the API server: %w", ctx.Err())
		case <-time.After(25 * time.Millisecond):
		}
	}
}

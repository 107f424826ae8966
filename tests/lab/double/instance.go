// This file is one istiod: its certificate authority, its webhook server and its log.
package double

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"meshrun/lab/kubelet"
	"meshrun/lab/pki"
	"meshrun/lab/workloads"
)

const webhookPort = 443

// instance is one running istiod.
type instance struct {
	manager *Manager
	key     key
	service string
	started time.Time
	ca      *pki.CA
	// client writes as istiod does: field manager and user agent are `pilot-discovery`.
	client kubernetes.Interface

	mu      sync.Mutex
	image   string
	mode    WebhookMode
	server  *http.Server
	log     []kubelet.Line
	patched map[string]bool
	residue time.Time
}

func (m *Manager) start(k key, pod *corev1.Pod) (*instance, error) {
	i := &instance{
		manager: m, key: k, service: "istiod", started: time.Now(),
		image: discoveryImage(pod), patched: map[string]bool{},
	}
	if k.revision != "default" {
		i.service = "istiod-" + k.revision
	}
	config := rest.CopyConfig(m.config)
	// The API server takes the field manager of an update from what stands before the slash.
	config.UserAgent = fmt.Sprintf("pilot-discovery/%s (linux/amd64) istio/lab", i.version())
	var err error
	if i.client, err = kubernetes.NewForConfig(config); err != nil {
		return nil, err
	}
	if i.ca, err = i.loadCA(); err != nil {
		return nil, err
	}
	i.logf("info\tinitializing Istiod admin server")
	i.logf("info\tVersion %s-lab-Clean, namespace %s, revision %s", i.version(), k.namespace, k.revision)
	i.serve(m.Settings().Webhook)
	return i, nil
}

func (i *instance) version() string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return workloads.ImageTag(i.image)
}

func (i *instance) setImage(image string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.image = image
}

// serve brings the webhook server into a mode. A change closes all connections: the API server keeps its own in a pool.
func (i *instance) serve(mode WebhookMode) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.mode == mode {
		return
	}
	if i.server != nil {
		_ = i.server.Close()
		i.server = nil
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return
	}
	if err := i.manager.routes.Set(i.key.namespace, i.service, webhookPort, listener.Addr().String()); err != nil {
		_ = listener.Close()
		return
	}
	i.mode = mode
	if mode == Refuse {
		// The route stays and leads to a port where nobody listens any more.
		_ = listener.Close()
		return
	}
	certificate, err := i.certificate(mode)
	if err != nil {
		_ = listener.Close()
		return
	}
	i.server = &http.Server{
		Handler:           i.webhooks(mode),
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          log.New(io.Discard, "", 0),
	}
	server := i.server
	go func() {
		_ = server.Serve(tls.NewListener(listener, &tls.Config{Certificates: []tls.Certificate{certificate}}))
	}()
}

func (i *instance) certificate(mode WebhookMode) (tls.Certificate, error) {
	var names []string
	if mode != WrongCert {
		base := i.service + "." + i.key.namespace
		names = []string{i.service, base, base + ".svc", base + ".svc.cluster.local"}
	}
	pair, err := i.ca.Issue(i.service, names...)
	if err != nil {
		return tls.Certificate{}, err
	}
	return pair.TLS()
}

// webhooks is the handler behind the Service's port 443.
func (i *instance) webhooks(mode WebhookMode) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/inject", i.inject)
	mux.HandleFunc("/inject/", i.inject)
	mux.HandleFunc("/validate", i.validate)
	mux.HandleFunc("/validate/", i.validate)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch mode {
		case Hang:
			// Only a server that has read the body notices that the client gave up.
			_, _ = io.Copy(io.Discard, r.Body)
			<-r.Context().Done()
			return
		case Error:
			http.Error(w, "lab: the webhook is told to fail", http.StatusInternalServerError)
			return
		}
		if !sleep(r.Context(), i.manager.Settings().WebhookDelay.Std()) {
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// stop ends the instance: the Service has no endpoints any more.
func (i *instance) stop() {
	_ = i.manager.routes.Remove(i.key.namespace, i.service, webhookPort)
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.server != nil {
		_ = i.server.Close()
	}
}

func (i *instance) logf(format string, args ...any) {
	now := time.Now()
	text := now.UTC().Format("2006-01-02T15:04:05.000000Z") + "\t" + fmt.Sprintf(format, args...)
	i.mu.Lock()
	defer i.mu.Unlock()
	i.log = append(i.log, kubelet.Line{Time: now, Text: text})
}

func (i *instance) logLines(from int) []kubelet.Line {
	i.mu.Lock()
	defer i.mu.Unlock()
	if from >= len(i.log) {
		return nil
	}
	return append([]kubelet.Line{}, i.log[from:]...)
}

func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return true
	}
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

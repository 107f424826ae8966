// Package double plays istiod's observable part: it patches webhook configurations, injects proxies, validates
// objects, answers debug requests and leaves istiod's residue. It acts while a real istiod Deployment has Ready pods.
// This file starts and stops one instance per istiod installation (namespace and revision).
package double

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	admissionlisters "k8s.io/client-go/listers/admissionregistration/v1"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"

	"meshrun/lab/controlplane"
	"meshrun/lab/duration"
	"meshrun/lab/kubelet"
	"meshrun/lab/workloads"
)

// WebhookMode is how the webhook server behaves.
type WebhookMode string

// The modes of the webhook server.
const (
	Serve     WebhookMode = "serve"
	Hang      WebhookMode = "hang"
	Refuse    WebhookMode = "refuse"
	WrongCert WebhookMode = "wrong-cert"
	Error     WebhookMode = "error"
)

// Settings may change while the double runs. All delays count from the moment the istiod pod is Ready.
type Settings struct {
	// Enabled false stops everything: the cluster looks as if istiod had hung up.
	Enabled bool `json:"enabled"`
	// CABundleDelay is when caBundle gets into the webhook configurations.
	CABundleDelay duration.D `json:"caBundleDelay"`
	// FailurePolicyDelay is when the validators' failurePolicy becomes Fail.
	FailurePolicyDelay duration.D `json:"failurePolicyDelay"`
	// Repatch false leaves it alone when somebody reverts these two.
	Repatch bool `json:"repatch"`
	// Webhook is how /inject and /validate are served.
	Webhook WebhookMode `json:"webhook"`
	// WebhookDelay is how long each call takes.
	WebhookDelay duration.D `json:"webhookDelay"`
	// Residue creates istio-ca-root-cert in every namespace, istio-ca-secret and the election objects.
	Residue bool `json:"residue"`
	// Stale makes /debug/syncz report proxies as STALE instead of SYNCED.
	Stale bool `json:"stale"`
}

// DefaultSettings are a real istiod's timings.
func DefaultSettings() Settings {
	return Settings{
		Enabled:            true,
		CABundleDelay:      duration.D(500 * time.Millisecond),
		FailurePolicyDelay: duration.D(1500 * time.Millisecond),
		Repatch:            true,
		Webhook:            Serve,
		Residue:            true,
	}
}

// key names one istiod installation.
type key struct{ namespace, revision string }

// Manager runs the instances.
type Manager struct {
	config     *rest.Config
	client     kubernetes.Interface
	routes     controlplane.Routes
	pods       corelisters.PodLister
	namespaces corelisters.NamespaceLister
	configMaps corelisters.ConfigMapLister
	mutating   admissionlisters.MutatingWebhookConfigurationLister
	validating admissionlisters.ValidatingWebhookConfigurationLister

	mu        sync.Mutex
	settings  Settings
	instances map[key]*instance
}

// New prepares the double.
func New(config *rest.Config, factory informers.SharedInformerFactory, routes controlplane.Routes, settings Settings) *Manager {
	core, admission := factory.Core().V1(), factory.Admissionregistration().V1()
	// Asking for an informer registers it with the factory.
	core.Pods().Informer()
	core.Namespaces().Informer()
	core.ConfigMaps().Informer()
	admission.MutatingWebhookConfigurations().Informer()
	admission.ValidatingWebhookConfigurations().Informer()
	return &Manager{
		config:     config,
		client:     kubernetes.NewForConfigOrDie(config),
		routes:     routes,
		pods:       core.Pods().Lister(),
		namespaces: core.Namespaces().Lister(),
		configMaps: core.ConfigMaps().Lister(),
		mutating:   admission.MutatingWebhookConfigurations().Lister(),
		validating: admission.ValidatingWebhookConfigurations().Lister(),
		settings:   settings,
		instances:  map[key]*instance{},
	}
}

// Settings returns what is in force.
func (m *Manager) Settings() Settings {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.settings
}

// Set replaces the settings.
func (m *Manager) Set(settings Settings) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.settings = settings
}

// Pause stops all instances and returns when none of them will write any more. Set starts them again.
func (m *Manager) Pause() {
	settings := m.Settings()
	settings.Enabled = false
	m.Set(settings)
	// Instances are worked and removed by one goroutine: once they are gone, nothing is under way.
	for len(m.all()) > 0 {
		time.Sleep(tick / 10)
	}
}

const tick = 50 * time.Millisecond

// Run works until ctx ends.
func (m *Manager) Run(ctx context.Context) {
	for ctx.Err() == nil {
		m.sync(ctx)
		time.Sleep(tick)
	}
}

// sync starts instances whose pods became Ready, stops those without, and lets each do what is due.
func (m *Manager) sync(ctx context.Context) {
	settings := m.Settings()
	wanted := map[key]*corev1.Pod{}
	if settings.Enabled {
		pods, _ := m.pods.List(labels.SelectorFromSet(labels.Set{"app": "istiod"}))
		for _, pod := range pods {
			if workloads.Ready(pod) {
				wanted[keyOf(pod)] = pod
			}
		}
	}
	for k, pod := range wanted {
		if m.instance(k) != nil {
			continue
		}
		started, err := m.start(k, pod)
		if err != nil {
			klog.ErrorS(err, "start istiod double", "namespace", k.namespace, "revision", k.revision)
			continue
		}
		m.mu.Lock()
		m.instances[k] = started
		m.mu.Unlock()
	}
	for k, running := range m.all() {
		pod, ok := wanted[k]
		if !ok {
			running.stop()
			m.mu.Lock()
			delete(m.instances, k)
			m.mu.Unlock()
			continue
		}
		// An upgrade changes the image, and with it the version, under a running installation.
		running.setImage(discoveryImage(pod))
		running.serve(settings.Webhook)
		running.work(ctx, settings)
	}
}

func (m *Manager) instance(k key) *instance {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.instances[k]
}

func (m *Manager) all() map[key]*instance {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := map[key]*instance{}
	for k, i := range m.instances {
		all[k] = i
	}
	return all
}

// Handler implements workloads.Istiod.
func (m *Manager) Handler(pod *corev1.Pod, port int) http.Handler {
	i := m.instance(keyOf(pod))
	if i == nil {
		return nil
	}
	switch port {
	case 8080, 15014:
		return i.debug(pod)
	}
	return nil
}

// Logs implements workloads.Istiod.
func (m *Manager) Logs(pod *corev1.Pod, from int) []kubelet.Line {
	if i := m.instance(keyOf(pod)); i != nil {
		return i.logLines(from)
	}
	return nil
}

func keyOf(pod *corev1.Pod) key {
	revision := pod.Labels["istio.io/rev"]
	if revision == "" {
		revision = "default"
	}
	return key{pod.Namespace, revision}
}

func discoveryImage(pod *corev1.Pod) string {
	for _, container := range pod.Spec.Containers {
		if container.Name == "discovery" {
			return container.Image
		}
	}
	return pod.Spec.Containers[0].Image
}

// Validate refuses modes that do not exist.
func (s Settings) Validate() error {
	switch s.Webhook {
	case Serve, Hang, Refuse, WrongCert, Error:
		return nil
	}
	return fmt.Errorf("unknown webhook mode %q", s.Webhook)
}

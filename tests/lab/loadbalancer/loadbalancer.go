// Package loadbalancer plays the cloud's controller for Services of type LoadBalancer.
package loadbalancer

import (
	"context"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/klog/v2"

	"meshrun/lab/duration"
	"meshrun/lab/labdir"
	"meshrun/lab/workloads"
)

// Finalizer is the one that cloud controllers set on their Services.
const Finalizer = "service.kubernetes.io/load-balancer-cleanup"

// Settings may change while the loop runs.
type Settings struct {
	// Delay is how long a new Service waits for its address.
	Delay duration.D `json:"delay"`
	// Never leaves Services without an address, as a cluster without a cloud does.
	Never bool `json:"never"`
	// Hostname gives a host name ("localhost", as AWS does) instead of an IP address.
	Hostname bool `json:"hostname"`
	// DeleteDelay is how long a deleted Service keeps the finalizer.
	DeleteDelay duration.D `json:"deleteDelay"`
}

// Loop sets addresses and finalizers.
type Loop struct {
	client   kubernetes.Interface
	services corelisters.ServiceLister
	address  string

	mu       sync.Mutex
	settings Settings
	// seen tells when a Service first was of type LoadBalancer: creation times have whole seconds only.
	seen map[types.UID]time.Time
}

// New prepares the loop and starts the double of the gateway behind its addresses.
func New(client kubernetes.Interface, factory informers.SharedInformerFactory, gateways *workloads.Gateways, name string, settings Settings) (*Loop, labdir.Gateway, error) {
	services := factory.Core().V1().Services()
	// Asking for the informer registers it with the factory.
	services.Informer()
	gateway, err := serveGateway(factory.Core().V1().Pods().Lister(), gateways, name)
	return &Loop{
		client:   client,
		services: services.Lister(),
		address:  gateway.Address,
		settings: settings,
		seen:     map[types.UID]time.Time{},
	}, gateway, err
}

// Settings returns what is in force.
func (l *Loop) Settings() Settings {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.settings
}

// Set replaces the settings.
func (l *Loop) Set(settings Settings) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.settings = settings
}

// Run works until ctx ends.
func (l *Loop) Run(ctx context.Context) {
	for ctx.Err() == nil {
		services, _ := l.services.List(labels.Everything())
		alive := map[types.UID]time.Time{}
		for _, service := range services {
			if service.Spec.Type == corev1.ServiceTypeLoadBalancer {
				alive[service.UID] = l.seen[service.UID]
				if alive[service.UID].IsZero() {
					alive[service.UID] = time.Now()
				}
				l.seen[service.UID] = alive[service.UID]
			}
			// A conflict or a missing server is tried again in the next round.
			if err := l.sync(ctx, service); err != nil {
				klog.V(2).InfoS("load balancer", "service", klog.KObj(service), "err", err)
			}
		}
		l.seen = alive
		time.Sleep(50 * time.Millisecond)
	}
}

func (l *Loop) sync(ctx context.Context, service *corev1.Service) error {
	settings := l.Settings()
	finalized := slices.Contains(service.Finalizers, Finalizer)
	wanted := service.Spec.Type == corev1.ServiceTypeLoadBalancer && service.DeletionTimestamp == nil
	switch {
	case wanted && !finalized:
		changed := service.DeepCopy()
		changed.Finalizers = append(changed.Finalizers, Finalizer)
		return l.update(ctx, changed)
	case wanted && settings.Never:
		return nil
	case wanted && time.Since(l.seen[service.UID]) >= settings.Delay.Std():
		return l.publish(ctx, service, settings)
	case !wanted && finalized:
		if at := service.DeletionTimestamp; at != nil && time.Since(at.Time) < settings.DeleteDelay.Std() {
			return nil
		}
		changed := service.DeepCopy()
		changed.Finalizers = slices.DeleteFunc(changed.Finalizers, func(name string) bool { return name == Finalizer })
		return l.update(ctx, changed)
	}
	return nil
}

func (l *Loop) update(ctx context.Context, service *corev1.Service) error {
	_, err := l.client.CoreV1().Services(service.Namespace).Update(ctx, service, metav1.UpdateOptions{FieldManager: "cloud-controller-manager"})
	return err
}

func (l *Loop) publish(ctx context.Context, service *corev1.Service, settings Settings) error {
	// The API server sets this mode itself when it is absent, which would look like a difference ever after.
	mode := corev1.LoadBalancerIPModeVIP
	ingress := corev1.LoadBalancerIngress{IP: l.address, IPMode: &mode}
	if settings.Hostname {
		ingress = corev1.LoadBalancerIngress{Hostname: "localhost"}
	}
	want := []corev1.LoadBalancerIngress{ingress}
	if equality.Semantic.DeepEqual(service.Status.LoadBalancer.Ingress, want) {
		return nil
	}
	changed := service.DeepCopy()
	changed.Status.LoadBalancer.Ingress = want
	_, err := l.client.CoreV1().Services(service.Namespace).UpdateStatus(ctx, changed, metav1.UpdateOptions{FieldManager: "cloud-controller-manager"})
	return err
}

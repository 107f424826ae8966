// This file runs KWOK's node, lease and pod controllers and lets the rules for pods change while they run.
package nodes

import (
	"context"
	"fmt"
	"os"
	"sync"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/record"
	"sigs.k8s.io/kwok/pkg/config/resources"
	"sigs.k8s.io/kwok/pkg/kwok/controllers"
	"sigs.k8s.io/kwok/pkg/log"
	"sigs.k8s.io/kwok/pkg/utils/gotpl"
	"sigs.k8s.io/kwok/pkg/utils/informer"
)

const (
	// With a lease of 0 KWOK renews nothing: nodes go Unknown after 50 s and their pods lose Ready for good.
	leaseSeconds     = 40
	leaseParallelism = 4
	holder           = "meshrun-lab"
)

// Nodes are the simulated nodes and the pods on them.
type Nodes struct {
	client    kubernetes.Interface
	statuses  *statuses
	functions gotpl.FuncMap
	recorder  record.EventRecorder

	cache      informer.Getter[*corev1.Node]
	leases     *controllers.NodeLeaseController
	nodes      *controllers.NodeController
	ctx        context.Context
	mu         sync.Mutex
	rules      []Rule
	cancelPods context.CancelFunc
}

// Start creates count nodes, whose kubelet answers on a loopback port, and begins to simulate.
func Start(ctx context.Context, client kubernetes.Interface, count, kubeletPort int) (*Nodes, error) {
	ctx = log.NewContext(ctx, log.NewLogger(os.Stderr, log.LevelWarn))
	n := &Nodes{client: client, ctx: ctx, statuses: &statuses{kubeletPort: kubeletPort}}
	n.functions = gotpl.FuncMap{"LabPodStatus": n.statuses.podStatus, "LabNodeStatus": n.statuses.nodeStatus}
	broadcaster := record.NewBroadcaster()
	n.recorder = broadcaster.NewRecorder(scheme.Scheme, corev1.EventSource{Component: "kubelet"})
	broadcaster.StartRecordingToSink(&typedcorev1.EventSinkImpl{Interface: client.CoreV1().Events("")})

	for i := range count {
		if err := n.create(ctx, i); err != nil {
			return nil, err
		}
	}
	if err := n.startNodes(ctx, kubeletPort); err != nil {
		return nil, err
	}
	return n, n.SetRules(nil)
}

func (n *Nodes) create(ctx context.Context, i int) error {
	name := fmt.Sprintf("node-%d", i+1)
	node := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{
			corev1.LabelHostname:           name,
			corev1.LabelOSStable:           "linux",
			corev1.LabelArchStable:         "amd64",
			corev1.LabelTopologyRegion:     "lab-1",
			corev1.LabelTopologyZone:       fmt.Sprintf("lab-1%c", 'a'+i%3),
			corev1.LabelInstanceTypeStable: "lab.large",
		}},
		Status: newNodeStatus(name, n.statuses.kubeletPort),
	}
	_, err := n.client.CoreV1().Nodes().Create(ctx, node, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}

func (n *Nodes) startNodes(ctx context.Context, kubeletPort int) error {
	events := make(chan informer.Event[*corev1.Node], 1)
	watch := informer.NewInformer[*corev1.Node, *corev1.NodeList](n.client.CoreV1().Nodes())
	cache, err := watch.WatchWithCache(ctx, informer.Option{}, events)
	if err != nil {
		return fmt.Errorf("watch nodes: %w", err)
	}
	n.cache = cache
	leaseWatch := informer.NewInformer[*coordinationv1.Lease, *coordinationv1.LeaseList](
		n.client.CoordinationV1().Leases(corev1.NamespaceNodeLease))
	leaseCache, err := leaseWatch.WatchWithCache(ctx, informer.Option{}, nil)
	if err != nil {
		return fmt.Errorf("watch node leases: %w", err)
	}
	n.leases, err = controllers.NewNodeLeaseController(controllers.NodeLeaseControllerConfig{
		HolderIdentity:       holder,
		TypedClient:          n.client,
		LeaseDurationSeconds: leaseSeconds,
		LeaseParallelism:     leaseParallelism,
		GetLease: func(node string) (*coordinationv1.Lease, bool) {
			return leaseCache.GetWithNamespace(node, corev1.NamespaceNodeLease)
		},
		RenewInterval:       leaseSeconds / 4 * 1e9,
		RenewIntervalJitter: 0.04,
	})
	if err != nil {
		return err
	}
	stages, err := nodeLifecycle()
	if err != nil {
		return err
	}
	n.nodes, err = controllers.NewNodeController(controllers.NodeControllerConfig{
		TypedClient:          n.client,
		OnNodeManagedFunc:    n.leases.TryHold,
		OnNodeUnmanagedFunc:  n.leases.ReleaseHold,
		NodeIP:               "127.0.0.1",
		NodePort:             kubeletPort,
		Lifecycle:            resources.NewStaticGetter(stages),
		PlayStageParallelism: 2,
		FuncMap:              n.functions,
		Recorder:             n.recorder,
	})
	if err != nil {
		return err
	}
	if err := n.leases.Start(ctx); err != nil {
		return err
	}
	return n.nodes.Start(ctx, events)
}

// Rules returns the rules in force, without the built-in ones.
func (n *Nodes) Rules() []Rule {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]Rule{}, n.rules...)
}

// SetRules replaces the rules and applies them to the pods that exist as well: a pod whose fault is lifted recovers.
func (n *Nodes) SetRules(rules []Rule) error {
	for i := range rules {
		if err := rules[i].Validate(); err != nil {
			return fmt.Errorf("rule %d: %w", i+1, err)
		}
	}
	stages, err := podLifecycle(rules)
	if err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	// A pod that waits out a delay keeps the stage it was queued with, so a new controller takes over and looks again.
	if n.cancelPods != nil {
		n.cancelPods()
	}
	ctx, cancel := context.WithCancel(n.ctx)
	pods, err := controllers.NewPodController(controllers.PodControllerConfig{
		TypedClient:          n.client,
		NodeCacheGetter:      n.cache,
		NodeIP:               "127.0.0.1",
		CIDR:                 "10.64.0.0/16",
		NodeGetFunc:          n.nodes.Get,
		Lifecycle:            resources.NewStaticGetter(stages),
		PlayStageParallelism: 4,
		FuncMap:              n.functions,
		Recorder:             n.recorder,
	})
	if err != nil {
		cancel()
		return err
	}
	events := make(chan informer.Event[*corev1.Pod], 1)
	watch := informer.NewInformer[*corev1.Pod, *corev1.PodList](n.client.CoreV1().Pods(metav1.NamespaceAll))
	if err := watch.Watch(ctx, informer.Option{FieldSelector: "spec.nodeName!="}, events); err != nil {
		cancel()
		return fmt.Errorf("watch pods: %w", err)
	}
	n.rules, n.cancelPods = rules, cancel
	return pods.Start(ctx, events)
}

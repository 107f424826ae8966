// This file decides when the cluster is ready, and brings it back to that moment.
package lab

import (
	"context"
	"errors"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"

	"meshrun/lab/controlplane"
	"meshrun/lab/workloads"
)

const poll = 20 * time.Millisecond

// waitReady returns when the controllers have made what every cluster has, and takes the mark for resets.
func (l *Lab) waitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for _, namespace := range []string{"default", "kube-system", "kube-public", "kube-node-lease"} {
		if err := wait.PollUntilContextCancel(ctx, poll, true, func(ctx context.Context) (bool, error) {
			_, account := l.Client.CoreV1().ServiceAccounts(namespace).Get(ctx, "default", metav1.GetOptions{})
			_, roots := l.Client.CoreV1().ConfigMaps(namespace).Get(ctx, "kube-root-ca.crt", metav1.GetOptions{})
			return account == nil && roots == nil, nil
		}); err != nil {
			return fmt.Errorf("wait for the default ServiceAccount of namespace %s: %w", namespace, err)
		}
	}
	if err := l.waitNodes(ctx); err != nil {
		return err
	}
	// Some start-up objects come without anybody waiting for them: the mark is taken once nothing more appears.
	for {
		mark, err := controlplane.TakeMark(ctx, l.etcd.Client)
		if err != nil {
			return err
		}
		if l.mark != nil && l.mark.Same(mark) {
			l.mark = mark
			break
		}
		l.mark = mark
		time.Sleep(150 * time.Millisecond)
	}
	groups, err := l.apiGroups()
	l.groups = groups
	return err
}

func (l *Lab) waitNodes(ctx context.Context) error {
	err := wait.PollUntilContextCancel(ctx, poll, true, func(ctx context.Context) (bool, error) {
		list, err := l.Client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
		if err != nil {
			return false, nil
		}
		for _, node := range list.Items {
			if !nodeReady(&node) || len(node.Spec.Taints) > 0 {
				return false, nil
			}
		}
		return len(list.Items) == l.options.Nodes, nil
	})
	if err != nil {
		return fmt.Errorf("wait for the nodes: %w", err)
	}
	return nil
}

func nodeReady(node *corev1.Node) bool {
	for _, condition := range node.Status.Conditions {
		if condition.Type == corev1.NodeReady {
			return condition.Status == corev1.ConditionTrue
		}
	}
	return false
}

// Reset brings the cluster and all switches back to where they were when the lab was ready.
func (l *Lab) Reset(ctx context.Context) error {
	l.busy.Lock()
	defer l.busy.Unlock()
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if err := l.defaults(); err != nil {
		return err
	}
	if err := l.API.WaitReady(ctx); err != nil {
		return err
	}
	// Or else an istiod would write into the cluster that is being emptied.
	l.Double.Pause()
	defer l.Double.Set(l.options.Double)
	if l.disturbed {
		if err := l.waitControllers(ctx); err != nil {
			return err
		}
		l.disturbed = false
	}
	// Controllers in the middle of something write once more after the first pass; two quiet passes in a row mean they are done.
	for quiet := 0; quiet < 2; {
		touched, err := l.mark.Restore(ctx, l.etcd.Client)
		if err != nil {
			return err
		}
		if touched == 0 {
			quiet++
		} else {
			quiet = 0
		}
		if err := l.settle(ctx); err != nil {
			return err
		}
	}
	for name := range l.Routes.List() {
		if err := l.removeRoute(name); err != nil {
			return err
		}
	}
	return nil
}

// waitControllers returns when a Deployment becomes available: the controllers, the scheduler and the nodes have
// found the API server again. After a crash they wait out their back-off, up to several seconds.
func (l *Lab) waitControllers(ctx context.Context) error {
	if _, err := l.mark.Restore(ctx, l.etcd.Client); err != nil {
		return err
	}
	if err := l.settle(ctx); err != nil {
		return err
	}
	mark := map[string]string{"app": "lab-probe"}
	_, err := l.Client.AppsV1().Deployments("default").Create(ctx, &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "lab-probe"},
		Spec: appsv1.DeploymentSpec{
			Selector: &metav1.LabelSelector{MatchLabels: mark},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: mark},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "probe", Image: "lab/probe:1"}}},
			},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("create a probe: %w", err)
	}
	err = wait.PollUntilContextCancel(ctx, poll, true, func(ctx context.Context) (bool, error) {
		probe, err := l.Client.AppsV1().Deployments("default").Get(ctx, "lab-probe", metav1.GetOptions{})
		return err == nil && probe.Status.AvailableReplicas > 0, nil
	})
	if err != nil {
		return fmt.Errorf("wait for the controllers after the API server's restart: %w", err)
	}
	return l.waitNodes(ctx)
}

// settle returns when the API server's own caches show the empty cluster: no CRD served, no webhook called.
func (l *Lab) settle(ctx context.Context) error {
	reason := errors.New("not looked yet")
	for {
		if reason = l.stale(ctx); reason == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the API server's caches after a reset: %w", reason)
		case <-time.After(poll):
		}
	}
}

func (l *Lab) stale(ctx context.Context) error {
	groups, err := l.apiGroups()
	if err != nil {
		return err
	}
	for group := range groups {
		if !l.groups[group] {
			return fmt.Errorf("API group %s is still served", group)
		}
	}
	cached := metav1.ListOptions{ResourceVersion: "0"}
	mutating, err := l.Client.AdmissionregistrationV1().MutatingWebhookConfigurations().List(ctx, cached)
	if err != nil {
		return err
	}
	validating, err := l.Client.AdmissionregistrationV1().ValidatingWebhookConfigurations().List(ctx, cached)
	if err != nil {
		return err
	}
	if len(mutating.Items)+len(validating.Items) > 0 {
		return errors.New("webhook configurations are still served")
	}
	pods, err := l.Client.CoreV1().Pods("").List(ctx, cached)
	if err != nil {
		return err
	}
	if len(pods.Items) > 0 {
		return errors.New("pods are still served")
	}
	// The admission plugin has an informer of its own: a pod that the injector would claim shows whether it is empty.
	probe := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "lab-probe", Labels: map[string]string{"sidecar.istio.io/inject": "true"}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "probe", Image: "lab/probe:1"}}},
	}
	created, err := l.Client.CoreV1().Pods("default").Create(ctx, probe, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	switch {
	case apierrors.IsAlreadyExists(err):
		return nil
	case err != nil:
		return err
	case workloads.Proxy(created) != nil:
		return errors.New("the injector is still called")
	}
	return nil
}

func (l *Lab) apiGroups() (map[string]bool, error) {
	list, err := l.Client.Discovery().ServerGroups()
	if err != nil {
		return nil, err
	}
	groups := map[string]bool{}
	for _, group := range list.Groups {
		groups[group.Name] = true
	}
	return groups, nil
}

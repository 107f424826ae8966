// Tests of a whole lab in one run: the safety rule first, then the doubles, crashes and resets.
package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"

	"meshrun/lab/control"
	"meshrun/lab/double"
	"meshrun/lab/duration"
	"meshrun/lab/lab"
	"meshrun/lab/labdir"
	"meshrun/lab/loadbalancer"
	"meshrun/lab/workloads"
)

// cluster is the lab that all tests share; each begins with a reset.
var (
	cluster  *lab.Lab
	endpoint string
)

func TestMain(m *testing.M) {
	// The lab starts its own executable again as the API server, which here is this test.
	if len(os.Args) > 1 && os.Args[1] == "apiserver" {
		main()
		return
	}
	os.Exit(withCluster(m.Run))
}

func withCluster(run func() int) int {
	dir, err := os.MkdirTemp("", "lab-test")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	cluster, err = lab.Start(context.Background(), lab.Options{
		Dir: labdir.Dir(dir), Nodes: 2, HPASync: time.Second,
		Double:       double.Settings{Enabled: true, Repatch: true, Webhook: double.Serve, Residue: true},
		LoadBalancer: loadbalancer.Settings{Delay: duration.D(50 * time.Millisecond)},
	}, func(err error) { fmt.Fprintln(os.Stderr, err) })
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer cluster.API.Kill()
	if endpoint, err = control.Serve(cluster); err == nil {
		err = cluster.Publish(endpoint)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return run()
}

func fresh(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	if err := cluster.Reset(ctx); err != nil {
		t.Fatal(err)
	}
	return ctx
}

func eventually(t *testing.T, ctx context.Context, what string, done func() (bool, error)) {
	t.Helper()
	var last error
	err := wait.PollUntilContextTimeout(ctx, 20*time.Millisecond, 20*time.Second, true, func(context.Context) (bool, error) {
		var ok bool
		ok, last = done()
		return ok, nil
	})
	if err != nil {
		t.Fatalf("%s: %v (last error: %v)", what, err, last)
	}
}

// send changes the lab through the control endpoint, as the tests of the project do.
func send(t *testing.T, method, path, body string) string {
	t.Helper()
	answer, err := control.Call(endpoint, method, path, []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	return string(answer)
}

func deployment(name string, labels map[string]string, image string, replicas int32) *appsv1.Deployment {
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas,
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "discovery", Image: image}}},
			},
		},
	}
}

// installIstiod creates as much of istiod's charts as the double needs: pods and a webhook for pods and one for ConfigMaps.
func installIstiod(t *testing.T, ctx context.Context) {
	t.Helper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "istio-system"}}
	if _, err := cluster.Client.CoreV1().Namespaces().Create(ctx, namespace, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	istiod := deployment("istiod", map[string]string{"app": "istiod"}, "docker.io/istio/pilot:1.19.3", 1)
	if _, err := cluster.Client.AppsV1().Deployments("istio-system").Create(ctx, istiod, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	createWebhook(t, ctx, admissionv1.WebhookClientConfig{
		Service: &admissionv1.ServiceReference{Namespace: "istio-system", Name: "istiod", Path: new("/inject")},
	})
}

// createWebhook creates a mutating webhook for new pods with the injector's label.
func createWebhook(t *testing.T, ctx context.Context, config admissionv1.WebhookClientConfig) {
	t.Helper()
	none := admissionv1.SideEffectClassNone
	_, err := cluster.Client.AdmissionregistrationV1().MutatingWebhookConfigurations().Create(ctx, &admissionv1.MutatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: "istio-sidecar-injector"},
		Webhooks: []admissionv1.MutatingWebhook{{
			Name: "object.sidecar-injector.istio.io", ClientConfig: config, SideEffects: &none,
			AdmissionReviewVersions: []string{"v1"},
			ObjectSelector:          &metav1.LabelSelector{MatchLabels: map[string]string{"sidecar.istio.io/inject": "true"}},
			Rules: []admissionv1.RuleWithOperations{{
				Operations: []admissionv1.OperationType{admissionv1.Create},
				Rule:       admissionv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods"}},
			}},
		}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
}

// injected creates a pod that the webhook claims, in a dry run.
func injected(ctx context.Context) (*corev1.Pod, error) {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "claimed", Labels: map[string]string{"sidecar.istio.io/inject": "true"}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: "app:1"}}},
	}
	return cluster.Client.CoreV1().Pods("default").Create(ctx, pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
}

func TestDoubleInjectsWhileIstiodIsReady(t *testing.T) {
	ctx := fresh(t)
	installIstiod(t, ctx)
	eventually(t, ctx, "injection", func() (bool, error) {
		pod, err := injected(ctx)
		return err == nil && workloads.Proxy(pod) != nil, err
	})
	if err := cluster.Client.AppsV1().Deployments("istio-system").Delete(ctx, "istiod", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, ctx, "no endpoints after istiod is gone", func() (bool, error) {
		_, err := injected(ctx)
		return err != nil && strings.Contains(err.Error(), `no endpoints available for service "istiod"`), err
	})
}

func TestWebhookFaultsHaveTheirRealTexts(t *testing.T) {
	ctx := fresh(t)
	installIstiod(t, ctx)
	eventually(t, ctx, "injection", func() (bool, error) {
		pod, err := injected(ctx)
		return err == nil && workloads.Proxy(pod) != nil, err
	})
	for mode, want := range map[string]string{
		"refuse":     "connection refused",
		"wrong-cert": "x509: certificate is not valid for any names, but wanted to match istiod.istio-system.svc",
		"error":      "told to fail",
	} {
		send(t, "PATCH", "/double", `{"webhook":"`+mode+`"}`)
		eventually(t, ctx, mode, func() (bool, error) {
			_, err := injected(ctx)
			return err != nil && strings.Contains(err.Error(), want), err
		})
	}
}

func TestResetEmptiesTheClusterAndItWorksAgain(t *testing.T) {
	for range 2 {
		ctx := fresh(t)
		installIstiod(t, ctx)
		eventually(t, ctx, "injection", func() (bool, error) {
			pod, err := injected(ctx)
			return err == nil && workloads.Proxy(pod) != nil, err
		})
	}
	ctx := fresh(t)
	pod, err := injected(ctx)
	if err != nil || workloads.Proxy(pod) != nil {
		t.Errorf("after the reset: %v, %v", pod, err)
	}
	if _, err := cluster.Client.CoreV1().Namespaces().Get(ctx, "istio-system", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("namespace: %v", err)
	}
}

func TestPodRulesApplyAndHeal(t *testing.T) {
	ctx := fresh(t)
	send(t, "POST", "/pods", `{"image":"^bad:","behaviour":"crash"}`)
	bad := deployment("bad", map[string]string{"app": "bad"}, "bad:1", 1)
	if _, err := cluster.Client.AppsV1().Deployments("default").Create(ctx, bad, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	state := func(want func(*corev1.Pod) bool) func() (bool, error) {
		return func() (bool, error) {
			pods, err := cluster.Client.CoreV1().Pods("default").List(ctx, metav1.ListOptions{LabelSelector: "app=bad"})
			return err == nil && len(pods.Items) == 1 && want(&pods.Items[0]), err
		}
	}
	eventually(t, ctx, "crash loop", state(func(pod *corev1.Pod) bool {
		statuses := pod.Status.ContainerStatuses
		return len(statuses) == 1 && statuses[0].State.Waiting != nil && statuses[0].State.Waiting.Reason == "CrashLoopBackOff"
	}))
	send(t, "DELETE", "/pods", "")
	eventually(t, ctx, "recovery", state(workloads.Ready))
}

func TestLoadBalancerGetsAnAddressAndAFinalizer(t *testing.T) {
	ctx := fresh(t)
	send(t, "PATCH", "/loadbalancer", `{"never":true,"deleteDelay":"1s"}`)
	services := cluster.Client.CoreV1().Services("default")
	_, err := services.Create(ctx, &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "gateway"},
		Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer, Selector: map[string]string{"app": "gateway"},
			Ports: []corev1.ServicePort{{Port: 80}}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, ctx, "finalizer", func() (bool, error) {
		service, err := services.Get(ctx, "gateway", metav1.GetOptions{})
		return err == nil && len(service.Finalizers) == 1 && len(service.Status.LoadBalancer.Ingress) == 0, err
	})
	send(t, "PATCH", "/loadbalancer", `{"never":false}`)
	eventually(t, ctx, "address", func() (bool, error) {
		service, err := services.Get(ctx, "gateway", metav1.GetOptions{})
		return err == nil && len(service.Status.LoadBalancer.Ingress) == 1 &&
			service.Status.LoadBalancer.Ingress[0].IP == cluster.Info.Gateway.Address, err
	})
	if err := services.Delete(ctx, "gateway", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if service, err := services.Get(ctx, "gateway", metav1.GetOptions{}); err != nil || service.DeletionTimestamp == nil {
		t.Errorf("the finalizer did not hold the Service: %v", err)
	}
	eventually(t, ctx, "deletion", func() (bool, error) {
		_, err := services.Get(ctx, "gateway", metav1.GetOptions{})
		return apierrors.IsNotFound(err), err
	})
}

func TestAPIServerComesBackWithItsData(t *testing.T) {
	ctx := fresh(t)
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "kept"}}
	if _, err := cluster.Client.CoreV1().Namespaces().Create(ctx, namespace, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	before := cluster.API.PID()
	send(t, "POST", "/apiserver", `{"action":"restart"}`)
	if cluster.API.PID() == before {
		t.Error("same process")
	}
	if _, err := cluster.Client.CoreV1().Namespaces().Get(ctx, "kept", metav1.GetOptions{}); err != nil {
		t.Error(err)
	}
}

func TestControlEndpointRefusesMistakes(t *testing.T) {
	fresh(t)
	for _, request := range [][3]string{
		{"PATCH", "/double", `{"webhok":"hang"}`},
		{"PATCH", "/double", `{"webhook":"shout"}`},
		{"PATCH", "/loadbalancer", `{"delay":5}`},
		{"POST", "/pods", `{"behaviour":"lazy"}`},
		{"POST", "/apiserver", `{"action":"explode"}`},
		{"PUT", "/routes", `{"namespace":"a","service":"b","port":443,"address":"192.0.2.1:443"}`},
		{"POST", "/faults", `{"path":"("}`},
	} {
		if answer, err := control.Call(endpoint, request[0], request[1], []byte(request[2])); err == nil {
			t.Errorf("%v was accepted: %s", request, answer)
		}
	}
}

// Tests of the webhooks' decisions: what is injected and what is refused.
package double

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
	"sigs.k8s.io/yaml"

	"meshrun/lab/workloads"
)

// istiod is an instance of an image, with the injector's values when there are any.
func istiod(t *testing.T, image, values string) *instance {
	t.Helper()
	store := cache.NewIndexer(cache.MetaNamespaceKeyFunc, cache.Indexers{})
	if values != "" {
		if err := store.Add(&corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Namespace: "istio-system", Name: "istio-sidecar-injector"},
			Data:       map[string]string{"values": values},
		}); err != nil {
			t.Fatal(err)
		}
	}
	manager := &Manager{configMaps: corelisters.NewConfigMapLister(store)}
	return &instance{manager: manager, key: key{"istio-system", "default"}, service: "istiod", image: image}
}

func podOf(containers ...corev1.Container) *corev1.Pod {
	return &corev1.Pod{Spec: corev1.PodSpec{Containers: containers}}
}

func TestGatewayGetsItsImageFromTheChartsValues(t *testing.T) {
	pod := podOf(corev1.Container{Name: "istio-proxy", Image: "auto"})
	istiod(t, "docker.io/istio/pilot:1.19.3", `{"global":{"hub":"mirror/istio","tag":"1.19.9","network":"n1"}}`).addProxy(pod)
	if len(pod.Spec.Containers) != 1 || pod.Spec.Containers[0].Image != "mirror/istio/proxyv2:1.19.9" {
		t.Errorf("containers are %+v", pod.Spec.Containers)
	}
	if pod.Labels["topology.istio.io/network"] != "n1" || pod.Annotations["istio.io/rev"] != "default" {
		t.Errorf("labels %v, annotations %v", pod.Labels, pod.Annotations)
	}
	// The templates of 1.19 and 1.30 name the revision in an annotation; a label is what users put there.
	if revision, ok := pod.Labels["istio.io/rev"]; ok {
		t.Errorf("label istio.io/rev is %q", revision)
	}
}

func TestOldSidecarIsAContainerAndANewOneAnInitContainer(t *testing.T) {
	for image, native := range map[string]bool{"docker.io/istio/pilot:1.19.3": false, "registry.istio.io/release/pilot:1.30.3": true} {
		pod := podOf(corev1.Container{Name: "app", Image: "app:1"})
		istiod(t, image, "").addProxy(pod)
		proxy := workloads.Proxy(pod)
		if proxy == nil || !strings.HasSuffix(proxy.Image, "/proxyv2:"+workloads.ImageTag(image)) {
			t.Fatalf("%s: proxy is %+v", image, proxy)
		}
		if got := len(pod.Spec.Containers) == 1; got != native {
			t.Errorf("%s: native sidecar is %v", image, got)
		}
	}
}

func TestPodsMayDeclineTheProxy(t *testing.T) {
	pod := podOf(corev1.Container{Name: "app"})
	pod.Labels = map[string]string{"sidecar.istio.io/inject": "false"}
	if wantsProxy(pod) {
		t.Error("label was ignored")
	}
	if wantsProxy(&corev1.Pod{Spec: corev1.PodSpec{HostNetwork: true}}) {
		t.Error("a pod on the host's network was injected")
	}
}

func TestValidation(t *testing.T) {
	for _, c := range []struct{ name, object, want string }{
		{"gateway without servers", "{kind: Gateway, spec: {selector: {a: b}}}", "at least one server"},
		{"gateway", "{kind: Gateway, spec: {servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}]}}", ""},
		{"gateway without hosts", "{kind: Gateway, spec: {servers: [{port: {number: 80, name: http, protocol: HTTP}}]}}", "at least one host"},
		{"https without tls", "{kind: Gateway, spec: {servers: [{port: {number: 443, name: s, protocol: HTTPS}, hosts: ['*']}]}}", "TLS settings"},
		{"https without certificate", "{kind: Gateway, spec: {servers: [{port: {number: 443, name: s, protocol: HTTPS}, hosts: ['*'], tls: {mode: SIMPLE}}]}}", "server certificate"},
		{"redirect on http", "{kind: Gateway, spec: {servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*'], tls: {httpsRedirect: true}}]}}", ""},
		{"unknown protocol", "{kind: Gateway, spec: {servers: [{port: {number: 80, name: http, protocol: FTP}, hosts: ['*']}]}}", "invalid protocol"},
		{"same port name twice", "{kind: Gateway, spec: {servers: [{port: {number: 80, name: x, protocol: HTTP}, hosts: ['*']}, {port: {number: 81, name: x, protocol: HTTP}, hosts: ['*']}]}}", "unique"},
		{"virtual service without hosts", "{kind: VirtualService, spec: {http: [{route: [{destination: {host: a}}]}]}}", "at least one host"},
		{"virtual service without routes", "{kind: VirtualService, spec: {hosts: [a]}}", "http, tcp or tls"},
		{"strict", "{kind: PeerAuthentication, spec: {mtls: {mode: STRICT}}}", ""},
		{"unknown mode", "{kind: PeerAuthentication, spec: {mtls: {mode: MAYBE}}}", `unknown value "MAYBE"`},
		{"ports without selector", "{kind: PeerAuthentication, spec: {portLevelMtls: {8080: {mode: DISABLE}}}}", "port level"},
		{"destination rule without host", "{kind: DestinationRule, spec: {}}", "invalid"},
		{"deny without rules", "{kind: AuthorizationPolicy, spec: {action: DENY}}", "without `rules`"},
		{"allow nothing", "{kind: AuthorizationPolicy, spec: {}}", ""},
		{"custom without provider", "{kind: AuthorizationPolicy, spec: {action: CUSTOM, rules: [{}]}}", "provider.name"},
		{"telemetry", "{kind: Telemetry, spec: {}}", ""},
	} {
		object := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(c.object), &object.Object); err != nil {
			t.Fatal(c.name, err)
		}
		err := check(object)
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: refused: %v", c.name, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
	}
}

func TestVersionsCompareByNumber(t *testing.T) {
	for image, want := range map[string]bool{"pilot:1.9.1": false, "pilot:1.24.0": true, "pilot:1.30.3-distroless": true, "pilot:latest": true} {
		if got := istiod(t, image, "").atLeast(1, 24); got != want {
			t.Errorf("%s: %v", image, got)
		}
	}
}

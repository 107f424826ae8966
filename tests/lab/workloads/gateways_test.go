// Tests of port 80 of an ingress gateway: it is what the Gateway objects that select the pod make of it.
package workloads

import (
	"net/http/httptest"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

func TestPort80AnswersAsTheGatewaysSay(t *testing.T) {
	const redirect = "{port: {number: 80}, tls: {httpsRedirect: true}}"
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"istio": "gateway", "app": "x"}}}
	for _, c := range []struct {
		name, gateways string
		want           int
	}{
		{"no Gateway", "[]", 0},
		{"a Gateway of other pods", "[{spec: {selector: {istio: other}, servers: [" + redirect + "]}}]", 0},
		{"HTTPS alone", "[{spec: {selector: {istio: gateway}, servers: [{port: {number: 443}}]}}]", 0},
		{"HTTP", "[{spec: {selector: {istio: gateway}, servers: [{port: {number: 80}}]}}]", 404},
		{"a redirect", "[{spec: {selector: {istio: gateway}, servers: [" + redirect + "]}}]", 301},
		{"a Gateway of all pods", "[{spec: {servers: [" + redirect + "]}}]", 301},
	} {
		var objects []map[string]any
		if err := yaml.Unmarshal([]byte(c.gateways), &objects); err != nil {
			t.Fatal(c.name, err)
		}
		var gateways []unstructured.Unstructured
		for _, object := range objects {
			// As a client decodes it: whole numbers are int64.
			encoded, _ := yaml.Marshal(object)
			decoded, _ := yaml.YAMLToJSON(encoded)
			gateway := unstructured.Unstructured{}
			if err := gateway.UnmarshalJSON(append([]byte(`{"kind":"Gateway",`), decoded[1:]...)); err != nil {
				t.Fatal(c.name, err)
			}
			gateways = append(gateways, gateway)
		}
		got := 0
		if handler := listener(gateways, pod); handler != nil {
			answer := httptest.NewRecorder()
			handler.ServeHTTP(answer, httptest.NewRequest("GET", "http://lb/", nil))
			got = answer.Code
		}
		if got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

// This file is port 80 of an ingress gateway: what it answers is decided by the Gateway objects that select its pod.
package workloads

import (
	"context"
	"net/http"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
)

// gatewayResource is served by every Istio from 1.5 on.
var gatewayResource = schema.GroupVersionResource{Group: "networking.istio.io", Version: "v1beta1", Resource: "gateways"}

// Gateways reads Gateway objects. It asks the API server each time: their CRD comes and goes.
type Gateways struct {
	Client dynamic.Interface
}

// HTTP is what listens on port 80 of a pod, nil when no Gateway that selects the pod has a server there.
// Routes are not modelled: a host without a redirect is answered as one without a VirtualService.
func (g *Gateways) HTTP(pod *corev1.Pod) http.Handler {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	found, err := g.Client.Resource(gatewayResource).List(ctx, metav1.ListOptions{})
	if err != nil {
		// Nothing serves the API yet, or nobody answers: no listener can have come from there.
		return nil
	}
	return listener(found.Items, pod)
}

// listener is the one on port 80 that the Gateway objects ask for.
func listener(gateways []unstructured.Unstructured, pod *corev1.Pod) http.Handler {
	var handler http.Handler
	for _, gateway := range gateways {
		selector, _, _ := unstructured.NestedStringMap(gateway.Object, "spec", "selector")
		if !labels.SelectorFromSet(selector).Matches(labels.Set(pod.Labels)) {
			continue
		}
		servers, _, _ := unstructured.NestedSlice(gateway.Object, "spec", "servers")
		for _, server := range servers {
			server, _ := server.(map[string]any)
			if number, _, _ := unstructured.NestedInt64(server, "port", "number"); number != 80 {
				continue
			}
			if redirect, _, _ := unstructured.NestedBool(server, "tls", "httpsRedirect"); redirect {
				return http.HandlerFunc(toHTTPS)
			}
			handler = http.HandlerFunc(noRoute)
		}
	}
	return handler
}

func toHTTPS(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Server", "istio-envoy")
	w.Header().Set("Location", "https://"+r.Host+r.URL.RequestURI())
	w.WriteHeader(http.StatusMovedPermanently)
}

func noRoute(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Server", "istio-envoy")
	w.WriteHeader(http.StatusNotFound)
}

// This file is istiod's monitoring port: version, readiness, metrics and the state of the proxies.
package double

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"net/http"
	"sort"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"

	"meshrun/lab/workloads"
)

// proxyState is an entry of /debug/syncz, with the fields that both 1.19 and 1.30 send.
type proxyState struct {
	Cluster       string `json:"cluster_id"`
	Proxy         string `json:"proxy"`
	ProxyType     string `json:"proxy_type"`
	IstioVersion  string `json:"istio_version"`
	ClusterSent   string `json:"cluster_sent"`
	ClusterAcked  string `json:"cluster_acked"`
	ListenerSent  string `json:"listener_sent"`
	ListenerAcked string `json:"listener_acked"`
	RouteSent     string `json:"route_sent"`
	RouteAcked    string `json:"route_acked"`
	EndpointSent  string `json:"endpoint_sent"`
	EndpointAcked string `json:"endpoint_acked"`
}

// debug is what one istiod pod answers.
func (i *instance) debug(pod *corev1.Pod) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/ready", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	mux.HandleFunc("/version", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "%s-lab-Clean", i.version())
	})
	mux.HandleFunc("/debug/syncz", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "  ")
		_ = encoder.Encode(i.proxies(pod))
	})
	mux.HandleFunc("/metrics", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "# TYPE pilot_info gauge\npilot_info{version=%q} 1\n", i.version()+"-lab-Clean")
		fmt.Fprintf(w, "# TYPE pilot_xds gauge\npilot_xds{version=%q} %d\n", i.version(), len(i.proxies(pod)))
		fmt.Fprintf(w, "# TYPE citadel_server_root_cert_expiry_timestamp gauge\ncitadel_server_root_cert_expiry_timestamp %d\n", i.ca.NotAfter().Unix())
		fmt.Fprint(w, "# TYPE pilot_total_xds_rejects counter\npilot_total_xds_rejects 0\n")
	})
	return mux
}

// proxies lists the proxies that are connected to this pod. Each replica knows only its own, so they are dealt out.
func (i *instance) proxies(istiod *corev1.Pod) []proxyState {
	stale := i.manager.Settings().Stale
	replicas := i.replicas()
	states := []proxyState{}
	pods, _ := i.manager.pods.List(labels.Everything())
	for _, pod := range pods {
		proxy := workloads.Proxy(pod)
		if proxy == nil || !workloads.Ready(pod) || revisionOf(pod) != i.key.revision {
			continue
		}
		name := pod.Name + "." + pod.Namespace
		hash := fnv.New32a()
		_, _ = hash.Write([]byte(name))
		if len(replicas) > 0 && replicas[int(hash.Sum32())%len(replicas)] != istiod.Name {
			continue
		}
		kind := "sidecar"
		if pod.Annotations["inject.istio.io/templates"] == "gateway" {
			kind = "router"
		}
		nonce := string(pod.UID)
		acked := nonce
		if stale {
			acked = "older-" + nonce
		}
		states = append(states, proxyState{
			Cluster: "Kubernetes", Proxy: name, ProxyType: kind, IstioVersion: workloads.ImageTag(proxy.Image),
			ClusterSent: nonce, ClusterAcked: acked, ListenerSent: nonce, ListenerAcked: acked,
			RouteSent: nonce, RouteAcked: acked, EndpointSent: nonce, EndpointAcked: acked,
		})
	}
	sort.Slice(states, func(a, b int) bool { return states[a].Proxy < states[b].Proxy })
	return states
}

// replicas are the names of this installation's Ready pods, in a steady order.
func (i *instance) replicas() []string {
	var names []string
	pods, _ := i.manager.pods.Pods(i.key.namespace).List(labels.SelectorFromSet(labels.Set{"app": "istiod"}))
	for _, pod := range pods {
		if workloads.Ready(pod) && keyOf(pod) == i.key {
			names = append(names, pod.Name)
		}
	}
	sort.Strings(names)
	return names
}

func revisionOf(pod *corev1.Pod) string {
	if revision := pod.Annotations["istio.io/rev"]; revision != "" {
		return revision
	}
	return "default"
}

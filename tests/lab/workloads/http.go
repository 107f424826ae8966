// This file holds the HTTP servers of Kiali, of the proxies and of everything else.
package workloads

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

func kiali(pod *corev1.Pod) http.Handler {
	version := "unknown"
	for _, container := range pod.Spec.Containers {
		if strings.Contains(container.Image, "/kiali:") {
			version = ImageTag(container.Image)
		}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/kiali/healthz", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	mux.HandleFunc("/kiali/api/status", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, map[string]any{"status": map[string]string{"Kiali state": "running", "Kiali version": version}})
	})
	mux.HandleFunc("/kiali/", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "<title>Kiali</title>") })
	mux.Handle("/", http.RedirectHandler("/kiali/", http.StatusFound))
	return mux
}

// proxyPort is an Envoy with its agent; nil for the ports that they do not listen on.
func (w *Workloads) proxyPort(pod *corev1.Pod, port int) http.Handler {
	mux := http.NewServeMux()
	switch port {
	case 15000:
		mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { proxyAdmin(w, pod, r.URL.Path) })
	case 15020, 15021:
		mux.HandleFunc("/healthz/ready", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	case 15090:
	case 80, 8080:
		return w.Gateways.HTTP(pod)
	default:
		return nil
	}
	if port == 15020 || port == 15090 {
		mux.HandleFunc("/stats/prometheus", func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintf(w, "istio_build{component=\"proxy\",tag=%q} 1\n", ImageTag(Proxy(pod).Image))
		})
	}
	return mux
}

// proxyAdmin answers the admin paths that `pilot-agent request` is used for.
func proxyAdmin(w http.ResponseWriter, pod *corev1.Pod, path string) {
	switch strings.Trim(path, "/") {
	case "server_info":
		writeJSON(w, map[string]any{"state": "LIVE", "version": "lab/" + ImageTag(Proxy(pod).Image) + "/Clean/RELEASE/BoringSSL"})
	case "ready", "healthz/ready":
		fmt.Fprintln(w, "LIVE")
	case "certs":
		identity := fmt.Sprintf("spiffe://cluster.local/ns/%s/sa/%s", pod.Namespace, pod.Spec.ServiceAccountName)
		expiry := pod.CreationTimestamp.AddDate(0, 0, 1).UTC().Format("2006-01-02T15:04:05Z")
		root := pod.CreationTimestamp.AddDate(10, 0, 0).UTC().Format("2006-01-02T15:04:05Z")
		writeJSON(w, map[string]any{"certificates": []any{map[string]any{
			"ca_cert":    []any{map[string]any{"path": "<inline>", "expiration_time": root}},
			"cert_chain": []any{map[string]any{"path": "<inline>", "subject_alt_names": []any{map[string]string{"uri": identity}}, "expiration_time": expiry}},
		}}})
	case "stats":
		fmt.Fprintln(w, "cluster_manager.cds.update_success: 1\nlistener_manager.lds.update_success: 1")
	default:
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprintln(w, "invalid path. admin commands are: /certs /ready /server_info /stats")
	}
}

func plain(pod *corev1.Pod) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "lab:", pod.Name) })
}

func writeJSON(w http.ResponseWriter, value any) {
	w.Header().Set("Content-Type", "application/json")
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	_ = encoder.Encode(value)
}

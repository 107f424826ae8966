// This file is /inject: it makes a proxy of the gateway's container with image `auto`, or adds a sidecar.
package double

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"meshrun/lab/workloads"
)

// values is the part of the injector's ConfigMap that the double reads.
type values struct {
	Global struct {
		Hub     string `json:"hub"`
		Tag     any    `json:"tag"`
		MeshID  string `json:"meshID"`
		Network string `json:"network"`
		Proxy   struct {
			Image string `json:"image"`
		} `json:"proxy"`
	} `json:"global"`
}

// patchOp is one operation of a JSON patch.
type patchOp struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value"`
}

func (i *instance) inject(w http.ResponseWriter, r *http.Request) {
	review(w, r, func(request *admissionv1.AdmissionRequest) *admissionv1.AdmissionResponse {
		pod := &corev1.Pod{}
		if err := json.Unmarshal(request.Object.Raw, pod); err != nil {
			return refuse("could not unmarshal raw object: %v", err)
		}
		pod.Namespace = request.Namespace
		if !wantsProxy(pod) {
			return &admissionv1.AdmissionResponse{Allowed: true}
		}
		i.addProxy(pod)
		patch, err := json.Marshal([]patchOp{
			{"replace", "/spec", pod.Spec},
			{"add", "/metadata/labels", pod.Labels},
			{"add", "/metadata/annotations", pod.Annotations},
		})
		if err != nil {
			return refuse("%v", err)
		}
		i.logf("info\tSidecar injection request for %s/%s", request.Namespace, podName(pod))
		kind := admissionv1.PatchTypeJSONPatch
		return &admissionv1.AdmissionResponse{Allowed: true, Patch: patch, PatchType: &kind}
	})
}

func wantsProxy(pod *corev1.Pod) bool {
	if pod.Spec.HostNetwork {
		return false
	}
	choice := pod.Labels["sidecar.istio.io/inject"]
	if choice == "" {
		choice = pod.Annotations["sidecar.istio.io/inject"]
	}
	return choice != "false"
}

// addProxy changes the pod as the injection templates do, as far as anybody outside the pod can see.
func (i *instance) addProxy(pod *corev1.Pod) {
	settings := i.values()
	image := fmt.Sprintf("%s/%s:%v", settings.Global.Hub, settings.Global.Proxy.Image, settings.Global.Tag)
	status := map[string]any{"initContainers": nil, "containers": []string{"istio-proxy"}, "volumes": nil,
		"imagePullSecrets": nil, "revision": i.key.revision}

	at := slices.IndexFunc(pod.Spec.Containers, func(c corev1.Container) bool { return c.Name == "istio-proxy" })
	switch {
	case at >= 0:
		proxy := &pod.Spec.Containers[at]
		if proxy.Image == "auto" {
			proxy.Image = image
		}
		fillProxy(proxy, settings)
	case i.atLeast(1, 27):
		// Native sidecars: an init container that goes on running.
		always := corev1.ContainerRestartPolicyAlways
		proxy := corev1.Container{Name: "istio-proxy", Image: image, RestartPolicy: &always}
		fillProxy(&proxy, settings)
		pod.Spec.InitContainers = append(pod.Spec.InitContainers, initContainer(image), proxy)
		status["initContainers"], status["containers"] = []string{"istio-init", "istio-proxy"}, nil
	default:
		proxy := corev1.Container{Name: "istio-proxy", Image: image}
		fillProxy(&proxy, settings)
		pod.Spec.InitContainers = append(pod.Spec.InitContainers, initContainer(image))
		pod.Spec.Containers = append(pod.Spec.Containers, proxy)
		status["initContainers"] = []string{"istio-init"}
	}

	text, _ := json.Marshal(status)
	pod.Annotations = with(pod.Annotations, "sidecar.istio.io/status", string(text))
	pod.Annotations = with(pod.Annotations, "istio.io/rev", i.key.revision)
	pod.Annotations = with(pod.Annotations, "prometheus.io/path", "/stats/prometheus")
	pod.Annotations = with(pod.Annotations, "prometheus.io/port", "15020")
	pod.Annotations = with(pod.Annotations, "prometheus.io/scrape", "true")
	pod.Labels = with(pod.Labels, "service.istio.io/canonical-revision", "latest")
	pod.Labels = with(pod.Labels, "security.istio.io/tlsMode", "istio")
	if app := pod.Labels["app"]; app != "" {
		pod.Labels = with(pod.Labels, "service.istio.io/canonical-name", app)
	}
	if settings.Global.Network != "" {
		pod.Labels = with(pod.Labels, "topology.istio.io/network", settings.Global.Network)
	}
}

func initContainer(image string) corev1.Container {
	return corev1.Container{Name: "istio-init", Image: image, Args: []string{"istio-iptables"}}
}

func fillProxy(proxy *corev1.Container, settings values) {
	proxy.Args = []string{"proxy", "router", "--domain", "$(POD_NAMESPACE).svc.cluster.local"}
	if !slices.ContainsFunc(proxy.Ports, func(p corev1.ContainerPort) bool { return p.ContainerPort == 15090 }) {
		proxy.Ports = append(proxy.Ports, corev1.ContainerPort{Name: "http-envoy-prom", ContainerPort: 15090, Protocol: corev1.ProtocolTCP})
	}
	proxy.Env = append(proxy.Env,
		corev1.EnvVar{Name: "ISTIO_META_MESH_ID", Value: settings.Global.MeshID},
		corev1.EnvVar{Name: "ISTIO_META_NETWORK", Value: settings.Global.Network})
	if proxy.ReadinessProbe == nil {
		proxy.ReadinessProbe = &corev1.Probe{
			ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{
				Path: "/healthz/ready", Port: intstr.FromInt32(15021), Scheme: corev1.URISchemeHTTP,
			}},
			PeriodSeconds: 2, FailureThreshold: 30, SuccessThreshold: 1, TimeoutSeconds: 3,
		}
	}
}

// values reads hub, tag and more as the chart wrote them; istiod's own image stands in where that is missing.
func (i *instance) values() values {
	var v values
	name := "istio-sidecar-injector"
	if i.key.revision != "default" {
		name += "-" + i.key.revision
	}
	if found, err := i.manager.configMaps.ConfigMaps(i.key.namespace).Get(name); err == nil {
		_ = json.Unmarshal([]byte(found.Data["values"]), &v)
	}
	i.mu.Lock()
	image := i.image
	i.mu.Unlock()
	if v.Global.Hub == "" {
		v.Global.Hub = hubOf(image)
	}
	if v.Global.Tag == nil {
		v.Global.Tag = workloads.ImageTag(image)
	}
	if v.Global.Proxy.Image == "" {
		v.Global.Proxy.Image = "proxyv2"
	}
	return v
}

func hubOf(image string) string {
	for n := len(image) - 1; n >= 0; n-- {
		if image[n] == '/' {
			return image[:n]
		}
	}
	return image
}

// review decodes an AdmissionReview, asks for the response and sends it.
func review(w http.ResponseWriter, r *http.Request, decide func(*admissionv1.AdmissionRequest) *admissionv1.AdmissionResponse) {
	in := &admissionv1.AdmissionReview{}
	if err := json.NewDecoder(r.Body).Decode(in); err != nil || in.Request == nil {
		http.Error(w, "not an AdmissionReview", http.StatusBadRequest)
		return
	}
	out := &admissionv1.AdmissionReview{TypeMeta: in.TypeMeta, Response: decide(in.Request)}
	out.Response.UID = in.Request.UID
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(out)
}

func refuse(format string, args ...any) *admissionv1.AdmissionResponse {
	return &admissionv1.AdmissionResponse{Result: &metav1.Status{Message: fmt.Sprintf(format, args...)}}
}

func with(all map[string]string, key, value string) map[string]string {
	if all == nil {
		all = map[string]string{}
	}
	if _, ok := all[key]; !ok {
		all[key] = value
	}
	return all
}

func podName(pod *corev1.Pod) string {
	if pod.Name != "" {
		return pod.Name
	}
	return pod.GenerateName + "***"
}

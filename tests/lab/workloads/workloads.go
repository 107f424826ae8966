// Package workloads plays the containers of all pods: what they log, which ports answer, which commands exist.
package workloads

import (
	"context"
	"net/http"
	"strings"

	corev1 "k8s.io/api/core/v1"
	corelisters "k8s.io/client-go/listers/core/v1"

	"meshrun/lab/kubelet"
)

// Istiod is the part of the istiod double that its pods show.
type Istiod interface {
	// Handler is what listens on a port of an istiod pod, nil when nothing does.
	Handler(pod *corev1.Pod, port int) http.Handler
	// Logs returns the lines of an istiod pod from an index on.
	Logs(pod *corev1.Pod, from int) []kubelet.Line
}

// Workloads implements kubelet.Backend.
type Workloads struct {
	Pods     corelisters.PodLister
	Istiod   Istiod
	Gateways *Gateways
}

// Pod finds a pod.
func (w *Workloads) Pod(namespace, name string) *corev1.Pod {
	pod, err := w.Pods.Pods(namespace).Get(name)
	if err != nil {
		return nil
	}
	return pod
}

// Handler is what listens on a pod's port: known programs only while the pod is Ready.
func (w *Workloads) Handler(pod *corev1.Pod, port int) http.Handler {
	if !Ready(pod) {
		return nil
	}
	switch {
	case isIstiod(pod):
		return w.Istiod.Handler(pod, port)
	case hasImage(pod, "/kiali:") && port == 20001:
		return kiali(pod)
	case Proxy(pod) != nil:
		if handler := w.proxyPort(pod, port); handler != nil {
			return handler
		}
	}
	for _, container := range pod.Spec.Containers {
		for _, open := range container.Ports {
			if int(open.ContainerPort) == port {
				return plain(pod)
			}
		}
	}
	return nil
}

// Logs returns a container's lines from an index on.
func (w *Workloads) Logs(pod *corev1.Pod, container string, from int) []kubelet.Line {
	if isIstiod(pod) && container == "discovery" {
		return w.Istiod.Logs(pod, from)
	}
	lines := staticLogs(pod, container)
	if from >= len(lines) {
		return nil
	}
	return lines[from:]
}

// Exec runs one of the commands that the lab knows.
func (w *Workloads) Exec(ctx context.Context, pod *corev1.Pod, container string, command []string, streams kubelet.Streams) int {
	shell := &shell{workloads: w, pod: pod, container: container, streams: streams}
	return shell.run(ctx, command)
}

// Ready reports whether the pod is Ready.
func Ready(pod *corev1.Pod) bool {
	if pod.DeletionTimestamp != nil {
		return false
	}
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodReady {
			return condition.Status == corev1.ConditionTrue
		}
	}
	return false
}

// Proxy returns the pod's istio-proxy container, among the init containers as well (native sidecars), or nil.
func Proxy(pod *corev1.Pod) *corev1.Container {
	for _, list := range [][]corev1.Container{pod.Spec.Containers, pod.Spec.InitContainers} {
		for i := range list {
			if list[i].Name == "istio-proxy" {
				return &list[i]
			}
		}
	}
	return nil
}

// ImageTag returns what follows the colon of an image reference, without the variant.
func ImageTag(image string) string {
	if i := strings.LastIndex(image, ":"); i > strings.LastIndex(image, "/") {
		tag, _, _ := strings.Cut(image[i+1:], "@")
		return strings.TrimSuffix(strings.TrimSuffix(tag, "-distroless"), "-debug")
	}
	return "unknown"
}

func isIstiod(pod *corev1.Pod) bool { return pod.Labels["app"] == "istiod" }

func hasImage(pod *corev1.Pod, part string) bool {
	for _, container := range pod.Spec.Containers {
		if strings.Contains(container.Image, part) {
			return true
		}
	}
	return false
}

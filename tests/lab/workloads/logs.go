// This file holds what containers other than istiod log: enough lines to recognise the program and its state.
package workloads

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"

	"meshrun/lab/kubelet"
)

func staticLogs(pod *corev1.Pod, container string) []kubelet.Line {
	start := pod.CreationTimestamp.Time
	if pod.Status.StartTime != nil {
		start = pod.Status.StartTime.Time
	}
	for _, status := range pod.Status.ContainerStatuses {
		if status.Name == container && status.State.Waiting != nil && status.RestartCount > 0 {
			return lines(start, "starting "+container, "fatal: lab: this container is told to crash")
		}
	}
	if container == "istio-proxy" {
		all := []string{
			"info\tFLAG: --concurrency=\"2\"",
			fmt.Sprintf("info\tVersion %s-lab-Clean", ImageTag(Proxy(pod).Image)),
			"info\txdsproxy\tconnected to upstream XDS server: istiod.istio-system.svc:15012",
		}
		if Ready(pod) {
			all = append(all, "info\tReadiness succeeded in 100ms", "info\tEnvoy proxy is ready")
		}
		return lines(start, all...)
	}
	return lines(start, "starting "+container, "ready")
}

func lines(start time.Time, texts ...string) []kubelet.Line {
	var result []kubelet.Line
	for i, text := range texts {
		at := start.Add(time.Duration(i*10) * time.Millisecond)
		result = append(result, kubelet.Line{Time: at, Text: at.UTC().Format("2006-01-02T15:04:05.000000Z") + "\t" + text})
	}
	return result
}

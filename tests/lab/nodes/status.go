// This file makes the statuses that KWOK writes: of a pod after each step, and of a node.
package nodes

import (
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// statuses holds what lasts longer than one status: the pods' addresses.
type statuses struct {
	kubeletPort int
	mu          sync.Mutex
	addresses   map[string]string
}

// podStatus implements the template function LabPodStatus; KWOK passes the pod as decoded JSON.
func (s *statuses) podStatus(raw any, step string) (string, error) {
	pod := &corev1.Pod{}
	if err := convert(raw, pod); err != nil {
		return "", err
	}
	now := metav1.Now()
	status := pod.Status.DeepCopy()
	status.HostIP, status.PodIP = "127.0.0.1", s.address(string(pod.UID))
	status.HostIPs, status.PodIPs = []corev1.HostIP{{IP: status.HostIP}}, []corev1.PodIP{{IP: status.PodIP}}
	if status.StartTime == nil {
		status.StartTime = &now
	}
	apply(pod, status, step, now)
	data, err := json.Marshal(status)
	return string(data), err
}

// apply changes a status as one step does.
func apply(pod *corev1.Pod, status *corev1.PodStatus, step string, now metav1.Time) {
	ready := false
	status.Phase = corev1.PodRunning
	state := func(old corev1.ContainerStatus) corev1.ContainerStatus { return old }
	switch step {
	case "create":
		status.Phase = corev1.PodPending
		state = waiting("ContainerCreating", "")
	case "ready":
		ready = true
		state = running(now, true)
	case "never-ready":
		state = running(now, false)
	case "pull-error":
		status.Phase = corev1.PodPending
		state = waiting("ErrImagePull", "rpc error: code = NotFound desc = failed to pull and unpack image: not found")
	case "pull-backoff":
		status.Phase = corev1.PodPending
		state = waiting("ImagePullBackOff", "Back-off pulling image")
	case "crash":
		state = crashed(now)
	case "complete":
		status.Phase = corev1.PodSucceeded
		state = completed(now)
	}
	status.ContainerStatuses = containerStatuses(pod.Spec.Containers, status.ContainerStatuses, state)
	started := step != "create"
	status.InitContainerStatuses = containerStatuses(pod.Spec.InitContainers, status.InitContainerStatuses,
		func(old corev1.ContainerStatus) corev1.ContainerStatus { return old })
	for i, container := range pod.Spec.InitContainers {
		entry := &status.InitContainerStatuses[i]
		switch sidecar := container.RestartPolicy != nil && *container.RestartPolicy == corev1.ContainerRestartPolicyAlways; {
		case !started:
			*entry = waiting("PodInitializing", "")(*entry)
		case sidecar:
			*entry = running(now, ready)(*entry)
		default:
			*entry = completed(now)(*entry)
			entry.Ready = true
		}
	}
	reason := ""
	if !ready {
		reason = "ContainersNotReady"
	}
	if step == "complete" {
		reason = "PodCompleted"
	}
	setCondition(status, corev1.PodInitialized, started, "", now)
	setCondition(status, corev1.ContainersReady, ready, reason, now)
	setCondition(status, corev1.PodReady, ready, reason, now)
}

type change func(corev1.ContainerStatus) corev1.ContainerStatus

func waiting(reason, message string) change {
	return func(old corev1.ContainerStatus) corev1.ContainerStatus {
		no := false
		old.Ready, old.Started = false, &no
		old.State = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}
		return old
	}
}

func running(now metav1.Time, ready bool) change {
	return func(old corev1.ContainerStatus) corev1.ContainerStatus {
		yes := true
		old.Ready, old.Started = ready, &yes
		if old.State.Running == nil {
			old.State = corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: now}}
		}
		old.ContainerID = "lab://" + old.Name
		return old
	}
}

func crashed(now metav1.Time) change {
	return func(old corev1.ContainerStatus) corev1.ContainerStatus {
		old.RestartCount++
		old = waiting("CrashLoopBackOff", fmt.Sprintf("back-off %s restarting failed container=%s", crashInterval, old.Name))(old)
		old.LastTerminationState = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
			ExitCode: 1, Reason: "Error", StartedAt: metav1.NewTime(now.Add(-time.Second)), FinishedAt: now,
			ContainerID: "lab://" + old.Name,
		}}
		return old
	}
}

func completed(now metav1.Time) change {
	return func(old corev1.ContainerStatus) corev1.ContainerStatus {
		old.Ready = false
		old.State = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
			Reason: "Completed", StartedAt: now, FinishedAt: now, ContainerID: "lab://" + old.Name,
		}}
		return old
	}
}

func containerStatuses(containers []corev1.Container, old []corev1.ContainerStatus, next change) []corev1.ContainerStatus {
	var result []corev1.ContainerStatus
	for _, container := range containers {
		entry := corev1.ContainerStatus{Name: container.Name, Image: container.Image}
		if i := slices.IndexFunc(old, func(c corev1.ContainerStatus) bool { return c.Name == container.Name }); i >= 0 {
			entry = old[i]
		}
		result = append(result, next(entry))
	}
	return result
}

func setCondition(status *corev1.PodStatus, kind corev1.PodConditionType, value bool, reason string, now metav1.Time) {
	want := corev1.PodCondition{Type: kind, Status: corev1.ConditionFalse, Reason: reason, LastTransitionTime: now}
	if value {
		want.Status = corev1.ConditionTrue
	}
	for i, old := range status.Conditions {
		if old.Type == kind {
			if old.Status == want.Status {
				want.LastTransitionTime = old.LastTransitionTime
			}
			want.ObservedGeneration = old.ObservedGeneration
			status.Conditions[i] = want
			return
		}
	}
	status.Conditions = append(status.Conditions, want)
}

// address gives every pod an address of its own for good; KWOK's own pool forgets which ones are taken.
func (s *statuses) address(uid string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.addresses == nil {
		s.addresses = map[string]string{}
	}
	if s.addresses[uid] == "" {
		n := len(s.addresses) + 1
		s.addresses[uid] = fmt.Sprintf("10.%d.%d.%d", 64+n/(254*256), n/254%256, n%254+1)
	}
	return s.addresses[uid]
}

// nodeStatus implements the template function LabNodeStatus.
func (s *statuses) nodeStatus(raw any) (string, error) {
	node := &corev1.Node{}
	if err := convert(raw, node); err != nil {
		return "", err
	}
	data, err := json.Marshal(newNodeStatus(node.Name, s.kubeletPort))
	return string(data), err
}

func newNodeStatus(name string, kubeletPort int) corev1.NodeStatus {
	now := metav1.Now()
	resources := corev1.ResourceList{
		corev1.ResourceCPU:    resource.MustParse("32"),
		corev1.ResourceMemory: resource.MustParse("128Gi"),
		corev1.ResourcePods:   resource.MustParse("250"),
	}
	condition := func(kind corev1.NodeConditionType, status corev1.ConditionStatus, reason string) corev1.NodeCondition {
		return corev1.NodeCondition{Type: kind, Status: status, Reason: reason, LastHeartbeatTime: now, LastTransitionTime: now}
	}
	return corev1.NodeStatus{
		Capacity:    resources,
		Allocatable: resources,
		Conditions: []corev1.NodeCondition{
			condition(corev1.NodeReady, corev1.ConditionTrue, "KubeletReady"),
			condition(corev1.NodeMemoryPressure, corev1.ConditionFalse, "KubeletHasSufficientMemory"),
			condition(corev1.NodeDiskPressure, corev1.ConditionFalse, "KubeletHasNoDiskPressure"),
			condition(corev1.NodePIDPressure, corev1.ConditionFalse, "KubeletHasSufficientPID"),
		},
		Addresses: []corev1.NodeAddress{
			{Type: corev1.NodeInternalIP, Address: "127.0.0.1"},
			{Type: corev1.NodeHostName, Address: name},
		},
		DaemonEndpoints: corev1.NodeDaemonEndpoints{KubeletEndpoint: corev1.DaemonEndpoint{Port: int32(kubeletPort)}},
		NodeInfo: corev1.NodeSystemInfo{
			Architecture: "amd64", OperatingSystem: "linux", OSImage: "meshrun lab", KernelVersion: "lab",
			ContainerRuntimeVersion: "kwok://0.8.0", KubeletVersion: "v1.36.1",
		},
	}
}

func convert(raw, into any) error {
	data, err := json.Marshal(raw)
	if err != nil {
		return err
	}
	return json.Unmarshal(data, into)
}

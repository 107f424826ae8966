// Tests of what goes through the kubelet: logs, exec with its exit code, port-forward.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/transport/spdy"
	utilexec "k8s.io/client-go/util/exec"

	"meshrun/lab/workloads"
)

// istiodPod installs istiod and returns its pod once the double answers for it.
func istiodPod(t *testing.T, ctx context.Context) *corev1.Pod {
	t.Helper()
	installIstiod(t, ctx)
	var pod *corev1.Pod
	eventually(t, ctx, "istiod", func() (bool, error) {
		pods, err := cluster.Client.CoreV1().Pods("istio-system").List(ctx, metav1.ListOptions{})
		if err != nil || len(pods.Items) == 0 {
			return false, err
		}
		pod = &pods.Items[0]
		logs, err := cluster.Client.CoreV1().Pods(pod.Namespace).GetLogs(pod.Name, &corev1.PodLogOptions{}).DoRaw(ctx)
		return workloads.Ready(pod) && strings.Contains(string(logs), "Version 1.19.3"), err
	})
	return pod
}

func clientConfig(t *testing.T) *rest.Config {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", cluster.Info.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	return config
}

func run(t *testing.T, ctx context.Context, pod *corev1.Pod, stdin string, command ...string) (string, error) {
	t.Helper()
	options := &corev1.PodExecOptions{Command: command, Stdin: true, Stdout: true, Stderr: true}
	request := cluster.Client.CoreV1().RESTClient().Post().Resource("pods").Namespace(pod.Namespace).Name(pod.Name).
		SubResource("exec").VersionedParams(options, scheme.ParameterCodec)
	executor, err := remotecommand.NewSPDYExecutor(clientConfig(t), "POST", request.URL())
	if err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	err = executor.StreamWithContext(ctx, remotecommand.StreamOptions{
		Stdin: strings.NewReader(stdin), Stdout: &stdout, Stderr: &stderr,
	})
	return stdout.String(), err
}

func TestExecKnowsIstiodsCommandsAndKeepsExitCodes(t *testing.T) {
	ctx := fresh(t)
	pod := istiodPod(t, ctx)
	output, err := run(t, ctx, pod, "", "pilot-discovery", "request", "GET", "/debug/syncz")
	var proxies []any
	if err != nil || json.Unmarshal([]byte(output), &proxies) != nil {
		t.Errorf("syncz: %v: %s", err, output)
	}
	if output, err := run(t, ctx, pod, "hello", "cat"); err != nil || output != "hello" {
		t.Errorf("cat: %v: %s", err, output)
	}
	for command, want := range map[string]int{"exit 3": 3, "reboot": 127} {
		_, err := run(t, ctx, pod, "", "sh", "-c", command)
		var exit utilexec.ExitError
		if !errors.As(err, &exit) || exit.ExitStatus() != want {
			t.Errorf("%s: %v", command, err)
		}
	}
}

func TestPortForwardReachesTheDouble(t *testing.T) {
	ctx := fresh(t)
	pod := istiodPod(t, ctx)
	transport, upgrader, err := spdy.RoundTripperFor(clientConfig(t))
	if err != nil {
		t.Fatal(err)
	}
	url := cluster.Client.CoreV1().RESTClient().Post().Resource("pods").Namespace(pod.Namespace).Name(pod.Name).
		SubResource("portforward").URL()
	stop, ready := make(chan struct{}), make(chan struct{})
	defer close(stop)
	dialer := spdy.NewDialer(upgrader, &http.Client{Transport: transport}, "POST", url)
	forwarder, err := portforward.NewOnAddresses(dialer, []string{"127.0.0.1"}, []string{"0:15014"}, stop, ready, io.Discard, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = forwarder.ForwardPorts() }()
	<-ready
	ports, err := forwarder.GetPorts()
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/version", ports[0].Local))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if body, _ := io.ReadAll(response.Body); string(body) != "1.19.3-lab-Clean" {
		t.Errorf("version is %q", body)
	}
}

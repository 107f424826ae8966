// Tests of the safety rule: nothing of the lab may send traffic off the machine or listen to it.
package main

import (
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"meshrun/lab/workloads"
)

func TestUnroutedWebhookHasNoEndpoints(t *testing.T) {
	ctx := fresh(t)
	createWebhook(t, ctx, admissionv1.WebhookClientConfig{
		Service: &admissionv1.ServiceReference{Namespace: "nowhere", Name: "nobody"},
	})
	eventually(t, ctx, "refusal", func() (bool, error) {
		_, err := injected(ctx)
		return err != nil && strings.Contains(err.Error(), `no endpoints available for service "nobody"`), err
	})
}

func TestWebhookByURLIsNotCalled(t *testing.T) {
	ctx := fresh(t)
	// A name that nobody can have: were the guard broken, there would still be nobody to connect to.
	createWebhook(t, ctx, admissionv1.WebhookClientConfig{URL: new("https://webhook.invalid/inject")})
	eventually(t, ctx, "refusal", func() (bool, error) {
		_, err := injected(ctx)
		return err != nil && strings.Contains(err.Error(), "127.0.0.1:1: connect: connection refused"), err
	})
}

func TestPodsAreNotProxied(t *testing.T) {
	ctx := fresh(t)
	web := deployment("web", map[string]string{"app": "web"}, "web:1", 1)
	if _, err := cluster.Client.AppsV1().Deployments("default").Create(ctx, web, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	var pod *corev1.Pod
	eventually(t, ctx, "pod", func() (bool, error) {
		pods, err := cluster.Client.CoreV1().Pods("default").List(ctx, metav1.ListOptions{LabelSelector: "app=web"})
		if err != nil || len(pods.Items) == 0 {
			return false, err
		}
		pod = &pods.Items[0]
		return workloads.Ready(pod), nil
	})
	body, err := cluster.Client.CoreV1().Pods("default").ProxyGet("http", pod.Name, "80", "/", nil).DoRaw(ctx)
	if err == nil || !strings.Contains(string(body), "127.0.0.1:1: connect: connection refused") {
		t.Errorf("proxy to %s: %v: %s", pod.Status.PodIP, err, body)
	}
}

// TestSocketsAreOnLoopback looks at every socket of both processes, after the other tests have used them.
func TestSocketsAreOnLoopback(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("reads /proc")
	}
	sockets := 0
	for _, pid := range []int{os.Getpid(), cluster.API.PID()} {
		own := socketInodes(t, pid)
		for _, table := range []string{"tcp", "tcp6", "udp", "udp6"} {
			data, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", pid, table))
			if err != nil {
				continue
			}
			for _, line := range strings.Split(string(data), "\n")[1:] {
				fields := strings.Fields(line)
				if len(fields) < 10 || !own[fields[9]] {
					continue
				}
				sockets++
				const listening = "0A"
				if local := address(t, fields[1]); !local.IsLoopback() {
					t.Errorf("process %d: %s socket on %s", pid, table, local)
				}
				if remote := address(t, fields[2]); fields[3] != listening && !remote.IsLoopback() {
					t.Errorf("process %d: %s connection to %s", pid, table, remote)
				}
			}
		}
	}
	if sockets < 10 {
		t.Errorf("only %d sockets were looked at", sockets)
	}
}

func socketInodes(t *testing.T, pid int) map[string]bool {
	t.Helper()
	links, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	if err != nil {
		t.Fatal(err)
	}
	inodes := map[string]bool{}
	for _, link := range links {
		if target, err := os.Readlink(link); err == nil && strings.HasPrefix(target, "socket:[") {
			inodes[strings.TrimSuffix(strings.TrimPrefix(target, "socket:["), "]")] = true
		}
	}
	return inodes
}

// address decodes an address of /proc/net/tcp: hexadecimal, each group of four bytes in the machine's (little-endian) order.
func address(t *testing.T, field string) net.IP {
	t.Helper()
	host, _, _ := strings.Cut(field, ":")
	raw, err := hex.DecodeString(host)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+3 < len(raw); i += 4 {
		raw[i], raw[i+1], raw[i+2], raw[i+3] = raw[i+3], raw[i+2], raw[i+1], raw[i]
	}
	return net.IP(raw)
}

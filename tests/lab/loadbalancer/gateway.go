// This file is what answers at a load balancer's address: the ingress gateway's port 80 and its health port.
package loadbalancer

import (
	"fmt"
	"hash/fnv"
	"net"
	"net/http"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	corelisters "k8s.io/client-go/listers/core/v1"

	"meshrun/lab/labdir"
	"meshrun/lab/workloads"
)

// serveGateway listens on a free port of 127.0.0.1 and, where low ports may be bound, on the real ports of an address
// of the lab's own, so that labs side by side do not meet.
func serveGateway(pods corelisters.PodLister, gateways *workloads.Gateways, name string) (labdir.Gateway, error) {
	server := &http.Server{Handler: behind(pods, gateways), ReadHeaderTimeout: 10 * time.Second}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return labdir.Gateway{}, err
	}
	go func() { _ = server.Serve(listener) }()
	gateway := labdir.Gateway{HTTP: listener.Addr().String(), Address: "127.0.0.1", Ports: []int{}}

	hash := fnv.New32a()
	_, _ = hash.Write([]byte(name))
	sum := hash.Sum32()
	address := fmt.Sprintf("127.%d.%d.%d", 100+sum%100, sum>>8&255, 2+sum>>16%250)
	for _, port := range []int{80, 15021} {
		low, err := net.Listen("tcp", fmt.Sprintf("%s:%d", address, port))
		if err != nil {
			continue
		}
		go func() { _ = server.Serve(low) }()
		gateway.Address = address
		gateway.Ports = append(gateway.Ports, port)
	}
	return gateway, nil
}

// behind drops connections while no gateway pod is Ready, as a load balancer without targets does, and while no Gateway
// asks for a listener, as Envoy does.
func behind(pods corelisters.PodLister, gateways *workloads.Gateways) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if pod := target(pods); pod != nil {
			if r.URL.Path == "/healthz/ready" {
				w.WriteHeader(http.StatusOK)
				return
			}
			if listener := gateways.HTTP(pod); listener != nil {
				listener.ServeHTTP(w, r)
				return
			}
		}
		if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
			_ = conn.Close()
		}
	})
}

// target is a gateway pod that is Ready, nil when there is none.
func target(pods corelisters.PodLister) *corev1.Pod {
	all, _ := pods.List(labels.Everything())
	for _, pod := range all {
		if pod.Labels["istio"] != "" && workloads.Proxy(pod) != nil && workloads.Ready(pod) {
			return pod
		}
	}
	return nil
}

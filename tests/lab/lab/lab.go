// Package lab puts the parts together: one running cluster with its doubles and its switches.
package lab

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"meshrun/lab/controlplane"
	"meshrun/lab/double"
	"meshrun/lab/faultproxy"
	"meshrun/lab/kubelet"
	"meshrun/lab/labdir"
	"meshrun/lab/loadbalancer"
	"meshrun/lab/nodes"
	"meshrun/lab/workloads"
)

// Options are what `up` takes.
type Options struct {
	Dir          labdir.Dir
	Nodes        int
	HPASync      time.Duration
	Double       double.Settings
	LoadBalancer loadbalancer.Settings
}

// Lab is a running lab.
type Lab struct {
	Info   labdir.Info
	Client kubernetes.Interface
	API    *controlplane.APIServer
	Routes controlplane.Routes
	Nodes  *nodes.Nodes
	Double *double.Manager
	LB     *loadbalancer.Loop
	Faults *faultproxy.Proxy

	options   Options
	config    *rest.Config
	etcd      *controlplane.Etcd
	informers informers.SharedInformerFactory
	mark      *controlplane.Mark
	// groups are the API groups served at the mark.
	groups map[string]bool
	// disturbed is set once the API server was away: its clients may still be waiting to try again.
	disturbed bool
	// busy lets one reset or action on the API server happen at a time.
	busy sync.Mutex
}

// Start starts everything and returns when the cluster is ready for use. failed reports a component that ended later on.
func Start(ctx context.Context, options Options, failed func(error)) (*Lab, error) {
	started := time.Now()
	for _, folder := range []string{"", "pki", "routes"} {
		if err := os.MkdirAll(options.Dir.Path(folder), 0o700); err != nil {
			return nil, err
		}
	}
	l := &Lab{options: options, Routes: controlplane.Routes{Folder: options.Dir.Routes()}}
	files, err := l.startAPI(ctx)
	if err != nil {
		return nil, err
	}
	if err := l.startParts(ctx, files, failed); err != nil {
		return nil, err
	}
	if err := l.waitReady(ctx); err != nil {
		return nil, err
	}
	l.Info.Started = started
	l.Info.ReadyAfter = time.Since(started).Round(time.Millisecond).String()
	return l, nil
}

// startAPI starts etcd and the API server, and makes the clients.
func (l *Lab) startAPI(ctx context.Context) (controlplane.Files, error) {
	dir := l.options.Dir
	files, err := controlplane.WriteFiles(dir)
	if err != nil {
		return files, err
	}
	if l.etcd, err = controlplane.StartEtcd(dir.Path("etcd")); err != nil {
		return files, err
	}
	if l.API, err = controlplane.NewAPIServer(dir, files, l.etcd.URL); err != nil {
		return files, err
	}
	if err := l.API.Start(); err != nil {
		return files, err
	}
	if err := files.WriteKubeconfig(dir.Kubeconfig(), l.API.URL); err != nil {
		return files, err
	}
	if l.config, err = clientcmd.BuildConfigFromFlags("", dir.Kubeconfig()); err != nil {
		return files, err
	}
	l.config.QPS, l.config.Burst = -1, 0
	l.config.UserAgent = "meshrun-lab"
	if l.Client, err = kubernetes.NewForConfig(l.config); err != nil {
		return files, err
	}
	l.informers = informers.NewSharedInformerFactory(l.Client, 0)
	l.Info = labdir.Info{
		Dir: string(dir), PID: os.Getpid(), Kubeconfig: dir.Kubeconfig(), ProxyKubeconfig: dir.ProxyKubeconfig(),
		APIServer: l.API.URL, Etcd: l.etcd.URL,
	}
	return files, nil
}

// startParts starts what needs the API server, while that one still starts.
func (l *Lab) startParts(ctx context.Context, files controlplane.Files, failed func(error)) error {
	managers, err := controlplane.NewManagers(l.options.Dir.Kubeconfig(), files, l.options.HPASync)
	if err != nil {
		return err
	}
	l.Double = double.New(l.config, l.informers, l.Routes, l.options.Double)
	objects, err := dynamic.NewForConfig(l.config)
	if err != nil {
		return err
	}
	gateways := &workloads.Gateways{Client: objects}
	backend := &workloads.Workloads{Pods: l.informers.Core().V1().Pods().Lister(), Istiod: l.Double, Gateways: gateways}
	kubeletServer, err := kubelet.Serve(files.CA, backend)
	if err != nil {
		return err
	}
	l.Info.Kubelet = fmt.Sprintf("https://127.0.0.1:%d", kubeletServer.Port)
	if l.Faults, err = faultproxy.Start(l.API.URL, files.CA.Cert, files.Serving); err != nil {
		return err
	}
	l.Info.FaultProxy = l.Faults.URL
	if err := files.WriteKubeconfig(l.options.Dir.ProxyKubeconfig(), l.Faults.URL); err != nil {
		return err
	}
	if l.LB, l.Info.Gateway, err = loadbalancer.New(l.Client, l.informers, gateways, string(l.options.Dir), l.options.LoadBalancer); err != nil {
		return err
	}
	if err := l.API.WaitReady(ctx); err != nil {
		return err
	}
	go func() { failed(fmt.Errorf("the controller manager ended: %v", managers.RunControllers(ctx))) }()
	go func() { failed(fmt.Errorf("the scheduler ended: %v", managers.RunScheduler(ctx))) }()
	if l.Nodes, err = nodes.Start(ctx, l.Client, l.options.Nodes, kubeletServer.Port); err != nil {
		return err
	}
	l.informers.Start(ctx.Done())
	l.informers.WaitForCacheSync(ctx.Done())
	go l.Double.Run(ctx)
	go l.LB.Run(ctx)
	return nil
}

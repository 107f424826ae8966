// Package controlplane runs etcd, the API server (as a child process), the controller manager and the scheduler.
// This file is etcd: embedded, on loopback, tuned for data that nobody needs to survive a crash.
package controlplane

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
)

// Etcd is the running store.
type Etcd struct {
	// URL is where the API server finds it.
	URL string
	// Client talks to it inside the process.
	Client *clientv3.Client
}

// StartEtcd starts a single-member etcd with its data in dir.
func StartEtcd(dir string) (*Etcd, error) {
	client, err := freeURL()
	if err != nil {
		return nil, err
	}
	peer, err := freeURL()
	if err != nil {
		return nil, err
	}
	cfg := embed.NewConfig()
	cfg.Name = "lab"
	cfg.Dir = dir
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = []url.URL{client}, []url.URL{client}
	cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = []url.URL{peer}, []url.URL{peer}
	cfg.InitialCluster = cfg.InitialClusterFromName(cfg.Name)
	cfg.UnsafeNoFsync = true
	cfg.TickMs, cfg.ElectionMs = 50, 250
	cfg.LogLevel = "warn"
	// The default of 300 ms logs nearly every request on a busy two-core machine.
	cfg.WarningUnaryRequestDuration = time.Second

	server, err := embed.StartEtcd(cfg)
	if err != nil {
		return nil, fmt.Errorf("start etcd: %w", err)
	}
	select {
	case <-server.Server.ReadyNotify():
	case err := <-server.Err():
		return nil, fmt.Errorf("start etcd: %w", err)
	case <-time.After(30 * time.Second):
		server.Close()
		return nil, errors.New("start etcd: not ready after 30s")
	}
	return &Etcd{URL: client.String(), Client: v3client.New(server.Server)}, nil
}

func freeURL() (url.URL, error) {
	port, err := FreePort()
	return url.URL{Scheme: "http", Host: fmt.Sprintf("127.0.0.1:%d", port)}, err
}

// FreePort returns a loopback port that was free a moment ago.
func FreePort() (int, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port, nil
}

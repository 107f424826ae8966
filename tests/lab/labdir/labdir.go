// Package labdir names the files of a lab's directory and reads and writes lab.json,
// the description through which tests find a running lab.
package labdir

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// Dir is the directory that holds everything of one lab.
type Dir string

// Kubeconfig is the admin's kubeconfig, straight to the API server.
func (d Dir) Kubeconfig() string { return d.Path("kubeconfig") }

// ProxyKubeconfig is the admin's kubeconfig through the fault proxy.
func (d Dir) ProxyKubeconfig() string { return d.Path("kubeconfig.proxy") }

// InfoFile is lab.json.
func (d Dir) InfoFile() string { return d.Path("lab.json") }

// Log is where a detached lab writes; the API server has a file of its own beside it.
func (d Dir) Log() string { return d.Path("lab.log") }

// APIServerLog is where the API server process writes.
func (d Dir) APIServerLog() string { return d.Path("apiserver.log") }

// Routes is the folder whose files route a Service to a local address.
func (d Dir) Routes() string { return d.Path("routes") }

// Path joins names to the directory.
func (d Dir) Path(names ...string) string {
	return filepath.Join(append([]string{string(d)}, names...)...)
}

// Gateway tells where the double of the ingress gateway answers.
type Gateway struct {
	// HTTP is the plain listener, always present, e.g. "127.0.0.1:40123".
	HTTP string `json:"http"`
	// Address is what Services of type LoadBalancer get as their ingress.
	Address string `json:"address"`
	// Ports are those on which Address itself answers; empty where low ports may not be bound.
	Ports []int `json:"ports"`
}

// Info is lab.json.
type Info struct {
	Dir             string    `json:"dir"`
	PID             int       `json:"pid"`
	APIServerPID    int       `json:"apiserverPid"`
	Kubeconfig      string    `json:"kubeconfig"`
	ProxyKubeconfig string    `json:"kubeconfigProxy"`
	APIServer       string    `json:"apiserver"`
	FaultProxy      string    `json:"faultProxy"`
	Control         string    `json:"control"`
	Etcd            string    `json:"etcd"`
	Kubelet         string    `json:"kubelet"`
	Gateway         Gateway   `json:"gateway"`
	Started         time.Time `json:"started"`
	// ReadyAfter is how long the start took, e.g. "3.1s".
	ReadyAfter string `json:"readyAfter"`
}

// Read loads lab.json of a directory.
func Read(d Dir) (Info, error) {
	var info Info
	data, err := os.ReadFile(d.InfoFile())
	if err != nil {
		return info, fmt.Errorf("read lab description: %w", err)
	}
	if err := json.Unmarshal(data, &info); err != nil {
		return info, fmt.Errorf("parse %s: %w", d.InfoFile(), err)
	}
	return info, nil
}

// Write stores lab.json in one step, so that a reader never sees half of it.
func Write(d Dir, info Info) error {
	data, err := json.MarshalIndent(info, "", "  ")
	if err != nil {
		return err
	}
	return WriteFile(d.InfoFile(), append(data, '\n'))
}

// WriteFile replaces a file in one step; only its owner may read it, for some hold keys.
func WriteFile(path string, data []byte) error {
	next := path + ".new"
	if err := os.WriteFile(next, data, 0o600); err != nil {
		return err
	}
	return os.Rename(next, path)
}

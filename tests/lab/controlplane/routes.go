// This file routes Services to local servers: what kube-proxy would do, without any packet leaving the process's host.
package controlplane

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"

	"meshrun/lab/labdir"
)

// Routes is a folder of files `<namespace>.<service>.<port>`, each holding a loopback address `127.0.0.1:PORT`.
// Files, because the API server that reads them is another process and may be killed and started at any time.
type Routes struct{ Folder string }

// Set routes a Service's port to a loopback address.
func (r Routes) Set(namespace, service string, port int, address string) error {
	if err := onlyLoopback(address); err != nil {
		return err
	}
	if err := os.MkdirAll(r.Folder, 0o700); err != nil {
		return err
	}
	return labdir.WriteFile(r.file(namespace, service, port), []byte(address))
}

// Remove takes a route away; the Service then has no endpoints.
func (r Routes) Remove(namespace, service string, port int) error {
	err := os.Remove(r.file(namespace, service, port))
	if os.IsNotExist(err) {
		return nil
	}
	return err
}

// List returns all routes, `<namespace>.<service>.<port>` to address.
func (r Routes) List() map[string]string {
	found := map[string]string{}
	entries, _ := os.ReadDir(r.Folder)
	sort.Slice(entries, func(i, j int) bool { return entries[i].Name() < entries[j].Name() })
	for _, entry := range entries {
		if strings.HasSuffix(entry.Name(), ".new") {
			continue
		}
		if data, err := os.ReadFile(filepath.Join(r.Folder, entry.Name())); err == nil {
			found[entry.Name()] = string(data)
		}
	}
	return found
}

// ResolveEndpoint implements the API server's service resolver, with its own words for a Service without endpoints.
func (r Routes) ResolveEndpoint(namespace, service string, port int32) (*url.URL, error) {
	data, err := os.ReadFile(r.file(namespace, service, int(port)))
	if err != nil {
		return nil, fmt.Errorf("no endpoints available for service %q", service)
	}
	address := strings.TrimSpace(string(data))
	if err := onlyLoopback(address); err != nil {
		return nil, err
	}
	return &url.URL{Scheme: "https", Host: address}, nil
}

func (r Routes) file(namespace, service string, port int) string {
	return filepath.Join(r.Folder, namespace+"."+service+"."+strconv.Itoa(port))
}

func onlyLoopback(address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
		return fmt.Errorf("lab: %s is not a loopback address, and nothing may leave this machine", address)
	}
	return nil
}

// DialLoopback is a dialer that refuses everything off this machine: the API server's proxy subresources
// (pods/proxy, services/proxy) would otherwise connect to pod addresses.
func DialLoopback(ctx context.Context, network, address string) (net.Conn, error) {
	if err := onlyLoopback(address); err != nil {
		return nil, err
	}
	var dialer net.Dialer
	return dialer.DialContext(ctx, network, address)
}

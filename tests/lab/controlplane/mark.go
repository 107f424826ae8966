// This file remembers what etcd holds and brings it back: a reset of the whole cluster under the running API server.
package controlplane

import (
	"bytes"
	"context"
	"fmt"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Mark is the content of etcd at one moment.
type Mark struct {
	values map[string][]byte
}

// kept are the keys that go on as they are: nodes and their leases keep being renewed,
// and the allocators of service addresses and ports must not hand out twice what a cache still knows.
var kept = []string{
	"/registry/leases/kube-node-lease/", "/registry/leases/kube-system/", "/registry/masterleases/", "/registry/minions/", "/registry/ranges/",
	"/registry/ipaddresses/", "/registry/servicecidrs/", "/registry/health", "compact_rev_key",
}

// TakeMark reads everything.
func TakeMark(ctx context.Context, client *clientv3.Client) (*Mark, error) {
	values, err := read(ctx, client)
	if err != nil {
		return nil, err
	}
	return &Mark{values: values}, nil
}

// Same reports whether two marks have the same keys, whatever their values.
func (m *Mark) Same(other *Mark) bool {
	if len(m.values) != len(other.values) {
		return false
	}
	for key := range m.values {
		if _, ok := other.values[key]; !ok && !strings.HasPrefix(key, "/registry/events/") {
			return false
		}
	}
	return true
}

// Restore deletes what came since the mark and writes back what changed or went. It returns how many keys it touched.
func (m *Mark) Restore(ctx context.Context, client *clientv3.Client) (int, error) {
	current, err := read(ctx, client)
	if err != nil {
		return 0, err
	}
	var ops []clientv3.Op
	for key := range current {
		if _, ok := m.values[key]; !ok {
			ops = append(ops, clientv3.OpDelete(key))
		}
	}
	for key, value := range m.values {
		if now, ok := current[key]; (!ok || !bytes.Equal(now, value)) && !strings.HasPrefix(key, "/registry/events/") {
			ops = append(ops, clientv3.OpPut(key, string(value)))
		}
	}
	// One transaction takes at most 128 operations.
	for start := 0; start < len(ops); start += 100 {
		batch := ops[start:min(start+100, len(ops))]
		if _, err := client.Txn(ctx).Then(batch...).Commit(); err != nil {
			return 0, fmt.Errorf("bring etcd back to its mark: %w", err)
		}
	}
	return len(ops), nil
}

func read(ctx context.Context, client *clientv3.Client) (map[string][]byte, error) {
	response, err := client.Get(ctx, "/registry/", clientv3.WithPrefix())
	if err != nil {
		return nil, fmt.Errorf("read etcd: %w", err)
	}
	values := map[string][]byte{}
next:
	for _, kv := range response.Kvs {
		for _, prefix := range kept {
			if strings.HasPrefix(string(kv.Key), prefix) {
				continue next
			}
		}
		values[string(kv.Key)] = kv.Value
	}
	return values, nil
}

// This file writes what a real istiod leaves in the cluster: its CA, the root certificate in every namespace and
// the objects of its leader elections.
package double

import (
	"context"
	"fmt"
	"slices"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"meshrun/lab/pki"
)

const (
	caSecret = "istio-ca-secret"
	rootCert = "istio-ca-root-cert"
)

// loadCA returns the authority of istio-ca-secret, or a new one when the Secret is gone: then all proxies must restart.
func (i *instance) loadCA() (*pki.CA, error) {
	secret, err := i.client.CoreV1().Secrets(i.key.namespace).Get(context.Background(), caSecret, metav1.GetOptions{})
	if err == nil {
		return pki.LoadCA(pki.Pair{Cert: secret.Data["ca-cert.pem"], Key: secret.Data["ca-key.pem"]})
	}
	if !apierrors.IsNotFound(err) {
		return nil, err
	}
	ca, err := pki.NewCA("cluster.local")
	if err != nil {
		return nil, err
	}
	if !i.manager.Settings().Residue {
		return ca, nil
	}
	_, err = i.client.CoreV1().Secrets(i.key.namespace).Create(context.Background(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: caSecret},
		Type:       "istio.io/ca-root",
		Data: map[string][]byte{
			"ca-cert.pem": ca.Cert, "ca-key.pem": ca.Key, "cert-chain.pem": {}, "key.pem": {}, "root-cert.pem": {},
		},
	}, metav1.CreateOptions{})
	return ca, err
}

func (i *instance) writeResidue(ctx context.Context) {
	skip := []string{"kube-public", "kube-node-lease", "local-path-storage"}
	// kube-system gets the root certificate only in newer versions.
	if !i.atLeast(1, 24) {
		skip = append(skip, "kube-system")
	}
	namespaces, _ := i.manager.namespaces.List(labels.Everything())
	for _, namespace := range namespaces {
		if namespace.DeletionTimestamp != nil || slices.Contains(skip, namespace.Name) {
			continue
		}
		i.ensureConfigMap(ctx, namespace.Name, rootCert,
			map[string]string{"istio.io/config": "true"}, map[string]string{"root-cert.pem": string(i.ca.Cert)})
	}
	for _, name := range []string{"istio-leader", "istio-gateway-status-leader", "istio-namespace-controller-election"} {
		i.ensureConfigMap(ctx, i.key.namespace, name, nil, nil)
	}
	if i.patched["lease"] {
		return
	}
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: "istio-gateway-deployment-" + i.key.revision}}
	_, err := i.client.CoordinationV1().Leases(i.key.namespace).Create(ctx, lease, metav1.CreateOptions{})
	i.patched["lease"] = err == nil || apierrors.IsAlreadyExists(err)
}

func (i *instance) ensureConfigMap(ctx context.Context, namespace, name string, marks, data map[string]string) {
	current, err := i.manager.configMaps.ConfigMaps(namespace).Get(name)
	maps := i.client.CoreV1().ConfigMaps(namespace)
	switch {
	case apierrors.IsNotFound(err):
		_, _ = maps.Create(ctx, &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Name: name, Labels: marks}, Data: data,
		}, metav1.CreateOptions{})
	case err == nil && data != nil && current.Data["root-cert.pem"] != data["root-cert.pem"]:
		changed := current.DeepCopy()
		changed.Data = data
		_, _ = maps.Update(ctx, changed, metav1.UpdateOptions{})
	}
}

// atLeast compares with the version of istiod's image; an unknown version counts as the newest.
func (i *instance) atLeast(major, minor int) bool {
	var haveMajor, haveMinor int
	if n, _ := fmt.Sscanf(i.version(), "%d.%d", &haveMajor, &haveMinor); n != 2 {
		return true
	}
	return haveMajor > major || haveMajor == major && haveMinor >= minor
}

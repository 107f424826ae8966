// This file writes what the components need on disk: certificates, the service account key, tokens, kubeconfigs.
package controlplane

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"meshrun/lab/labdir"
	"meshrun/lab/pki"
)

// Files are the paths and secrets of one lab's control plane.
type Files struct {
	CA                *pki.CA
	CAFile            string
	Serving           pki.Pair
	ServingCert       string
	ServingKey        string
	ServiceAccountKey string
	Tokens            string
	// Token authenticates as a cluster admin.
	Token string
}

// WriteFiles makes all of them anew.
func WriteFiles(dir labdir.Dir) (Files, error) {
	files := Files{
		CAFile:            dir.Path("pki", "ca.crt"),
		ServingCert:       dir.Path("pki", "apiserver.crt"),
		ServingKey:        dir.Path("pki", "apiserver.key"),
		ServiceAccountKey: dir.Path("pki", "sa.key"),
		Tokens:            dir.Path("pki", "tokens.csv"),
		Token:             randomToken(),
	}
	var err error
	if files.CA, err = pki.NewCA("meshrun-lab"); err != nil {
		return files, err
	}
	files.Serving, err = files.CA.Issue("kube-apiserver", "127.0.0.1", "localhost",
		"kubernetes", "kubernetes.default", "kubernetes.default.svc", "10.96.0.1")
	if err != nil {
		return files, err
	}
	// Service account tokens want RSA or ECDSA in PKCS form; RSA is what installers write.
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return files, err
	}
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	for path, data := range map[string][]byte{
		files.CAFile:            files.CA.Cert,
		files.ServingCert:       files.Serving.Cert,
		files.ServingKey:        files.Serving.Key,
		files.ServiceAccountKey: keyPEM,
		files.Tokens:            []byte(files.Token + ",lab-admin,lab-admin,system:masters\n"),
	} {
		if err := labdir.WriteFile(path, data); err != nil {
			return files, err
		}
	}
	return files, nil
}

// WriteKubeconfig writes an admin's kubeconfig for a server that uses the lab's CA.
func (f Files) WriteKubeconfig(path, server string) error {
	const name = "meshrun-lab"
	config := clientcmdapi.NewConfig()
	config.Clusters[name] = &clientcmdapi.Cluster{Server: server, CertificateAuthorityData: f.CA.Cert}
	config.AuthInfos[name] = &clientcmdapi.AuthInfo{Token: f.Token}
	config.Contexts[name] = &clientcmdapi.Context{Cluster: name, AuthInfo: name}
	config.CurrentContext = name
	data, err := clientcmd.Write(*config)
	if err != nil {
		return fmt.Errorf("write kubeconfig: %w", err)
	}
	return labdir.WriteFile(path, data)
}

func randomToken() string {
	bytes := make([]byte, 16)
	_, _ = rand.Read(bytes)
	return hex.EncodeToString(bytes)
}

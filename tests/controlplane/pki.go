package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"
)

// The client identities. Both may do everything; two, so that an audit log tells the
// requests of a test from those of the controllers.
const (
	admin       = "admin"
	controllers = "controllers"
)

// pki is a directory of keys and certificates. It is made once per server directory, so
// that a kubeconfig stays valid when the server is started again.
type pki struct{ dir string }

func (p pki) path(name string) string { return filepath.Join(p.dir, name) }

// ensurePKI makes what is missing: a CA, the server's certificate, those of the clients,
// and the key that signs service account tokens.
func ensurePKI(dir string) (pki, error) {
	p := pki{dir}
	complete := p.path("complete") // written last: a half-made directory is made anew
	if _, err := os.Stat(complete); err == nil {
		return p, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return p, err
	}
	ca, caKey, err := p.issue("ca", &x509.Certificate{Subject: pkix.Name{CommonName: "controlplane-ca"}, IsCA: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature}, nil, nil)
	if err != nil {
		return p, err
	}
	_, _, err = p.issue("server", &x509.Certificate{Subject: pkix.Name{CommonName: "kube-apiserver"},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:    []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv4(10, 0, 0, 1)}}, ca, caKey)
	for name, user := range map[string]string{admin: "admin", controllers: "system:kube-controller-manager"} {
		if err == nil {
			_, _, err = p.issue(name, &x509.Certificate{Subject: pkix.Name{CommonName: user, Organization: []string{"system:masters"}},
				KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, ca, caKey)
		}
	}
	if err == nil {
		_, err = p.newKey("sa", true)
	}
	if err == nil {
		err = os.WriteFile(complete, nil, 0o600)
	}
	return p, err
}

// newKey writes NAME.key. The service account key has the older SEC1 form, because the
// API server takes no PKCS#8 as --service-account-key-file.
func (p pki) newKey(name string, sec1 bool) (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	kind, der := "PRIVATE KEY", []byte(nil)
	if sec1 {
		kind = "EC PRIVATE KEY"
		der, err = x509.MarshalECPrivateKey(key)
	} else {
		der, err = x509.MarshalPKCS8PrivateKey(key)
	}
	if err != nil {
		return nil, err
	}
	return key, writePEM(p.path(name+".key"), kind, der)
}

// issue writes NAME.crt and NAME.key, self-signed if there is no parent.
func (p pki) issue(name string, t, parent *x509.Certificate, parentKey *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	key, err := p.newKey(name, false)
	if err != nil {
		return nil, nil, err
	}
	if t.SerialNumber, err = rand.Int(rand.Reader, big.NewInt(1<<62)); err != nil {
		return nil, nil, err
	}
	t.NotBefore, t.NotAfter = time.Now().Add(-time.Hour), time.Now().AddDate(10, 0, 0)
	t.BasicConstraintsValid = true
	if parent == nil {
		parent, parentKey = t, key
	}
	der, err := x509.CreateCertificate(rand.Reader, t, parent, &key.PublicKey, parentKey)
	if err != nil {
		return nil, nil, err
	}
	if err := writePEM(p.path(name+".crt"), "CERTIFICATE", der); err != nil {
		return nil, nil, err
	}
	cert, err := x509.ParseCertificate(der)
	return cert, key, err
}

func writePEM(path, kind string, der []byte) error {
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}

// kubeconfig returns a self-contained kubeconfig for a client.
func (p pki) kubeconfig(server, client string) ([]byte, error) {
	ca, err1 := os.ReadFile(p.path("ca.crt"))
	cert, err2 := os.ReadFile(p.path(client + ".crt"))
	key, err3 := os.ReadFile(p.path(client + ".key"))
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, err
	}
	type m = map[string]any // []byte becomes base64, as a kubeconfig wants it
	return yaml.Marshal(m{
		"apiVersion": "v1", "kind": "Config", "current-context": "controlplane",
		"clusters": []m{{"name": "controlplane", "cluster": m{"server": server, "certificate-authority-data": ca}}},
		"users":    []m{{"name": client, "user": m{"client-certificate-data": cert, "client-key-data": key}}},
		"contexts": []m{{"name": "controlplane", "context": m{"cluster": "controlplane", "user": client}}},
	})
}

// httpClient returns a client for the server of a kubeconfig.
func httpClient(kubeconfig []byte) (*http.Client, error) {
	cfg, err := clientcmd.RESTConfigFromKubeConfig(kubeconfig)
	if err != nil {
		return nil, err
	}
	cfg.Timeout = 5 * time.Second
	return rest.HTTPClientFor(cfg)
}

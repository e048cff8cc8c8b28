package test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// authority is a certificate authority and a certificate of it, in PEM files.
type authority struct{ root, cert, key string }

// newAuthority makes an authority and a certificate for addresses.
func newAuthority(t *testing.T, addrs ...string) authority {
	t.Helper()
	dir := t.TempDir()
	a := authority{filepath.Join(dir, "root.pem"), filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")}
	write := func(file, kind string, der []byte) {
		if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	newKey := func() *ecdsa.PrivateKey {
		return must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	}
	rootKey, key := newKey(), newKey()
	root := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Lectern test authority"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(90 * 24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "lectern test"},
		NotBefore: root.NotBefore, NotAfter: root.NotAfter,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, s := range addrs {
		leaf.IPAddresses = append(leaf.IPAddresses, net.ParseIP(s))
	}
	rootDER := must[[]byte](t)(x509.CreateCertificate(rand.Reader, root, root, &rootKey.PublicKey, rootKey))
	write(a.root, "CERTIFICATE", rootDER)
	write(a.cert, "CERTIFICATE", must[[]byte](t)(x509.CreateCertificate(rand.Reader, leaf, root, &key.PublicKey, rootKey)))
	write(a.key, "PRIVATE KEY", must[[]byte](t)(x509.MarshalPKCS8PrivateKey(key)))
	return a
}

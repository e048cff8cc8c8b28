package certs_test

import (
	"crypto/tls"
	"crypto/x509"
	"net/netip"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lectern/lectern/internal/certs"
)

func TestSelfSigned_IsGoodForAllNamesAndAddresses(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tls")
	s, _ := open(t, certs.Config{
		SelfSigned: true, Dir: dir, Names: []string{"class.example.org", "203.0.113.9"},
		Hosts: addrs("192.168.1.5", "2001:db8::5"),
	})
	// A client that trusts the file as an operator may hand it out.
	pem, err := os.ReadFile(filepath.Join(dir, "self-signed.crt"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	addr := serve(t, s.TLS())
	for _, name := range []string{"localhost", "127.0.0.1", "::1", "192.168.1.5", "2001:db8::5", "class.example.org", "203.0.113.9"} {
		trust := func(c *tls.Config) { c.InsecureSkipVerify, c.RootCAs, c.ServerName = false, roots, name }
		if _, err := shake(addr, trust); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	trust := func(c *tls.Config) { c.InsecureSkipVerify, c.RootCAs, c.ServerName = false, roots, "192.168.1.6" }
	if _, err := shake(addr, trust); err == nil {
		t.Error("the certificate is good for a stranger's address")
	}
}

func TestSelfSigned_IsMadeOnceAndKept(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tls")
	cfg := certs.Config{SelfSigned: true, Dir: dir, Hosts: addrs("192.168.1.5")}
	a, _ := open(t, cfg)
	b, _ := open(t, cfg)
	if a.Fingerprint() == "" || a.Fingerprint() != b.Fingerprint() {
		t.Errorf("got %s, then %s", a.Fingerprint(), b.Fingerprint())
	}
	if life := time.Until(a.Expires()); life < 700*24*time.Hour || life > 825*24*time.Hour {
		t.Errorf("it lives for %s", life)
	}
	for name, want := range map[string]os.FileMode{"": 0o700, "self-signed.key": 0o600} {
		st, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if got := st.Mode().Perm(); got != want {
			t.Errorf("%s/%s: got mode %o, want %o", "tls", name, got, want)
		}
	}
}

func TestSelfSigned_IsRemadeWhenItNoLongerFits(t *testing.T) {
	start := time.Now()
	old := []string{"192.168.1.5", "10.0.0.5", "2001:db8::5"}
	for name, tt := range map[string]struct {
		addrs  []string
		names  []string
		later  time.Duration
		remade bool
	}{
		"nothing changed":        {old, nil, 0, false},
		"one address more":       {append([]string{"172.17.0.1"}, old...), nil, 0, false},
		"one address gone":       {old[1:], nil, 0, false},
		"no network":             {nil, nil, 0, false},
		"most addresses new":     {[]string{"192.168.7.5", "172.17.0.1", "2001:db8::5"}, nil, 0, true},
		"another network":        {[]string{"192.168.7.5"}, nil, 0, true},
		"a name of the operator": {old, []string{"class.example.org"}, 0, true},
		"half its life":          {old, nil, 400 * 24 * time.Hour, false},
		"near its end":           {old, nil, 800 * 24 * time.Hour, true},
		"after its end":          {old, nil, 900 * 24 * time.Hour, true},
	} {
		dir := t.TempDir()
		first, _ := open(t, certs.Config{SelfSigned: true, Dir: dir, Hosts: addrs(old...)})
		then, _ := open(t, certs.Config{
			SelfSigned: true, Dir: dir, Hosts: addrs(tt.addrs...), Names: tt.names,
			Now: func() time.Time { return start.Add(tt.later) },
		})
		if remade := first.Fingerprint() != then.Fingerprint(); remade != tt.remade {
			t.Errorf("%s: remade %t, want %t", name, remade, tt.remade)
		}
	}
}

func TestSelfSigned_IsRemadeWhileRunning(t *testing.T) {
	var moved atomic.Bool
	home, away := addrs("192.168.1.5"), addrs("192.168.7.5")
	s, _ := open(t, certs.Config{SelfSigned: true, Dir: t.TempDir(), Hosts: func() []netip.Addr {
		if moved.Load() {
			return away()
		}
		return home()
	}})
	before := s.Fingerprint()
	moved.Store(true)
	within(t, "another certificate", func() bool { return s.Fingerprint() != before })
}

func TestSelfSigned_BrokenFilesAreMadeAnew(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "self-signed.crt"), []byte("nonsense"))
	write(t, filepath.Join(dir, "self-signed.key"), []byte("nonsense"))
	s, _ := open(t, certs.Config{SelfSigned: true, Dir: dir})
	if _, err := shake(serve(t, s.TLS()), nil); err != nil {
		t.Error(err)
	}
}

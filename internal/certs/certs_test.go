package certs_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"log/slog"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/lectern/lectern/internal/certs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// record is what was logged. Safe for concurrent use.
type record struct {
	mu sync.Mutex // guards what follows
	b  bytes.Buffer
}

func (r *record) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.b.Write(p)
}

func (r *record) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.b.String()
}

// looks is the time between two looks at the certificate.
const looks = 5 * time.Millisecond

// open opens a source that looks every few milliseconds.
func open(t *testing.T, cfg certs.Config) (*certs.Source, *record) {
	t.Helper()
	logged := &record{}
	cfg.Log = slog.New(slog.NewTextHandler(logged, nil))
	cfg.Every = looks
	s, err := certs.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Log(logged)
		}
	})
	return s, logged
}

// serve takes TLS connections until the test ends.
func serve(t *testing.T, cfg *tls.Config) (addr string) {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", cfg)
	if err != nil {
		t.Fatal(err)
	}
	var conns sync.WaitGroup
	conns.Go(func() { // ended by the close of the listener
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			conns.Go(func() { // ended by its deadline
				defer nc.Close() // nothing is left to lose
				_ = nc.SetDeadline(time.Now().Add(5 * time.Second))
				_ = nc.(*tls.Conn).Handshake() // the client tells
			})
		}
	})
	t.Cleanup(func() { _ = l.Close(); conns.Wait() })
	return l.Addr().String()
}

// shake makes one handshake and returns what the server showed.
func shake(addr string, change func(*tls.Config)) (tls.ConnectionState, error) {
	cfg := &tls.Config{InsecureSkipVerify: true}
	if change != nil {
		change(cfg)
	}
	d := &net.Dialer{Timeout: 5 * time.Second}
	c, err := tls.DialWithDialer(d, "tcp", addr, cfg)
	if err != nil {
		return tls.ConnectionState{}, err
	}
	defer c.Close() // nothing is left to lose
	return c.ConnectionState(), nil
}

// commonName is that of the certificate that the server at addr shows.
func commonName(t *testing.T, addr string) string {
	t.Helper()
	st, err := shake(addr, nil)
	if err != nil {
		t.Fatal(err)
	}
	return st.PeerCertificates[0].Subject.CommonName
}

// within polls until ok or five seconds have passed.
func within(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(5 * time.Second)
	for !ok() {
		select {
		case <-deadline:
			t.Fatal("not within 5 s: " + what)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// pair makes a certificate and its key in PEM.
func pair(t *testing.T, name string, end time.Time) (cert, key []byte) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: end,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	kd, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: kd})
}

func write(t *testing.T, name string, data []byte) {
	t.Helper()
	// As a whole, so that no look finds half of it.
	if err := os.WriteFile(name+".part", data, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(name+".part", name); err != nil {
		t.Fatal(err)
	}
}

// files writes a pair to a new directory.
func files(t *testing.T, name string) certs.Config {
	t.Helper()
	dir := t.TempDir()
	cfg := certs.Config{CertFile: filepath.Join(dir, "cert.pem"), KeyFile: filepath.Join(dir, "key.pem")}
	cert, key := pair(t, name, time.Now().Add(90*24*time.Hour))
	write(t, cfg.CertFile, cert)
	write(t, cfg.KeyFile, key)
	return cfg
}

func TestFiles_AreReadAgainWhenTheyChange(t *testing.T) {
	cfg := files(t, "old.example")
	s, _ := open(t, cfg)
	addr := serve(t, s.TLS())
	if got := commonName(t, addr); got != "old.example" {
		t.Fatalf("got %s", got)
	}
	cert, key := pair(t, "new.example", time.Now().Add(90*24*time.Hour))
	write(t, cfg.CertFile, cert)
	write(t, cfg.KeyFile, key)
	within(t, "the new certificate", func() bool { return commonName(t, addr) == "new.example" })
}

func TestFiles_ASwitchedLinkIsAChange(t *testing.T) {
	dir := t.TempDir()
	for _, v := range []string{"v1", "v2"} {
		if err := os.Mkdir(filepath.Join(dir, v), 0o700); err != nil {
			t.Fatal(err)
		}
		cert, key := pair(t, v+".example", time.Now().Add(90*24*time.Hour))
		for name, data := range map[string][]byte{"cert.pem": cert, "key.pem": key} {
			// Neither size nor time tells them apart.
			path := filepath.Join(dir, v, name)
			write(t, path, append(data, bytes.Repeat([]byte("\n"), 2000-len(data))...))
			if err := os.Chtimes(path, time.Time{}, time.Unix(1_700_000_000, 0)); err != nil {
				t.Fatal(err)
			}
		}
	}
	link := filepath.Join(dir, "live")
	if err := os.Symlink("v1", link); err != nil {
		t.Fatal(err)
	}
	s, _ := open(t, certs.Config{CertFile: filepath.Join(link, "cert.pem"), KeyFile: filepath.Join(link, "key.pem")})
	addr := serve(t, s.TLS())
	if err := os.Symlink("v2", link+".new"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(link+".new", link); err != nil {
		t.Fatal(err)
	}
	within(t, "the certificate behind the new link", func() bool { return commonName(t, addr) == "v2.example" })
}

func TestFiles_BrokenNewOnesKeepTheOldCertificateAndAreLoggedOnce(t *testing.T) {
	cfg := files(t, "old.example")
	s, logged := open(t, cfg)
	addr := serve(t, s.TLS())
	write(t, cfg.CertFile, []byte("-----BEGIN CERTIFICATE-----\nnonsense\n"))
	const line = "new certificate cannot be used"
	within(t, "a word in the log", func() bool { return strings.Contains(logged.String(), line) })
	if got := commonName(t, addr); got != "old.example" {
		t.Errorf("got %s, want the old certificate", got)
	}
	<-time.After(20 * looks) // no second word on the same files
	// A certificate of another key is as broken.
	other, _ := pair(t, "other.example", time.Now().Add(90*24*time.Hour))
	write(t, cfg.CertFile, other)
	within(t, "a word on the second", func() bool { return strings.Count(logged.String(), line) == 2 })
	if err := os.Remove(cfg.KeyFile); err != nil {
		t.Fatal(err)
	}
	within(t, "a word on the missing file", func() bool { return strings.Contains(logged.String(), "cannot be read") })
	if got := commonName(t, addr); got != "old.example" {
		t.Errorf("got %s, want the old certificate", got)
	}
	cert, key := pair(t, "mended.example", time.Now().Add(90*24*time.Hour))
	write(t, cfg.CertFile, cert)
	write(t, cfg.KeyFile, key)
	within(t, "the mended certificate", func() bool { return commonName(t, addr) == "mended.example" })
	if n := strings.Count(logged.String(), line); n != 2 {
		t.Errorf("got %d words on broken files, want 2: %s", n, logged)
	}
}

func TestFiles_BrokenAtTheStartIsAnError(t *testing.T) {
	cfg := files(t, "a.example")
	write(t, cfg.KeyFile, []byte("none"))
	if _, err := certs.Open(cfg); err == nil {
		t.Error("got no error for a broken key")
	}
	cfg.KeyFile += ".none"
	if _, err := certs.Open(cfg); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v for a missing key", err)
	}
}

func TestFiles_ExpiringOneIsLogged(t *testing.T) {
	cfg := files(t, "a.example")
	cert, key := pair(t, "a.example", time.Now().Add(time.Hour))
	write(t, cfg.CertFile, cert)
	write(t, cfg.KeyFile, key)
	if _, logged := open(t, cfg); !strings.Contains(logged.String(), "expires soon") {
		t.Errorf("got log %q", logged)
	}
}

func TestOpen_WantsExactlyOneSource(t *testing.T) {
	both := files(t, "a.example")
	both.SelfSigned, both.Dir = true, t.TempDir()
	for name, cfg := range map[string]certs.Config{
		"none": {}, "both": both, "name without dot": {ACME: certs.ACME{Domains: []string{"localhost"}}},
		"address": {ACME: certs.ACME{Domains: []string{"192.0.2.1"}}},
	} {
		if _, err := certs.Open(cfg); !errors.Is(err, certs.ErrConfig) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestTLS_OffersHTTP2AndNothingBelowTLS12(t *testing.T) {
	s, _ := open(t, files(t, "a.example"))
	addr := serve(t, s.TLS())
	st, err := shake(addr, func(c *tls.Config) { c.NextProtos = []string{"http/1.1", "h2"} })
	if err != nil || st.NegotiatedProtocol != "h2" {
		t.Errorf("got %q, %v, want h2", st.NegotiatedProtocol, err)
	}
	if _, err := shake(addr, func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }); err == nil {
		t.Error("TLS 1.1 was accepted")
	}
	if _, err := shake(addr, func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }); err != nil {
		t.Errorf("TLS 1.2: %v", err)
	}
}

// A TURN client may name a protocol that a server without any must not refuse.
func TestStreamTLS_IgnoresTheApplicationProtocol(t *testing.T) {
	s, _ := open(t, files(t, "a.example"))
	addr := serve(t, s.StreamTLS())
	if st, err := shake(addr, func(c *tls.Config) { c.NextProtos = []string{"stun.turn"} }); err != nil || st.NegotiatedProtocol != "" {
		t.Errorf("got %q, %v", st.NegotiatedProtocol, err)
	}
}

func TestFingerprint_IsTheSHA256OfWhatIsServed(t *testing.T) {
	s, _ := open(t, files(t, "a.example"))
	st, err := shake(serve(t, s.TLS()), nil)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(st.PeerCertificates[0].Raw)
	if got := strings.ReplaceAll(s.Fingerprint(), ":", ""); got != strings.ToUpper(hex.EncodeToString(sum[:])) {
		t.Errorf("got %s, want %X", s.Fingerprint(), sum)
	}
}

func addrs(list ...string) func() []netip.Addr {
	return func() []netip.Addr {
		var out []netip.Addr
		for _, a := range list {
			out = append(out, netip.MustParseAddr(a))
		}
		return out
	}
}

package certs_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lectern/lectern/internal/certs"
)

// acmeServer is as much of a certificate authority (RFC 8555) as a client needs
// that behaves. It believes signatures but checks challenges for real.
type acmeServer struct {
	*httptest.Server
	t         *testing.T
	challenge string                           // type that it offers
	check     func(domain, token string) error // fetches what the challenge asks for
	key       *ecdsa.PrivateKey
	root      *x509.Certificate

	mu     sync.Mutex // guards what follows
	orders map[string]*acmeOrder
	made   int
}

type acmeOrder struct {
	domain string
	valid  bool
	chain  []byte
}

func newACMEServer(t *testing.T, challenge string) *acmeServer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "fake root"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	root, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	a := &acmeServer{t: t, challenge: challenge, key: key, root: root, orders: make(map[string]*acmeOrder)}
	a.Server = httptest.NewTLSServer(a)
	t.Cleanup(a.Close)
	return a
}

// count is how many orders there were.
func (a *acmeServer) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.made
}

// ServeHTTP implements the authority. Addresses are /{kind}/{id}.
func (a *acmeServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Replay-Nonce", rand.Text())
	kind, id, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	var jws struct{ Payload string }
	if r.Method == http.MethodPost {
		if err := json.NewDecoder(io.LimitReader(r.Body, 1<<20)).Decode(&jws); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
	}
	payload, err := base64.RawURLEncoding.DecodeString(jws.Payload)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	a.mu.Lock()
	o := a.orders[id]
	a.mu.Unlock()
	switch kind {
	case "directory":
		a.answer(w, 200, map[string]any{"newNonce": a.URL + "/nonce", "newAccount": a.URL + "/account", "newOrder": a.URL + "/order"})
	case "nonce":
	case "account":
		w.Header().Set("Location", a.URL+"/account/1")
		a.answer(w, 201, map[string]any{"status": "valid"})
	case "order":
		if o == nil {
			id, o = a.newOrder(payload)
			w.Header().Set("Location", a.URL+"/order/"+id)
			a.answer(w, 201, a.view(id, o))
			return
		}
		a.answer(w, 200, a.view(id, o))
	case "authz", "challenge":
		a.authorise(w, kind, id, o)
	case "finalize":
		if err := a.issue(o, payload); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.Header().Set("Location", a.URL+"/order/"+id)
		a.answer(w, 200, a.view(id, o))
	case "cert":
		w.Header().Set("Content-Type", "application/pem-certificate-chain")
		_, _ = w.Write(o.chain)
	default:
		http.NotFound(w, r)
	}
}

func (a *acmeServer) answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

func (a *acmeServer) newOrder(payload []byte) (string, *acmeOrder) {
	var in struct{ Identifiers []struct{ Value string } }
	if err := json.Unmarshal(payload, &in); err != nil || len(in.Identifiers) != 1 {
		a.t.Errorf("order %s: %v", payload, err)
		return "none", &acmeOrder{}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.made++
	id := fmt.Sprint(a.made)
	a.orders[id] = &acmeOrder{domain: in.Identifiers[0].Value}
	return id, a.orders[id]
}

func (a *acmeServer) view(id string, o *acmeOrder) map[string]any {
	a.mu.Lock()
	defer a.mu.Unlock()
	v := map[string]any{
		"status": "pending", "identifiers": []any{map[string]string{"type": "dns", "value": o.domain}},
		"authorizations": []string{a.URL + "/authz/" + id}, "finalize": a.URL + "/finalize/" + id,
	}
	switch {
	case o.chain != nil:
		v["status"], v["certificate"] = "valid", a.URL+"/cert/"+id
	case o.valid:
		v["status"] = "ready"
	}
	return v
}

// authorise checks a challenge that the client says is ready, and tells its
// state.
func (a *acmeServer) authorise(w http.ResponseWriter, kind, id string, o *acmeOrder) {
	token := "token-" + id
	if kind == "challenge" {
		if err := a.check(o.domain, token); err != nil {
			a.t.Errorf("challenge of %s: %v", o.domain, err)
		} else {
			a.mu.Lock()
			o.valid = true
			a.mu.Unlock()
		}
	}
	status := "pending"
	a.mu.Lock()
	if o.valid {
		status = "valid"
	}
	a.mu.Unlock()
	ch := map[string]any{"type": a.challenge, "url": a.URL + "/challenge/" + id, "token": token, "status": status}
	if kind == "challenge" {
		a.answer(w, 200, ch)
		return
	}
	a.answer(w, 200, map[string]any{
		"status": status, "identifier": map[string]string{"type": "dns", "value": o.domain}, "challenges": []any{ch},
	})
}

func (a *acmeServer) issue(o *acmeOrder, payload []byte) error {
	var in struct{ CSR string }
	if err := json.Unmarshal(payload, &in); err != nil {
		return err
	}
	der, err := base64.RawURLEncoding.DecodeString(in.CSR)
	if err != nil {
		return err
	}
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return err
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: o.domain}, DNSNames: []string{o.domain},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(90 * 24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	leaf, err := x509.CreateCertificate(rand.Reader, tmpl, a.root, csr.PublicKey, a.key)
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	o.chain = append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf}),
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.root.Raw})...)
	return nil
}

const domain = "class.example.org"

// byACME opens a source that asks a.
func byACME(t *testing.T, a *acmeServer, dir string) *certs.Source {
	t.Helper()
	s, _ := open(t, certs.Config{Dir: dir, ACME: certs.ACME{
		Domains: []string{"Class.Example.org."}, Email: "office@example.org", Directory: a.URL + "/directory", Client: a.Client(),
	}})
	return s
}

func named(name string) func(*tls.Config) { return func(c *tls.Config) { c.ServerName = name } }

func TestACME_ByHTTP01(t *testing.T) {
	a := newACMEServer(t, "http-01")
	dir := t.TempDir()
	ready := make(chan http.Handler, 1)
	a.check = func(name, token string) error {
		h := <-ready
		ready <- h
		req := httptest.NewRequest("GET", "http://"+name+":8080/.well-known/acme-challenge/"+token, nil)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, req)
		if body := w.Body.String(); w.Code != 200 || !strings.HasPrefix(body, token+".") {
			return fmt.Errorf("got %d %q", w.Code, body)
		}
		return nil
	}
	s := byACME(t, a, dir)
	h := s.HTTPHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }))
	ready <- h
	addr := serve(t, s.TLS())
	var st tls.ConnectionState
	within(t, "a certificate", func() (ok bool) {
		var err error
		st, err = shake(addr, named(domain))
		return err == nil
	})
	if got := st.PeerCertificates[0].DNSNames; !slices.Equal(got, []string{domain}) || len(st.PeerCertificates) != 2 {
		t.Errorf("got names %v and %d certificates", got, len(st.PeerCertificates))
	}
	for path, want := range map[string]int{"/": 418, "/.well-known/other": 418, "/.well-known/acme-challenge/none": 404} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", "http://"+domain+path, nil))
		if w.Code != want {
			t.Errorf("%s: got %d, want %d", path, w.Code, want)
		}
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "http://other.example/.well-known/acme-challenge/token-1", nil))
	if w.Code != 403 {
		t.Errorf("a challenge for a stranger's name: got %d, want 403", w.Code)
	}
	if st, err := os.Stat(filepath.Join(dir, "acme")); err != nil || st.Mode().Perm() != 0o700 {
		t.Errorf("the cache: %v, %v", st, err)
	}
}

func TestACME_ByTLSALPN01AndKeepsTheCertificate(t *testing.T) {
	a := newACMEServer(t, "tls-alpn-01")
	dir := t.TempDir()
	ready := make(chan string, 1)
	a.check = func(name, _ string) error {
		addr := <-ready
		ready <- addr
		st, err := shake(addr, func(c *tls.Config) { c.ServerName, c.NextProtos = name, []string{"acme-tls/1"} })
		if err != nil {
			return err
		}
		for _, e := range st.PeerCertificates[0].Extensions {
			if e.Id.String() == "1.3.6.1.5.5.7.1.31" && e.Critical {
				return nil
			}
		}
		return fmt.Errorf("no acmeIdentifier in %v", st.PeerCertificates[0].DNSNames)
	}
	s := byACME(t, a, dir)
	ready <- serve(t, s.TLS())
	addr := <-ready
	ready <- addr
	within(t, "a certificate", func() bool { _, err := shake(addr, named(domain)); return err == nil })
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	again := byACME(t, a, dir)
	addr = serve(t, again.TLS())
	within(t, "the kept certificate", func() bool { _, err := shake(addr, named(domain)); return err == nil })
	if n := a.count(); n != 1 {
		t.Errorf("got %d orders, want 1: the certificate was not kept", n)
	}
}

// Strangers cannot make the server order certificates, whatever they ask for.
func TestACME_HandshakesOrderNothing(t *testing.T) {
	a := newACMEServer(t, "http-01")
	a.check = func(string, string) error { return nil }
	s := byACME(t, a, t.TempDir())
	addr := serve(t, s.TLS())
	within(t, "a certificate", func() bool { _, err := shake(addr, named(domain)); return err == nil })
	for _, name := range []string{"other.example.org", "x.class.example.org", "..", "a.class.example.org/../x"} {
		if _, err := shake(addr, named(name)); err == nil {
			t.Errorf("%s: got a certificate", name)
		}
	}
	if _, err := shake(addr, nil); err == nil { // an address: no name is sent
		t.Error("without a name: got a certificate")
	}
	// A client that can do RSA only would need a second certificate.
	_, err := shake(addr, func(c *tls.Config) {
		c.ServerName, c.MaxVersion = domain, tls.VersionTLS12
		c.CipherSuites = []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}
	})
	if err == nil {
		t.Error("a client for RSA only was served")
	}
	if n := a.count(); n != 1 {
		t.Errorf("got %d orders, want 1", n)
	}
}

// An authority that does not answer keeps nobody waiting, at the end neither.
func TestACME_CloseEndsTheTalkWithTheAuthority(t *testing.T) {
	asked, release := make(chan struct{}, 8), make(chan struct{})
	silent := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}))
	defer silent.Close()
	defer close(release)
	s, _ := open(t, certs.Config{Dir: t.TempDir(), ACME: certs.ACME{
		Domains: []string{domain}, Directory: silent.URL, Client: silent.Client(),
	}})
	select { // it could not reach us yet, and failures count against us
	case <-asked:
		t.Error("the authority was asked before anybody served")
	case <-time.After(20 * looks):
	}
	addr := serve(t, s.TLS())
	<-asked
	if _, err := shake(addr, named(domain)); err == nil {
		t.Error("got a handshake without a certificate")
	}
	began := time.Now()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("Close took %s", took)
	}
}

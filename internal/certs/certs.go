// Package certs is where the certificates of HTTPS and of TURN over TLS come
// from: files that are read again when they change, a certificate that the
// server made for itself, or a certificate authority by ACME (RFC 8555).
package certs

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Errors of Open.
var (
	// ErrConfig says that the configuration asks for no source of certificates,
	// or for more than one.
	ErrConfig = errors.New("certs: need either files, a self-signed certificate or ACME")
	// ErrNotReady refuses a handshake while the authority has not yet given a
	// certificate for the name.
	ErrNotReady = errors.New("certs: no certificate for this name yet")
	// ErrUnknownName refuses a handshake for a name that is not ours.
	ErrUnknownName = errors.New("certs: not a name of this server")
)

// How often a Source looks after its certificate.
const (
	filesEvery = 2 * time.Second
	selfEvery  = time.Minute
)

// Config says where certificates come from: exactly one of CertFile with
// KeyFile, SelfSigned, and ACME.Domains.
type Config struct {
	// CertFile holds the certificate and its chain, KeyFile its key, both PEM.
	CertFile, KeyFile string

	// SelfSigned makes a certificate for this machine's addresses and names, and
	// for Names, and keeps it in Dir.
	SelfSigned bool
	Names      []string // further DNS names or addresses of a self-signed certificate

	ACME ACME

	// Dir is the directory of what is kept: keys, certificates, the account with
	// the authority. It is made if missing, for the owner's eyes only.
	Dir string

	Log *slog.Logger // nil: discarded

	Every time.Duration       // between two looks; 0: 2 s for files, 1 min self-signed
	Now   func() time.Time    // nil: time.Now
	Hosts func() []netip.Addr // this machine's addresses; nil: asks the system
}

// Source hands out the certificate of the moment. Its methods may be called
// from any goroutine.
type Source struct {
	cfg  Config
	log  *slog.Logger
	now  func() time.Time
	acme *authority // nil: not by ACME

	current atomic.Pointer[tls.Certificate]
	cancel  context.CancelFunc
	running sync.WaitGroup
}

// Open returns a Source with its certificate loaded or made. By ACME the
// certificate is asked for in the background as soon as TLS or HTTPHandler is
// called, since the authority wants to reach a server that answers. The caller
// must Close the Source, after the servers that use it.
func Open(cfg Config) (*Source, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Hosts == nil {
		cfg.Hosts = localAddrs
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &Source{cfg: cfg, log: cfg.Log, now: cfg.Now, cancel: cancel}
	var err error
	files := cfg.CertFile != "" || cfg.KeyFile != ""
	switch {
	case files && !cfg.SelfSigned && len(cfg.ACME.Domains) == 0:
		err = s.openFiles(ctx)
	case cfg.SelfSigned && !files && len(cfg.ACME.Domains) == 0:
		err = s.openSelfSigned(ctx)
	case len(cfg.ACME.Domains) > 0 && !files && !cfg.SelfSigned:
		err = s.openACME(ctx)
	default:
		err = ErrConfig
	}
	if err != nil {
		cancel()
		return nil, err
	}
	return s, nil
}

// TLS is the configuration of an HTTPS listener: HTTP/2 and HTTP/1.1, TLS 1.2
// at least. It stays good when the certificate changes. The caller may change
// the copy that it gets.
func (s *Source) TLS() *tls.Config {
	c := s.StreamTLS()
	c.NextProtos = []string{"h2", "http/1.1"}
	if s.acme != nil {
		c.NextProtos = append(c.NextProtos, s.acme.protocol())
		s.acme.begin()
	}
	return c
}

// StreamTLS is the configuration of a listener for another protocol than HTTP,
// as TURN: the same certificate, and whatever application protocol (ALPN) the
// client names is ignored.
func (s *Source) StreamTLS() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: s.certificate}
}

func (s *Source) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if s.acme != nil {
		return s.acme.certificate(hello)
	}
	return s.current.Load(), nil
}

// Fingerprint is the SHA-256 of the certificate as browsers show it, for people
// to compare: capital hex with colons. "" by ACME, where nobody has to.
func (s *Source) Fingerprint() string {
	cert := s.current.Load()
	if cert == nil {
		return ""
	}
	sum := sha256.Sum256(cert.Certificate[0])
	return strings.ReplaceAll(fmt.Sprintf("% X", sum[:]), " ", ":")
}

// Names are the names and addresses that the certificate is good for.
func (s *Source) Names() []string {
	if s.acme != nil {
		return s.acme.domains()
	}
	leaf := s.current.Load().Leaf
	names := append([]string(nil), leaf.DNSNames...)
	for _, ip := range leaf.IPAddresses {
		names = append(names, ip.String())
	}
	return names
}

// Expires is the end of the certificate's validity; zero by ACME, where it is
// renewed by itself.
func (s *Source) Expires() time.Time {
	if cert := s.current.Load(); cert != nil {
		return cert.Leaf.NotAfter
	}
	return time.Time{}
}

// HTTPHandler answers the authority's http-01 challenges (RFC 8555, section
// 8.3) and hands every other request to fallback. It belongs on the plain HTTP
// listener. Without ACME it is fallback itself.
func (s *Source) HTTPHandler(fallback http.Handler) http.Handler {
	if s.acme == nil {
		return fallback
	}
	return s.acme.httpHandler(fallback)
}

// Close ends the watch on the certificate and returns after it. Handshakes go
// on with the last certificate. It is idempotent.
func (s *Source) Close() error {
	s.cancel()
	s.running.Wait()
	return nil
}

// watch calls look every so often until ctx ends.
func (s *Source) watch(ctx context.Context, every time.Duration, look func()) {
	if s.cfg.Every > 0 {
		every = s.cfg.Every
	}
	s.running.Go(func() { // ended by Close
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				look()
			}
		}
	})
}

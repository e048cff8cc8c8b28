package certs

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"
)

// ACME says for which names a certificate authority is asked, and which.
type ACME struct {
	Domains   []string // DNS names of this server, as the outside resolves them
	Email     string   // told to the authority; may be empty
	Directory string   // URL of the authority's directory; "": Let's Encrypt
	// Client speaks to the authority; nil: one with time-outs and the system's
	// roots.
	Client *http.Client
}

// Time-outs and waits of the talk with the authority.
const (
	acmeTimeout  = 30 * time.Second // of one request
	acmeFirst    = 10 * time.Second // wait after the first refusal, doubled each time
	acmeMost     = time.Hour
	acmeMaxRetry = 5 // seconds that the authority may make one wait between polls
	acmeBody     = 1 << 20
)

// authority is an account with a certificate authority. Strangers cannot make
// it order anything: orders come from its own goroutine, for the configured
// names alone, and handshakes only read what is there.
type authority struct {
	manager *autocert.Manager
	names   []string
	log     *slog.Logger
	begin   func() // starts asking; once

	mu    sync.Mutex      // guards what follows
	ready map[string]bool // names whose first certificate is here
}

func (s *Source) openACME(ctx context.Context) error {
	a := &authority{log: s.log, ready: make(map[string]bool)}
	for _, d := range s.cfg.ACME.Domains {
		d = strings.ToLower(strings.TrimSuffix(strings.TrimSpace(d), "."))
		if !validDNS(d) || !strings.Contains(d, ".") || net.ParseIP(d) != nil {
			return fmt.Errorf("%w: %q is not a public domain name", ErrConfig, d)
		}
		a.names = append(a.names, d)
	}
	slices.Sort(a.names)
	a.names = slices.Compact(a.names)
	client := s.cfg.ACME.Client
	if client == nil {
		client = &http.Client{Timeout: acmeTimeout}
	}
	next := client.Transport
	if next == nil {
		next = http.DefaultTransport
	}
	talk := &http.Client{Timeout: client.Timeout, Transport: boundTransport{ctx: ctx, next: next}}
	directory := s.cfg.ACME.Directory
	if directory == "" {
		directory = acme.LetsEncryptURL
	}
	a.manager = &autocert.Manager{
		Prompt:     autocert.AcceptTOS,
		Cache:      autocert.DirCache(filepath.Join(s.cfg.Dir, "acme")),
		HostPolicy: autocert.HostWhitelist(a.names...),
		Email:      s.cfg.ACME.Email,
		Client: &acme.Client{
			DirectoryURL: directory, HTTPClient: talk, UserAgent: "lectern",
			RetryBackoff: func(n int, _ *http.Request, _ *http.Response) time.Duration {
				if n > 5 || ctx.Err() != nil {
					return -1 // gives up; keep asks again
				}
				return time.Second
			},
		},
	}
	a.manager.HTTPHandler(nil) // from now on it takes http-01 for possible
	a.begin = sync.OnceFunc(func() {
		for _, name := range a.names {
			s.running.Go(func() { a.keep(ctx, name) }) // ended by Close
		}
	})
	s.acme = a
	return nil
}

// keep asks for the first certificate of a name until there is one. autocert
// renews it afterwards.
func (a *authority) keep(ctx context.Context, name string) {
	wait := acmeFirst
	for {
		_, err := a.manager.GetCertificate(askFor(name))
		if err == nil {
			a.mu.Lock()
			a.ready[name] = true
			a.mu.Unlock()
			a.log.Info("certificate ready", slog.String("domain", name))
			return
		}
		if ctx.Err() != nil {
			return
		}
		a.log.Error("certificate authority gave no certificate",
			slog.String("domain", name), slog.Any("err", err), slog.Duration("again_in", wait))
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		wait = min(2*wait, acmeMost)
	}
}

// askFor is a handshake that autocert answers with an ECDSA certificate. One
// kind for everybody: else a client could make it order another for RSA.
func askFor(name string) *tls.ClientHelloInfo {
	return &tls.ClientHelloInfo{ServerName: name, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}}
}

// certificate answers a handshake. It never asks the authority.
func (a *authority) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	name := strings.ToLower(strings.TrimSuffix(hello.ServerName, "."))
	if !slices.Contains(a.names, name) {
		return nil, ErrUnknownName
	}
	if len(hello.SupportedProtos) == 1 && hello.SupportedProtos[0] == acme.ALPNProto {
		return a.manager.GetCertificate(hello) // tls-alpn-01 (RFC 8737)
	}
	a.mu.Lock()
	ready := a.ready[name]
	a.mu.Unlock()
	if !ready {
		return nil, ErrNotReady
	}
	return a.manager.GetCertificate(askFor(name))
}

func (a *authority) protocol() string  { return acme.ALPNProto }
func (a *authority) domains() []string { return slices.Clone(a.names) }

func (a *authority) httpHandler(fallback http.Handler) http.Handler {
	challenges := a.manager.HTTPHandler(fallback)
	a.begin()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// The policy of autocert compares with the port, which a request to
		// another port than 80 carries.
		if host, _, err := net.SplitHostPort(r.Host); err == nil {
			r2 := *r
			r2.Host = host
			if strings.HasPrefix(r.URL.Path, "/.well-known/acme-challenge/") {
				r = &r2
			}
		}
		challenges.ServeHTTP(w, r)
	})
}

// boundTransport ends every talk with the authority when ctx ends, bounds what
// it reads, and does not let the authority put it to sleep for long.
type boundTransport struct {
	ctx  context.Context
	next http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (t boundTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancel(req.Context())
	stop := context.AfterFunc(t.ctx, cancel)
	end := func() { stop(); cancel() }
	resp, err := t.next.RoundTrip(req.WithContext(ctx))
	if err != nil {
		end()
		return nil, err
	}
	resp.Body = &boundBody{Reader: io.LimitReader(resp.Body, acmeBody), c: resp.Body, end: end}
	if v := resp.Header.Get("Retry-After"); v != "" && resp.StatusCode < 400 {
		if d, err := time.ParseDuration(v + "s"); err != nil || d > acmeMaxRetry*time.Second {
			resp.Header.Set("Retry-After", fmt.Sprint(acmeMaxRetry))
		}
	}
	return resp, nil
}

// boundBody ends its request when it is closed.
type boundBody struct {
	io.Reader
	c   io.Closer
	end func()
}

// Close implements io.Closer.
func (b *boundBody) Close() error {
	defer b.end()
	return b.c.Close()
}

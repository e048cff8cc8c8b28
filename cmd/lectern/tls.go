package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"

	"github.com/lectern/lectern/config"
	"github.com/lectern/lectern/internal/certs"
)

// tlsDir is the directory of certificates below the data directory.
const tlsDir = "tls"

// openHTTPS gets the certificate and listens for HTTPS, unless it is off. TURN
// over TLS uses the same certificate: g.certs.StreamTLS.
func (g *gateway) openHTTPS() error {
	if !g.cfg.TLS.On() {
		return nil
	}
	l, err := net.Listen("tcp", g.cfg.TLS.Addr)
	if err != nil {
		return fmt.Errorf("listen for https: %w", err)
	}
	if g.certs, err = certs.Open(g.certsConfig()); err != nil {
		return errors.Join(fmt.Errorf("open certificate: %w", err), l.Close())
	}
	g.tlsListener = l
	return nil
}

func (g *gateway) certsConfig() certs.Config {
	t := g.cfg.TLS
	c := certs.Config{Dir: filepath.Join(g.cfg.Data.Dir, tlsDir), Log: g.log}
	switch t.Mode {
	case config.TLSFiles:
		c.CertFile, c.KeyFile = t.CertFile, t.KeyFile
	case config.TLSSelfSigned:
		c.SelfSigned, c.Names = true, g.certNames()
	case config.TLSACME:
		c.ACME = certs.ACME{Domains: t.ACME.Domains, Email: t.ACME.Email, Directory: t.ACME.Directory}
	}
	return c
}

// certNames are what a self-signed certificate shall be good for besides the
// names and addresses that the machine knows of itself: those that it was told.
func (g *gateway) certNames() []string {
	names := slices.Clone(g.cfg.TLS.Names)
	if u, err := url.Parse(g.cfg.HTTP.PublicURL); err == nil && u.Hostname() != "" {
		names = append(names, u.Hostname())
	}
	for _, ip := range g.cfg.WebRTC.AdvertiseIPs {
		names = append(names, ip.String())
	}
	names = append(names, g.cfg.WebRTC.Hosts...)
	if host := g.cfg.TURN.PublicHost; host != "" {
		names = append(names, host)
	}
	return names
}

// closeHTTPS closes what openHTTPS opened and nobody else has closed.
func (g *gateway) closeHTTPS() error {
	if g.certs == nil {
		return nil
	}
	err := g.tlsListener.Close()
	if errors.Is(err, net.ErrClosed) {
		err = nil
	}
	return errors.Join(err, g.certs.Close())
}

// serveHTTP answers on the listeners until ctx ends or one of them fails, which
// ends the other.
func (g *gateway) serveHTTP(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make(chan error, 2)
	n := 1
	go func() { results <- g.api.Serve(ctx, g.listener) }() // ended by ctx
	if g.certs != nil {
		n++
		go func() { results <- g.api.ServeTLS(ctx, g.tlsListener, g.certs.TLS()) }() // ended by ctx
	}
	var errs []error
	for range n {
		errs = append(errs, <-results)
		cancel()
	}
	return errors.Join(errs...)
}

// httpsPort is where plain HTTP sends people; 0: it serves them itself.
func (g *gateway) httpsPort() int {
	if g.certs == nil || !g.cfg.HTTP.Redirect {
		return 0
	}
	return portOf(g.tlsListener.Addr().String())
}

// proxies are those that the configuration trusts. It was checked before.
func (g *gateway) proxies() []netip.Prefix {
	list, err := g.cfg.HTTP.Proxies()
	if err != nil {
		return nil
	}
	return list
}

package config

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// Modes of TLS.
const (
	TLSOff        = "off"
	TLSFiles      = "files"
	TLSSelfSigned = "self_signed"
	TLSACME       = "acme"
)

// TLS configures HTTPS, and the certificate that TURN over TLS shares.
type TLS struct {
	Mode     string   `koanf:"mode"`
	Addr     string   `koanf:"addr"`
	CertFile string   `koanf:"cert_file"`
	KeyFile  string   `koanf:"key_file"`
	Names    []string `koanf:"names"` // of a self-signed certificate
	ACME     ACME     `koanf:"acme"`
}

// ACME configures the certificate authority.
type ACME struct {
	Domains   []string `koanf:"domains"`
	Email     string   `koanf:"email"`
	Directory string   `koanf:"directory"` // "": Let's Encrypt
}

// On says whether HTTPS is served.
func (t TLS) On() bool { return t.Mode != TLSOff }

// Proxies are the trusted proxies as networks. An address alone is a network
// of one.
func (h HTTP) Proxies() ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, s := range h.TrustedProxies {
		if addr, err := netip.ParseAddr(s); err == nil {
			out = append(out, netip.PrefixFrom(addr.Unmap(), addr.Unmap().BitLen()))
			continue
		}
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return nil, fmt.Errorf("%q is neither an address nor a network", s)
		}
		out = append(out, p.Masked())
	}
	return out, nil
}

func (c Config) validateTLS(bad func(key, format string, args ...any)) {
	t := c.TLS
	modes := []string{TLSOff, TLSFiles, TLSSelfSigned, TLSACME}
	if !slices.Contains(modes, t.Mode) {
		bad("tls.mode", "%q is none of %s", t.Mode, strings.Join(modes, ", "))
	}
	if t.On() {
		if _, _, err := net.SplitHostPort(t.Addr); err != nil {
			bad("tls.addr", "%q is not host:port", t.Addr)
		}
	}
	if t.Mode == TLSFiles && (t.CertFile == "" || t.KeyFile == "") {
		bad("tls.cert_file", "mode files needs cert_file and key_file")
	}
	if t.Mode == TLSACME && len(t.ACME.Domains) == 0 {
		bad("tls.acme.domains", "mode acme needs the names of this server")
	}
	for _, d := range t.ACME.Domains {
		if !hostName(d) || !strings.Contains(d, ".") || net.ParseIP(d) != nil {
			bad("tls.acme.domains", "%q is not a domain name", d)
		}
	}
	for _, n := range t.Names {
		if !hostName(n) && net.ParseIP(n) == nil {
			bad("tls.names", "%q is neither a name nor an address", n)
		}
	}
	if d := t.ACME.Directory; d != "" {
		if u, err := url.Parse(d); err != nil || u.Host == "" || u.Scheme != "https" {
			bad("tls.acme.directory", "%q is not an https address", d)
		}
	}
}

func (c Config) validateHTTP(bad func(key, format string, args ...any)) {
	if _, err := c.HTTP.Proxies(); err != nil {
		bad("http.trusted_proxies", "%v", err)
	}
	for _, o := range c.HTTP.Origins {
		u, err := url.Parse(o)
		if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" {
			bad("http.origins", "%q is not an origin as https://portal.example.org", o)
		}
	}
	for key, n := range map[string]int{
		"http.max_connections":             c.HTTP.MaxConnections,
		"http.max_connections_per_address": c.HTTP.MaxConnectionsPerAddress,
		"http.max_sessions_per_address":    c.HTTP.MaxSessionsPerAddress,
	} {
		if n < 1 {
			bad(key, "must be at least 1, is %d", n)
		}
	}
}

// hostName says whether s can be a DNS name.
func hostName(s string) bool {
	if s == "" || len(s) > 253 {
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool {
		return r != '-' && r != '.' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	})
}

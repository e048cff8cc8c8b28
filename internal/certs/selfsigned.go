package certs

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Files of a self-signed certificate in Dir. The certificate may be copied to
// devices that shall trust it; the key stays.
const (
	selfCertFile = "self-signed.crt"
	selfKeyFile  = "self-signed.key"
)

// Life of a self-signed certificate. Whoever has accepted it must do so again
// when it changes, so that it lives as long as the strictest platform takes one
// (825 days).
const (
	selfLife  = 820 * 24 * time.Hour
	selfRenew = 30 * 24 * time.Hour // remade so long before its end
	maxAddrs  = 256                 // of a machine with very many
)

func (s *Source) openSelfSigned(ctx context.Context) error {
	if err := os.MkdirAll(s.cfg.Dir, 0o700); err != nil {
		return fmt.Errorf("making directory of certificates: %w", err)
	}
	if cert, err := s.loadSelf(); err == nil {
		s.current.Store(cert)
	} else if !errors.Is(err, fs.ErrNotExist) {
		s.log.Warn("self-signed certificate cannot be used and is made anew", slog.Any("err", err))
	}
	if err := s.keepSelf(); err != nil {
		return err
	}
	s.watch(ctx, selfEvery, func() {
		if err := s.keepSelf(); err != nil {
			s.log.Error("self-signed certificate cannot be renewed", slog.Any("err", err))
		}
	})
	return nil
}

// keepSelf makes a certificate if there is none, or if the one in force is near
// its end or no longer fits the machine.
func (s *Source) keepSelf() error {
	names := selfNames(s.cfg.Names, s.cfg.Hosts())
	if cert := s.current.Load(); cert != nil && s.fits(cert.Leaf, names) {
		return nil
	}
	cert, err := s.makeSelf(names)
	if err != nil {
		return fmt.Errorf("making self-signed certificate: %w", err)
	}
	s.current.Store(cert)
	s.log.Info("self-signed certificate made", slog.String("fingerprint", s.Fingerprint()), slog.Time("expires", cert.Leaf.NotAfter))
	return nil
}

// wanted is what a self-signed certificate shall be good for.
type wanted struct {
	given []string // by the operator: must all be there
	names []string // of the machine, whatever network it is in
	addrs []string // of the machine: these come and go
}

// selfNames lists names and addresses once each.
func selfNames(given []string, hosts []netip.Addr) wanted {
	w := wanted{given: unique(given)}
	names := []string{"localhost", "127.0.0.1", "::1"}
	if host, err := os.Hostname(); err == nil && validDNS(host) {
		names = append(names, host)
		if !strings.Contains(host, ".") {
			names = append(names, host+".local") // how a LAN finds it by mDNS
		}
	}
	w.names = unique(names)
	var addrs []string
	for _, a := range hosts[:min(len(hosts), maxAddrs)] {
		addrs = append(addrs, a.Unmap().WithZone("").String())
	}
	w.addrs = unique(addrs)
	return w
}

func unique(list []string) []string {
	list = slices.Clone(list)
	slices.Sort(list)
	return slices.Compact(list)
}

// fits says whether the certificate may stay: it lives for a while, has all
// names that the operator gave and at least half of the machine's addresses.
// A machine that gets one more keeps its certificate, since a new one must be
// accepted anew by everybody. Its name alone decides nothing: that of a
// container is another one each time.
func (s *Source) fits(leaf *x509.Certificate, w wanted) bool {
	now := s.now()
	if now.Before(leaf.NotBefore) || leaf.NotAfter.Sub(now) < selfRenew {
		return false
	}
	for _, n := range w.given {
		if leaf.VerifyHostname(n) != nil {
			return false
		}
	}
	have, all := 0, 0
	for _, a := range w.addrs {
		all++
		if leaf.VerifyHostname(a) == nil {
			have++
		}
	}
	return 2*have >= all
}

func (s *Source) loadSelf() (*tls.Certificate, error) {
	cert, err := tls.LoadX509KeyPair(filepath.Join(s.cfg.Dir, selfCertFile), filepath.Join(s.cfg.Dir, selfKeyFile))
	if err != nil {
		return nil, err
	}
	return &cert, nil
}

// makeSelf makes a key and a certificate and keeps them.
func (s *Source) makeSelf(w wanted) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	now := s.now()
	tmpl := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: "Lectern", Organization: []string{"Lectern, self-signed"}},
		NotBefore:    now.Add(-time.Hour), // clocks in a LAN differ
		NotAfter:     now.Add(selfLife),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},

		BasicConstraintsValid: true, // not an authority: it vouches for itself only
	}
	for _, n := range unique(slices.Concat(w.given, w.names, w.addrs)) {
		if ip := net.ParseIP(n); ip != nil {
			tmpl.IPAddresses = append(tmpl.IPAddresses, ip)
		} else {
			tmpl.DNSNames = append(tmpl.DNSNames, n)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	// A crash between the two leaves a pair that does not fit, which the next
	// start makes anew.
	if err := writePEM(filepath.Join(s.cfg.Dir, selfKeyFile), "PRIVATE KEY", keyDER, 0o600); err != nil {
		return nil, err
	}
	if err := writePEM(filepath.Join(s.cfg.Dir, selfCertFile), "CERTIFICATE", der, 0o644); err != nil {
		return nil, err
	}
	return s.loadSelf()
}

// writePEM replaces a file as a whole.
func writePEM(name, kind string, der []byte, mode os.FileMode) error {
	tmp := name + ".tmp"
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err // it would keep a mode that is not ours
	}
	if err := os.WriteFile(tmp, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), mode); err != nil {
		return err
	}
	return os.Rename(tmp, name)
}

// localAddrs are the addresses of this machine that others may use.
func localAddrs() []netip.Addr {
	nets, err := net.InterfaceAddrs()
	if err != nil {
		return nil // the names do
	}
	var out []netip.Addr
	for _, n := range nets {
		p, err := netip.ParsePrefix(n.String())
		if err == nil && !p.Addr().IsLoopback() && !p.Addr().IsLinkLocalUnicast() {
			out = append(out, p.Addr())
		}
	}
	return out
}

// validDNS says whether a name can stand in a certificate.
func validDNS(name string) bool {
	if name == "" || len(name) > 253 {
		return false
	}
	for _, r := range name {
		ok := r == '-' || r == '.' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		if !ok {
			return false
		}
	}
	return true
}

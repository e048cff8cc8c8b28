package main

import (
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/lectern/lectern/api"
	"github.com/lectern/lectern/config"
	"github.com/lectern/lectern/internal/rtc"
	"github.com/lectern/lectern/internal/turn"
)

// openMedia opens the media port and the ways to it.
func (g *gateway) openMedia() (err error) {
	if g.endpoint, err = rtc.Listen(g.rtcConfig()); err != nil {
		return fmt.Errorf("listen for media: %w", err)
	}
	var certificate *tls.Config
	if g.certs != nil {
		certificate = g.certs.StreamTLS()
	}
	if err = g.openTURN(certificate); err != nil {
		return errors.Join(err, g.endpoint.Close())
	}
	return nil
}

// closeMedia ends what openMedia has begun.
func (g *gateway) closeMedia() error { return errors.Join(g.closeTURN(), g.endpoint.Close()) }

// openTURN listens for STUN and TURN, unless it is off. certificate is nil if
// there is none.
func (g *gateway) openTURN(certificate *tls.Config) error {
	c := g.cfg.TURN
	if !c.Enabled || c.UDPAddr == "" && c.TCPAddr == "" && (c.TLSAddr == "" || certificate == nil) {
		return nil
	}
	var err error
	g.turn, err = turn.Listen(turn.Config{
		UDP: c.UDPAddr, TCP: c.TCPAddr, TLS: c.TLSAddr, TLSConfig: certificate,
		Targets: g.mediaAddrs, Home: g.homeAddrs,
		CredentialLife: c.CredentialLife, AllocationLife: c.AllocationLife,
		MaxAllocations: c.MaxAllocations, MaxPerAddress: c.MaxAllocationsPerClient, MaxPerUser: c.MaxAllocationsPerUser,
		MaxRate: c.MaxBitrate / 8, Log: g.log,
	})
	// The ports are those of every TURN server. That one runs already must not
	// keep a class from being taught; who has chosen ports wants these.
	if errors.Is(err, syscall.EADDRINUSE) && usualPorts(c) {
		g.log.Warn("no turn server: its port is taken; set turn.udp_addr, turn.tcp_addr and turn.tls_addr, or turn.enabled", "err", err)
		return nil
	}
	return err
}

// sayTURN tells where STUN and TURN are, for the greeting.
func (g *gateway) sayTURN() string {
	if g.turn == nil {
		return ""
	}
	var at []string
	for _, t := range []struct{ transport, name string }{{"udp", "UDP"}, {"tcp", "TCP"}, {"tls", "TLS"}} {
		if a := g.turn.Addr(t.transport); a.IsValid() {
			at = append(at, fmt.Sprintf("%s (%s)", a, t.name))
		}
	}
	return fmt.Sprintf("  relay    %s, to the media port only\n", strings.Join(at, ", "))
}

// closeTURN ends what openTURN has begun.
func (g *gateway) closeTURN() error {
	if g.turn == nil {
		return nil
	}
	return g.turn.Close()
}

// usualPorts says whether the addresses are those of a configuration without
// any.
func usualPorts(c config.TURN) bool {
	d, err := config.Load("", nil, nil)
	return err == nil && c.UDPAddr == d.TURN.UDPAddr && c.TCPAddr == d.TURN.TCPAddr && c.TLSAddr == d.TURN.TLSAddr
}

// mediaAddrs is where clients know the media port to be.
func (g *gateway) mediaAddrs() []netip.AddrPort {
	return withPort(g.endpoint.Hosts(), g.endpoint.Addr().Port())
}

// homeAddrs is where the media port can be reached from here: the addresses
// that are offered first, so that a relayed packet has the same source as one
// from this machine.
func (g *gateway) homeAddrs() []netip.AddrPort {
	bound := g.endpoint.Addr()
	if !bound.Addr().IsUnspecified() {
		return []netip.AddrPort{bound}
	}
	addrs := g.endpoint.Hosts()
	var loopback []netip.Addr
	if own, err := net.InterfaceAddrs(); err == nil {
		for _, a := range own {
			p, err := netip.ParsePrefix(a.String())
			switch ip := p.Addr().Unmap(); {
			case err != nil || ip.IsLinkLocalUnicast():
			case ip.IsLoopback():
				loopback = append(loopback, ip)
			default:
				addrs = append(addrs, ip)
			}
		}
	}
	return withPort(append(addrs, loopback...), bound.Port())
}

func withPort(addrs []netip.Addr, port uint16) []netip.AddrPort {
	out := make([]netip.AddrPort, len(addrs))
	for i, a := range addrs {
		out[i] = netip.AddrPortFrom(a, port)
	}
	return out
}

// iceServers are the servers that a session may use, with fresh credentials.
// The cheapest way comes first.
func (g *gateway) iceServers(r api.ICERequest) []api.ICEServer {
	c := g.cfg.TURN
	var out []api.ICEServer
	if host, ok := urlHost(c.PublicHost, r.Host); ok && g.turn != nil {
		out = ownServers(g.turn, host, r.Session)
	}
	for _, u := range c.STUN {
		out = append(out, api.ICEServer{URL: u})
	}
	if len(c.External.URLs) > 0 {
		user, password := turn.SharedSecretCredentials(c.External.Secret, rand.Text()[:12], time.Now().Add(c.External.Life))
		for _, u := range c.External.URLs {
			out = append(out, api.ICEServer{URL: u, Username: user, Credential: password})
		}
	}
	return out
}

func ownServers(t *turn.Server, host, session string) []api.ICEServer {
	var out []api.ICEServer
	user, password, _ := t.Credentials(session)
	add := func(transport, format string) {
		if a := t.Addr(transport); a.IsValid() {
			at := host + ":" + strconv.Itoa(int(a.Port()))
			out = append(out, api.ICEServer{URL: fmt.Sprintf(format, at), Username: user, Credential: password})
		}
	}
	if a := t.Addr("udp"); a.IsValid() {
		out = append(out, api.ICEServer{URL: "stun:" + host + ":" + strconv.Itoa(int(a.Port()))})
	}
	add("udp", "turn:%s?transport=udp")
	add("tcp", "turn:%s?transport=tcp")
	add("tls", "turns:%s?transport=tcp")
	return out
}

// urlHost returns the first usable of hosts as it stands in a URL: with
// brackets if it is an IPv6 address. What a client calls us may be anything.
func urlHost(hosts ...string) (string, bool) {
	for _, h := range hosts {
		h = strings.TrimSuffix(strings.TrimPrefix(h, "["), "]")
		if a, err := netip.ParseAddr(h); err == nil {
			if a.Zone() != "" || a.IsUnspecified() {
				continue
			}
			if a.Is6() {
				return "[" + a.String() + "]", true
			}
			return a.String(), true
		}
		odd := func(r rune) bool {
			return r != '-' && r != '.' && r != '_' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
		}
		if h != "" && len(h) <= 253 && !strings.ContainsFunc(h, odd) {
			return h, true
		}
	}
	return "", false
}

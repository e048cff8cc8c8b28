package rtc

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/pion/ice/v4"
)

// Paths says which transports a session may use. 0 stands for all.
type Paths uint8

// The transports of a session.
const (
	PathUDP Paths = 1 << iota // ICE over UDP
	PathTCP                   // ICE-TCP (RFC 6544)
)

// allows says whether p contains one of want.
func (p Paths) allows(want Paths) bool { return p == 0 || p&want != 0 }

// PathInfo is the way that media of a session goes.
type PathInfo struct {
	Network string // "udp" or "tcp"
	// Local is ours: the port is exact, the address is the one that ICE was
	// given for this family, as all addresses share one socket.
	Local  netip.AddrPort
	Remote netip.AddrPort
	// Type is what the peer has called its address: "host", "srflx", "prflx" (it
	// has not named it) or "relay".
	Type string
}

// ConnectError tells why a session never connected. It wraps ErrConnectTimeout,
// ErrFingerprint or what the handshake ended with.
type ConnectError struct {
	Stage    string   // "ice" or "dtls": what was not finished
	Offered  []string // our candidates, as "udp 192.0.2.1:8189 host"
	Received []string // those of the peer, in the same words
	Reason   string   // in words
	cause    error
}

// Error names the stage, the reason and the candidates of both sides.
func (e *ConnectError) Error() string {
	return fmt.Sprintf("rtc: %s: %s (offered: %s; received: %s)", e.Stage, e.Reason, listed(e.Offered), listed(e.Received))
}

// Unwrap returns the cause.
func (e *ConnectError) Unwrap() error { return e.cause }

func listed(words []string) string {
	if len(words) == 0 {
		return "none"
	}
	return strings.Join(words, ", ")
}

// Path returns the selected way, false before there is one and after the end.
func (s *Session) Path() (PathInfo, bool) {
	p := s.path.Load()
	if p == nil {
		return PathInfo{}, false
	}
	info := PathInfo{Network: "udp", Local: p.local, Remote: p.addr, Type: s.typeOf(p)}
	if p.tcp != nil {
		info.Network = "tcp"
	}
	return info, true
}

// typeOf prefers what the peer has told to what ICE has found out by itself.
func (s *Session) typeOf(p *path) string {
	s.tried.Lock()
	defer s.tried.Unlock()
	for _, c := range s.received {
		if c.tcp == (p.tcp != nil) && c.addr == p.addr {
			return c.kind
		}
	}
	if p.remote != nil {
		return p.remote.Type().String()
	}
	return ice.CandidateTypePeerReflexive.String()
}

// Candidates returns in words what was offered to the peer and what it has sent
// (at most 32), in their order: "udp 192.0.2.1:8189 host". Names of the peer
// that are not looked up are among them.
func (s *Session) Candidates() (offered, received []string) {
	s.tried.Lock()
	defer s.tried.Unlock()
	for _, c := range s.received {
		received = append(received, c.words)
	}
	return slices.Clone(s.offered), received
}

// heardOf is a candidate that the peer has named.
type heardOf struct {
	words string
	addr  netip.AddrPort // invalid for a name
	tcp   bool
	kind  string
}

// note keeps candidates of the peer for the record: values of a=candidate.
func (s *Session) note(lines []string) {
	s.tried.Lock()
	defer s.tried.Unlock()
	for _, l := range lines {
		h, ok := describe(l)
		same := func(o heardOf) bool { return o.words == h.words }
		if ok && len(s.received) < maxCandidates && !slices.ContainsFunc(s.received, same) {
			s.received = append(s.received, h)
		}
	}
}

// forget drops the record of what the peer has named.
func (s *Session) forget() {
	s.tried.Lock()
	defer s.tried.Unlock()
	s.received = nil
}

// describe puts the value of an a=candidate line into words (RFC 8839, section
// 5.1); false if it is not one.
func describe(line string) (heardOf, bool) {
	f := strings.Fields(line)
	if len(f) < 8 || len(line) > 2*maxTokenBytes || f[6] != "typ" {
		return heardOf{}, false
	}
	network, host, port, kind := strings.ToLower(f[2]), f[4], f[5], f[7]
	h := heardOf{tcp: network == "tcp", kind: kind}
	ip, err := netip.ParseAddr(host)
	n, bad := strconv.ParseUint(port, 10, 16)
	if err == nil && bad == nil {
		h.addr = netip.AddrPortFrom(ip.Unmap(), uint16(n))
	}
	where := host + ":" + port
	if h.addr.IsValid() {
		where = h.addr.String()
	}
	h.words = network + " " + where + " " + kind
	return h, true
}

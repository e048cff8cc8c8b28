package rtc

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/transport/v4"
	"github.com/pion/transport/v4/stdnet"
)

// hostsFresh is how long a look at the interfaces is good for: laptops change
// their network, and asking costs some 100 µs.
const hostsFresh = 30 * time.Second

// hosts knows the addresses at which the endpoint can be reached.
type hosts struct {
	bound     netip.AddrPort
	advertise []netip.Addr
	filter    hostFilter
	names     *names

	mu   sync.Mutex // guards what follows
	last *hostView
	at   time.Time
}

// hostView is a snapshot of the addresses.
//
// An agent is given one address of each family only, v4 and v6, for all its
// sockets are one anyway: this saves it a goroutine and a row of pairs for each
// further address. The answer lists them all.
type hostView struct {
	net    transport.Net
	all    []netip.Addr // in the order of preference
	v4, v6 netip.Addr   // of the agents; invalid if none of the family is offered
}

func newHosts(bound net.Addr, cfg Config, n *names) *hosts {
	return &hosts{bound: addrPortOf(bound), advertise: cfg.AdvertiseIPs, filter: newHostFilter(cfg), names: n}
}

// view returns the present addresses.
func (h *hosts) view() (*hostView, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	if h.last != nil && now.Sub(h.at) < hostsFresh && !h.names.changedSince(h.at) {
		return h.last, nil
	}
	n, err := stdnet.NewNet()
	if err != nil {
		return nil, fmt.Errorf("reading network interfaces: %w", err)
	}
	local, offered, err := h.localAddrs(n)
	if err != nil {
		return nil, err
	}
	v := &hostView{net: n}
	for _, a := range slices.Concat(h.advertise, h.names.addrs(), offered) {
		if a = a.Unmap(); !slices.Contains(v.all, a) {
			v.all = append(v.all, a)
		}
	}
	v.v4 = firstOf(local, v.all, netip.Addr.Is4)
	v.v6 = firstOf(local, v.all, netip.Addr.Is6)
	h.last, h.at = v, now
	return v, nil
}

// firstOf returns the first local address of a family, if one of the family is
// offered.
func firstOf(local, offered []netip.Addr, family func(netip.Addr) bool) netip.Addr {
	i := slices.IndexFunc(local, family)
	if i < 0 || !slices.ContainsFunc(offered, family) {
		return netip.Addr{}
	}
	return local[i]
}

// localAddrs returns the addresses that the socket listens on, and those of them
// that may be offered: of the LAN first, IPv4 before IPv6, loopback last.
// Link-local IPv6 would need a zone that means nothing to the peer.
func (h *hosts) localAddrs(n transport.Net) (all, offered []netip.Addr, err error) {
	if !h.bound.Addr().IsUnspecified() {
		all = []netip.Addr{h.bound.Addr()}
		if h.filter.network(h.bound.Addr()) {
			offered = all
		}
		return all, offered, nil
	}
	interfaces, err := n.Interfaces()
	if err != nil {
		return nil, nil, fmt.Errorf("reading network interfaces: %w", err)
	}
	for _, i := range interfaces {
		if i.Flags&net.FlagUp == 0 {
			continue
		}
		addrs, err := i.Addrs()
		if err != nil {
			continue // gone since it was listed
		}
		for _, a := range addrs {
			p, err := netip.ParsePrefix(a.String())
			ip := p.Addr().Unmap()
			if err != nil || ip.IsLinkLocalUnicast() && ip.Is6() || ip.Is6() && h.bound.Addr().Is4() {
				continue
			}
			all = append(all, ip)
			if h.filter.interfaceName(i.Name) && h.filter.network(ip) {
				offered = append(offered, ip)
			}
		}
	}
	byPreference := func(a, b netip.Addr) int { return preference(a) - preference(b) }
	slices.SortStableFunc(all, byPreference)
	slices.SortStableFunc(offered, byPreference)
	return all, offered, nil
}

func preference(a netip.Addr) int {
	p := 0
	if a.Is6() {
		p++
	}
	if a.IsLoopback() {
		p += 2
	}
	return p
}

// candidates returns the values of the a=candidate lines: each address by UDP
// if udp is set, and by passive TCP if tcp is (RFC 8839, RFC 6544).
func (v *hostView) candidates(port uint16, udp, tcp bool) []string {
	const typePreference = 126 // host (RFC 8445, section 5.1.2.2)
	const tcpTypePreference = 90
	var out []string
	line := func(addr netip.Addr, network string, tcpType ice.TCPType, priority uint32) {
		c, err := ice.NewCandidateHost(&ice.CandidateHostConfig{
			Network: network, Address: addr.String(), Port: int(port), Component: ice.ComponentRTP,
			Priority: priority, TCPType: tcpType,
		})
		if err == nil {
			out = append(out, c.Marshal())
		}
	}
	for i, a := range v.all {
		if udp {
			local := uint32(max(65535-i, 0)) << 8 // every candidate has a priority of its own
			line(a, "udp", ice.TCPTypeUnspecified, typePreference<<24|local|255)
		}
	}
	for i, a := range v.all {
		if tcp {
			line(a, "tcp", ice.TCPTypePassive, tcpTypePreference<<24|uint32(max(65535-i, 0))<<8|255)
		}
	}
	return out
}

// listenAddrs are the addresses of the agents as UDP addresses.
func (v *hostView) listenAddrs(port uint16) []net.Addr {
	var out []net.Addr
	for _, a := range []netip.Addr{v.v4, v.v6} {
		if a.IsValid() {
			out = append(out, net.UDPAddrFromAddrPort(netip.AddrPortFrom(a, port)))
		}
	}
	return out
}

// isAgentAddr says whether an agent may gather ip.
func (v *hostView) isAgentAddr(ip net.IP) bool {
	a, ok := netip.AddrFromSlice(ip)
	return ok && (a.Unmap() == v.v4 || a.Unmap() == v.v6)
}

// oneAddrMux is the shared UDP mux as one agent sees it.
type oneAddrMux struct {
	ice.UDPMux
	addrs []net.Addr
}

// GetListenAddresses implements ice.UDPMux.
func (m oneAddrMux) GetListenAddresses() []net.Addr { return m.addrs }

// emptyNet keeps the mux from reading the interfaces itself.
func emptyNet() transport.Net { return &stdnet.Net{} }

// addrPortOf converts UDP and TCP addresses; IPv4 comes out as IPv4.
func addrPortOf(a net.Addr) netip.AddrPort {
	var ap netip.AddrPort
	switch a := a.(type) {
	case *net.UDPAddr:
		ap = a.AddrPort()
	case *net.TCPAddr:
		ap = a.AddrPort()
	}
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

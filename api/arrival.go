package api

import (
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/gin-gonic/gin"
)

// arrival is how a request came here. What proxies say of it counts only when
// the connection comes from one that the operator trusts.
type arrival struct {
	addr    netip.Addr // of the client
	host    string     // that the client asked for, host or host:port; "" for none
	https   bool       // the client's own connection is over TLS
	proxied bool       // a trusted proxy stands between
}

const arrivalKey = "lectern.arrival"

// Bounds of what is read of a proxy's headers.
const (
	maxHops = 32  // addresses in X-Forwarded-For
	maxHost = 255 // characters; a DNS name has 253
)

// arrive finds out how the request came here, for all that follows.
func (s *Server) arrive(c *gin.Context) {
	c.Set(arrivalKey, s.arrivalOf(c.Request))
	c.Next()
}

// arrived is what arrive found out.
func arrived(c *gin.Context) arrival {
	a, _ := c.Value(arrivalKey).(arrival)
	return a
}

func (s *Server) arrivalOf(r *http.Request) arrival {
	a := arrival{addr: peerAddr(r.RemoteAddr), host: r.Host, https: r.TLS != nil}
	if !s.trusted(a.addr) {
		return a
	}
	a.proxied = true
	a.addr = s.clientBehind(a.addr, r.Header.Values("X-Forwarded-For"))
	if proto := firstOf(r.Header.Get("X-Forwarded-Proto")); proto != "" {
		a.https = strings.EqualFold(proto, "https")
	}
	if host := firstOf(r.Header.Get("X-Forwarded-Host")); host != "" {
		a.host = host
	}
	return a
}

// trusted says whether addr is a reverse proxy of the operator's.
func (s *Server) trusted(addr netip.Addr) bool {
	for _, p := range s.cfg.Proxies {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// clientBehind reads X-Forwarded-For from its end: each proxy adds the address
// that it was called from, so that the first one which is no proxy of ours is
// the client. All before it may be invented. Lines count like one list: some
// proxies add a line rather than a word.
func (s *Server) clientBehind(peer netip.Addr, lines []string) netip.Addr {
	hops := strings.Split(strings.Join(lines, ","), ",")
	for i := len(hops) - 1; i >= 0 && i >= len(hops)-maxHops; i-- {
		addr, ok := hopAddr(hops[i])
		if !ok {
			return peer // what a proxy of ours wrote is an address
		}
		peer = addr
		if !s.trusted(addr) {
			return addr
		}
	}
	return peer
}

// hopAddr reads one element of X-Forwarded-For: an address, with or without a
// port.
func hopAddr(hop string) (netip.Addr, bool) {
	hop = strings.TrimSpace(hop)
	if ap, err := netip.ParseAddrPort(hop); err == nil {
		return ap.Addr().Unmap().WithZone(""), true
	}
	addr, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(hop, "["), "]"))
	return addr.Unmap().WithZone(""), err == nil
}

// peerAddr is the address of the other end of the connection; 0.0.0.0 for one
// that has none, as a Unix socket: one sender.
func peerAddr(remote string) netip.Addr {
	ap, err := netip.ParseAddrPort(remote)
	if err != nil {
		return netip.IPv4Unspecified()
	}
	return ap.Addr().Unmap().WithZone("")
}

// firstOf is the first element of a list: what the proxy next to the client
// saw.
func firstOf(list string) string {
	first, _, _ := strings.Cut(list, ",")
	return strings.TrimSpace(first)
}

// goodHost says whether host can be a host with or without a port, so that it
// may stand in a link or a redirect: letters, digits and -._ or an address
// (RFC 3986, section 3.2.2, without what nobody uses in names).
func goodHost(host string) bool {
	name := host
	if i := strings.LastIndexByte(host, ':'); i >= 0 && i > strings.LastIndexByte(host, ']') {
		var port string
		name, port = host[:i], host[i+1:]
		if port == "" || len(port) > 5 || strings.Trim(port, "0123456789") != "" {
			return false
		}
	}
	if inner, ok := strings.CutPrefix(name, "["); ok {
		inner, closed := strings.CutSuffix(inner, "]")
		addr, err := netip.ParseAddr(inner)
		return closed && err == nil && addr.Is6() && addr.Zone() == ""
	}
	if name == "" || len(name) > maxHost {
		return false
	}
	return !strings.ContainsFunc(name, func(r rune) bool {
		return r != '-' && r != '.' && r != '_' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	})
}

// hostname is host without its port; brackets of an IPv6 address stay.
func hostname(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		if strings.Contains(name, ":") {
			return "[" + name + "]"
		}
		return name
	}
	return host
}

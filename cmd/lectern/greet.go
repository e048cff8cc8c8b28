package main

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
)

// greet prints where everything is, and the admin key if it was made just now.
func (g *gateway) greet(w io.Writer) {
	a := g.addresses()
	page := g.cfg.HTTP.PublicURL
	if page == "" {
		page = "http://" + reachable(a.HTTP)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "\nLectern %s\n\n", version)
	fmt.Fprintf(&b, "  pages    %s/\n", page)
	for _, ip := range lanAddrs(a.HTTP) {
		fmt.Fprintf(&b, "           http://%s/\n", net.JoinHostPort(ip.String(), fmt.Sprint(portOf(a.HTTP))))
	}
	fmt.Fprintf(&b, "  publish  %s/whip/{room}\n", page)
	fmt.Fprintf(&b, "  watch    %s/whep/{room}\n", page)
	if a.RTSP != "" {
		fmt.Fprintf(&b, "  play     rtsp://%s/{room}\n", reachable(a.RTSP))
	}
	if a.RTMP != "" {
		fmt.Fprintf(&b, "  play     rtmp://%s/live/{room}\n", reachable(a.RTMP))
	}
	fmt.Fprintf(&b, "  media    %s (UDP and TCP)\n", a.WebRTC)
	fmt.Fprintf(&b, "  data     %s\n", g.cfg.Data.Dir)
	if g.newKey {
		key := g.authority.NewAdminKey()
		fmt.Fprintf(&b, "\n  The admin key, shown this once:  %s\n", key)
		fmt.Fprintf(&b, "  Studio:  %s/studio/my-class#key=%s\n", page, key)
	} else {
		fmt.Fprintf(&b, "\n  Studio:  %s/studio/my-class  (asks for the admin key)\n", page)
	}
	b.WriteString("\n")
	_, _ = io.WriteString(w, b.String()) // nobody may be looking
}

// reachable turns an address that means every interface into one to connect to.
func reachable(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	if ip, err := netip.ParseAddr(host); host == "" || (err == nil && ip.IsUnspecified()) {
		return net.JoinHostPort("localhost", port)
	}
	return addr
}

// lanAddrs are the addresses of this machine at which others reach addr, if it
// listens on every interface.
func lanAddrs(addr string) []netip.Addr {
	ap, err := netip.ParseAddrPort(addr)
	if err != nil || !ap.Addr().IsUnspecified() {
		return nil
	}
	nets, err := net.InterfaceAddrs()
	if err != nil {
		return nil
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

package main

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// greet prints where everything is, who may do what, and the admin key if it
// was made just now.
func (g *gateway) greet(w io.Writer) {
	a := g.addresses()
	pages := g.pageURLs()
	page := pages[0]
	var b strings.Builder
	fmt.Fprintf(&b, "\nLectern %s\n\n", version)
	for i, url := range pages {
		fmt.Fprintf(&b, "  %-8s %s/\n", first(i, "pages"), url)
	}
	fmt.Fprintf(&b, "  publish  %s/whip/{room}\n", page)
	fmt.Fprintf(&b, "  watch    %s/whep/{room}\n", page)
	if a.RTSP != "" {
		fmt.Fprintf(&b, "  play     rtsp://%s/{room}\n", reachable(a.RTSP))
	}
	if a.RTMP != "" {
		fmt.Fprintf(&b, "  play     rtmp://%s/live/{room}\n", reachable(a.RTMP))
	}
	transports := "UDP"
	if g.cfg.WebRTC.TCP {
		transports = "UDP and TCP"
	}
	fmt.Fprintf(&b, "  media    %s (%s)\n", a.WebRTC, transports)
	b.WriteString(g.sayTURN())
	fmt.Fprintf(&b, "  data     %s\n", g.cfg.Data.Dir)
	b.WriteString("\n" + g.sayHTTPS())
	b.WriteString("\n  Nobody can publish, and nobody watches a room, without a token, an invitation or the admin key,\n" +
		"  unless you open a room. The admin key may do everything: keep it to yourself.\n")
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

// first is word for the first of several lines.
func first(i int, word string) string {
	if i == 0 {
		return word
	}
	return ""
}

// pageURLs are the addresses of the pages, best first, without the last slash.
func (g *gateway) pageURLs() []string {
	var urls []string
	if g.cfg.HTTP.PublicURL != "" {
		urls = append(urls, strings.TrimSuffix(g.cfg.HTTP.PublicURL, "/"))
	}
	if g.certs != nil {
		addr := g.tlsListener.Addr().String()
		for _, name := range g.cfg.TLS.ACME.Domains {
			urls = append(urls, "https://"+hostPort(name, portOf(addr), 443))
		}
		if len(g.cfg.TLS.ACME.Domains) == 0 {
			urls = append(urls, urlsOf("https", addr, 443)...)
		}
		if g.cfg.HTTP.Redirect {
			return urls
		}
	}
	return append(urls, urlsOf("http", g.listener.Addr().String(), 80)...)
}

// urlsOf are the addresses at which a listener is reached: from here, and from
// other machines.
func urlsOf(scheme, addr string, assumed int) []string {
	host, _, err := net.SplitHostPort(reachable(addr))
	if err != nil {
		return nil
	}
	port := portOf(addr)
	urls := []string{scheme + "://" + hostPort(host, port, assumed)}
	for _, ip := range lanAddrs(addr) {
		urls = append(urls, scheme+"://"+hostPort(ip.String(), port, assumed))
	}
	return urls
}

// hostPort leaves out a port that clients assume.
func hostPort(host string, port, assumed int) string {
	if port != assumed {
		return net.JoinHostPort(host, strconv.Itoa(port))
	}
	if strings.Contains(host, ":") {
		return "[" + host + "]"
	}
	return host
}

// sayHTTPS tells what browsers will say about the connection: a camera needs a
// secure context (W3C Secure Contexts), which is HTTPS, or this very machine.
func (g *gateway) sayHTTPS() string {
	switch {
	case g.certs == nil && strings.HasPrefix(g.cfg.HTTP.PublicURL, "https://"):
		return "  HTTPS is made by the proxy in front. Name it in http.trusted_proxies, so that it is believed.\n"
	case g.certs == nil:
		return "  Without HTTPS, browsers give camera and microphone at http://localhost only. For other machines\n" +
			"  start with --https self_signed, or with a certificate of your own (--https files or acme).\n"
	case len(g.cfg.TLS.ACME.Domains) > 0:
		return fmt.Sprintf("  The certificate for %s is fetched from the authority, which must reach\n"+
			"  this server at port 80 or 443 of each name.\n", strings.Join(g.cfg.TLS.ACME.Domains, ", "))
	case g.cfg.TLS.CertFile != "" && g.cfg.TLS.Mode == "files":
		return fmt.Sprintf("  The certificate is good for %s until %s.\n",
			strings.Join(g.certs.Names(), ", "), g.certs.Expires().Format(time.DateOnly))
	}
	return "  The certificate is self-signed: browsers warn once on each device. Before you accept, compare its\n" +
		"  SHA-256 fingerprint, which is\n" +
		fmt.Sprintf("  %s\n", g.certs.Fingerprint()) +
		fmt.Sprintf("  (%s/self-signed.crt may be installed on devices instead; good until %s)\n",
			g.certsConfig().Dir, g.certs.Expires().Format(time.DateOnly))
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

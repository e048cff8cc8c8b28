package api

import (
	"crypto/tls"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"
)

func proxied(nets ...string) func(*Config) {
	return func(c *Config) {
		for _, n := range nets {
			c.Proxies = append(c.Proxies, netip.MustParsePrefix(n))
		}
	}
}

func TestProxies_AreBelievedOnlyWhenTrusted(t *testing.T) {
	s, _ := bareServer(t, proxied("10.0.0.0/8", "2001:db8:a::/48"))
	const proxy = "10.0.0.1:999"
	for name, tt := range map[string]struct {
		remote string
		header []string
		want   arrival
	}{
		"no proxy": {"192.0.2.7:5", nil, arrival{addr: netip.MustParseAddr("192.0.2.7"), host: "example.com"}},
		"a stranger's word": {
			"192.0.2.7:5",
			[]string{"X-Forwarded-For", "1.1.1.1", "X-Forwarded-Proto", "https", "X-Forwarded-Host", "evil.example"},
			arrival{addr: netip.MustParseAddr("192.0.2.7"), host: "example.com"},
		},
		"a proxy's word": {
			proxy,
			[]string{"X-Forwarded-For", "192.0.2.7", "X-Forwarded-Proto", "HTTPS", "X-Forwarded-Host", "class.example"},
			arrival{addr: netip.MustParseAddr("192.0.2.7"), host: "class.example", https: true, proxied: true},
		},
		"what the client made up before": {
			proxy,
			[]string{"X-Forwarded-For", "1.1.1.1, 192.0.2.7"},
			arrival{addr: netip.MustParseAddr("192.0.2.7"), host: "example.com", proxied: true},
		},
		"a proxy that adds lines": {
			proxy,
			[]string{"X-Forwarded-For", "1.1.1.1", "X-Forwarded-For", "192.0.2.7"},
			arrival{addr: netip.MustParseAddr("192.0.2.7"), host: "example.com", proxied: true},
		},
		"two proxies": {
			proxy,
			[]string{"X-Forwarded-For", "192.0.2.7, 10.9.9.9"},
			arrival{addr: netip.MustParseAddr("192.0.2.7"), host: "example.com", proxied: true},
		},
		"with ports": {
			"[2001:db8:a::1]:5",
			[]string{"X-Forwarded-For", "[2001:db8:c::7]:4711"},
			arrival{addr: netip.MustParseAddr("2001:db8:c::7"), host: "example.com", proxied: true},
		},
		"nonsense": {
			proxy,
			[]string{"X-Forwarded-For", "unknown"},
			arrival{addr: netip.MustParseAddr("10.0.0.1"), host: "example.com", proxied: true},
		},
		"nothing said": {proxy, nil, arrival{addr: netip.MustParseAddr("10.0.0.1"), host: "example.com", proxied: true}},
		"mapped address": {
			"[::ffff:10.0.0.1]:5",
			[]string{"X-Forwarded-For", "192.0.2.7"},
			arrival{addr: netip.MustParseAddr("192.0.2.7"), host: "example.com", proxied: true},
		},
		"a Unix socket": {"@", []string{"X-Forwarded-For", "192.0.2.7"}, arrival{addr: netip.IPv4Unspecified(), host: "example.com"}},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = tt.remote
		for i := 0; i+1 < len(tt.header); i += 2 {
			r.Header.Add(tt.header[i], tt.header[i+1])
		}
		if got := s.arrivalOf(r); got != tt.want {
			t.Errorf("%s: got %+v, want %+v", name, got, tt.want)
		}
	}
	r := httptest.NewRequest("GET", "/", nil)
	r.TLS = &tls.ConnectionState{}
	if !s.arrivalOf(r).https {
		t.Error("a request over TLS is not https")
	}
}

func goodHosts() []string {
	return []string{"a", "class.example.org", "class.example.org:8443", "192.0.2.1", "192.0.2.1:80", "[2001:db8::1]", "[::1]:8080", "lectern_app:8080", "a."}
}

func badHosts() []string {
	return []string{
		"", ":80", "a:", "a:123456", "a:8x", "a b", "a\r\nSet-Cookie: x=1", "a/b", "a?b", "a#b", "user@a", "a<script>", `a"`, "a'", "a;b", "a,b", "a%2f",
		"[::1", "::1", "[a]", "[fe80::1%eth0]", "[::1]x", "é.example", "a\x00", "a\\b", strings.Repeat("a", 300), "a:1:2", "$(id)", "a=b", "(a)",
	}
}

func TestHost_MayHoldNothingButAHost(t *testing.T) {
	for _, h := range goodHosts() {
		if !goodHost(h) {
			t.Errorf("%q is refused", h)
		}
	}
	for _, h := range badHosts() {
		if goodHost(h) {
			t.Errorf("%q is taken", h)
		}
	}
}

func TestHost_NonsenseIs400AndNeverInALink(t *testing.T) {
	s, _ := bareServer(t, func(c *Config) { c.HTTPSPort = 8443; proxied("192.0.2.0/24")(c) })
	for _, h := range badHosts() {
		for _, target := range []string{"/", "/api/info", "/whip/algebra"} {
			r := httptest.NewRequest("GET", target, nil)
			r.RemoteAddr, r.Host = "198.51.100.1:1", h
			w := httptest.NewRecorder()
			s.Handler().ServeHTTP(w, r)
			if h != "" && w.Code != 400 {
				t.Errorf("host %q: got %d, want 400", h, w.Code)
			}
			if l := w.Header().Get("Location"); l != "" {
				t.Errorf("host %q: sent to %q", h, l)
			}
		}
		if h == "" || strings.ContainsAny(h, "\r\n\x00,") {
			continue // net/http lets no such header in, and a comma ends an element
		}
		resp := ask(s.Handler(), "POST", "/api/tokens", strings.NewReader(`{"room":"algebra","role":"student"}`),
			"Authorization", "Bearer "+adminKey, "Content-Type", "application/json", "X-Forwarded-Host", h)
		if resp.StatusCode != 400 {
			t.Errorf("forwarded host %q: got %d, want 400", h, resp.StatusCode)
		}
	}
}

func TestLinks_NameTheHostThatTheClientAskedFor(t *testing.T) {
	g := newGateway(t, proxied("192.0.2.0/24")) // that of httptest
	for header, want := range map[string]string{
		"": "http://example.com/", "X-Forwarded-Host: class.example:444": "http://class.example:444/",
		"X-Forwarded-Proto: https": "https://example.com/",
	} {
		name, value, _ := strings.Cut(header, ": ")
		var out struct{ Link string }
		g.want(201, g.call(adminKey, "POST", "/api/tokens", map[string]string{"room": "algebra", "role": "student"}, name, value), &out)
		if !strings.HasPrefix(out.Link, want) {
			t.Errorf("%q: got %s, want it to begin with %s", header, out.Link, want)
		}
	}
}

func FuzzGoodHost(f *testing.F) {
	for _, h := range slices.Concat(goodHosts(), badHosts()) {
		f.Add(h)
	}
	f.Fuzz(func(t *testing.T, host string) {
		if !goodHost(host) {
			return
		}
		u, err := url.Parse("https://" + host + "/x?y")
		if err != nil || u.Host != host || u.User != nil || u.Path != "/x" {
			t.Errorf("%q changes the address: %v, %v", host, u, err)
		}
		if again := "https://" + joinPort(hostname(host), 8443, 443); !goodHost(strings.TrimPrefix(again, "https://")) {
			t.Errorf("%q becomes %q", host, again)
		}
	})
}

func FuzzForwardedFor(f *testing.F) {
	for _, line := range []string{"", "192.0.2.7", "1.1.1.1, [2001:db8::1]:5", "unknown, ,", ",,,,", "fe80::1%eth0"} {
		f.Add(line)
	}
	s := &Server{cfg: Config{Proxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}}
	f.Fuzz(func(t *testing.T, line string) {
		peer := netip.MustParseAddr("10.0.0.1")
		got := s.clientBehind(peer, []string{line})
		if !got.IsValid() || got.Zone() != "" || got.Is4In6() {
			t.Errorf("%q: got %v", line, got)
		}
		if got := s.clientBehind(peer, []string{line, "198.51.100.7"}); got.String() != "198.51.100.7" {
			t.Errorf("%q before the proxy's own word changed the address to %v", line, got)
		}
	})
}

package config_test

import (
	"strings"
	"testing"

	"github.com/lectern/lectern/config"
)

func TestTLS_IsOffUnlessAsked(t *testing.T) {
	c, err := config.Load("", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if c.TLS.On() || !c.HTTP.Redirect || c.TLS.Addr != ":8443" {
		t.Errorf("got %+v", c.TLS)
	}
	// A bare off is a boolean in some YAML.
	if c, err = config.Load(write(t, "tls: {mode: off}\n"), nil, nil); err != nil || c.TLS.On() {
		t.Errorf("got %+v, %v", c.TLS, err)
	}
}

func TestTLS_IsReadFromEverywhere(t *testing.T) {
	path := write(t, "tls:\n  mode: acme\n  acme: {domains: [a.example.org], email: office@example.org}\nhttp:\n  trusted_proxies: [10.0.0.0/8]\n")
	env := []string{"LECTERN_TLS_ACME_DOMAINS=b.example.org,c.example.org", "LECTERN_HTTP_TRUSTED_PROXIES=192.0.2.1,2001:db8::/32"}
	c, err := config.Load(path, env, map[string]any{"tls.addr": ":443"})
	if err != nil {
		t.Fatal(err)
	}
	if c.TLS.Mode != config.TLSACME || len(c.TLS.ACME.Domains) != 2 || c.TLS.ACME.Email != "office@example.org" || c.TLS.Addr != ":443" {
		t.Errorf("got %+v", c.TLS)
	}
	nets, err := c.HTTP.Proxies()
	if err != nil || len(nets) != 2 || nets[0].String() != "192.0.2.1/32" || nets[1].String() != "2001:db8::/32" {
		t.Errorf("got proxies %v, %v", nets, err)
	}
}

func TestTLS_ReportsAllThatIsWrong(t *testing.T) {
	for _, tt := range []struct{ yaml, want string }{
		{"tls: {mode: maybe}", "tls.mode"},
		{"tls: {mode: true}", "tls.mode"},
		{"tls: {mode: files}", "tls.cert_file"},
		{"tls: {mode: acme}", "tls.acme.domains"},
		{"tls: {mode: acme, acme: {domains: [localhost]}}", "tls.acme.domains"},
		{"tls: {mode: acme, acme: {domains: [192.0.2.1]}}", "tls.acme.domains"},
		{"tls: {mode: acme, acme: {domains: ['*.example.org']}}", "tls.acme.domains"},
		{"tls: {acme: {directory: 'http://ca.example.org/'}}", "tls.acme.directory"},
		{"tls: {mode: self_signed, addr: nonsense}", "tls.addr"},
		{"tls: {names: ['a b']}", "tls.names"},
		{"http: {trusted_proxies: [proxy.example.org]}", "http.trusted_proxies"},
		{"http: {trusted_proxies: [10.0.0.0/33]}", "http.trusted_proxies"},
		{"http: {origins: [portal.example.org]}", "http.origins"},
		{"http: {origins: ['https://portal.example.org/path']}", "http.origins"},
		{"http: {max_connections: 0}", "http.max_connections"},
		{"http: {max_sessions_per_address: -1}", "http.max_sessions_per_address"},
	} {
		_, err := config.Load(write(t, tt.yaml+"\n"), nil, nil)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want it to name %s", tt.yaml, err, tt.want)
		}
	}
}

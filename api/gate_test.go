package api

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/lectern/lectern/room/access"
)

func TestRedirect_PagesBy308AndSignallingBy307(t *testing.T) {
	s, _ := bareServer(t, func(c *Config) { c.HTTPSPort = 8443 })
	for _, tt := range []struct {
		method, target string
		status         int
		location       string
	}{
		{"GET", "/", 308, "https://example.com:8443/"},
		{"HEAD", "/studio/algebra?x=1&y=%20", 308, "https://example.com:8443/studio/algebra?x=1&y=%20"},
		{"GET", "/assets/app-1a.js", 308, "https://example.com:8443/assets/app-1a.js"},
		{"GET", "//evil.example/x", 308, "https://example.com:8443//evil.example/x"},
		{"POST", "/whip/algebra", 307, "https://example.com:8443/whip/algebra"},
		{"POST", "/whep/algebra/screen", 307, "https://example.com:8443/whep/algebra/screen"},
		{"GET", "/whep/algebra", 307, "https://example.com:8443/whep/algebra"},
		{"PATCH", "/whip/algebra/session/x", 307, "https://example.com:8443/whip/algebra/session/x"},
		{"DELETE", "/whip/algebra/session/x", 307, "https://example.com:8443/whip/algebra/session/x"},
		{"PUT", "/api/rooms/algebra/files/1", 307, "https://example.com:8443/api/rooms/algebra/files/1"},
		{"GET", "/healthz", 200, ""},
		{"GET", "/readyz", 200, ""},
		{"GET", "/metrics", 401, ""},
		{"OPTIONS", "/whip/algebra", 200, ""},
	} {
		resp := ask(s.Handler(), tt.method, tt.target, nil, "Origin", "https://portal.example.org")
		if got := resp.Header.Get("Location"); resp.StatusCode != tt.status || got != tt.location {
			t.Errorf("%s %s: got %d to %q, want %d to %q", tt.method, tt.target, resp.StatusCode, got, tt.status, tt.location)
		}
		if tt.status == 307 && resp.Header.Get("Access-Control-Allow-Origin") == "" {
			t.Errorf("%s %s: a page may not follow", tt.method, tt.target)
		}
	}
}

func TestRedirect_GoesToThePublicAddressOrThePortOfHTTPS(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*Config)
		header string
		want   string
	}{
		"public address":     {func(c *Config) { c.PublicURL = "https://class.example.org/" }, "", "https://class.example.org/archive"},
		"no https address":   {func(c *Config) { c.PublicURL = "http://class.example.org" }, "", "https://example.com:8443/archive"},
		"usual port":         {func(c *Config) { c.HTTPSPort = 443 }, "", "https://example.com/archive"},
		"off":                {func(c *Config) { c.HTTPSPort = 0 }, "", ""},
		"over a proxy":       {proxied("192.0.2.0/24"), "https", ""},
		"over a plain proxy": {proxied("192.0.2.0/24"), "http", ""},
		"a stranger's word":  {func(*Config) {}, "https", "https://example.com:8443/archive"},
	} {
		s, _ := bareServer(t, func(c *Config) { c.HTTPSPort = 8443; tt.change(c) })
		resp := ask(s.Handler(), "GET", "/archive", nil, "X-Forwarded-Proto", tt.header)
		if got := resp.Header.Get("Location"); got != tt.want {
			t.Errorf("%s: got %d %q, want %q", name, resp.StatusCode, got, tt.want)
		}
	}
}

// A request line may hold a target that is no path; it must not become part of
// the host.
func TestRedirect_TargetWithoutPathIsNoHost(t *testing.T) {
	s, _ := bareServer(t, func(c *Config) { c.HTTPSPort = 8443 })
	for _, target := range []string{"http:@evil.example/", "http:.evil.example/", "http://example.com?x"} {
		line := "GET " + target + " HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\r\n"
		answer := sendRaw(t, serveOn(t, s, nil, nil), line)
		for l := range strings.SplitSeq(answer, "\r\n") {
			if where, ok := strings.CutPrefix(l, "Location: "); ok && !strings.HasPrefix(where, "https://example.com:8443/") {
				t.Errorf("%s: sent to %s", target, where)
			}
		}
	}
}

func TestRequest_LongAddressIs414(t *testing.T) {
	s, _ := bareServer(t, nil)
	for _, target := range []string{"/whip/" + strings.Repeat("a", maxURI), "/api/info?x=" + strings.Repeat("a", maxURI)} {
		if got := ask(s.Handler(), "GET", target, nil).StatusCode; got != 414 {
			t.Errorf("got %d, want 414", got)
		}
	}
	if got := ask(s.Handler(), "GET", "/api/info?x="+strings.Repeat("a", maxURI/2), nil).StatusCode; got != 200 {
		t.Errorf("half of it: got %d, want 200", got)
	}
}

func TestRequest_ChunkedOneEndsTheConnection(t *testing.T) {
	s, _ := bareServer(t, nil)
	r := httptest.NewRequest("POST", "/whip/algebra", strings.NewReader("v=0"))
	r.TransferEncoding = []string{"chunked"}
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, r)
	if got := w.Header().Get("Connection"); got != "close" {
		t.Errorf("got Connection %q, want close", got)
	}
}

// 500 students join behind one address within 10 s, most of them at once when
// the bell rings: nobody is told to wait.
func TestLimits_500StudentsBehindOneAddressJoin(t *testing.T) {
	now := newClock()
	s, _ := bareServer(t, func(c *Config) { c.Now = now.now })
	requests := []string{"OPTIONS /whep/algebra", "POST /whep/algebra", "GET /api/info", "POST /api/invitations/redeem"}
	for range 3 {
		requests = append(requests, "PATCH /whep/algebra/session/x", "GET /api/rooms/algebra", "GET /api/me")
	}
	for range 15 {
		requests = append(requests, "GET /assets/app-1a.js")
	}
	for range 500 {
		for _, r := range requests {
			method, path, _ := strings.Cut(r, " ")
			resp := ask(s.Handler(), method, path, nil)
			if resp.StatusCode == http.StatusTooManyRequests {
				t.Fatalf("%s: 429", r)
			}
		}
		now.pass(2 * time.Second / 500)
	}
}

func TestLimits_BeyondThemIs429WithRetryAfter(t *testing.T) {
	now := newClock()
	s, _ := bareServer(t, func(c *Config) { c.Now = now.now })
	var resp *http.Response
	for range signallingBurst + 1 {
		resp = ask(s.Handler(), "POST", "/whip/algebra", nil)
	}
	if p := problemIn(t, resp); p.Status != 429 || p.Code != "rate_limited" || resp.Header.Get("Retry-After") == "" {
		t.Errorf("got %+v, Retry-After %q", p, resp.Header.Get("Retry-After"))
	}
	r := httptest.NewRequest("POST", "/whip/algebra", nil)
	r.RemoteAddr = "198.51.100.7:1"
	w := httptest.NewRecorder()
	if s.Handler().ServeHTTP(w, r); w.Code != 401 {
		t.Errorf("another address: got %d, want 401", w.Code)
	}
}

func TestLimits_CountATokenFromWhereverItComes(t *testing.T) {
	now := newClock()
	s, _ := bareServer(t, func(c *Config) { c.Now = now.now })
	last, token := 0, "Bearer "+adminKey
	from := func(i int) string { return "198.51." + itoa(i/250%250) + "." + itoa(i%250) + ":1" }
	for i := range signallingBurst + 1 {
		r := httptest.NewRequest("POST", "/whip/algebra", nil)
		r.RemoteAddr = from(i)
		r.Header.Set("Authorization", token)
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, r)
		last = w.Code
	}
	if last != 429 {
		t.Errorf("got %d, want 429", last)
	}
}

// While an address has to wait for its wrong tokens, those inside go on and
// those with a token of ours come in; the admin key is not tried.
func TestGuesses_LetTokensOfOursIn(t *testing.T) {
	s, _ := bareServer(t, nil)
	student, err := s.cfg.Authority.Issue(access.Claims{Room: "algebra", Role: access.Student}, classTime)
	if err != nil {
		t.Fatal(err)
	}
	me := func(token string) *http.Response {
		return ask(s.Handler(), "GET", "/api/me", nil, "Authorization", "Bearer "+token)
	}
	for range guessBurst + 3 {
		me("a.wrong.token")
	}
	for token, want := range map[string]int{"a.wrong.token": 429, adminKey: 429, student: 200} {
		resp := me(token)
		if resp.StatusCode != want {
			t.Errorf("%.10s: got %d, want %d", token, resp.StatusCode, want)
		}
		if want == 429 && resp.Header.Get("Retry-After") == "" {
			t.Errorf("%.10s: no Retry-After", token)
		}
	}
}

// Nor are they locked out who come for the first time by what nobody guesses: an
// encoder with its key, a class with its invitation.
func TestGuesses_LetKeysAndInvitationsIn(t *testing.T) {
	s, _ := bareServer(t, nil)
	_, key, err := s.cfg.Authority.AddKey(t.Context(), access.Key{Room: "algebra", Role: access.Ingest})
	if err != nil {
		t.Fatal(err)
	}
	_, code, err := s.cfg.Authority.Invite(t.Context(), access.Invitation{Room: "algebra", Role: access.Student})
	if err != nil {
		t.Fatal(err)
	}
	me := func(token string) int {
		return ask(s.Handler(), "GET", "/api/me", nil, "Authorization", "Bearer "+token).StatusCode
	}
	redeem := func(code string) int {
		return ask(s.Handler(), "POST", "/api/invitations/redeem", strings.NewReader(`{"code":"`+code+`","name":"Ada"}`),
			"Content-Type", "application/json").StatusCode
	}
	for range guessBurst + 3 {
		me("a.wrong.token")
	}
	if got := me("lk_wrong_key"); got != http.StatusTooManyRequests {
		t.Errorf("a wrong key: got %d, want 429", got)
	}
	if got := redeem("WRONG"); got != http.StatusTooManyRequests {
		t.Errorf("a wrong code: got %d, want 429", got)
	}
	if got := me(key); got != http.StatusOK {
		t.Errorf("a key: got %d, want 200", got)
	}
	if got := redeem(code); got != http.StatusCreated {
		t.Errorf("an invitation: got %d, want 201", got)
	}
}

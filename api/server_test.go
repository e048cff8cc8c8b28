package api

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/lectern/lectern/egress/whep"
	"github.com/lectern/lectern/internal/rtc"
	"github.com/lectern/lectern/room"
	"github.com/lectern/lectern/room/access"
	"github.com/lectern/lectern/storage"
)

const adminKey = "a-key-for-tests-0123456789"

// logBuffer is what was logged. Safe for concurrent use.
type logBuffer struct {
	mu sync.Mutex // guards what follows
	b  strings.Builder
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// bareServer is a Server for what needs no room and no storage.
func bareServer(t *testing.T, change func(*Config)) (*Server, *logBuffer) {
	t.Helper()
	auth, _, err := access.Open(t.TempDir(), adminKey)
	if err != nil {
		t.Fatal(err)
	}
	logged := new(logBuffer)
	cfg := Config{
		Hub: new(room.Hub), Authority: auth, Store: new(storage.Store), Endpoint: new(rtc.Endpoint), WHEP: new(whep.Server),
		Log: slog.New(slog.NewTextHandler(logged, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Pages: fstest.MapFS{
			"index.html":       {Data: []byte("<!doctype html><title>Lectern</title>")},
			"assets/app-1a.js": {Data: []byte("export {}")},
			"favicon.svg":      {Data: []byte("<svg/>")},
			".keep":            {Data: []byte("")},
		},
		RTSPPort: 8554, RTMPPort: 1935, Version: "v1.2.3",
	}
	if change != nil {
		change(&cfg)
	}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s, logged
}

// ask sends one request to the handler.
func ask(h http.Handler, method, target string, body io.Reader, header ...string) *http.Response {
	req := httptest.NewRequest(method, target, body)
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, req)
	return w.Result()
}

// problemIn reads the problem of an answer.
func problemIn(t *testing.T, resp *http.Response) problem {
	t.Helper()
	if got := resp.Header.Get("Content-Type"); got != "application/problem+json" {
		t.Errorf("got content type %q, want a problem", got)
	}
	var p problem
	if err := json.NewDecoder(resp.Body).Decode(&p); err != nil {
		t.Fatalf("reading problem: %v", err)
	}
	if p.Status != resp.StatusCode || p.Type != "about:blank" || p.Title == "" || p.Code == "" {
		t.Errorf("got problem %+v of an answer %d", p, resp.StatusCode)
	}
	return p
}

func TestServer_AnswersUnknownAddressesByTheirKind(t *testing.T) {
	s, _ := bareServer(t, nil)
	for _, tt := range []struct {
		method, path, accept string
		status               int
		page                 bool
	}{
		{"GET", "/", "", 200, true},
		{"GET", "/studio/algebra", "text/html", 200, true},
		{"GET", "/r/algebra", "", 200, true},
		{"GET", "/archive/01ABC", "", 200, true},
		{"GET", "/nowhere", "text/html,*/*", 404, true},
		{"GET", "/nowhere", "", 404, false},
		{"GET", "/api/nowhere", "text/html", 404, false},
		{"GET", "/api", "text/html", 404, false},
		{"GET", "/whip/a/b/c/d", "text/html", 404, false},
		{"POST", "/nowhere", "text/html", 404, false},
		{"GET", "/index.html", "", 404, false},
		{"GET", "/.keep", "", 404, false},
		{"GET", "/assets/", "", 404, false},
		{"GET", "/assets/../index.html", "", 404, false},
	} {
		resp := ask(s.Handler(), tt.method, tt.path, nil, "Accept", tt.accept)
		if resp.StatusCode != tt.status {
			t.Errorf("%s %s: got %d, want %d", tt.method, tt.path, resp.StatusCode, tt.status)
			continue
		}
		if !tt.page {
			problemIn(t, resp)
		} else if body, _ := io.ReadAll(resp.Body); !strings.Contains(string(body), "<title>Lectern") {
			t.Errorf("%s %s: got %q, want the page", tt.method, tt.path, body)
		}
	}
}

func TestServer_CachesHashedAssetsOnly(t *testing.T) {
	s, _ := bareServer(t, nil)
	for path, want := range map[string]string{
		"/":                 "no-cache",
		"/favicon.svg":      "no-cache",
		"/assets/app-1a.js": "public, max-age=31536000, immutable",
		"/api/info":         "no-store",
	} {
		resp := ask(s.Handler(), "GET", path, nil)
		if got := resp.Header.Get("Cache-Control"); got != want || resp.StatusCode != 200 {
			t.Errorf("%s: got %d, Cache-Control %q, want %q", path, resp.StatusCode, got, want)
		}
		for _, h := range []string{"Content-Security-Policy", "X-Content-Type-Options", "Referrer-Policy", "X-Request-Id"} {
			if resp.Header.Get(h) == "" {
				t.Errorf("%s: no %s", path, h)
			}
		}
		if csp := resp.Header.Get("Content-Security-Policy"); strings.Contains(csp, "unsafe") {
			t.Errorf("%s: policy %q", path, csp)
		}
	}
}

func TestServer_NamesTheMethodsOfAnAddress(t *testing.T) {
	s, _ := bareServer(t, nil)
	resp := ask(s.Handler(), "DELETE", "/api/info", nil)
	if p := problemIn(t, resp); p.Status != 405 || p.Code != "method_not_allowed" {
		t.Errorf("got %+v", p)
	}
	if got := resp.Header.Get("Allow"); !strings.Contains(got, "GET") {
		t.Errorf("got Allow %q", got)
	}
}

func TestServer_TellsWrongFromMissingTokens(t *testing.T) {
	s, logged := bareServer(t, nil)
	student, err := s.cfg.Authority.Issue(access.Claims{Room: "algebra", Role: access.Student, Name: "Ada"}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		target, auth string
		status       int
		code         string
		challenge    string
	}{
		"none":           {"/api/me", "", 401, "unauthorised", `Bearer realm="lectern"`},
		"basic":          {"/api/me", "Basic eDp5", 401, "unauthorised", `Bearer realm="lectern"`},
		"wrong":          {"/api/me", "Bearer nonsense", 401, "invalid_token", `Bearer realm="lectern", error="invalid_token"`},
		"admin":          {"/api/me", "bearer " + adminKey, 200, "", ""},
		"in the address": {"/api/me?token=" + student, "", 200, "", ""},
		"without right":  {"/metrics", "Bearer " + student, 403, "forbidden", `Bearer realm="lectern", error="insufficient_scope"`},
	} {
		resp := ask(s.Handler(), "GET", tt.target, nil, "Authorization", tt.auth)
		if resp.StatusCode != tt.status || resp.Header.Get("WWW-Authenticate") != tt.challenge {
			t.Errorf("%s: got %d, challenge %q, want %d, %q", name, resp.StatusCode,
				resp.Header.Get("WWW-Authenticate"), tt.status, tt.challenge)
		}
		if tt.code != "" && problemIn(t, resp).Code != tt.code {
			t.Errorf("%s: want code %s", name, tt.code)
		}
	}
	for _, secret := range []string{student, adminKey, "nonsense"} {
		if strings.Contains(logged.String(), secret) {
			t.Errorf("the log holds the token %s", secret)
		}
	}
}

func TestServer_SlowsDownGuessing(t *testing.T) {
	s, _ := bareServer(t, nil)
	var last int
	for range guessBurst + 1 {
		last = ask(s.Handler(), "GET", "/api/me", nil, "Authorization", "Bearer guess").StatusCode
	}
	if last != http.StatusTooManyRequests {
		t.Errorf("got %d after %d guesses, want 429", last, guessBurst)
	}
}

func TestServer_AnswersPreflights(t *testing.T) {
	s, _ := bareServer(t, nil)
	for _, path := range []string{"/whip/algebra", "/whep/algebra/screen", "/whip/algebra/session/x", "/api/rooms/algebra/class"} {
		resp := ask(s.Handler(), "OPTIONS", path, nil, "Origin", "https://other.example",
			"Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "authorization, content-type, if-match")
		if resp.StatusCode/100 != 2 {
			t.Errorf("%s: got %d", path, resp.StatusCode)
		}
		for h, want := range map[string]string{
			"Access-Control-Allow-Origin":   "*",
			"Access-Control-Allow-Methods":  "PATCH",
			"Access-Control-Allow-Headers":  "If-Match",
			"Access-Control-Expose-Headers": "Location",
		} {
			if got := resp.Header.Get(h); !strings.Contains(got, want) {
				t.Errorf("%s: got %s %q, want %q in it", path, h, got, want)
			}
		}
		if resp.Header.Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("%s: credentials are allowed", path)
		}
	}
	if got := ask(s.Handler(), "OPTIONS", "/whip/algebra", nil).Header.Get("Accept-Post"); got != "application/sdp" {
		t.Errorf("got Accept-Post %q", got)
	}
}

func TestServer_KeepsToTheOriginsItWasGiven(t *testing.T) {
	s, _ := bareServer(t, func(c *Config) { c.Origins = []string{"https://portal.example.org/"} })
	for origin, want := range map[string]string{
		"https://portal.example.org": "https://portal.example.org",
		"https://evil.example.org":   "",
	} {
		resp := ask(s.Handler(), "GET", "/api/info", nil, "Origin", origin)
		if got := resp.Header.Get("Access-Control-Allow-Origin"); got != want {
			t.Errorf("%s: got %q, want %q", origin, got, want)
		}
		if resp.Header.Get("Vary") != "Origin" {
			t.Errorf("%s: answers could be mixed up in caches", origin)
		}
	}
}

func TestServer_TurnsPanicsAndSurprisesInto500(t *testing.T) {
	s, logged := bareServer(t, nil)
	s.engine.GET("/api/test/panic", func(*gin.Context) { panic("/secret/path") })
	s.engine.GET("/api/test/error", s.handle(func(*gin.Context) error { return errors.New("open /secret/path") }))
	for _, path := range []string{"/api/test/panic", "/api/test/error"} {
		resp := ask(s.Handler(), "GET", path, nil)
		body, _ := io.ReadAll(resp.Body)
		if resp.StatusCode != 500 || strings.Contains(string(body), "secret") {
			t.Errorf("%s: got %d %s", path, resp.StatusCode, body)
		}
		if id := resp.Header.Get("X-Request-Id"); !strings.Contains(logged.String(), id) {
			t.Errorf("%s: the log does not name the request %s", path, id)
		}
	}
	if !strings.Contains(logged.String(), "/secret/path") {
		t.Error("the log does not tell what happened")
	}
}

func TestServer_RefusesNewSessionsWhileStopping(t *testing.T) {
	s, _ := bareServer(t, nil)
	s.StopNew()
	resp := ask(s.Handler(), "POST", "/whip/algebra", strings.NewReader("v=0"), "Content-Type", "application/sdp")
	if p := problemIn(t, resp); p.Status != 503 || resp.Header.Get("Retry-After") == "" {
		t.Errorf("got %+v, Retry-After %q", p, resp.Header.Get("Retry-After"))
	}
	if got := ask(s.Handler(), "GET", "/readyz", nil).StatusCode; got != 503 {
		t.Errorf("readyz: got %d, want 503", got)
	}
	if got := ask(s.Handler(), "GET", "/healthz", nil).StatusCode; got != 200 {
		t.Errorf("healthz: got %d, want 200", got)
	}
}

func TestServer_SaysWhyItIsNotReady(t *testing.T) {
	var reason error
	s, _ := bareServer(t, func(c *Config) { c.Ready = func(context.Context) error { return reason } })
	if got := ask(s.Handler(), "GET", "/readyz", nil).StatusCode; got != 200 {
		t.Errorf("got %d, want 200", got)
	}
	reason = errors.New("no disk")
	if p := problemIn(t, ask(s.Handler(), "GET", "/readyz", nil)); p.Code != "not_ready" {
		t.Errorf("got %+v", p)
	}
}

func TestServer_ServesUntilItsContextEnds(t *testing.T) {
	s, _ := bareServer(t, nil)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, l) }()
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	resp, err := client.Get("http://" + l.Addr().String() + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close() // read only
	cancel()
	if err := <-served; err != nil {
		t.Errorf("Serve: %v", err)
	}
	if c, err := net.Dial("tcp", l.Addr().String()); err == nil {
		_ = c.Close() // only to see whether it opens
		t.Error("the listener is still open")
	}
}

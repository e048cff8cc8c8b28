package access_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/lectern/lectern/room/access"
)

// hookServer answers what the test says, and counts.
type hookServer struct {
	*httptest.Server
	asked  atomic.Int32
	last   atomic.Pointer[map[string]string]
	signed atomic.Pointer[string]
}

func newHookServer(t *testing.T, answer func(w http.ResponseWriter, question map[string]string)) *hookServer {
	s := &hookServer{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.asked.Add(1)
		body, err := io.ReadAll(r.Body)
		q := map[string]string{}
		if err != nil || json.Unmarshal(body, &q) != nil || r.Method != http.MethodPost {
			t.Errorf("got %s of %q, %v", r.Method, body, err)
		}
		m := hmac.New(sha256.New, []byte("shared"))
		m.Write(body)
		good := fmt.Sprint(r.Header.Get("X-Lectern-Signature") == "sha256="+hex.EncodeToString(m.Sum(nil)))
		s.signed.Store(&good)
		s.last.Store(&q)
		answer(w, q)
	}))
	t.Cleanup(s.Close)
	return s
}

func hooked(t *testing.T, url string, change ...func(*access.Hook)) *access.Authority {
	h := access.Hook{URL: url, Secret: "shared", Timeout: 2 * time.Second}
	for _, c := range change {
		c(&h)
	}
	return trust(t, access.Outside{Hook: h})
}

func TestHook_IsAskedAndBelieved(t *testing.T) {
	s := newHookServer(t, func(w http.ResponseWriter, q map[string]string) {
		fmt.Fprintf(w, `{"allow":%t,"role":"assistant","name":"Mo","subject":"mo","expires":%q,"mood":"good"}`,
			q["credential"] == "let me in", time.Now().Add(time.Hour).Format(time.RFC3339))
	})
	a := hooked(t, s.URL)
	at := access.Attempt{Credential: "let me in", User: "mo", Room: "algebra", Way: "rtsp", Remote: netip.MustParseAddr("192.0.2.7")}
	c, err := a.Admit(t.Context(), at)
	if err != nil || c.Role != access.Assistant || c.Room != "algebra" || c.Subject != "hook:mo" || c.Name != "Mo" || c.Expires.IsZero() || c.ID == "" {
		t.Errorf("got %+v, %v", c, err)
	}
	want := map[string]string{"credential": "let me in", "user": "mo", "room": "algebra", "way": "rtsp", "remote": "192.0.2.7"}
	if got := *s.last.Load(); fmt.Sprint(got) != fmt.Sprint(want) || *s.signed.Load() != "true" {
		t.Errorf("asked %v (signed %s), want %v", got, *s.signed.Load(), want)
	}
	if _, err := a.Admit(t.Context(), at); err != nil || s.asked.Load() != 1 {
		t.Errorf("again: %v, asked %d times, want once", err, s.asked.Load())
	}
	at.Room = "physics"
	if c, err := a.Admit(t.Context(), at); err != nil || c.MayWatch("algebra") || s.asked.Load() != 2 {
		t.Errorf("another room: got %+v, %v, asked %d times; want another answer", c, err, s.asked.Load())
	}
	if err := a.Revoke(t.Context(), c.ID, time.Time{}); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Admit(t.Context(), at); !errors.Is(err, access.ErrRevoked) {
		t.Errorf("revoked here: got %v, want ErrRevoked", err)
	}
}

func TestHook_AnythingButAYesIsARefusal(t *testing.T) {
	hour := time.Now().Add(time.Hour).Unix()
	tests := []struct {
		name   string
		status int
		body   string
		want   error
	}{
		{"yes", 200, `{"allow":true,"role":"student"}`, nil},
		{"yes until a second", 200, fmt.Sprintf(`{"allow":true,"role":"student","expires":%d}`, hour), nil},
		{"no", 200, `{"allow":false,"role":"student"}`, access.ErrInvalid},
		{"nothing", 200, ``, access.ErrInvalid},
		{"no role", 200, `{"allow":true}`, access.ErrInvalid},
		{"unknown role", 200, `{"allow":true,"role":"king"}`, access.ErrInvalid},
		{"allow is text", 200, `{"allow":"true","role":"student"}`, access.ErrInvalid},
		{"past", 200, `{"allow":true,"role":"student","expires":"2001-01-01T00:00:00Z"}`, access.ErrInvalid},
		{"time is nonsense", 200, `{"allow":true,"role":"student","expires":"soon"}`, access.ErrInvalid},
		{"list", 200, `[{"allow":true,"role":"student"}]`, access.ErrInvalid},
		{"more after it", 200, `{"allow":true,"role":"student"}{"allow":false}`, access.ErrInvalid},
		{"huge", 200, `{"allow":true,"role":"student","x":"` + strings.Repeat("x", 70<<10) + `"}`, access.ErrInvalid},
		{"other 2xx", 204, ``, access.ErrInvalid},
		{"redirect", 302, `{"allow":true,"role":"student"}`, access.ErrInvalid},
		{"forbidden", 403, `{"allow":true,"role":"student"}`, access.ErrInvalid},
		{"broken", 500, `{"allow":true,"role":"student"}`, access.ErrUnavailable},
		{"overrun", 429, ``, access.ErrUnavailable},
	}
	for _, tt := range tests {
		s := newHookServer(t, func(w http.ResponseWriter, _ map[string]string) {
			w.Header().Set("Location", "http://127.0.0.1:1/")
			w.WriteHeader(tt.status)
			_, _ = io.WriteString(w, tt.body)
		})
		if _, err := admit(hooked(t, s.URL), "algebra", "x"); !errors.Is(err, tt.want) {
			t.Errorf("%s: got %v, want %v", tt.name, err, tt.want)
		}
	}
}

func TestHook_SilentOrGoneIsUnavailable(t *testing.T) {
	release := make(chan struct{})
	s := newHookServer(t, func(http.ResponseWriter, map[string]string) { <-release })
	defer close(release)
	a := hooked(t, s.URL, func(h *access.Hook) { h.Timeout = 50 * time.Millisecond })
	if _, err := admit(a, "algebra", "x"); !errors.Is(err, access.ErrUnavailable) {
		t.Errorf("silent: got %v, want ErrUnavailable", err)
	}
	gone := httptest.NewServer(nil)
	gone.Close()
	if _, err := admit(hooked(t, gone.URL), "algebra", "x"); !errors.Is(err, access.ErrUnavailable) {
		t.Errorf("gone: got %v, want ErrUnavailable", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := a.Admit(ctx, access.Attempt{Credential: "y", Room: "algebra"}); !errors.Is(err, access.ErrUnavailable) {
		t.Errorf("nobody waits: got %v, want ErrUnavailable", err)
	}
}

func TestHook_EqualQuestionsAtOnceAreOne(t *testing.T) {
	release := make(chan struct{})
	s := newHookServer(t, func(w http.ResponseWriter, _ map[string]string) {
		<-release
		_, _ = io.WriteString(w, `{"allow":true,"role":"student"}`)
	})
	a := hooked(t, s.URL)
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if _, err := admit(a, "algebra", "same"); err != nil {
				t.Error(err)
			}
		})
	}
	for s.asked.Load() == 0 {
		if t.Context().Err() != nil {
			t.Fatal("never asked")
		}
	}
	close(release)
	wg.Wait()
	if n := s.asked.Load(); n != 1 {
		t.Errorf("asked %d times, want once", n)
	}
}

func TestHook_IsNotAskedAboutWhatIsOurs(t *testing.T) {
	s := newHookServer(t, func(w http.ResponseWriter, _ map[string]string) {
		_, _ = io.WriteString(w, `{"allow":true,"role":"teacher"}`)
	})
	a := trust(t, access.Outside{Hook: access.Hook{URL: s.URL}, Issuers: []access.Issuer{school(nil)}})
	forged := sign(t, jwt.SigningMethodHS256, []byte("not the key"), jwt.MapClaims{"iss": "lectern", "role": "admin"}, "")
	bad := sign(t, jwt.SigningMethodHS256, []byte("not the key"), foreign(), "")
	for name, at := range map[string]access.Attempt{
		"forged token of ours":   {Credential: forged},
		"forged of the school":   {Credential: bad},
		"forged key":             {Credential: "lk_abc_def"},
		"forged login":           {Credential: "x", User: "p.1.2.3.4.rx"},
		"nothing":                {},
		"user without a word":    {User: "ada"},
		"longer than credential": {Credential: strings.Repeat("x", 10_000)},
	} {
		at.Room = "algebra"
		if _, err := a.Admit(t.Context(), at); err == nil {
			t.Errorf("%s: let in", name)
		}
	}
	if n := s.asked.Load(); n != 0 {
		t.Errorf("asked %d times, want never", n)
	}
}

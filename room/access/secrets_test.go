package access_test

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lectern/lectern/room/access"
)

// logged is a log that is read while it is written.
type logged struct {
	mu   sync.Mutex // guards what follows
	text bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// Addresses of hooks and key sets may hold a secret.
func TestTrust_LogsNoAddressOfTheOperators(t *testing.T) {
	const secret = "s3cr3t"
	gone := "http://127.0.0.1:1/?key=" + secret
	out := &logged{}
	o := withSet(gone)
	o.Hook, o.Log = access.Hook{URL: gone}, slog.New(slog.NewTextHandler(out, nil))
	a := trust(t, o)
	if _, err := admit(a, "algebra", "whatever"); err == nil || strings.Contains(err.Error(), secret) {
		t.Errorf("got %v", err)
	}
	for deadline := time.After(5 * time.Second); ; {
		text := out.String()
		if strings.Contains(text, secret) {
			t.Fatalf("logged: %s", text)
		}
		if strings.Contains(text, "hook does not answer") && strings.Contains(text, "key set not fetched") {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("not logged: %s", text)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

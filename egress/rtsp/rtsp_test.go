package rtsp_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/lectern/lectern/egress/rtsp"
	"github.com/lectern/lectern/stream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// directory knows one stream and two tokens.
type directory struct {
	s       *stream.Stream
	players atomic.Int64
	over    chan struct{} // nil: never
}

const (
	goodToken  = "watch"
	otherToken = "other-room"
)

func (d *directory) Open(_ context.Context, r rtsp.Request) (rtsp.Playable, error) {
	switch {
	case r.Credential == otherToken:
		return rtsp.Playable{}, rtsp.ErrForbidden
	case r.Credential != goodToken:
		return rtsp.Playable{}, rtsp.ErrUnauthorized
	case r.Room != "algebra" || r.Slot != "main":
		return rtsp.Playable{}, rtsp.ErrNotFound
	}
	return rtsp.Playable{Stream: d.s, Join: func() func() {
		d.players.Add(1)
		return func() { d.players.Add(-1) }
	}, Done: d.over}, nil
}

type fixture struct {
	*rtsp.Server
	dir *directory
	s   *stream.Stream
}

func serve(t *testing.T, change ...func(*rtsp.Config)) *fixture {
	t.Helper()
	f := &fixture{s: stream.New(stream.Config{Name: "algebra/main"})}
	f.dir = &directory{s: f.s}
	cfg := rtsp.Config{
		Addr: "127.0.0.1:0", UDP: "127.0.0.1:0", Directory: f.dir,
		ReadyTimeout: 3 * time.Second, Linger: 200 * time.Millisecond,
		Log: slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	for _, c := range change {
		c(&cfg)
	}
	var err error
	if f.Server, err = rtsp.Listen(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		f.s.Close()
		_ = f.Close()
	})
	return f
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Logf("%s", p)
	return len(p), nil
}

func (f *fixture) url(path string) string {
	return fmt.Sprintf("rtsp://%s/%s", f.Addr(), path)
}

// play lets ffmpeg copy seconds of what it gets into a file.
func (f *fixture) play(t *testing.T, transport, url, seconds string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "out.mkv")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "ffmpeg", "-v", "warning", "-rtsp_transport", transport, "-i", url, "-t", seconds, "-c", "copy", out)
	began := time.Now()
	if b, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("ffmpeg: %v: %s", err, b)
	} else if len(b) > 0 {
		t.Logf("ffmpeg said: %s", b)
	}
	t.Logf("played %s s in %v", seconds, time.Since(began))
	return out
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(5 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not within 5 s: %s", what)
		}
	}
}

// status sends one DESCRIBE and returns the status line.
func (f *fixture) describe(t *testing.T, path, header string) (status, rest string) {
	t.Helper()
	c, err := net.DialTimeout("tcp", f.Addr().String(), time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	fmt.Fprintf(c, "DESCRIBE %s RTSP/1.0\r\nCSeq: 1\r\n%s\r\n", f.url(path), header)
	buf := make([]byte, 8192)
	n, err := c.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	status, rest, _ = strings.Cut(string(buf[:n]), "\r\n")
	return status, rest
}

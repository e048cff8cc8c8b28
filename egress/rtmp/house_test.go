package rtmp_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lectern/lectern/egress/rtmp"
	"github.com/lectern/lectern/egress/transcode"
	"github.com/lectern/lectern/internal/clip"
	"github.com/lectern/lectern/stream"
)

// house is a server with one room, "algebra", whose slot "main" is src.
type house struct {
	t        *testing.T
	src      *stream.Stream
	pool     *transcode.Pool
	srv      *rtmp.Server
	addr     string
	done     chan struct{}
	released atomic.Int64

	decide atomic.Pointer[func(rtmp.Target) (rtmp.Playable, error)] // nil: by the one token
}

func newHouse(t *testing.T) *house {
	t.Helper()
	h := &house{t: t, done: make(chan struct{})}
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo}))
	h.src = stream.New(stream.Config{Name: "algebra/main"})
	h.pool = transcode.New(transcode.Config{Log: log, IdleStop: -1})
	if err := h.pool.Available(); err != nil {
		t.Skip(err)
	}
	h.srv = rtmp.NewServer(rtmp.Config{Directory: h, Transcode: h.pool, Log: log, WriteTimeout: 3 * time.Second})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h.addr = l.Addr().String()
	served := make(chan error, 1)
	go func() { served <- h.srv.Serve(l) }()
	t.Cleanup(func() {
		if err := h.srv.Close(); err != nil {
			t.Errorf("closing server: %v", err)
		}
		if err := <-served; !errors.Is(err, rtmp.ErrClosed) {
			t.Errorf("serve: %v", err)
		}
		h.pool.Close()
		h.src.Close()
	})
	return h
}

// Open implements rtmp.Directory.
func (h *house) Open(_ context.Context, t rtmp.Target) (rtmp.Playable, error) {
	if decide := h.decide.Load(); decide != nil {
		return (*decide)(t)
	}
	switch {
	case t.Credential == "":
		return rtmp.Playable{}, rtmp.ErrUnauthorized
	case t.Credential != "secret":
		return rtmp.Playable{}, rtmp.ErrForbidden
	case t.Room != "algebra" || t.Slot != "main":
		return rtmp.Playable{}, rtmp.ErrNotFound
	}
	return rtmp.Playable{Stream: h.src, Release: func() { h.released.Add(1) }, Done: h.done}, nil
}

func (h *house) url(path string) string { return "rtmp://" + h.addr + "/" + path }

// publish plays c until the test ends or the returned function is called.
func (h *house) publish(c *clip.Clip, o clip.Options) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = clip.Publish(ctx, h.src, c, o)
	}()
	stop = func() { cancel(); <-done }
	h.t.Cleanup(stop)
	return stop
}

// record plays a URL for length with ffmpeg and returns the recording.
func (h *house) record(url string, length string) string {
	h.t.Helper()
	file := filepath.Join(h.t.TempDir(), "played.mkv")
	ctx, cancel := context.WithTimeout(h.t.Context(), 20*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "ffmpeg", "-hide_banner", "-v", "warning", "-nostdin", "-y",
		"-rw_timeout", "8000000", "-i", url, "-t", length, "-c", "copy", file).CombinedOutput()
	if err != nil {
		h.t.Fatalf("playing: %v: %s", err, out)
	}
	if s := strings.TrimSpace(string(out)); s != "" {
		h.t.Logf("player: %s", s)
	}
	return file
}

// eventually polls until f is true.
func eventually(t *testing.T, limit time.Duration, what string, f func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(limit)
	for !f() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not in %v: %s", limit, what)
		}
	}
}

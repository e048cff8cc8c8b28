// Package test tells the stories that people live through, end to end: real
// browsers, real ffmpeg, the real binary on free ports of loopback.
//
// `make test-e2e` builds what they need. GATEWAY_BIN names the binary.
package test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const adminKey = "end-to-end-admin-key"

// gateway is one run (or several, one after the other) of the binary on one
// data directory.
type gateway struct {
	t    *testing.T
	data string
	args []string
	cmd  *exec.Cmd
	log  *logBuffer
	addr struct{ HTTP, WebRTC, RTSP, RTMP string }
}

// startGateway runs the binary with a fresh data directory and free ports, and
// ends it with the test.
func startGateway(t *testing.T, args ...string) *gateway {
	t.Helper()
	g := &gateway{t: t, data: t.TempDir(), args: args, log: &logBuffer{}}
	t.Cleanup(func() {
		g.stop()
		if t.Failed() {
			t.Logf("the gateway's log:\n%s", g.log)
		}
	})
	g.start("127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0")
	return g
}

func lecternBin(t *testing.T) string {
	t.Helper()
	bin := os.Getenv("GATEWAY_BIN")
	if bin == "" {
		bin = "../bin/lectern"
	}
	if _, err := os.Stat(bin); err != nil {
		t.Fatalf("no binary: %v (run make build)", err)
	}
	return bin
}

func (g *gateway) start(http, webrtc, rtsp, rtmp string) {
	g.t.Helper()
	_ = os.Remove(filepath.Join(g.data, "lectern.run.json"))
	args := append([]string{"serve", "--data", g.data, "--http", http, "--webrtc", webrtc, "--rtsp", rtsp, "--rtmp", rtmp}, g.args...)
	g.cmd = exec.Command(lecternBin(g.t), args...)
	g.cmd.Env = append(os.Environ(), "LECTERN_ADMIN_KEY="+adminKey, "LECTERN_RTSP_UDP_PORT=0", "LECTERN_LOG_LEVEL=debug")
	g.cmd.Stdout, g.cmd.Stderr = g.log, g.log
	if err := g.cmd.Start(); err != nil {
		g.t.Fatal(err)
	}
	g.eventually(15*time.Second, "the gateway is ready", func() error {
		b, err := os.ReadFile(filepath.Join(g.data, "lectern.run.json"))
		if err != nil {
			return err
		}
		if err := json.Unmarshal(b, &g.addr); err != nil {
			return err
		}
		resp, err := http11.Get(g.url("/readyz"))
		if err != nil {
			return err
		}
		resp.Body.Close()
		if resp.StatusCode != 200 {
			return errors.New(resp.Status)
		}
		return nil
	})
}

// http11 is named so because start has a parameter http.
var http11 = &http.Client{Timeout: 20 * time.Second}

// kill ends the process as a power cut would: no signal handler runs.
func (g *gateway) kill() {
	g.t.Helper()
	if err := g.cmd.Process.Kill(); err != nil {
		g.t.Fatal(err)
	}
	_ = g.cmd.Wait()
}

// restart starts again on the same data and the same ports.
func (g *gateway) restart() {
	g.t.Helper()
	g.start(g.addr.HTTP, g.addr.WebRTC, g.addr.RTSP, g.addr.RTMP)
}

// stop ends the process in order, and fails the test if it does not end well.
func (g *gateway) stop() {
	if g.cmd == nil || g.cmd.ProcessState != nil {
		return
	}
	_ = g.cmd.Process.Signal(syscall.SIGTERM)
	done := make(chan error, 1)
	go func() { done <- g.cmd.Wait() }()
	select {
	case err := <-done:
		if err != nil {
			g.t.Errorf("the gateway ended with %v", err)
		}
	case <-time.After(20 * time.Second):
		_ = g.cmd.Process.Signal(syscall.SIGQUIT)
		<-done
		g.t.Error("the gateway did not end within 20 s of SIGTERM")
	}
}

func (g *gateway) url(path string) string { return "http://" + g.addr.HTTP + path }

// token makes a token with the command, as an operator would.
func (g *gateway) token(room, role string, more ...string) string {
	g.t.Helper()
	args := append([]string{"token", "--data", g.data, "--room", room, "--role", role}, more...)
	out, err := exec.Command(lecternBin(g.t), args...).Output()
	if err != nil {
		g.t.Fatalf("lectern token: %v", err)
	}
	return strings.TrimSpace(string(out))
}

// call makes an API request and decodes the answer into out, if not nil.
func (g *gateway) call(method, path, token string, body, out any) *http.Response {
	g.t.Helper()
	var r io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			g.t.Fatal(err)
		}
		r = bytes.NewReader(b)
	}
	req, err := http.NewRequest(method, g.url(path), r)
	if err != nil {
		g.t.Fatal(err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http11.Do(req)
	if err != nil {
		g.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		g.t.Fatal(err)
	}
	if out != nil {
		if resp.StatusCode/100 != 2 {
			g.t.Fatalf("%s %s: %s: %s", method, path, resp.Status, b)
		}
		if err := json.Unmarshal(b, out); err != nil {
			g.t.Fatalf("%s %s: %v in %s", method, path, err, b)
		}
	}
	return resp
}

// eventually polls until f succeeds.
func (g *gateway) eventually(within time.Duration, what string, f func() error) {
	g.t.Helper()
	eventually(g.t, within, what, f)
}

func eventually(t *testing.T, within time.Duration, what string, f func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		err := f()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("not within %s: %s: %v", within, what, err)
		case <-tick.C:
		}
	}
}

// pause lets real time pass where the story is about time itself: a class that
// runs, a network that is away. It is not for waiting until something is done.
func pause(d time.Duration) { <-time.After(d) }

// logBuffer keeps the end of what the gateway writes.
type logBuffer struct {
	mu sync.Mutex // guards what follows
	b  []byte
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.b = append(l.b, p...)
	if over := len(l.b) - 256<<10; over > 0 {
		l.b = l.b[over:]
	}
	return len(p), nil
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.b)
}

func must[T any](t *testing.T) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func want(ok bool, format string, args ...any) error {
	if ok {
		return nil
	}
	return fmt.Errorf(format, args...)
}

// Command bench measures a running binary on this machine: the time from asking
// to the first keyframe for WHEP, RTSP and RTMP. GATEWAY_BIN names the binary.
// Figures belong into docs/PERFORMANCE.md with the machine they were made on.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/pion/webrtc/v4"

	"github.com/lectern/lectern/internal/peer"
)

const (
	adminKey = "benchmark-admin-key"
	rounds   = 15
	kbits    = 2500
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run() error {
	dir, err := os.MkdirTemp("", "lectern-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	g, err := start(dir)
	if err != nil {
		return err
	}
	defer g.stop()
	fmt.Printf("time to the first keyframe, %d rounds, 720p30 at %d kbit/s, one publisher, loopback\n", rounds, kbits)
	for _, mime := range []string{webrtc.MimeTypeH264, webrtc.MimeTypeVP8} {
		clip, err := peer.MakeClip(dir, mime, kbits)
		if err != nil {
			return err
		}
		if err := g.joins(clip); err != nil {
			return err
		}
	}
	return nil
}

// gateway is the binary under measurement.
type gateway struct {
	cmd  *exec.Cmd
	data string
	addr struct{ HTTP, RTSP, RTMP string }
}

func start(dir string) (*gateway, error) {
	g := &gateway{data: filepath.Join(dir, "data")}
	const any = "127.0.0.1:0"
	g.cmd = exec.Command(os.Getenv("GATEWAY_BIN"), "serve", "--data", g.data, "--http", any, "--webrtc", any, "--rtsp", any, "--rtmp", any)
	g.cmd.Env = append(os.Environ(), "LECTERN_ADMIN_KEY="+adminKey, "LECTERN_RTSP_UDP_PORT=0", "LECTERN_LOG_LEVEL=warn")
	g.cmd.Stderr = os.Stderr
	if err := g.cmd.Start(); err != nil {
		return nil, err
	}
	for range 100 {
		b, err := os.ReadFile(filepath.Join(g.data, "lectern.run.json"))
		if err == nil && json.Unmarshal(b, &g.addr) == nil {
			if resp, err := http.Get("http://" + g.addr.HTTP + "/readyz"); err == nil {
				_ = resp.Body.Close()
				return g, nil
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
	g.stop()
	return nil, fmt.Errorf("the gateway did not start")
}

func (g *gateway) stop() {
	_ = g.cmd.Process.Signal(os.Interrupt)
	_ = g.cmd.Wait()
}

func (g *gateway) token(role string) (string, error) {
	out, err := exec.Command(os.Getenv("GATEWAY_BIN"), "token", "--data", g.data, "--room", "bench", "--role", role).Output()
	return strings.TrimSpace(string(out)), err
}

// joins measures all ways of watching a publisher of clip.
func (g *gateway) joins(clip *peer.Clip) error {
	teacher, err := g.token("teacher")
	if err != nil {
		return err
	}
	student, err := g.token("student")
	if err != nil {
		return err
	}
	player, err := g.token("player")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	p, err := peer.Publish(ctx, peer.Options{URL: "http://" + g.addr.HTTP + "/whip/bench", Token: teacher}, clip.MIME, false)
	if err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	played := make(chan error, 1)
	go func() { played <- p.Play(ctx, clip) }() // ended by cancel
	time.Sleep(2 * time.Second)
	whep := func() (time.Duration, error) { return firstFrame(g.addr.HTTP, student, clip.MIME) }
	rtsp := fmt.Sprintf("rtsp://%s/bench?token=%s", g.addr.RTSP, player)
	rtmp := fmt.Sprintf("rtmp://%s/live/bench?token=%s", g.addr.RTMP, player)
	report(clip.MIME, "WHEP", whep)
	report(clip.MIME, "RTSP (TCP)", func() (time.Duration, error) { return firstByte("-rtsp_transport", "tcp", "-i", rtsp) })
	report(clip.MIME, "RTSP (UDP)", func() (time.Duration, error) { return firstByte("-rtsp_transport", "udp", "-i", rtsp) })
	report(clip.MIME, "RTMP", func() (time.Duration, error) { return firstByte("-i", rtmp) })
	cancel()
	<-played
	return p.Close(true)
}

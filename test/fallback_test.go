package test

import (
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"

	"github.com/lectern/lectern/internal/peer"
)

// watchFor is how long a browser must decode without a fault: short as a rule,
// LECTERN_FALLBACK=60s for certainty.
func watchFor(t *testing.T) time.Duration {
	t.Helper()
	if v := os.Getenv("LECTERN_FALLBACK"); v != "" {
		return must[time.Duration](t)(time.ParseDuration(v))
	}
	return 6 * time.Second
}

// lesson publishes a clip, which costs the machine little and is as steady as a
// clock, to url until the test ends.
func lesson(t *testing.T, url, token string, clip *peer.Clip, stamp bool) *peer.Publisher {
	t.Helper()
	joining, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	p := must[*peer.Publisher](t)(peer.Publish(joining, peer.Options{URL: url, Token: token}, clip.MIME, false))
	p.Stamp = stamp
	ctx, stop := context.WithCancel(context.Background())
	played := make(chan error, 1)
	go func() { played <- p.Play(ctx, clip) }() // ended by the cleanup
	t.Cleanup(func() {
		stop()
		if err := <-played; err != nil {
			t.Errorf("publisher: %v", err)
		}
		_ = p.Close(true) // the gateway may have ended before
	})
	return p
}

// fallback is a way for media that is not the best one.
type fallback struct {
	name  string
	env   map[string]string
	host  string // "" is 127.0.0.1
	watch watchOptions
	way   func(way) bool // what the browser says of it
	says  string         // what the log says once
}

func fallbacks() []fallback {
	udp := func(w way) bool { return w.Protocol == "udp" && w.Type != "relay" }
	turn := map[string]string{
		"LECTERN_TURN_UDP_ADDR": "127.0.0.1:0", "LECTERN_TURN_TCP_ADDR": "127.0.0.1:0", "LECTERN_TURN_TLS_ADDR": "",
	}
	return []fallback{
		{name: "best", way: udp},
		{name: "no segmentation", env: map[string]string{"LECTERN_WEBRTC_GSO": "false"}, way: udp, says: "udp segmentation is switched off"},
		{name: "no batches", env: map[string]string{"LECTERN_WEBRTC_BATCHING": "false"}, way: udp, says: "batched sending is switched off"},
		{name: "TCP", watch: watchOptions{Only: "tcp"}, way: func(w way) bool { return w.Protocol == "tcp" && w.Type != "relay" }},
		{name: "TURN", env: turn, watch: watchOptions{Relay: true}, way: func(w way) bool { return w.Type == "relay" }},
		{name: "IPv6", host: "::1", way: func(w way) bool { return w.Protocol == "udp" && strings.Contains(w.Remote, ":") }},
	}
}

// A browser decodes without a fault however its packets go.
func TestFallbacks_ChromiumDecodesThroughEach(t *testing.T) {
	clip := must[*peer.Clip](t)(peer.MakeSmallClip(t.TempDir(), webrtc.MimeTypeVP8, 1500, 480))
	b := openBrowser(t, "chromium")
	for _, f := range fallbacks() {
		t.Run(f.name, func(t *testing.T) {
			b.t = t
			for k, v := range f.env {
				t.Setenv(k, v)
			}
			if f.host == "" {
				f.host = "127.0.0.1"
			}
			g := gatewayAt(t, f.host)
			lesson(t, g.url("/whip/chemistry"), adminKey, clip, false)
			p := b.open(g.url("/")).tools()
			defer p.close()
			o := f.watch
			o.URL, o.Token = g.url("/whep/chemistry"), adminKey
			id := p.watch(o)
			p.sees(id, 30)
			if w := p.way(id); !f.way(w) {
				t.Errorf("media go by %+v", w)
			}
			steady(t, p, id)
			if n := strings.Count(g.log.String(), f.says); f.says != "" && n != 1 {
				t.Errorf("the log says %q %d times", f.says, n)
			}
			if s := p.end(id); s != 200 {
				t.Errorf("DELETE answered %d", s)
			}
		})
	}
}

// gatewayAt is startGateway on another address of this machine.
func gatewayAt(t *testing.T, host string) *gateway {
	t.Helper()
	addr := net.JoinHostPort(host, "0")
	if l, err := net.Listen("tcp", addr); err != nil {
		t.Skipf("no %s here: %v", host, err)
	} else {
		_ = l.Close()
	}
	g := &gateway{t: t, data: t.TempDir(), log: &logBuffer{}}
	t.Cleanup(func() {
		g.stop()
		if t.Failed() {
			t.Logf("the gateway's log:\n%s", g.log)
		}
	})
	g.start(addr, addr, addr, addr)
	return g
}

// steady wants a while without a lost packet, a freeze, a dropped frame or a
// call for a keyframe. A machine that is busy with something else may stand
// still now and then: one of three whiles must be without fault.
func steady(t *testing.T, p *page, id int) {
	t.Helper()
	var said []string
	for range 3 {
		before := p.stats(id).Video
		pause(watchFor(t))
		now := p.stats(id).Video
		decoded, frozen := now.FramesDecoded-before.FramesDecoded, now.FreezeCount-before.FreezeCount
		lost, dropped, calls := now.PacketsLost-before.PacketsLost, now.FramesDropped-before.FramesDropped, now.PLICount-before.PLICount
		if decoded >= int(watchFor(t).Seconds()*30*.9) && frozen+lost+dropped+calls == 0 {
			return
		}
		said = append(said, fmt.Sprintf("%d frames decoded, %d dropped, %d freezes of %.2f s, %d packets lost, %d keyframes asked",
			decoded, dropped, frozen, now.TotalFreezesDuration-before.TotalFreezesDuration, lost, calls))
	}
	t.Errorf("none of three times %s was without a fault:\n%s", watchFor(t), strings.Join(said, "\n"))
}

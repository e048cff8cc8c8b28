package test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"github.com/lectern/lectern/internal/netsim"
	"github.com/lectern/lectern/internal/peer"
)

// poor is a poor network in front of the gateway: who signals at its url has
// media go through its relay.
type poor struct {
	relay *netsim.Relay
	base  string
}

func newPoor(t *testing.T, g *gateway, up, down netsim.Link) *poor {
	t.Helper()
	target := must[*url.URL](t)(url.Parse(g.url("")))
	relay := must[*netsim.Relay](t)(netsim.Listen(netsim.Config{
		Target: must[netip.AddrPort](t)(netip.ParseAddrPort(g.addr.WebRTC)), Up: up, Down: down, Seed: 1,
	}))
	front := httptest.NewServer(relay.Handler(target))
	t.Cleanup(func() {
		front.CloseClientConnections()
		front.Close()
		if err := relay.Close(); err != nil {
			t.Error(err)
		}
	})
	return &poor{relay, front.URL}
}

func (p *poor) url(path string) string { return p.base + path }

// screen is a viewer that shows no picture, but tells what would be seen.
type screen struct {
	*peer.Playout
	viewer *peer.Viewer
}

func attendAt(t *testing.T, url, token, mime string) *screen {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	s := &screen{Playout: peer.NewPlayout(mime)}
	s.viewer = must[*peer.Viewer](t)(peer.Watch(ctx, peer.Options{URL: url, Token: token, Wait: true}, func(kind webrtc.RTPCodecType, _ string, p *rtp.Packet) {
		if kind == webrtc.RTPCodecTypeVideo {
			s.Add(p)
		}
	}))
	t.Cleanup(func() { _ = s.viewer.Close() }) // the gateway may have ended before
	return s
}

// smooth wants a while without a freeze. What a busy machine does to one while
// it does not do to three.
func (s *screen) smooth(t *testing.T, longest time.Duration) {
	t.Helper()
	s.smoothAt(t, 30, longest)
}

// smoothAt is smooth for so many pictures a second.
func (s *screen) smoothAt(t *testing.T, fps float64, longest time.Duration) {
	t.Helper()
	const while = 5 * time.Second
	var said []string
	for range 3 {
		s.Take()
		pause(while)
		seen := s.Take()
		t.Logf("%d pictures, median %s, p95 %s, longest gap %s, %d keyframes skipped to", seen.Pictures,
			seen.Latency(.5).Round(time.Millisecond), seen.Latency(.95).Round(time.Millisecond), seen.Longest.Round(time.Millisecond), seen.Skipped)
		if seen.Longest <= longest && seen.Pictures >= int(while.Seconds()*fps*.9) {
			return
		}
		said = append(said, fmt.Sprintf("%d pictures, longest gap %s", seen.Pictures, seen.Longest))
	}
	t.Errorf("none of three times %s was smooth: %s", while, strings.Join(said, "; "))
}

const (
	far        = 40 * time.Millisecond
	wobble     = 10 * time.Millisecond
	mostFrozen = 300 * time.Millisecond
)

// What is lost on the way from the publisher is asked for again, and the student
// sees no freeze.
func TestPoorNetwork_OfThePublisherIsRepaired(t *testing.T) {
	t.Parallel() // it waits more than it works
	clip := must[*peer.Clip](t)(peer.MakeSmallClip(t.TempDir(), webrtc.MimeTypeVP8, 1500, 360))
	for name, c := range map[string]struct{ up, down netsim.Link }{
		"5 % lost and 40 ms":     {netsim.Link{Loss: .05, Delay: far}, netsim.Link{Delay: far}},
		"5 % lost each way":      {netsim.Link{Loss: .05, Delay: far}, netsim.Link{Loss: .05, Delay: far}},
		"5 % lost, 10 ms jitter": {netsim.Link{Loss: .05, Delay: far, Jitter: wobble}, netsim.Link{Delay: far, Jitter: wobble}},
		"5 % each way, jitter":   {netsim.Link{Loss: .05, Delay: far, Jitter: wobble}, netsim.Link{Loss: .05, Delay: far, Jitter: wobble}},
		"5 % held back by 15 ms": {netsim.Link{Reorder: .05, ReorderBy: 15 * time.Millisecond, Delay: far}, netsim.Link{Delay: far}},
		"jitter of 30 ms":        {netsim.Link{Delay: far, Jitter: 30 * time.Millisecond}, netsim.Link{Delay: far}},
		"20 % twice":             {netsim.Link{Duplicate: .2, Delay: far}, netsim.Link{Duplicate: .2, Delay: far}},
	} {
		t.Run(name, func(t *testing.T) {
			g := startGateway(t)
			net := newPoor(t, g, c.up, c.down)
			lesson(t, net.url("/whip/optics"), adminKey, clip, true)
			s := attendAt(t, g.url("/whep/optics"), adminKey, clip.MIME)
			pause(2 * time.Second)
			s.smooth(t, mostFrozen)
			up, _ := net.relay.Stats()
			t.Logf("the relay: %+v", up)
			if c.up.Loss > 0 && up.Lost == 0 {
				t.Error("nothing was lost; the relay is not in the way")
			}
		})
	}
}

// A browser repairs as it sees fit; that too must do.
func TestPoorNetwork_OfABrowserThatPublishesIsRepaired(t *testing.T) {
	t.Parallel() // it waits more than it works
	g := startGateway(t)
	lossy := netsim.Link{Loss: .05, Delay: far}
	net := newPoor(t, g, lossy, lossy)
	teacher := openBrowser(t, "chromium").open(net.url("/")).tools()
	teacher.publish(publishOptions{URL: net.url("/whip/optics"), Token: adminKey, Codec: "VP8", Width: 640, Height: 360})
	s := attendAt(t, g.url("/whep/optics"), adminKey, webrtc.MimeTypeVP8)
	pause(converged)
	s.smoothAt(t, 20, mostFrozen) // its made-up camera has 20 pictures a second
}

// A browser on a poor network asks for what it lacks, and shows the lesson.
func TestPoorNetwork_OfAViewerIsRepaired(t *testing.T) {
	clip := must[*peer.Clip](t)(peer.MakeSmallClip(t.TempDir(), webrtc.MimeTypeVP8, 1500, 360))
	b := openBrowser(t, "chromium")
	for name, down := range map[string]netsim.Link{
		"2 % lost":               {Loss: .02, Delay: far / 2},
		"5 % lost":               {Loss: .05, Delay: far / 2},
		"5 % held back by 15 ms": {Reorder: .05, ReorderBy: 15 * time.Millisecond, Delay: far / 2},
		"20 % twice":             {Duplicate: .2, Delay: far / 2},
	} {
		t.Run(name, func(t *testing.T) {
			b.t = t
			g := startGateway(t)
			lesson(t, g.url("/whip/optics"), adminKey, clip, true)
			net := newPoor(t, g, netsim.Link{Delay: far / 2}, down)
			other := attendAt(t, g.url("/whep/optics"), adminKey, clip.MIME)
			p := b.open(net.url("/")).tools()
			defer p.close()
			id := p.watch(watchOptions{URL: net.url("/whep/optics"), Token: adminKey})
			p.sees(id, 60)
			repaired(t, p, id, down.Loss > 0)
			other.smooth(t, mostFrozen) // whoever is on a good network does not notice
			if _, d := net.relay.Stats(); d.Passed == 0 || down.Loss > 0 && d.Lost == 0 {
				t.Errorf("the relay is not in the way: %+v", d)
			}
		})
	}
}

// repaired wants a while without freezes in which packets were asked for.
func repaired(t *testing.T, p *page, id int, lossy bool) {
	t.Helper()
	var said []string
	for range 3 {
		before := p.stats(id).Video
		pause(4 * time.Second)
		now := p.stats(id).Video
		decoded, frozen := now.FramesDecoded-before.FramesDecoded, now.FreezeCount-before.FreezeCount
		asked, calls := now.NackCount-before.NackCount, now.PLICount-before.PLICount
		word := fmt.Sprintf("%d frames decoded, %d freezes of %.2f s, %d NACK, %d PLI", decoded, frozen, now.TotalFreezesDuration-before.TotalFreezesDuration, asked, calls)
		t.Log(word)
		if decoded >= 100 && frozen == 0 && calls <= 1 && (asked > 0 || !lossy) {
			return
		}
		said = append(said, word)
	}
	t.Errorf("none of three times was without fault:\n%s", strings.Join(said, "\n"))
}

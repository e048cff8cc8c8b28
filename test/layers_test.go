package test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"

	"github.com/lectern/lectern/internal/netsim"
	"github.com/lectern/lectern/internal/peer"
)

const (
	wide, narrow = 3_000_000, 400_000 // bits per second of a viewer's network
	// bottleneck is what waits before a narrow network, bytes: half a second of
	// the narrow one.
	bottleneck = 24_000

	converged   = 5 * time.Second
	steadyFor   = 10 * time.Second
	layerFreeze = 500 * time.Millisecond
)

// qualities publishes three layers, l, m and h of 150 kbit/s, 500 kbit/s and
// 2 Mbit/s, until the test ends.
func qualities(t *testing.T, url, token string) *peer.LayerPublisher {
	t.Helper()
	return qualitiesOf(t, peer.Options{URL: url, Token: token}, webrtc.MimeTypeVP8, false)
}

// qualitiesOf is qualities in another codec, and perhaps without stamps.
func qualitiesOf(t *testing.T, opts peer.Options, mime string, plain bool) *peer.LayerPublisher {
	t.Helper()
	var layers []peer.Layer
	for _, l := range []struct {
		rid           string
		kbits, height int
	}{{"l", 150, 180}, {"m", 500, 360}, {"h", 2000, 720}} {
		layers = append(layers, peer.Layer{RID: l.rid, Clip: must[*peer.Clip](t)(peer.MakeSmallClip(t.TempDir(), mime, l.kbits, l.height))})
	}
	joining, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	p := must[*peer.LayerPublisher](t)(peer.PublishLayers(joining, opts, layers))
	p.Plain = plain
	ctx, stop := context.WithCancel(context.Background())
	played := make(chan error, 1)
	go func() { played <- p.Play(ctx) }() // ended by the cleanup
	t.Cleanup(func() {
		stop()
		if err := <-played; err != nil {
			t.Errorf("publisher: %v", err)
		}
		_ = p.Close() // the gateway may have ended before
	})
	if !p.Accepted() {
		t.Skip("this gateway takes one quality of a publisher: nothing to choose from")
	}
	return p
}

// follow gathers what a screen sees for so long, or until the layer is shown.
func follow(s *screen, layer byte, within time.Duration) (all peer.Seen, ok bool) {
	for end := time.Now().Add(within); time.Now().Before(end); {
		pause(100 * time.Millisecond)
		seen := s.Take()
		all.Pictures += seen.Pictures
		all.Longest = max(all.Longest, seen.Longest)
		all.Switches = append(all.Switches, seen.Switches...)
		if all.Layer = seen.Layer; seen.Layer == layer {
			return all, true
		}
	}
	return all, false
}

// changeTo changes the network of a viewer, who must get the layer for it, and
// returns what was wrong with what this viewer and another one saw.
func changeTo(t *testing.T, poor, rich *screen, layer byte, change func()) (faults []string) {
	t.Helper()
	poor.Take()
	rich.Take()
	change()
	changed := time.Now()
	seen, ok := follow(poor, layer, converged)
	t.Logf("layer %q after %s, longest gap %s", seen.Layer, time.Since(changed).Round(100*time.Millisecond), seen.Longest.Round(time.Millisecond))
	if !ok {
		faults = append(faults, fmt.Sprintf("layer %q after %s, want %q", seen.Layer, converged, layer))
	}
	rest, _ := follow(poor, 0, steadyFor)
	if n := len(rest.Switches); n > int(steadyFor/(5*time.Second)) {
		faults = append(faults, fmt.Sprintf("%d switches in %s", n, steadyFor))
	}
	if frozen := max(seen.Longest, rest.Longest); frozen > layerFreeze {
		faults = append(faults, fmt.Sprintf("frozen for %s", frozen))
	}
	if other := rich.Take(); other.Longest > mostFrozen || len(other.Switches) > 0 {
		faults = append(faults, fmt.Sprintf("another viewer noticed: gap of %s, switches %v", other.Longest, other.Switches))
	}
	return faults
}

// A viewer whose network narrows gets the layer that fits within seconds, and
// the better one back; nothing freezes, nothing swings, nobody else notices.
func TestLayers_FollowTheNetworkOfEachViewer(t *testing.T) {
	t.Parallel() // it waits more than it works
	g := startGateway(t)
	p := qualities(t, g.url("/whip/waves"), adminKey)
	link := func(rate int) netsim.Link {
		return netsim.Link{Rate: rate, Queue: bottleneck, Delay: 20 * time.Millisecond}
	}
	net := newPoor(t, g, netsim.Link{Delay: 20 * time.Millisecond}, link(wide))
	rich := attendAt(t, g.url("/whep/waves"), adminKey, webrtc.MimeTypeVP8)
	poor := attendAt(t, net.url("/whep/waves"), adminKey, webrtc.MimeTypeVP8)
	if seen, ok := follow(rich, 'h', 2*converged); !ok {
		t.Fatalf("who has all the bandwidth there is sees %q", seen.Layer)
	}
	if seen, ok := follow(poor, 'h', 2*converged); !ok {
		t.Fatalf("with 3 Mbit/s the viewer sees %q", seen.Layer)
	}
	began, asked := time.Now(), p.KeyframesAsked("l")+p.KeyframesAsked("m")+p.KeyframesAsked("h")
	for _, c := range []struct {
		rate  int
		layer byte
	}{{narrow, 'l'}, {wide, 'h'}, {narrow, 'l'}, {wide, 'h'}} {
		back := wide + narrow - c.rate
		var said []string
		for range 3 { // what a busy machine does to one, it does not to three
			if said = changeTo(t, poor, rich, c.layer, func() { net.relay.SetDown(link(c.rate)) }); said == nil {
				break
			}
			t.Logf("%d kbit/s: %s; once more", c.rate/1000, strings.Join(said, ", "))
			net.relay.SetDown(link(back))
			follow(poor, map[int]byte{narrow: 'l', wide: 'h'}[back], 2*converged)
		}
		for _, fault := range said {
			t.Errorf("%d kbit/s: %s", c.rate/1000, fault)
		}
	}
	asked = p.KeyframesAsked("l") + p.KeyframesAsked("m") + p.KeyframesAsked("h") - asked
	if each := float64(asked) / time.Since(began).Seconds(); each > 2*3 {
		t.Errorf("%.1f keyframes a second were asked of three layers", each)
	}
}

// A publisher whose network does not carry the best layer any more stops it; the
// next one is shown instead.
func TestLayers_ThatThePublisherStopsAreReplaced(t *testing.T) {
	t.Parallel() // it waits more than it works
	g := startGateway(t)
	p := qualities(t, g.url("/whip/waves"), adminKey)
	s := attendAt(t, g.url("/whep/waves"), adminKey, webrtc.MimeTypeVP8)
	for i, c := range []struct {
		rid    string
		paused bool
		want   byte
	}{{"", false, 'h'}, {"h", true, 'm'}, {"m", true, 'l'}, {"m", false, 'm'}, {"h", false, 'h'}} {
		p.Pause(c.rid, c.paused)
		seen, ok := follow(s, c.want, 2*converged)
		if !ok {
			t.Fatalf("step %d: layer %q, want %q", i, seen.Layer, c.want)
		}
		t.Logf("step %d: layer %q, longest gap %s", i, seen.Layer, seen.Longest.Round(time.Millisecond))
		if i > 0 && seen.Longest > 1200*time.Millisecond {
			t.Errorf("step %d: frozen for %s", i, seen.Longest)
		}
	}
}

// Below what the lowest layer needs, sound goes on.
func TestLayers_SoundIsKept(t *testing.T) {
	t.Parallel() // it waits more than it works
	g := startGateway(t)
	qualities(t, g.url("/whip/waves"), adminKey)
	net := newPoor(t, g, netsim.Link{}, netsim.Link{Rate: wide, Queue: bottleneck})
	b := openBrowser(t, "chromium")
	page := b.open(net.url("/")).tools()
	id := page.watch(watchOptions{URL: net.url("/whep/waves"), Token: adminKey, Wait: true})
	page.sees(id, 30)
	net.relay.SetDown(netsim.Link{Rate: 120_000, Queue: bottleneck})
	pause(converged)
	before := page.stats(id).Audio
	pause(steadyFor)
	now := page.stats(id).Audio
	got, lost := now.PacketsReceived-before.PacketsReceived, now.PacketsLost-before.PacketsLost
	if total := int(steadyFor / (20 * time.Millisecond)); got < total*9/10 {
		t.Errorf("%d packets of sound came, %d were lost, of %d", got, lost, total)
	}
}

package test

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"github.com/lectern/lectern/internal/peer"
)

// A publisher sends VP8 packets with a descriptor only, cut descriptors and
// noise. Nothing panics; the room serves an honest publisher afterwards.
func TestHostilePackets_GatewayLives(t *testing.T) {
	g := startGateway(t)
	teacher := g.token("lab", "teacher")
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	for _, mime := range []string{webrtc.MimeTypeVP8, webrtc.MimeTypeVP9, webrtc.MimeTypeH264, webrtc.MimeTypeAV1} {
		p, err := peer.Publish(ctx, peer.Options{URL: g.url("/whip/lab"), Token: teacher}, mime, true)
		if err != nil {
			t.Fatalf("%s: %v", mime, err)
		}
		shower(t, p)
		if err := p.Close(true); err != nil {
			t.Errorf("%s: %v", mime, err)
		}
	}
	if r := g.call("GET", "/readyz", "", nil, nil); r.StatusCode != 200 {
		t.Errorf("readyz answers %s", r.Status)
	}
	clip, err := peer.MakeClip(t.TempDir(), webrtc.MimeTypeVP8, 500)
	if err != nil {
		t.Fatal(err)
	}
	p, err := peer.Publish(ctx, peer.Options{URL: g.url("/whip/lab"), Token: teacher}, clip.MIME, false)
	if err != nil {
		t.Fatal(err)
	}
	playing, stop := context.WithTimeout(ctx, 3*time.Second)
	defer stop()
	if err := p.Play(playing, clip); err != nil {
		t.Error(err)
	}
	if err := p.Close(true); err != nil {
		t.Error(err)
	}
	g.eventually(10*time.Second, "the honest class is recorded", func() error {
		all := g.lectures()
		last := all[len(all)-1]
		return want(last.State == "complete" && last.DurationMS > 1500, "%s, %.0f ms", last.State, last.DurationMS)
	})
}

// shower sends what no encoder sends.
func shower(t *testing.T, p *peer.Publisher) {
	rng := rand.New(rand.NewPCG(1, 2))
	payloads := [][]byte{{0x10}, {0x90, 0x80, 0x01}, {0x90}, {0x90, 0xf0, 0x80}, {}, {0x7c}, {0x78, 0xff, 0xff}, {0x1c, 0x85}, {0xff, 0xff, 0xff}}
	for i := range 3000 {
		pl := payloads[i%len(payloads)]
		if i >= 300 {
			pl = make([]byte, rng.IntN(40))
			for j := range pl {
				pl[j] = byte(rng.Uint32())
			}
		}
		h := rtp.Header{Version: 2, SequenceNumber: uint16(i), Timestamp: uint32(i/3) * 3000, Marker: i%3 == 2}
		if err := p.Raw.WriteRTP(&rtp.Packet{Header: h, Payload: pl}); err != nil {
			t.Fatal(err)
		}
		if i%100 == 0 {
			pause(5 * time.Millisecond) // not to overflow the socket
		}
	}
}

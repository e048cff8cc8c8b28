package whep

import (
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"

	"github.com/lectern/lectern/egress/whep/bandwidth"
	"github.com/lectern/lectern/internal/rtc"
	"github.com/lectern/lectern/stream"
)

// rig is a shard with one viewer that is not connected: what it is sent is
// counted and dropped.
type rig struct {
	t     *testing.T
	now   time.Time
	st    *stream.Stream
	sh    *shard
	v     *viewer
	main  *stream.Publication
	asked int
}

func newRig(t *testing.T, layers ...string) *rig {
	t.Helper()
	e, err := rtc.Listen(rtc.Config{Addr: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	sdp, err := os.ReadFile("../../internal/rtc/testdata/offers/chrome-view.sdp")
	if err != nil {
		t.Fatal(err)
	}
	offer, err := rtc.ParseOffer(sdp, rtc.View)
	if err != nil {
		t.Fatal(err)
	}
	peer, err := e.NewSession(rtc.SessionConfig{Offer: offer})
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	b := &rig{t: t, now: time.Now()}
	b.st = stream.New(stream.Config{Name: "room/main", Now: func() time.Time { return b.now }, Origin: b.now.Add(-time.Hour)})
	t.Cleanup(b.st.Close)
	b.sh = &shard{st: b.st, log: log, kick: make(chan struct{}, 1), batch: e.NewBatch(), units: make([]*stream.Unit, burst)}
	b.sh.rings[stream.Audio].init(audioRing)
	b.sh.rings[stream.Video].init(videoRing)
	b.sh.main = &input{sh: b.sh, st: b.st, ring: &b.sh.rings[stream.Video]}
	source := stream.Source{Kinds: []stream.Kind{stream.Audio, stream.Video}, Layers: layers, RequestKeyframe: b.ask}
	if b.main, err = b.st.Publish(source); err != nil {
		t.Fatal(err)
	}
	b.v = &viewer{st: b.st, log: log}
	b.v.init(peer)
	b.v.out[stream.Video].codecs = []rtc.Codec{{MimeType: string(stream.VP8), PayloadType: 96, RTXPayloadType: 97}}
	b.v.shard.Store(b.sh)
	b.sh.viewers = []*viewer{b.v}
	return b
}

func (b *rig) ask() { b.asked++ }

// layers publishes layers, lowest first.
func (b *rig) layers(ids ...string) []*stream.Publication {
	b.t.Helper()
	var out []*stream.Publication
	for _, id := range ids {
		p, err := b.main.Layer(id, stream.Source{Kinds: []stream.Kind{stream.Video}, RequestKeyframe: b.ask})
		if err != nil {
			b.t.Fatal(err)
		}
		in := &input{sh: b.sh, id: id, st: p.Stream(), ring: &ring{}}
		in.ring.init(layerRing)
		b.sh.layers = append(b.sh.layers, in)
		out = append(out, p)
	}
	return out
}

// track returns a track of video.
func track(c stream.Codec) *stream.Track {
	return &stream.Track{ID: "v", Kind: stream.Video, Codec: c, ClockRate: 90000}
}

// picture returns a picture of one packet.
func (b *rig) picture(t *stream.Track, n int, key bool) *stream.Unit {
	return &stream.Unit{
		Track: t, Keyframe: key, PTS: b.st.Since(b.now), Arrival: b.now, Width: 640, Height: 360, EndOfLayer: true,
		Packet: &rtp.Packet{
			Header:  rtp.Header{Version: 2, SequenceNumber: uint16(n), Timestamp: uint32(n) * 3000, Marker: true},
			Payload: make([]byte, 200),
		},
	}
}

// A NACK for the newest packet is answered however long the viewer has been there.
func TestResend_GoesOnAfterHalfATurnOfTheNumbers(t *testing.T) {
	for name, adaptive := range map[string]bool{"plain": false, "chosen": true} {
		t.Run(name, func(t *testing.T) {
			b := newRig(t)
			tr := track(stream.VP8)
			if adaptive {
				b.sh.adaptLocked()
				b.v.video.target, b.v.video.est = b.sh.main, nil // not paced
			}
			for n := range 1 << 17 {
				b.sh.fanLocked([]*stream.Unit{b.picture(tr, n, n == 0)})
				if n%1000 != 999 {
					continue
				}
				b.v.reportLocked(b.now)
				before := b.v.resent.Load()
				b.v.resends, b.v.repairs = 1, 1<<30
				b.v.resendLocked(b.sh.batch, stream.Video, &b.sh.rings[stream.Video], uint16(n))
				if b.v.resent.Load() != before+1 {
					t.Fatalf("packet %d did not come again", n)
				}
			}
		})
	}
}

// With a narrow network packets of the input before are not repaired for long,
// those of the present one always.
func TestRepair_GoesOnAfterHalfATurnOfTheNumbers(t *testing.T) {
	b := newRig(t)
	b.sh.adaptLocked()
	a := b.v.video
	a.est = bandwidth.New(1e6)
	a.target = b.sh.main
	tr := track(stream.VP8)
	for n := range 1 << 17 {
		u := b.picture(tr, n, n == 0)
		b.sh.rings[stream.Video].add(u)
		a.pacer.tokens = 1e6
		a.take(b.sh.batch, b.sh.main, u, b.now)
		a.came = b.now.Add(-time.Minute)
		if n%1000 != 999 {
			continue
		}
		before := b.v.resent.Load()
		b.v.resends, b.v.repairs = 1, 1<<30
		b.v.resendLocked(b.sh.batch, stream.Video, &b.sh.rings[stream.Video], uint16(n))
		if b.v.resent.Load() != before+1 {
			t.Fatalf("packet %d did not come again", n)
		}
	}
}

// What a viewer cannot decode must cost neither numbers, which it would take for
// losses, nor keyframes of everyone else.
func TestVideo_ATrackThatTheViewerCannotDecode(t *testing.T) {
	b := newRig(t)
	b.sh.adaptLocked()
	a := b.v.video
	take := func(u *stream.Unit) {
		b.sh.rings[stream.Video].add(u)
		a.take(b.sh.batch, b.sh.main, u, b.now)
	}
	a.target = b.sh.main
	vp8, vp9 := track(stream.VP8), track(stream.VP9)
	take(b.picture(vp8, 0, true))
	if a.from != b.sh.main || b.v.out[stream.Video].lastSeq != 0 {
		t.Fatalf("the picture does not begin: %+v", b.v.out[stream.Video])
	}
	b.asked = 0
	for n := range 40000 {
		b.now = b.now.Add(10 * time.Millisecond)
		take(b.picture(vp9, 1+n, n%100 == 0))
		a.goTo(b.sh, b.sh.main, 1e6, b.now)
	}
	if a.from != nil || b.v.out[stream.Video].lastSeq != 0 {
		t.Errorf("%d numbers went to what cannot be decoded", b.v.out[stream.Video].lastSeq)
	}
	if b.asked > 1 {
		t.Errorf("asked for %d keyframes in vain", b.asked)
	}
	take(b.picture(track(stream.VP8), 40001, true))
	if got := b.v.out[stream.Video].lastSeq; a.from == nil || got != 1 {
		t.Errorf("goes on with packet %d, want 1", got)
	}
}

// A screen that stands still is silent for a second and more, while the sound
// goes on: its viewers stay where they are, and nobody asks for a keyframe.
func TestLook_AStillScreenKeepsItsLayer(t *testing.T) {
	b := newRig(t, "q", "f")
	pubs := b.layers("q", "f")
	b.sh.adaptLocked()
	tr, sound := track(stream.VP8), &stream.Track{ID: "a", Kind: stream.Audio, Codec: stream.Opus, ClockRate: 48000}
	best := b.sh.layers[1]
	write := func(n int, key bool) {
		u := b.picture(tr, n, key)
		if err := pubs[1].Write(u); err != nil {
			t.Fatal(err)
		}
		b.sh.fanLayerLocked(best, []*stream.Unit{u})
	}
	for n := range 30 {
		write(n, n == 0)
		b.now = b.now.Add(100 * time.Millisecond)
		b.sh.lookLocked(b.now)
		b.sh.decideLocked(b.v, b.now)
	}
	if b.v.video.from != best {
		t.Fatalf("is sent %v", b.v.video.from)
	}
	rate := b.sh.all[len(b.sh.all)-1].rate()
	b.asked = 0
	for n := range 25 {
		u := &stream.Unit{
			Track: sound, Keyframe: true, PTS: b.st.Since(b.now), Arrival: b.now,
			Packet: &rtp.Packet{Header: rtp.Header{Version: 2, SequenceNumber: uint16(n)}, Payload: make([]byte, 80)},
		}
		if err := b.main.Write(u); err != nil {
			t.Fatal(err)
		}
		b.now = b.now.Add(100 * time.Millisecond)
		b.sh.lookLocked(b.now)
		b.sh.decideLocked(b.v, b.now)
		last := len(b.sh.all) - 1
		if got := b.v.video.chooser.now.reason; b.sh.of[last] != best || b.v.video.target != nil || got != ReasonBest {
			t.Fatalf("after %d tenths of a second: target %v, %q", n+1, b.v.video.target, got)
		}
		if got := b.sh.all[last].rate(); got > 2*rate || got < rate/2 {
			t.Fatalf("after %d tenths of a second: %v bit/s, was %v", n+1, got, rate)
		}
	}
	if b.asked > 0 {
		t.Errorf("asked for %d keyframes", b.asked)
	}
}

// Without repairs there is nothing to try the network with: such a viewer rises
// by its receiver reports, from below what it is sent to the best.
func TestAdapt_RisesWithoutRepairs(t *testing.T) {
	b := newRig(t)
	b.v.out[stream.Video].rtxSSRC = 0
	b.sh.adaptLocked()
	b.v.video.target = b.sh.main
	b.sh.fanLocked([]*stream.Unit{b.picture(track(stream.VP8), 0, true)})
	b.sh.feedback(b.v, &rtcp.TransportLayerCC{
		BaseSequenceNumber: 1, PacketStatusCount: 1,
		PacketChunks: []rtcp.PacketStatusChunk{&rtcp.RunLengthChunk{PacketStatusSymbol: rtcp.TypeTCCPacketReceivedSmallDelta, RunLength: 1}},
		RecvDeltas:   []*rtcp.RecvDelta{{Type: rtcp.TypeTCCPacketReceivedSmallDelta, Delta: 250}},
	}, time.Now())
	reports := []rtcp.ReceptionReport{{SSRC: b.v.out[stream.Video].ssrc}}
	b.v.video.want, b.v.video.rate = 4e6, 1e6
	for range 20 {
		b.now = b.now.Add(time.Second)
		reports[0].LastSequenceNumber += 200
		b.sh.received(b.v, reports, b.now)
	}
	if got := b.v.video.estimate(b.now).Rate; got < 4e6 {
		t.Errorf("after 20 s without losses: got %v bit/s, want 4e6", got)
	}
}

package whep_test

import (
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"github.com/lectern/lectern/egress/whep"
	"github.com/lectern/lectern/stream"
)

// svc writes VP9 of two spatial layers, two packets each, and counts.
type svc struct {
	g     *gate
	pub   *stream.Publication
	track *stream.Track
	seq   uint16
	n     uint16
	asked chan struct{}
}

func (s *svc) ask() {
	select {
	case s.asked <- struct{}{}:
	default: // enough are due
	}
}

func (s *svc) picture(key bool) {
	s.g.t.Helper()
	now := time.Now()
	for i := range 4 {
		layer := uint8(i / 2)
		payload := []byte{0xb0, 0x80 | byte(s.n>>8), byte(s.n), layer << 1, byte(s.n), layer, byte(i)}
		u := &stream.Unit{
			Track: s.track, PTS: s.g.st.Since(now), Arrival: now, Keyframe: key && i == 0, Spatial: layer, EndOfLayer: i%2 == 1,
			Packet: &rtp.Packet{Header: rtp.Header{Version: 2, SequenceNumber: s.seq, Timestamp: uint32(s.n) * 3000, Marker: i == 3}, Payload: append(payload, make([]byte, 200)...)},
		}
		if err := s.pub.Write(u); err != nil {
			s.g.t.Fatal(err)
		}
		s.seq++
	}
	s.n++
}

func TestAdapt_SpatialLayersOfOneStream(t *testing.T) {
	g := newGate(t)
	w := g.watch()
	s := &svc{g: g, track: &stream.Track{ID: "v", Kind: stream.Video, Codec: stream.VP9, ClockRate: 90000}, asked: make(chan struct{}, 64)}
	var err error
	if s.pub, err = g.st.Publish(stream.Source{Kinds: []stream.Kind{stream.Video}, RequestKeyframe: s.ask}); err != nil {
		t.Fatal(err)
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	s.picture(true)
	eventually(t, "both layers are seen", func() bool {
		s.picture(false)
		return len(w.sess.Layers()) == 2
	})
	var last *rtp.Packet
	// read takes packets up to the one that ok says yes to.
	read := func(what string, ok func(p *rtp.Packet) bool) {
		t.Helper()
		for range 500 {
			select {
			case <-s.asked:
				s.picture(true)
			case <-tick.C:
				s.picture(false)
			}
			for len(w.got) > 0 {
				p := w.next(t, webrtc.MimeTypeVP9)
				if last != nil && int16(p.SequenceNumber-last.SequenceNumber) <= 0 {
					continue // a repeat, to try the network
				}
				if last != nil && p.SequenceNumber != last.SequenceNumber+1 {
					t.Fatalf("packet %d after %d", p.SequenceNumber, last.SequenceNumber)
				}
				if last != nil && (p.Timestamp != last.Timestamp) != last.Marker {
					t.Fatalf("marker %t between %d and %d", last.Marker, last.Timestamp, p.Timestamp)
				}
				last = p
				if ok(p) {
					return
				}
			}
		}
		t.Fatal("not in time: ", what)
	}
	read("the upper layer", func(p *rtp.Packet) bool { return p.Payload[5] == 1 })
	zero := 0
	if err := w.sess.Select(whep.LayerChoice{MaxSpatial: &zero}); err != nil {
		t.Fatal(err)
	}
	low := 0
	read("the lower layer alone", func(p *rtp.Packet) bool {
		if low++; p.Payload[5] == 1 {
			low = 0
		}
		return low == 20
	})
	if err := w.sess.Select(whep.LayerChoice{}); err != nil {
		t.Fatal(err)
	}
	from := s.n
	read("the upper layer again", func(p *rtp.Packet) bool { return p.Payload[5] == 1 })
	if st := w.sess.Stats(); st.Spatial != 1 {
		t.Errorf("got %+v", st)
	}
	if n := g.st.Stats().Keyframes; n < 2 || s.n == from {
		t.Errorf("went up without a keyframe: %d", n)
	}
}

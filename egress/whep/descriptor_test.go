package whep_test

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"github.com/lectern/lectern/stream"
)

const descriptorURI = "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension"

// watchDescribed is watch with a viewer that takes dependency descriptors, and
// returns their id too.
func (g *gate) watchDescribed() (*watcher, uint8) {
	g.t.Helper()
	var se webrtc.SettingEngine
	se.SetIncludeLoopbackCandidate(true)
	me := &webrtc.MediaEngine{}
	if err := me.RegisterDefaultCodecs(); err != nil {
		g.t.Fatal(err)
	}
	if err := me.RegisterHeaderExtension(webrtc.RTPHeaderExtensionCapability{URI: descriptorURI}, webrtc.RTPCodecTypeVideo); err != nil {
		g.t.Fatal(err)
	}
	pc, err := webrtc.NewAPI(webrtc.WithSettingEngine(se), webrtc.WithMediaEngine(me)).NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		g.t.Fatal(err)
	}
	w := g.attach(pc)
	before, _, ok := strings.Cut(string(w.sess.Answer()), " "+descriptorURI)
	id, err := strconv.Atoi(before[strings.LastIndexByte(before, ':')+1:])
	if !ok || err != nil {
		g.t.Fatalf("descriptors were not negotiated: %v\n%s", err, w.sess.Answer())
	}
	return w, uint8(id)
}

// av1 writes AV1 of two spatial layers, a packet each, or of one.
type av1 struct {
	g      *gate
	pub    *stream.Publication
	track  *stream.Track
	layers int
	seq, n uint16
	frame  uint16 // number in the descriptor
}

func (g *gate) publishAV1(layers int) *av1 {
	g.t.Helper()
	s := &av1{g: g, layers: layers, frame: 65500, track: &stream.Track{ID: "v", Kind: stream.Video, Codec: stream.AV1, ClockRate: 90000}}
	var err error
	if s.pub, err = g.st.Publish(stream.Source{Kinds: []stream.Kind{stream.Video}}); err != nil {
		g.t.Fatal(err)
	}
	return s
}

func (s *av1) picture(key bool) {
	s.g.t.Helper()
	now := time.Now()
	for i := range s.layers {
		u := &stream.Unit{
			Track: s.track, PTS: s.g.st.Since(now), Arrival: now, Keyframe: key && i == 0, Spatial: uint8(i), EndOfLayer: true,
			Descriptor: []byte{0xc0 | byte(i), byte(s.frame >> 8), byte(s.frame), byte(s.n)},
			Packet: &rtp.Packet{
				Header:  rtp.Header{Version: 2, SequenceNumber: s.seq, Timestamp: uint32(s.n) * 3000, Marker: i == s.layers-1},
				Payload: append([]byte{0x10, 0x34, byte(i) << 3}, make([]byte, 100)...),
			},
		}
		if err := s.pub.Write(u); err != nil {
			s.g.t.Fatal(err)
		}
		s.seq++
		s.frame++
	}
	s.n++
}

// play writes pictures, a keyframe each second, until all watchers had n packets
// each, and returns them.
func (s *av1) play(n int, watchers ...*watcher) [][]*rtp.Packet {
	s.g.t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	out := make([][]*rtp.Packet, len(watchers))
	for i, done := 0, false; !done; i++ {
		if i > 1000 {
			s.g.t.Fatal("not in time")
		}
		s.picture(i%50 == 0)
		<-tick.C
		done = true
		for k, w := range watchers {
			for len(w.got) > 0 {
				out[k] = append(out[k], w.next(s.g.t, webrtc.MimeTypeAV1))
			}
			done = done && len(out[k]) >= n
		}
	}
	return out
}

// Descriptors reach those who take them, with numbers that go on across
// publishers; others get the same packets without.
func TestDescriptors_ReachThoseWhoTakeThem(t *testing.T) {
	g := newGate(t)
	w, id := g.watchDescribed()
	other := g.watch()
	var last uint16
	for round := range 2 {
		s := g.publishAV1(1)
		s.frame -= uint16(40 * round)
		got := s.play(60, w, other)
		for i, p := range got[0] {
			d := p.GetExtension(id)
			if len(d) != 4 {
				t.Fatalf("publisher %d, packet %d: descriptor % x", round, i, d)
			}
			n, _ := stream.FrameNumber(d)
			if (round > 0 || i > 0) && n != last+1 {
				t.Fatalf("publisher %d, packet %d: frame %d after %d", round, i, n, last)
			}
			last = n
		}
		for i, p := range got[1] {
			if p.Extension {
				t.Fatalf("publisher %d, packet %d: an extension that was not negotiated", round, i)
			}
		}
		s.pub.Close()
	}
}

// Browsers that do not take descriptors decode nothing of several spatial
// layers: they get the lowest, as whole pictures.
func TestDescriptors_WithoutThemTheLowestLayer(t *testing.T) {
	g := newGate(t)
	w, id := g.watchDescribed()
	other := g.watch()
	s := g.publishAV1(2)
	got := s.play(200, w, other)
	spatial := [2]map[byte]int{{}, {}}
	for k, packets := range got {
		for i, p := range packets {
			spatial[k][p.Payload[2]>>3]++
			if k == 0 && len(p.GetExtension(id)) != 4 {
				t.Errorf("packet %d: no descriptor", i)
			}
			if k == 1 && !p.Marker {
				t.Errorf("packet %d of the other: no end of the picture", i)
			}
		}
	}
	if spatial[0][1] == 0 || spatial[1][1] != 0 {
		t.Errorf("packets by layer: %v", spatial)
	}
	if l := other.sess.Layers(); len(l) == 0 {
		t.Errorf("no layers: %v", l)
	}
	if st := other.sess.Stats(); st.Spatial != 0 {
		t.Errorf("got %+v", st)
	}
}

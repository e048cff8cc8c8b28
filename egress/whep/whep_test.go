package whep_test

import (
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
	"go.uber.org/goleak"

	"github.com/lectern/lectern/egress/whep"
	"github.com/lectern/lectern/internal/rtc"
	"github.com/lectern/lectern/stream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// gate is a server on a free port with one stream.
type gate struct {
	t   *testing.T
	srv *whep.Server
	st  *stream.Stream
}

func newGate(t *testing.T) *gate {
	t.Helper()
	e, err := rtc.Listen(rtc.Config{Addr: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{t: t, srv: whep.New(whep.Config{Endpoint: e}), st: stream.New(stream.Config{Name: "room/main"})}
	t.Cleanup(func() {
		g.srv.Close()
		if err := e.Close(); err != nil {
			t.Error(err)
		}
		g.st.Close()
	})
	return g
}

// seen is a packet that a viewer got.
type seen struct {
	mime string
	p    *rtp.Packet
}

// watcher is a foreign viewer.
type watcher struct {
	pc   *webrtc.PeerConnection
	got  chan seen
	sess *whep.Session
	ssrc chan uint32 // of the video
}

func (g *gate) watch() *watcher {
	g.t.Helper()
	var se webrtc.SettingEngine
	se.SetIncludeLoopbackCandidate(true)
	me := &webrtc.MediaEngine{}
	if err := me.RegisterDefaultCodecs(); err != nil {
		g.t.Fatal(err)
	}
	// Without interceptors: the test itself decides what is asked for again.
	pc, err := webrtc.NewAPI(webrtc.WithSettingEngine(se), webrtc.WithMediaEngine(me)).NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		g.t.Fatal(err)
	}
	return g.attach(pc)
}

// attach makes pc a viewer.
func (g *gate) attach(pc *webrtc.PeerConnection) *watcher {
	g.t.Helper()
	w := &watcher{pc: pc, got: make(chan seen, 16384), ssrc: make(chan uint32, 4)}
	pc.OnTrack(func(t *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
		if t.Kind() == webrtc.RTPCodecTypeVideo {
			w.ssrc <- uint32(t.SSRC())
		}
		for { // ended by the close of the peer connection
			p, _, err := t.ReadRTP()
			if err != nil {
				return
			}
			w.got <- seen{t.Codec().MimeType, p}
		}
	})
	for _, k := range []webrtc.RTPCodecType{webrtc.RTPCodecTypeVideo, webrtc.RTPCodecTypeAudio} {
		if _, err := pc.AddTransceiverFromKind(k, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly}); err != nil {
			g.t.Fatal(err)
		}
	}
	g.signal(w)
	g.t.Cleanup(func() {
		if err := pc.Close(); err != nil {
			g.t.Error(err)
		}
		if err := w.sess.Close(nil); err != nil {
			g.t.Error(err)
		}
	})
	return w
}

func (g *gate) signal(w *watcher) {
	g.t.Helper()
	offer, err := w.pc.CreateOffer(nil)
	if err != nil {
		g.t.Fatal(err)
	}
	gathered := webrtc.GatheringCompletePromise(w.pc)
	if err := w.pc.SetLocalDescription(offer); err != nil {
		g.t.Fatal(err)
	}
	<-gathered
	parsed, err := rtc.ParseOffer([]byte(w.pc.LocalDescription().SDP), rtc.View)
	if err != nil {
		g.t.Fatal(err)
	}
	if w.sess, err = g.srv.Open(parsed, g.st, nil); err != nil {
		g.t.Fatal(err)
	}
	if err := w.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: string(w.sess.Answer())}); err != nil {
		g.t.Fatal(err)
	}
	eventually(g.t, "the viewer is in the fan-out", func() bool { return g.srv.Viewers(g.st) > 0 && w.sess.Connected() })
}

// next returns the next packet of a kind of codec.
func (w *watcher) next(t *testing.T, mime string) *rtp.Packet {
	t.Helper()
	deadline := time.After(5 * time.Second)
	for {
		select {
		case s := <-w.got:
			if s.mime == mime {
				return s.p
			}
		case <-deadline:
			t.Fatalf("no packet of %s", mime)
		}
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(5 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline:
			t.Fatal("not in time: ", what)
		case <-tick.C:
		}
	}
}

// source writes made-up access units of two packets.
type source struct {
	g     *gate
	pub   *stream.Publication
	track *stream.Track
	seq   uint16
	ts    uint32
	asked chan struct{}
}

func (g *gate) publish(codec stream.Codec) *source {
	g.t.Helper()
	s := &source{g: g, track: &stream.Track{ID: "v", Kind: stream.Video, Codec: codec, ClockRate: 90000}, asked: make(chan struct{}, 64)}
	pub, err := g.st.Publish(stream.Source{Kinds: []stream.Kind{stream.Video}, RequestKeyframe: func() { s.asked <- struct{}{} }})
	if err != nil {
		g.t.Fatal(err)
	}
	s.pub = pub
	return s
}

func (s *source) frame(key bool) {
	s.g.t.Helper()
	now := time.Now()
	for i := range 2 {
		p := &rtp.Packet{
			Header:  rtp.Header{Version: 2, SequenceNumber: s.seq, Timestamp: s.ts, Marker: i == 1},
			Payload: []byte{0x10, byte(s.seq >> 8), byte(s.seq), 1, 2, 3},
		}
		u := &stream.Unit{Track: s.track, Packet: p, PTS: s.g.st.Since(now), Arrival: now, Keyframe: key && i == 0}
		if err := s.pub.Write(u); err != nil {
			s.g.t.Fatal(err)
		}
		s.seq++
	}
	s.ts += 3000
}

func TestViewer_BeforeThePublisherAndThroughACodecChange(t *testing.T) {
	g := newGate(t)
	w := g.watch()
	s := g.publish(stream.VP8)
	s.frame(false) // not passed on: nothing begins in the middle
	s.frame(true)
	first := w.next(t, webrtc.MimeTypeVP8)
	second := w.next(t, webrtc.MimeTypeVP8)
	if second.SequenceNumber != first.SequenceNumber+1 || !second.Marker || second.Timestamp != first.Timestamp {
		t.Errorf("got %v after %v", second.Header, first.Header)
	}
	h := g.publish(stream.H264)
	h.seq, h.ts = 40000, 1<<31
	h.frame(true)
	third := w.next(t, webrtc.MimeTypeH264)
	if third.SequenceNumber != second.SequenceNumber+1 || int32(third.Timestamp-second.Timestamp) <= 0 || int32(third.Timestamp-second.Timestamp) > 90000*5 {
		t.Errorf("after the codec change: got %v after %v", third.Header, second.Header)
	}
	if third.SSRC != second.SSRC {
		t.Error("the SSRC changed")
	}
}

func TestViewer_JoinerGetsTheCachedGroupOfPictures(t *testing.T) {
	g := newGate(t)
	s := g.publish(stream.VP8)
	s.frame(true)
	s.frame(false)
	late := g.watch()
	for i := range 4 {
		if p := late.next(t, webrtc.MimeTypeVP8); p.Payload[2] != byte(i) {
			t.Fatalf("packet %d: got %v", i, p.Payload)
		}
	}
	// One who joins while another watches gets the same from the ring.
	s.frame(false)
	second := g.watch()
	for i := range 6 {
		if p := second.next(t, webrtc.MimeTypeVP8); p.Payload[2] != byte(i) {
			t.Fatalf("second viewer, packet %d: got %v", i, p.Payload)
		}
	}
}

func TestViewer_NACKIsAnswered(t *testing.T) {
	g := newGate(t)
	w := g.watch()
	s := g.publish(stream.VP8)
	s.frame(true)
	p := w.next(t, webrtc.MimeTypeVP8)
	w.next(t, webrtc.MimeTypeVP8)
	ssrc := <-w.ssrc
	nack := &rtcp.TransportLayerNack{MediaSSRC: ssrc, Nacks: []rtcp.NackPair{{PacketID: p.SequenceNumber}, {PacketID: p.SequenceNumber + 500}}}
	if err := w.pc.WriteRTCP([]rtcp.Packet{nack}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "both were asked for", func() bool { return w.sess.Stats().Nacked == 2 })
	// The foreign peer hands repairs out with the next packet of the media.
	s.frame(false)
	repaired := false
	for range 3 {
		again := w.next(t, webrtc.MimeTypeVP8)
		repaired = repaired || (again.SequenceNumber == p.SequenceNumber && string(again.Payload) == string(p.Payload))
	}
	if st := w.sess.Stats(); !repaired || st.Resent != 1 {
		t.Errorf("packet %d came again: %t; %+v", p.SequenceNumber, repaired, st)
	}
}

// One whose network loses some packets gets repairs twice, one whose network is
// full does not.
func TestViewer_NACKIsAnsweredTwiceWhereRepairsAreLost(t *testing.T) {
	for name, tc := range map[string]struct {
		lost uint8 // of 256
		want uint64
	}{
		"5 %": {13, 2}, "none": {0, 1}, "30 %": {77, 1},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGate(t)
			w := g.watch()
			s := g.publish(stream.VP8)
			s.frame(true)
			p := w.next(t, webrtc.MimeTypeVP8)
			ssrc := <-w.ssrc
			report := &rtcp.ReceiverReport{Reports: []rtcp.ReceptionReport{{SSRC: ssrc, FractionLost: tc.lost}}}
			nack := &rtcp.TransportLayerNack{MediaSSRC: ssrc, Nacks: []rtcp.NackPair{{PacketID: p.SequenceNumber}}}
			if err := w.pc.WriteRTCP([]rtcp.Packet{report, nack}); err != nil {
				t.Fatal(err)
			}
			eventually(t, "it was asked for", func() bool { return w.sess.Stats().Nacked == 1 && w.sess.Stats().Resent > 0 })
			w.sess.Layers() // by the lock of the shard: the request is answered
			if got := w.sess.Stats().Resent; got != tc.want {
				t.Errorf("sent again %d times, want %d", got, tc.want)
			}
		})
	}
}

func TestViewer_PLIReachesThePublisherOnce(t *testing.T) {
	g := newGate(t)
	w := g.watch()
	s := g.publish(stream.VP8)
	s.frame(true)
	w.next(t, webrtc.MimeTypeVP8)
	ssrc := <-w.ssrc
	for range 5 {
		if err := w.pc.WriteRTCP([]rtcp.Packet{&rtcp.PictureLossIndication{MediaSSRC: ssrc}}); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "all five came", func() bool { return w.sess.Stats().PLIs == 5 })
	if n := g.st.Stats().KeyframeRequests; n > 1 {
		t.Errorf("%d requests reached the publisher, want at most 1", n)
	}
}

func TestClose_EndsTheFanout(t *testing.T) {
	g := newGate(t)
	w := g.watch()
	if err := w.sess.Close(nil); err != nil {
		t.Fatal(err)
	}
	if n := g.srv.Viewers(g.st); n != 0 {
		t.Errorf("%d viewers after Close", n)
	}
	if n := g.st.Stats().Readers; n != 0 {
		t.Errorf("%d readers after the last viewer left", n)
	}
}

// More viewers than are served on the publisher's goroutine.
func TestFanout_ACrowdGetsEveryPacketInOrder(t *testing.T) {
	g := newGate(t)
	s := g.publish(stream.VP8)
	s.frame(true)
	crowd := make([]*watcher, 20)
	for i := range crowd {
		crowd[i] = g.watch()
	}
	for range 3 {
		s.frame(false)
	}
	for i, w := range crowd {
		for n := range 8 {
			if p := w.next(t, webrtc.MimeTypeVP8); p.Payload[2] != byte(n) {
				t.Fatalf("viewer %d, packet %d: got %v", i, n, p.Payload)
			}
		}
	}
}

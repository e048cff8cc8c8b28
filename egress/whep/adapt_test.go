package whep_test

import (
	"testing"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"github.com/lectern/lectern/egress/whep"
	"github.com/lectern/lectern/stream"
)

// watchFeedback is watch for a viewer that reports the arrival of packets.
func (g *gate) watchFeedback() *watcher {
	g.t.Helper()
	var se webrtc.SettingEngine
	se.SetIncludeLoopbackCandidate(true)
	me, reg := &webrtc.MediaEngine{}, &interceptor.Registry{}
	if err := me.RegisterDefaultCodecs(); err != nil {
		g.t.Fatal(err)
	}
	if err := webrtc.ConfigureTWCCSender(me, reg); err != nil {
		g.t.Fatal(err)
	}
	pc, err := webrtc.NewAPI(webrtc.WithSettingEngine(se), webrtc.WithMediaEngine(me), webrtc.WithInterceptorRegistry(reg)).NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		g.t.Fatal(err)
	}
	return g.attach(pc)
}

func TestAdapt_ClimbsToTheBestOnAGoodNetwork(t *testing.T) {
	g := newGate(t)
	g.simulcast(150, 500, 2500)
	f := g.watchFeedback().follow(t)
	began := time.Now()
	f.until("the best layer", f.rid("f"))
	if d := time.Since(began); d > 6*time.Second {
		t.Errorf("took %v", d)
	}
	st := f.w.sess.Stats()
	if st.Reason != whep.ReasonBest || st.Probes == 0 || st.Estimate < 2500e3 || st.Frozen || st.Switches < 1 || st.Switches > 2 {
		t.Errorf("got %+v", st)
	}
}

func TestAdapt_TheViewerChooses(t *testing.T) {
	g := newGate(t)
	g.simulcast(150, 300, 600)
	f := g.watchFeedback().follow(t)
	f.until("the best layer", f.rid("f"))
	f.until("all layers measured", func() bool { return len(f.w.sess.Layers()) == 6 })
	f.news = 0
	low, high, none := "q", "f", "x"
	if err := f.w.sess.Select(whep.LayerChoice{RID: &low}); err != nil {
		t.Fatal(err)
	}
	f.until("the lowest layer", f.rid("q"))
	if st := f.w.sess.Stats(); st.Reason != whep.ReasonExplicit || st.Temporal != 1 {
		t.Errorf("got %+v", st)
	}
	if err := f.w.sess.Select(whep.LayerChoice{RID: &none}); err == nil {
		t.Error("chose what is not there")
	}
	if err := f.w.sess.Select(whep.LayerChoice{RID: &high}); err != nil {
		t.Fatal(err)
	}
	f.until("the best layer again", f.rid("f"))
	zero := 0
	if err := f.w.sess.Select(whep.LayerChoice{MaxTemporal: &zero}); err != nil {
		t.Fatal(err)
	}
	// Pictures of the base layer only, numbered without holes.
	f.until("half of the pictures", func() bool { return f.w.sess.Stats().Temporal == 0 })
	n := f.seen[2]
	f.until("fifty packets of them", func() bool {
		if f.seen[2] > n+5 && f.last.Payload[5]>>6 != 0 {
			t.Fatalf("a picture of temporal layer %d", f.last.Payload[5]>>6)
		}
		return f.seen[2] > n+50
	})
	if err := f.w.sess.Select(whep.LayerChoice{}); err != nil {
		t.Fatal(err)
	}
	f.until("all of the pictures", func() bool { return f.last.Payload[5]>>6 == 1 })
	if f.news != 2 {
		t.Errorf("%d changes of layer, want 2", f.news)
	}
}

func TestAdapt_ALayerThatStopsIsLeftAtOnce(t *testing.T) {
	g := newGate(t)
	s := g.simulcast(150, 300, 600)
	f := g.watchFeedback().follow(t)
	f.until("the best layer", f.rid("f"))
	s.encs[2].pause(true)
	began := time.Now()
	f.until("the layer below", f.rid("h"))
	if d := time.Since(began); d > 500*time.Millisecond {
		t.Errorf("nothing seen for %v", d)
	}
	s.encs[2].pause(false)
	f.until("the best layer again", f.rid("f"))
}

func TestAdapt_NACKAcrossASwitch(t *testing.T) {
	g := newGate(t)
	g.simulcast(150, 300, 600)
	w := g.watch()
	f := w.follow(t)
	f.until("the best layer", f.rid("f"))
	before := f.last
	low := "q"
	if err := f.w.sess.Select(whep.LayerChoice{RID: &low}); err != nil {
		t.Fatal(err)
	}
	f.until("the lowest layer", f.rid("q"))
	after := f.last
	nack := &rtcp.TransportLayerNack{MediaSSRC: <-w.ssrc, Nacks: []rtcp.NackPair{{PacketID: before.SequenceNumber}, {PacketID: after.SequenceNumber}}}
	if err := w.pc.WriteRTCP([]rtcp.Packet{nack}); err != nil {
		t.Fatal(err)
	}
	again := 0
	deadline := time.After(5 * time.Second)
	for again < 2 {
		select {
		case s := <-w.got:
			for _, p := range []*rtp.Packet{before, after} {
				if s.p.SequenceNumber == p.SequenceNumber {
					again++
					if string(s.p.Payload) != string(p.Payload) || s.p.Timestamp != p.Timestamp || s.p.Marker != p.Marker || s.p.PayloadType != p.PayloadType {
						t.Errorf("packet %d came again as another", p.SequenceNumber)
					}
				}
			}
		case <-deadline:
			t.Fatalf("%d of 2 came again: %+v", again, w.sess.Stats())
		}
	}
}

func TestAdapt_FromOneQualityToLayersAndBack(t *testing.T) {
	g := newGate(t)
	w := g.watch()
	single := g.publish(stream.VP8)
	single.frame(true)
	single.frame(false)
	first := w.next(t, webrtc.MimeTypeVP8)
	if got := w.sess.Layers(); len(got) != 1 {
		t.Errorf("layers of one quality: %+v", got)
	}
	s := g.simulcast(150, 300)
	f := w.follow(t)
	f.until("the best layer", f.rid("h"))
	f.until("all layers measured", func() bool { return len(w.sess.Layers()) == 4 })
	if got := w.sess.Layers(); len(got) != 4 || got[0].RID != "q" || got[3].RID != "h" || got[3].Temporal != 1 {
		t.Errorf("layers: %+v", got)
	}
	last := f.last
	s.stop()
	single = g.publish(stream.H264)
	eventually(t, "the picture of one quality", func() bool {
		single.frame(true)
		for {
			select {
			case p := <-w.got:
				if p.mime == webrtc.MimeTypeH264 {
					if int16(p.p.SequenceNumber-last.SequenceNumber) <= 0 || int32(p.p.Timestamp-last.Timestamp) <= 0 || p.p.SSRC != first.SSRC {
						t.Errorf("got %v after %v", p.p.Header, last.Header)
					}
					return true
				}
			default:
				return false
			}
		}
	})
}

// Fifty viewers that change their mind all the time cost the publisher two
// keyframes a second for each layer at most, and the others nothing.
func TestAdapt_AFlappingCrowdCausesNoKeyframeStorm(t *testing.T) {
	g := newGate(t)
	s := g.simulcast(100, 200, 300)
	crowd := make([]*watcher, 50)
	for i := range crowd {
		crowd[i] = g.watch()
	}
	// It does not tell of arrivals: fifty peers in one process are a network of
	// which this test does not speak.
	quiet := g.watch().follow(t)
	quiet.until("the best layer", quiet.rid("f"))
	var before [3]int
	for i, e := range s.encs {
		e.mu.Lock()
		before[i] = e.asked
		e.mu.Unlock()
	}
	began := time.Now()
	for round := 0; time.Since(began) < 2*time.Second; round++ {
		for i, w := range crowd {
			rid := string("qhf"[(round+i)%3])
			if err := w.sess.Select(whep.LayerChoice{RID: &rid}); err != nil {
				t.Fatal(err)
			}
		}
		n := quiet.seen[2]
		quiet.until("more of the same", func() bool { return quiet.seen[2] > n+4 })
	}
	took := time.Since(began)
	for i, e := range s.encs {
		e.mu.Lock()
		if n := e.asked - before[i]; n > int(2*took.Seconds())+1 {
			t.Errorf("layer %d was asked for %d keyframes in %v", i, n, took)
		}
		e.mu.Unlock()
	}
	if quiet.news != 1 && quiet.news != 0 {
		t.Errorf("the quiet viewer changed %d times", quiet.news)
	}
}

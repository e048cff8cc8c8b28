package whep_test

import (
	"encoding/binary"
	"sync"
	"testing"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"github.com/lectern/lectern/egress/whep"
	"github.com/lectern/lectern/stream"
)

// encoder makes VP8 of one layer: a picture each 20 ms, two temporal layers, a
// keyframe where one was asked for.
type encoder struct {
	id    string
	no    byte // tells the layer in the payload
	bytes int  // of a picture

	mu    sync.Mutex // guards what follows
	pub   *stream.Publication
	track *stream.Track
	key   bool
	asked int
	off   bool
	n     uint16 // pictures
	seq   uint16
	tl0   byte
	first uint32 // timestamp
}

// simulcast publishes layers until the test ends.
type simulcast struct {
	g    *gate
	encs []*encoder
	main *stream.Publication
	stop func()
}

func (g *gate) simulcast(kbit ...int) *simulcast {
	g.t.Helper()
	s := &simulcast{g: g}
	var ids []string
	for i, k := range kbit {
		e := &encoder{
			id: string("qhf"[i]), no: byte(i), bytes: k * 1000 / 8 / 50, key: true,
			seq: uint16(1000 * i), first: uint32(i) << 28, n: uint16(100 * i), tl0: byte(40 * i),
			track: &stream.Track{ID: "v", Kind: stream.Video, Codec: stream.VP8, ClockRate: 90000},
		}
		ids = append(ids, e.id)
		s.encs = append(s.encs, e)
	}
	var err error
	if s.main, err = g.st.Publish(stream.Source{Kinds: []stream.Kind{stream.Video}, Layers: ids}); err != nil {
		g.t.Fatal(err)
	}
	for _, e := range s.encs {
		if e.pub, err = s.main.Layer(e.id, stream.Source{Kinds: []stream.Kind{stream.Video}, RequestKeyframe: e.request}); err != nil {
			g.t.Fatal(err)
		}
	}
	end, done := make(chan struct{}), make(chan struct{})
	go func() { // ended by stop
		defer close(done)
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-end:
				return
			case now := <-tick.C:
				for _, e := range s.encs {
					e.picture(g.st, now)
				}
			}
		}
	}()
	s.stop = sync.OnceFunc(func() { close(end); <-done; s.main.Close() })
	g.t.Cleanup(s.stop)
	return s
}

func (e *encoder) request() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.key = true
	e.asked++
}

func (e *encoder) pause(off bool) {
	e.mu.Lock()
	e.off = off
	e.key = true
	pub := e.pub
	e.mu.Unlock()
	if off {
		pub.Pause()
	}
}

// picture writes one, as a publisher whose layers share a timeline does.
func (e *encoder) picture(st *stream.Stream, now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.off {
		return
	}
	key, temporal, size := e.key, byte(e.n%2), e.bytes
	if key {
		temporal, size = 0, 3*size
	}
	e.key = false
	if temporal == 0 {
		e.tl0++
	}
	pts := st.Since(now)
	for at := 0; at < size; at += 1000 {
		head := []byte{0x80, 0xe0, 0x80 | byte(e.n>>8)&0x7f, byte(e.n), e.tl0, temporal<<6 | 0x20, 1, e.no}
		if at == 0 {
			head[0] |= 0x10
			if key {
				head[6] = 0
			}
		}
		payload := append(head, make([]byte, min(size-at, 1000))...)
		u := &stream.Unit{
			Track: e.track, PTS: pts, Arrival: now, Keyframe: key && at == 0, Temporal: temporal, Switch: temporal == 1,
			Packet: &rtp.Packet{
				Header:  rtp.Header{Version: 2, SequenceNumber: e.seq, Timestamp: e.first + uint32(pts.Milliseconds()*90), Marker: at+1000 >= size},
				Payload: payload,
			},
		}
		if u.Keyframe {
			u.Width, u.Height = 320<<e.no, 180<<e.no
		}
		e.seq++
		if e.pub.Write(u) != nil {
			return
		}
	}
	e.n++
}

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

// follower checks that what a viewer gets is one unbroken source.
type follower struct {
	t    *testing.T
	w    *watcher
	last *rtp.Packet
	pid  uint16
	tl0  byte
	seen map[byte]int // packets by layer
	news int          // changes of layer
}

func (w *watcher) follow(t *testing.T) *follower {
	return &follower{t: t, w: w, seen: map[byte]int{}}
}

// until reads on until ok, or fails.
func (f *follower) until(what string, ok func() bool) {
	f.t.Helper()
	deadline := time.After(10 * time.Second)
	for !ok() {
		select {
		case s := <-f.w.got:
			f.take(s.p)
		case <-deadline:
			f.t.Fatalf("not in time: %s; %+v", what, f.w.sess.Stats())
		}
	}
}

func (f *follower) take(p *rtp.Packet) {
	f.t.Helper()
	if len(p.Payload) < 8 || f.last != nil && int16(p.SequenceNumber-f.last.SequenceNumber) <= 0 {
		return // a repeat
	}
	pid, tl0, layer := binary.BigEndian.Uint16(p.Payload[2:])&0x7fff, p.Payload[4], p.Payload[7]
	begins := p.Payload[0]&0x10 != 0
	if l := f.last; l != nil {
		if p.SequenceNumber != l.SequenceNumber+1 {
			f.t.Errorf("packet %d after %d", p.SequenceNumber, l.SequenceNumber)
		}
		changed := layer != l.Payload[7]
		if changed {
			f.news++
		}
		switch {
		case changed && (!begins || p.Payload[6] != 0):
			f.t.Errorf("layer %d does not begin with a keyframe", layer)
		case begins && (!l.Marker || pid != (f.pid+1)&0x7fff || int32(p.Timestamp-l.Timestamp) <= 0):
			f.t.Errorf("picture %d at %d after %d at %d, marker %t", pid, p.Timestamp, f.pid, l.Timestamp, l.Marker)
		case !begins && (pid != f.pid || p.Timestamp != l.Timestamp || l.Marker):
			f.t.Errorf("picture %d goes on as %d", f.pid, pid)
		}
		if step := tl0 - f.tl0; begins && step > 1 {
			f.t.Errorf("TL0PICIDX %d after %d", tl0, f.tl0)
		}
	}
	f.last, f.pid, f.tl0 = p, pid, tl0
	f.seen[layer]++
}

func (f *follower) rid(want string) func() bool {
	return func() bool { return f.w.sess.Stats().RID == want && f.last != nil && f.last.Payload[7] == f.no(want) }
}

func (f *follower) no(rid string) byte { return map[string]byte{"q": 0, "h": 1, "f": 2}[rid] }

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
	if st.Reason != whep.ReasonBest || st.Probes == 0 || st.Estimate < 2500e3 || st.Frozen || st.Switches != 1 {
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
	quiet := g.watchFeedback().follow(t)
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

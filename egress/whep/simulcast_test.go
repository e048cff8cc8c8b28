package whep_test

import (
	"encoding/binary"
	"sync"
	"testing"
	"time"

	"github.com/pion/rtp"

	"github.com/lectern/lectern/stream"
)

// encoder makes VP8 of one layer: a picture each 20 ms, two temporal layers, a
// keyframe where one was asked for.
type encoder struct {
	id    string
	no    byte // tells the layer in the payload
	bytes int  // of a picture

	pub   *stream.Publication
	track *stream.Track
	n     uint16 // pictures
	seq   uint16
	tl0   byte
	first uint32 // timestamp

	mu    sync.Mutex // guards what follows; not held during Write, which may ask
	key   bool
	asked int
	off   bool
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

// pause stops the layer from its next picture on, or lets it go on.
func (e *encoder) pause(off bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.off, e.key = off, true
}

// picture writes one, as a publisher whose layers share a timeline does.
func (e *encoder) picture(st *stream.Stream, now time.Time) {
	e.mu.Lock()
	key, off := e.key, e.off
	e.key = e.key && off
	e.mu.Unlock()
	if off {
		e.pub.Pause()
		return
	}
	temporal, size := byte(e.n%2), e.bytes
	if key {
		temporal, size = 0, 3*size
	}
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
		changed := layer != l.Payload[7]
		// What waited for a narrow network is dropped when the layer changes. The
		// picture that was begun then must not pass for whole: a number is missing.
		cut := changed && !l.Marker
		if step := p.SequenceNumber - l.SequenceNumber; step != 1 && (!cut || step != 2) {
			f.t.Errorf("packet %d after %d", p.SequenceNumber, l.SequenceNumber)
		}
		if changed {
			f.news++
		}
		switch {
		case changed && (!begins || p.Payload[6] != 0):
			f.t.Errorf("layer %d does not begin with a keyframe", layer)
		case begins && (!l.Marker && !cut || pid != (f.pid+1)&0x7fff || int32(p.Timestamp-l.Timestamp) <= 0):
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

// The streams of the layers live on when the last viewer has gone: nothing of
// the fan-out may stay with them.
func TestFanout_LeavesTheLayersWithTheLastViewer(t *testing.T) {
	g := newGate(t)
	g.simulcast(150, 300)
	w := g.watch()
	w.follow(t).until("a layer", func() bool { return w.sess.Stats().RID != "" })
	if err := w.sess.Close(nil); err != nil {
		t.Fatal(err)
	}
	layers := g.st.Layers()
	if len(layers) != 2 {
		t.Fatalf("got %d layers, want 2", len(layers))
	}
	eventually(t, "nobody reads", func() bool {
		readers := g.st.Stats().Readers
		for _, l := range layers {
			readers += l.Stream.Stats().Readers
		}
		return readers == 0
	})
}

package ingest_test

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"

	"github.com/lectern/lectern/ingest"
	"github.com/lectern/lectern/stream"
)

// caster is a browser that sends layers: 1/4, 1/2 and all of 1280x720 at 30
// pictures a second, of two packets each.
type caster struct {
	*bench
	ids    []string
	format *ingest.Format
	layers []castLayer
	asks   []*rtcp.PictureLossIndication
	others []rtcp.Packet
	tick   int
}

type castLayer struct {
	ssrc, ts  uint32
	seq, pid  uint16
	tl0       byte
	w, h      int
	off       bool
	key       bool      // the next picture is one
	keyAt     time.Time // when an asked one is due
	keyframes int
	last      *rtp.Packet
}

const frameTime = time.Second / 30

func newCaster(t *testing.T, ids ...string) *caster {
	t.Helper()
	c := &caster{bench: &bench{t: t, s: stream.New(stream.Config{Name: "room/main"})}, ids: ids, format: vp8Format}
	c.sent = make(chan rtcp.Packet, 1000)
	c.publish()
	var err error
	if c.r, err = c.s.NewReader(stream.ReaderOptions{Queue: 1 << 14}); err != nil {
		t.Fatal(err)
	}
	return c
}

// publish has a publisher take the stream, with layers if there are several ids.
func (c *caster) publish() {
	c.t.Helper()
	c.p = ingest.NewPublisher(ingest.Config{
		Kinds:  []stream.Kind{stream.Audio, stream.Video},
		Layers: c.ids,
		NACK:   [2]bool{stream.Video: true},
		Feedback: func(pkts []rtcp.Packet) {
			for _, p := range pkts {
				c.sent <- p
			}
		},
	})
	var err error
	if c.pub, err = c.s.Publish(c.p.Source()); err != nil {
		c.t.Fatal(err)
	}
	if err := c.p.Start(c.pub, 99); err != nil {
		c.t.Fatal(err)
	}
	c.layers = nil
	for i := range max(len(c.ids), 1) {
		c.layers = append(c.layers, castLayer{
			ssrc: uint32(10 + i), ts: uint32(i+1) * 1e9, seq: uint16(i+1) * 9000, pid: uint16(i+1) * 5000,
			tl0: byte(i * 70), w: 320 << i, h: 180 << i, key: true,
		})
	}
}

// leave ends the publisher.
func (c *caster) leave() {
	c.p.Close()
	c.pub.Close()
}

// play sends for d, answers what is asked for after 60 ms, and reads main.
func (c *caster) play(d time.Duration) []*stream.Unit {
	c.t.Helper()
	var out []*stream.Unit
	for end := time.Now().Add(d); time.Now().Before(end); {
		c.answer()
		for i := range c.layers {
			if c.layers[i].off {
				c.probe(i)
			} else {
				c.picture(i)
			}
		}
		out = append(out, c.read()...)
		time.Sleep(frameTime - time.Millisecond) // read took one
		c.tick++
		for i := range c.layers {
			c.layers[i].ts += 3000
		}
	}
	return out
}

// answer takes feedback: a PLI makes a keyframe of its layer.
func (c *caster) answer() {
	for {
		select {
		case p := <-c.sent:
			if pli, ok := p.(*rtcp.PictureLossIndication); ok {
				c.asks = append(c.asks, pli)
				for i := range c.layers {
					if l := &c.layers[i]; l.ssrc == pli.MediaSSRC && l.keyAt.IsZero() {
						l.keyAt = time.Now().Add(60 * ms)
					}
				}
			} else {
				c.others = append(c.others, p)
			}
		default:
			return
		}
	}
}

// picture sends a picture of layer i in two packets.
func (c *caster) picture(i int) {
	l := &c.layers[i]
	if !l.keyAt.IsZero() && !time.Now().Before(l.keyAt) {
		l.key, l.keyAt = true, time.Time{}
	}
	l.pid, l.tl0 = l.pid+1, l.tl0+1
	for n := range 2 {
		c.packet(i, n, l.key)
	}
	if l.key {
		l.keyframes++
	}
	l.key = false
}

// probe sends what browsers do on layers that have stopped, to learn of the
// bandwidth: a packet without media, and the last one again.
func (c *caster) probe(i int) {
	l := &c.layers[i]
	l.seq++
	for _, pkt := range []*rtp.Packet{
		{Header: rtp.Header{SSRC: l.ssrc, SequenceNumber: l.seq, Timestamp: l.ts}},
		l.last,
	} {
		if pkt != nil {
			again := *pkt
			c.p.PushRTP(c.format, i, &again, time.Now())
		}
	}
}

// packet sends packet n of a picture.
func (c *caster) packet(i, n int, key bool) {
	l := &c.layers[i]
	l.seq++
	body := make([]byte, 20*(i+1))
	if n == 0 {
		body[0] = 1
		if key {
			body[0] = 0
			copy(body[3:], []byte{0x9d, 1, 0x2a})
			binary.LittleEndian.PutUint16(body[6:], uint16(l.w))
			binary.LittleEndian.PutUint16(body[8:], uint16(l.h))
		}
	}
	head := []byte{0x80, 0xe0, 0x80 | byte(l.pid>>8), byte(l.pid), l.tl0, 0}
	if n == 0 {
		head[0] = 0x90
	}
	pkt := &rtp.Packet{
		Header:  rtp.Header{SSRC: l.ssrc, SequenceNumber: l.seq, Timestamp: l.ts, Marker: n == 1},
		Payload: append(head, body...),
	}
	again := *pkt
	l.last = &again
	c.p.PushRTP(c.format, i, pkt, time.Now())
}

// layer is the stream of a layer.
func (c *caster) layer(id string) *stream.Stream {
	c.t.Helper()
	for _, l := range c.s.Layers() {
		if l.ID == id {
			return l.Stream
		}
	}
	c.t.Fatalf("no layer %s among %v", id, c.s.Layers())
	return nil
}

// asked returns the SSRCs of the PLIs since the last call.
func (c *caster) asked() (out []uint32) {
	c.answer()
	for _, p := range c.asks {
		out = append(out, p.MediaSSRC)
	}
	c.asks = nil
	return out
}

// checkMain says whether units are what a decoder expects: whole pictures,
// numbered without holes, that cross from layer to layer with a keyframe.
func checkMain(t *testing.T, units []*stream.Unit) {
	t.Helper()
	for i := 1; i < len(units); i++ {
		u, b := units[i], units[i-1]
		if d := u.Packet.SequenceNumber - b.Packet.SequenceNumber; d != 1 {
			t.Fatalf("unit %d: number %d on", i, d)
		}
		begins := u.Packet.Timestamp != b.Packet.Timestamp
		if begins != b.Packet.Marker {
			t.Fatalf("unit %d: begins %v after marker %v", i, begins, b.Packet.Marker)
		}
		if u.Layer != b.Layer && (!u.Keyframe || u.Track == b.Track && u.Discontinuity) {
			t.Fatalf("unit %d: layer %d after %d, keyframe %v, discontinuity %v", i, u.Layer, b.Layer, u.Keyframe, u.Discontinuity)
		}
		pid := func(u *stream.Unit) uint16 { return binary.BigEndian.Uint16(u.Packet.Payload[2:]) & 0x7fff }
		if d, want := pid(u)-pid(b), b2u(begins); u.Track.Codec == stream.VP8 && d&0x7fff != want {
			t.Fatalf("unit %d: picture id %d on, want %d", i, d, want)
		}
		pts := u.PTS - b.PTS
		ticks := time.Duration(int32(u.Packet.Timestamp-b.Packet.Timestamp)) * time.Second / 90000
		if begins && (pts <= 0 || (pts-ticks).Abs() > 5*ms) || !begins && pts != 0 {
			t.Fatalf("unit %d: PTS %v on, timestamp %v on", i, pts, ticks)
		}
	}
}

func b2u(b bool) uint16 {
	if b {
		return 1
	}
	return 0
}

// push264 sends the parameter sets and a picture of H.264 on layer i.
func (c *caster) push264(i int) {
	l := &c.layers[i]
	for n, payload := range [][]byte{[]byte(spsHD), {0x65, 0x88, 1}} {
		l.seq++
		c.p.PushRTP(c.format, i, &rtp.Packet{
			Header:  rtp.Header{SSRC: l.ssrc, SequenceNumber: l.seq, Timestamp: l.ts, Marker: n == 1},
			Payload: payload,
		}, time.Now())
	}
}

func (c *caster) layerOrNil(id string) *stream.Stream {
	for _, l := range c.s.Layers() {
		if l.ID == id {
			return l.Stream
		}
	}
	return nil
}

// ends says whether r is at an end once all is read.
func (c *caster) ends(r *stream.Reader) bool {
	ctx, cancel := context.WithTimeout(c.t.Context(), ms)
	defer cancel()
	for {
		if _, err := r.Read(ctx); err != nil {
			return errors.Is(err, io.EOF)
		}
	}
}

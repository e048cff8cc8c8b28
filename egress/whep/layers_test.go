package whep_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/pion/rtp"

	"github.com/lectern/lectern/egress/whep"
	"github.com/lectern/lectern/stream"
)

func TestLayers_AreThoseThatThePublisherSends(t *testing.T) {
	g := newGate(t)
	w := g.watch()
	if got := w.sess.Layers(); got != nil {
		t.Errorf("before the publisher: got %v", got)
	}
	if err := w.sess.Select(whep.LayerChoice{}); err != nil {
		t.Errorf("nothing wished, nothing there: got %v", err)
	}
	pub, err := g.st.Publish(stream.Source{Kinds: []stream.Kind{stream.Video}})
	if err != nil {
		t.Fatal(err)
	}
	defer pub.Close()
	track := &stream.Track{ID: "v", Kind: stream.Video, Codec: stream.VP8, ClockRate: 90000}
	// A key frame of 640x360 (RFC 6386, section 9.1) behind a descriptor.
	key := []byte{0x10, 0x50, 0, 0, 0x9d, 0x01, 0x2a, 0x80, 0x02, 0x68, 0x01}
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for seq := uint16(0); ; seq++ {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("no bitrate: %+v", w.sess.Layers())
		}
		p := &rtp.Packet{Header: rtp.Header{SequenceNumber: seq, Timestamp: uint32(seq) * 3000, Marker: true}, Payload: slices.Clone(key)}
		if err := pub.Write(&stream.Unit{Track: track, Keyframe: true, Arrival: time.Now(), Packet: p}); err != nil {
			t.Fatal(err)
		}
		got := w.sess.Layers()
		if len(got) != 1 || got[0].Width != 640 || got[0].Height != 360 || got[0].Line != 0 {
			t.Fatalf("got %+v", got)
		}
		if got[0].Bitrate > 0 { // of 11 bytes every 20 ms
			break
		}
	}
	zero, one := 0, 1
	rid := "hd"
	for _, tt := range []struct {
		c    whep.LayerChoice
		want error
	}{
		{whep.LayerChoice{Line: &zero, Spatial: &zero}, nil},
		{whep.LayerChoice{MaxWidth: &one}, nil},
		{whep.LayerChoice{Line: &one}, whep.ErrNoLayer},
		{whep.LayerChoice{RID: &rid}, whep.ErrNoLayer},
		{whep.LayerChoice{Spatial: &one}, whep.ErrNoLayer},
		{whep.LayerChoice{Temporal: &one}, whep.ErrNoLayer},
	} {
		if err := w.sess.Select(tt.c); !errors.Is(err, tt.want) {
			t.Errorf("Select(%+v): got %v, want %v", tt.c, err, tt.want)
		}
	}
	pub.Close()
	if got := w.sess.Layers(); len(got) != 1 || got[0].Bitrate != 0 {
		t.Errorf("after the publisher: got %+v, want it inactive", got)
	}
}

package ingest_test

import (
	"testing"
	"time"

	"github.com/pion/rtp"

	"github.com/lectern/lectern/ingest"
	"github.com/lectern/lectern/stream"
)

// BenchmarkPublisher measures the way of a packet of 1100 bytes from PushRTP to
// one reader. Its picture has four packets. The packet itself is made anew each
// time, which is 2 of the allocations; the unit is the third.
func BenchmarkPublisher(b *testing.B) {
	b.Run("single", func(b *testing.B) { benchmarkPublisher(b, 0, vp8Format) })
	b.Run("best layer", func(b *testing.B) { benchmarkPublisher(b, 1, vp8Format, "q", "f") })
	b.Run("best layer, H264", func(b *testing.B) { benchmarkPublisher(b, 1, h264Format, "q", "f") })
	b.Run("lower layer", func(b *testing.B) { benchmarkPublisher(b, 0, vp8Format, "q", "f") })
}

// spsHD is a sequence parameter set of H.264.
const spsHD = "\x67\x42\xc0\x1f\xd9\x00\x78\x02\x27\xe5\x84\x00\x00\x03\x00\x04\x00\x00\x03\x00\xc8\x3c\x60\xc9\x20"

func benchmarkPublisher(b *testing.B, layer int, f *ingest.Format, layers ...string) {
	s := stream.New(stream.Config{})
	defer s.Close()
	p := ingest.NewPublisher(ingest.Config{
		Kinds: []stream.Kind{stream.Video}, Layers: layers, NACK: [2]bool{stream.Video: true},
	})
	defer p.Close()
	pub, err := s.Publish(p.Source())
	if err != nil {
		b.Fatal(err)
	}
	if err := p.Start(pub, 1); err != nil {
		b.Fatal(err)
	}
	r, err := s.NewReader(stream.ReaderOptions{PerFrame: true})
	if err != nil {
		b.Fatal(err)
	}
	var seq [2]uint16
	now := time.Now()
	push := func(layer int, key, first, last bool) {
		payload := make([]byte, 1100)
		copy(payload, []byte{0x90, 0xe0, 0x80, 1, 2, 0, 1})
		switch {
		case f == h264Format && key && layer == 1:
			copy(payload, spsHD)
		case f == h264Format && key:
			payload[0], payload[1] = 0x65, 0x88
		case f == h264Format:
			payload[0], payload[1] = 0x61, 0x9a
		case key:
			copy(payload[6:], []byte{0x10, 2, 0, 0x9d, 1, 0x2a, byte(layer), 5, 0xd0, 2})
		case !first:
			payload[0] = 0x80
		}
		seq[layer]++
		p.PushRTP(f, layer, &rtp.Packet{
			Header:  rtp.Header{SSRC: uint32(layer + 7), SequenceNumber: seq[layer], Timestamp: uint32(seq[layer]/4) * 3000, Marker: last},
			Payload: payload,
		}, now)
	}
	for l := range max(len(layers), 1) {
		seq[l] = 3
		push(l, true, true, true)
		seq[l] += 3
	}
	dst := make([]*stream.Unit, 512)
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		now = now.Add(8 * time.Millisecond)
		push(layer, false, n%4 == 0, n%4 == 3)
		if n%256 == 0 {
			r.TryReadBatch(dst)
		}
	}
}

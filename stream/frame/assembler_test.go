package frame_test

import (
	"bytes"
	"encoding/base64"
	"slices"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"

	"github.com/lectern/lectern/stream"
	"github.com/lectern/lectern/stream/frame"
)

// feed gives packets to an Assembler, numbered from *seq on.
type feed struct {
	t   *testing.T
	a   *frame.Assembler
	seq uint16
}

func newFeed(t *testing.T) *feed { return &feed{t: t, a: frame.NewAssembler(), seq: 65530} }

func (f *feed) push(tr *stream.Track, ts uint32, marker bool, payload ...byte) *frame.AccessUnit {
	f.t.Helper()
	f.seq++
	au, ok := f.a.Push(&stream.Unit{
		Track: tr, PTS: time.Duration(ts) * time.Millisecond,
		Packet: &rtp.Packet{Header: rtp.Header{SequenceNumber: f.seq, Timestamp: ts, Marker: marker}, Payload: payload},
	})
	if ok != (au != nil) {
		f.t.Fatalf("Push: got %v, %v", au, ok)
	}
	return au
}

func (f *feed) lose() { f.seq++ }

var (
	vp8Track  = &stream.Track{Kind: stream.Video, Codec: stream.VP8, ClockRate: 90000}
	vp9Track  = &stream.Track{Kind: stream.Video, Codec: stream.VP9, ClockRate: 90000}
	av1Track  = &stream.Track{Kind: stream.Video, Codec: stream.AV1, ClockRate: 90000}
	h264Track = &stream.Track{Kind: stream.Video, Codec: stream.H264, ClockRate: 90000}
	opusTrack = &stream.Track{Kind: stream.Audio, Codec: stream.Opus, ClockRate: 48000}
	aacTrack  = &stream.Track{Kind: stream.Audio, Codec: stream.AAC, ClockRate: 48000}
)

// vp8Key is the first packet of a keyframe of 640x360.
var vp8Key = []byte{0x10, 0x10, 2, 0, 0x9d, 1, 0x2a, 0x80, 2, 0x68, 1}

func TestAssembler_AfterAHoleWaitsForAKeyframe(t *testing.T) {
	f := newFeed(t)
	if au := f.push(vp8Track, 0, false, vp8Key...); au != nil {
		t.Fatal("unfinished picture came out")
	}
	au := f.push(vp8Track, 0, true, 0x00, 7, 7)
	if au == nil || !au.Keyframe || au.Width != 640 || au.Height != 360 || len(au.Data) != len(vp8Key)+1 || au.Lost {
		t.Fatalf("keyframe: got %+v", au)
	}
	if au := f.push(vp8Track, 1, true, 0x10, 1, 5); au == nil || au.Keyframe || au.Width != 0 || au.PTS != time.Millisecond {
		t.Fatalf("delta: got %+v", au)
	}
	f.push(vp8Track, 2, false, 0x10, 1, 5)
	f.lose()
	if au := f.push(vp8Track, 2, true, 0x00, 5); au != nil {
		t.Fatalf("picture with a hole came out: %+v", au)
	}
	if au := f.push(vp8Track, 3, true, 0x10, 1, 5); au != nil {
		t.Fatalf("picture without its reference came out: %+v", au)
	}
	if got := f.a.Broken(); got != 2 {
		t.Errorf("got %d broken, want 2", got)
	}
	if au := f.push(vp8Track, 4, true, vp8Key...); au == nil || !au.Lost || !au.Keyframe {
		t.Fatalf("next keyframe: got %+v", au)
	}
	if au := f.push(vp8Track, 5, true, 0x10, 1, 5); au == nil || au.Lost {
		t.Fatalf("after it: got %+v", au)
	}
}

func TestAssembler_HoleBetweenPictures(t *testing.T) {
	f := newFeed(t)
	f.push(vp8Track, 0, true, vp8Key...)
	f.lose()
	if au := f.push(vp8Track, 2, true, 0x10, 1, 5); au != nil {
		t.Errorf("got %+v, want nothing before a keyframe", au)
	}
}

func TestAssembler_WithoutMarkers(t *testing.T) {
	f := newFeed(t)
	f.push(vp8Track, 0, false, vp8Key...)
	if au := f.push(vp8Track, 1, false, 0x10, 1, 5); au == nil || !au.Keyframe {
		t.Fatalf("got %+v, want the keyframe when the next picture begins", au)
	}
	f.lose()
	if au := f.push(vp8Track, 2, true, 0x10, 1, 5); au != nil {
		t.Fatalf("got %+v: its end may be lost", au)
	}
}

func TestAssembler_TwoEndAtOnce(t *testing.T) {
	f := newFeed(t)
	f.push(vp8Track, 0, false, vp8Key...)
	first := f.push(vp8Track, 1, true, 0x10, 1, 5)
	second, ok := f.a.Next()
	if first == nil || !ok || first.Timestamp != 0 || second.Timestamp != 1 {
		t.Fatalf("got %+v and %+v", first, second)
	}
}

func TestAssembler_AnotherTrack(t *testing.T) {
	f := newFeed(t)
	f.push(vp8Track, 0, true, vp8Key...)
	f.push(vp8Track, 1, false, 0x10, 1, 5)
	other := *vp8Track
	au := f.push(&other, 2, true, vp8Key...)
	if au == nil || au.Track != &other || !au.Lost {
		t.Errorf("got %+v", au)
	}
	if au := f.push(&other, 3, true, 0x10, 1); au == nil {
		t.Error("got nothing after the change")
	}
}

func TestAssembler_VP9Layers(t *testing.T) {
	key := []byte{0x82, 0x49, 0x83, 0x42, 0x00, 0x09, 0xf0, 0x05, 0x90} // 160x90
	f := newFeed(t)
	// Keyframe with a structure of two layers, the upper one in two packets.
	ss := []byte{0x30, 0, 160, 0, 90, 1, 0x40, 0, 180}
	f.push(vp9Track, 0, false, slices.Concat([]byte{0x2e, 0x00, 0x00}, ss, key)...)
	f.push(vp9Track, 0, false, 0x68, 0x03, 0x00, 0x86, 1)
	au := f.push(vp9Track, 0, true, 0x64, 0x03, 0x00, 2, 3)
	if au == nil || !au.Keyframe || au.Width != 320 || au.Height != 180 {
		t.Fatalf("got %+v", au)
	}
	index := []byte{0xd9, 9, 0, 0, 0, 4, 0, 0, 0, 0xd9}
	if want := slices.Concat(key, []byte{0x86, 1, 2, 3}, index); !bytes.Equal(au.Data, want) {
		t.Errorf("got % x, want % x", au.Data, want)
	}
	if au := f.push(vp9Track, 1, true, 0x48, 0x86); au != nil {
		t.Errorf("picture without its last packet came out: %+v", au)
	}
}

var (
	sps = []byte{0x67, 0x42, 0xc0, 0x1f, 0xd9, 0x00, 0x78, 0x02, 0x27, 0xe5, 0x84, 0, 0, 3, 0, 4, 0, 0, 3, 0, 0xc8, 0x3c, 0x60, 0xc9, 0x20}
	pps = []byte{0x68, 0xcb, 0x83}
	idr = []byte{0x65, 0x88, 0x84, 0x01}
)

func annexB(nalus ...[]byte) []byte {
	var out []byte
	for _, n := range nalus {
		out = append(append(out, 0, 0, 0, 1), n...)
	}
	return out
}

func TestAssembler_H264ParameterSets(t *testing.T) {
	whole := annexB(sps, pps, idr)
	t.Run("apart, same timestamp", func(t *testing.T) {
		f := newFeed(t)
		f.push(h264Track, 0, false, sps...)
		f.push(h264Track, 0, false, pps...)
		checkIDR(t, f.push(h264Track, 0, true, idr...), whole)
	})
	t.Run("apart, each with a marker", func(t *testing.T) {
		f := newFeed(t)
		f.push(h264Track, 0, true, sps...)
		f.push(h264Track, 0, true, pps...)
		checkIDR(t, f.push(h264Track, 0, true, idr...), whole)
	})
	t.Run("apart, other timestamps", func(t *testing.T) {
		f := newFeed(t)
		f.push(h264Track, 0, true, sps...)
		f.push(h264Track, 1, true, pps...)
		checkIDR(t, f.push(h264Track, 2, true, idr...), whole)
	})
	t.Run("only at the first", func(t *testing.T) {
		f := newFeed(t)
		f.push(h264Track, 0, false, sps...)
		f.push(h264Track, 0, false, pps...)
		f.push(h264Track, 0, true, idr...)
		checkIDR(t, f.push(h264Track, 1, true, idr...), whole)
	})
	t.Run("in the format parameters", func(t *testing.T) {
		track := *h264Track
		track.FMTP = "packetization-mode=1; sprop-parameter-sets=" +
			base64.StdEncoding.EncodeToString(sps) + "," + base64.StdEncoding.EncodeToString(pps)
		checkIDR(t, newFeed(t).push(&track, 1, true, idr...), whole)
	})
	t.Run("never", func(t *testing.T) {
		f := newFeed(t)
		if au := f.push(h264Track, 0, true, idr...); au != nil {
			t.Errorf("got %+v", au)
		}
	})
	t.Run("lost", func(t *testing.T) {
		f := newFeed(t)
		f.push(h264Track, 0, false, sps...)
		f.push(h264Track, 0, false, pps...)
		f.push(h264Track, 0, true, idr...)
		f.lose()
		if au := f.push(h264Track, 1, true, idr...); au != nil {
			t.Errorf("other ones may have been lost: got %+v", au)
		}
	})
	t.Run("aggregated, after a delimiter", func(t *testing.T) {
		f := newFeed(t)
		stap := slices.Concat([]byte{0x78, 0, 2, 0x09, 0x10, 0, byte(len(sps))}, sps, []byte{0, byte(len(pps))}, pps)
		f.push(h264Track, 0, false, stap...)
		f.push(h264Track, 0, false, 0x7c, 0x85, 0x88)
		checkIDR(t, f.push(h264Track, 0, true, 0x7c, 0x45, 0x84, 0x01), whole)
	})
}

func checkIDR(t *testing.T, au *frame.AccessUnit, want []byte) {
	t.Helper()
	if au == nil {
		t.Fatal("got nothing")
	}
	if !au.Keyframe || !bytes.Equal(au.Data, want) || au.Width != 1920 || au.Height != 1080 {
		t.Errorf("got %+v, want % x", au, want)
	}
}

func TestAssembler_H264UnfinishedFragment(t *testing.T) {
	f := newFeed(t)
	f.push(h264Track, 0, false, sps...)
	if au := f.push(h264Track, 0, true, 0x7c, 0x85, 0x88); au != nil {
		t.Errorf("got %+v", au)
	}
	if au := f.push(h264Track, 1, true, 0x61, 0x9a, 1); au != nil {
		t.Errorf("got %+v before a keyframe", au)
	}
}

func TestAssembler_Audio(t *testing.T) {
	f := newFeed(t)
	au := f.push(opusTrack, 0, false, 0xf8, 1)
	if au == nil || !au.Keyframe || au.Lost || !bytes.Equal(au.Data, []byte{0xf8, 1}) {
		t.Fatalf("got %+v", au)
	}
	f.lose()
	if au := f.push(opusTrack, 40, false, 0xf8, 2); au == nil || !au.Lost {
		t.Errorf("after a hole: got %+v", au)
	}
}

func TestAssembler_AAC(t *testing.T) {
	f := newFeed(t)
	au := f.push(aacTrack, 0, true, 0, 32, 0, 2<<3, 0, 3<<3, 1, 1, 2, 2, 2)
	next, ok := f.a.Next()
	if au == nil || !ok || len(au.Data) != 2 || len(next.Data) != 3 || next.PTS-au.PTS != 1024*time.Second/48000 {
		t.Fatalf("got %+v and %+v", au, next)
	}
	raw := bytes.Repeat([]byte{9}, 100)
	whole := frame.PackAAC(raw)
	if au := f.push(aacTrack, 1, false, whole[:50]...); au != nil {
		t.Fatalf("fragment: got %+v", au)
	}
	second := append(slices.Clone(whole[:4]), whole[50:]...)
	if au := f.push(aacTrack, 1, true, second...); au == nil || !bytes.Equal(au.Data, raw) {
		t.Errorf("got %+v", au)
	}
}

func TestAssembler_Discontinuity(t *testing.T) {
	f := newFeed(t)
	f.push(vp8Track, 0, true, vp8Key...)
	au, _ := f.a.Push(&stream.Unit{Track: vp8Track, Discontinuity: true, Packet: &rtp.Packet{
		Header: rtp.Header{SequenceNumber: f.seq + 1, Timestamp: 9, Marker: true}, Payload: vp8Key,
	}})
	if au == nil || !au.Discontinuity {
		t.Errorf("got %+v", au)
	}
}

// FuzzAssembler cuts the input into packets of all codecs.
func FuzzAssembler(f *testing.F) {
	f.Add(slices.Concat([]byte{0x80, byte(len(vp8Key))}, vp8Key))
	f.Add(slices.Concat([]byte{0x03, byte(len(sps))}, sps, []byte{0x83, byte(len(idr))}, idr))
	f.Add([]byte{0x02, 3, 0x58, 0x0a, 0x0b, 0x82, 3, 0x90, 0, 0})
	tracks := []*stream.Track{vp8Track, vp9Track, av1Track, h264Track, opusTrack, aacTrack}
	f.Fuzz(func(t *testing.T, in []byte) {
		a := frame.NewAssembler()
		seq, ts := uint16(0), uint32(0)
		for len(in) >= 2 {
			head, n := in[0], min(int(in[1]), len(in)-2)
			payload := in[2 : 2+n]
			in = in[2+n:]
			seq++
			if head&0x40 != 0 {
				seq++
			}
			if head&0x20 != 0 {
				ts++
			}
			au, ok := a.Push(&stream.Unit{Track: tracks[int(head&7)%len(tracks)], Packet: &rtp.Packet{
				Header: rtp.Header{SequenceNumber: seq, Timestamp: ts, Marker: head&0x80 != 0}, Payload: payload,
			}})
			if ok && len(au.Data) == 0 {
				t.Error("access unit without data")
			}
		}
	})
}

func BenchmarkAssembler_H264(b *testing.B) {
	var units []*stream.Unit
	payloads := (&codecs.H264Payloader{}).Payload(1200, annexB(sps, pps, append(idr, bytes.Repeat([]byte{7}, 10000)...)))
	for i, p := range payloads {
		units = append(units, &stream.Unit{Track: h264Track, Packet: &rtp.Packet{
			Header: rtp.Header{Marker: i == len(payloads)-1}, Payload: p,
		}})
	}
	a := frame.NewAssembler()
	b.ReportAllocs()
	seq, ts := uint16(0), uint32(0)
	for b.Loop() {
		ts++
		for _, u := range units {
			seq++
			u.Packet.SequenceNumber, u.Packet.Timestamp = seq, ts
			a.Push(u)
		}
	}
}

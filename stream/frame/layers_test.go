package frame_test

import (
	"testing"

	"github.com/lectern/lectern/stream"
	"github.com/lectern/lectern/stream/frame"
)

func TestInspect(t *testing.T) {
	vp8Frame := []byte{0x10, 2, 0, 0x9d, 1, 0x2a, 0x80, 2, 0x68, 1}
	vp9Frame := []byte{0x82, 0x49, 0x83, 0x42, 0x00, 0x4f, 0xf0, 0x2c, 0xf0}
	with := func(head []byte, body []byte) []byte { return append(append([]byte(nil), head...), body...) }
	for name, tt := range map[string]struct {
		codec   stream.Codec
		payload []byte
		want    frame.Info
	}{
		"VP8 keyframe":               {stream.VP8, with([]byte{0x10}, vp8Frame), frame.Info{Keyframe: true, Width: 640, Height: 360}},
		"VP8 TID 2, not in sync":     {stream.VP8, []byte{0x90, 0xe0, 0x81, 2, 3, 0x80, 1}, frame.Info{Temporal: 2}},
		"VP8 TID 1, layer sync":      {stream.VP8, []byte{0x90, 0x20, 0x60, 1}, frame.Info{Temporal: 1, Switch: true}},
		"VP8 K without T":            {stream.VP8, []byte{0x90, 0x10, 0xff, 1}, frame.Info{}},
		"VP8 cut short":              {stream.VP8, []byte{0x90, 0x20}, frame.Info{}},
		"VP8 second packet":          {stream.VP8, []byte{0x80, 0x20, 0x80, 1}, frame.Info{Temporal: 2}},
		"VP9 keyframe":               {stream.VP9, with([]byte{0x8c, 0x01}, vp9Frame), frame.Info{Keyframe: true, EndOfLayer: true, Width: 1280, Height: 720}},
		"VP9 structure":              {stream.VP9, []byte{0x0a, 0x30, 0, 160, 0, 90, 1, 64, 0, 180, 0x82}, frame.Info{Keyframe: true, Width: 320, Height: 180}},
		"VP9 TID 1 SID 1, up switch": {stream.VP9, []byte{0xec, 0x01, 0x32, 7, 0x86}, frame.Info{Temporal: 1, Spatial: 1, Switch: true, EndOfLayer: true}},
		"VP9 TID 2, flexible":        {stream.VP9, []byte{0xf8, 0x01, 0x40, 0x02, 0x86}, frame.Info{Temporal: 2}},
		"VP9 cut short":              {stream.VP9, []byte{0xa8, 0x01}, frame.Info{}},
		"AV1 sequence header, then layer 2.1": {
			stream.AV1,
			[]byte{0x18, 0x0b, 0x0a, 0x0b, 0, 0, 0, 0x42, 0xa7, 0xbf, 0xe4, 0x60, 0x0d, 0x00},
			frame.Info{Keyframe: true},
		},
		"AV1 TID 2 SID 1": {stream.AV1, []byte{0x10, 0x34, 0x48, 1, 2}, frame.Info{Temporal: 2, Spatial: 1}},
		"AV1 delimiter, TID 1": {
			stream.AV1,
			[]byte{0x20, 0x02, 0x12, 0x00, 0x34, 0x20, 1},
			frame.Info{Temporal: 1},
		},
		"AV1 goes on":       {stream.AV1, []byte{0x90, 0x34, 0x48, 1, 2}, frame.Info{Continues: true}},
		"AV1 no extension":  {stream.AV1, []byte{0x10, 0x30, 1, 2}, frame.Info{}},
		"AV1 short":         {stream.AV1, []byte{0x10}, frame.Info{}},
		"H264 slice":        {stream.H264, []byte{0x61, 0x9a, 1}, frame.Info{}},
		"H264 IDR":          {stream.H264, []byte{0x65, 0x88, 1}, frame.Info{Keyframe: true}},
		"H264 SPS":          {stream.H264, sps, frame.Info{Keyframe: true, Width: 1920, Height: 1080}},
		"H264 SPS in STAPA": {stream.H264, with([]byte{0x78, 0, byte(len(sps))}, sps), frame.Info{Keyframe: true, Width: 1920, Height: 1080}},
		"Opus":              {stream.Opus, []byte{0xf8}, frame.Info{Keyframe: true}},
		"nothing":           {stream.VP8, nil, frame.Info{}},
	} {
		got := frame.Inspect(tt.codec, tt.payload)
		if got.Keyframe && tt.codec == stream.AV1 {
			got.Width, got.Height = 0, 0
		}
		if got != tt.want {
			t.Errorf("%s: got %+v, want %+v", name, got, tt.want)
		}
	}
}

// FuzzInspect compares what is read at once with what is read on its own.
func FuzzInspect(f *testing.F) {
	for _, p := range [][]byte{{0x90, 0xe0, 0x81, 2, 3, 0x80, 1}, {0xec, 0x01, 0x32, 7, 0x86}, {0x10, 0x34, 0x48, 1}, vp8Key, sps, idr} {
		f.Add(p)
	}
	all := []stream.Codec{stream.VP8, stream.VP9, stream.AV1, stream.H264, stream.Opus, ""}
	f.Fuzz(func(t *testing.T, p []byte) {
		for _, c := range all {
			i := frame.Inspect(c, p)
			if i.Keyframe != frame.KeyframeStart(c, p) {
				t.Errorf("%s: % x: keyframe %v", c, p, i.Keyframe)
			}
			if i.Temporal > 7 || i.Spatial > 7 || (i.Width == 0) != (i.Height == 0) || i.Width > 0 && !i.Keyframe && c != stream.AV1 {
				t.Errorf("%s: % x: %+v", c, p, i)
			}
		}
	})
}

func BenchmarkInspect(b *testing.B) {
	for codec, p := range map[stream.Codec][]byte{
		stream.VP8:  {0x90, 0xe0, 0x81, 2, 3, 0x80, 1},
		stream.VP9:  {0xec, 0x01, 0x32, 7, 0x86},
		stream.AV1:  {0x10, 0x34, 0x48, 1, 2},
		stream.H264: {0x61, 0x9a, 1},
	} {
		b.Run(codec.Name(), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if frame.Inspect(codec, p).Keyframe {
					b.Fatal("a keyframe")
				}
			}
		})
	}
}

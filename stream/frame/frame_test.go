package frame_test

import (
	"bytes"
	"encoding/base64"
	"slices"
	"testing"
	"time"

	"github.com/lectern/lectern/stream"
	"github.com/lectern/lectern/stream/frame"
)

func TestVideoSize(t *testing.T) {
	unhex := func(s string) []byte {
		b, err := base64.StdEncoding.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	tests := map[string]struct {
		codec stream.Codec
		data  []byte
		w, h  int
	}{
		"VP8 with scaling bits": {stream.VP8, []byte{0x10, 2, 0, 0x9d, 1, 0x2a, 0x80, 0x42, 0x68, 0x81}, 640, 360},
		"VP8 delta":             {stream.VP8, []byte{0x11, 2, 0, 0x9d, 1, 0x2a, 0x80, 2, 0x68, 1}, 0, 0},
		"VP8 short":             {stream.VP8, []byte{0x10, 2, 0, 0x9d}, 0, 0},
		"VP9 profile 0":         {stream.VP9, []byte{0x82, 0x49, 0x83, 0x42, 0x00, 0x4f, 0xf0, 0x2c, 0xf0}, 1280, 720},
		"VP9 delta":             {stream.VP9, []byte{0x86, 0x49, 0x83, 0x42, 0x00, 0x4f, 0xf0, 0x2c, 0xf0}, 0, 0},
		"H264 cropped":          {stream.H264, append([]byte{0, 0, 0, 1}, unhex("Z0LAH9kAeAIn5YQAAAMABAAAAwDIPGDJIA==")...), 1920, 1080},
		"H264 High":             {stream.H264, append([]byte{0, 0, 1}, unhex("Z2QAH6zZQFAFuhAAAAMAEAAAAwPI8YMZYA==")...), 1280, 720},
		"H264 without SPS":      {stream.H264, []byte{0, 0, 0, 1, 0x65, 1, 2}, 0, 0},
		"nothing":               {stream.AV1, nil, 0, 0},
		"audio":                 {stream.Opus, []byte{1, 2, 3}, 0, 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w, h, ok := frame.VideoSize(tt.codec, tt.data)
			if w != tt.w || h != tt.h || ok != (tt.w > 0) {
				t.Errorf("got %dx%d, %v; want %dx%d", w, h, ok, tt.w, tt.h)
			}
		})
	}
}

func TestKeyframeStart(t *testing.T) {
	tests := map[string]struct {
		codec   stream.Codec
		payload []byte
		want    bool
	}{
		"VP8":                    {stream.VP8, []byte{0x10, 0x00, 1}, true},
		"VP8 with picture id":    {stream.VP8, []byte{0x90, 0xe0, 0x81, 2, 3, 4, 0x00}, true},
		"VP8 delta":              {stream.VP8, []byte{0x10, 0x01}, false},
		"VP8 second packet":      {stream.VP8, []byte{0x00, 0x00}, false},
		"VP8 second partition":   {stream.VP8, []byte{0x11, 0x00}, false},
		"VP8 descriptor alone":   {stream.VP8, []byte{0x90, 0x80, 0x01}, false},
		"VP9":                    {stream.VP9, []byte{0x88, 0x01, 0x82}, true},
		"VP9 inter":              {stream.VP9, []byte{0xc8, 0x01, 0x82}, false},
		"VP9 upper layer":        {stream.VP9, []byte{0x28, 0x02, 0x00, 0x82}, false},
		"AV1 N bit":              {stream.AV1, []byte{0x18, 0x0a, 0x01}, true},
		"AV1 sequence header":    {stream.AV1, []byte{0x10, 0x0a, 0x01}, true},
		"AV1 after delimiter":    {stream.AV1, []byte{0x20, 0x01, 0x10, 0x08, 0x01}, true},
		"AV1 continued":          {stream.AV1, []byte{0x98, 0x0a, 0x01}, false},
		"AV1 frame":              {stream.AV1, []byte{0x10, 0x30, 0x01}, false},
		"H264 SPS":               {stream.H264, []byte{0x67, 1, 2}, true},
		"H264 IDR":               {stream.H264, []byte{0x65, 0x88}, true},
		"H264 second IDR slice":  {stream.H264, []byte{0x65, 0x40}, false},
		"H264 STAP-A with SPS":   {stream.H264, []byte{0x78, 0, 2, 0x09, 0x10, 0, 2, 0x67, 1}, true},
		"H264 STAP-A cut":        {stream.H264, []byte{0x78, 0, 9, 0x67}, false},
		"H264 FU-A of IDR":       {stream.H264, []byte{0x7c, 0x85, 0x88}, true},
		"H264 FU-A of IDR, next": {stream.H264, []byte{0x7c, 0x05, 0x88}, false},
		"H264 slice":             {stream.H264, []byte{0x61, 0x88}, false},
		"Opus":                   {stream.Opus, []byte{0xf8}, true},
		"nothing":                {stream.VP9, nil, false},
	}
	for name, tt := range tests {
		if got := frame.KeyframeStart(tt.codec, tt.payload); got != tt.want {
			t.Errorf("%s: got %v, want %v", name, got, tt.want)
		}
	}
}

func TestEmpty(t *testing.T) {
	tests := map[string]struct {
		codec   stream.Codec
		payload []byte
		want    bool
	}{
		"VP8 descriptor":      {stream.VP8, []byte{0x10}, true},
		"VP8 long descriptor": {stream.VP8, []byte{0x90, 0x80, 0x01}, true},
		"VP8":                 {stream.VP8, []byte{0x10, 1}, false},
		"VP9 descriptor":      {stream.VP9, []byte{0x80, 0x80, 0x01}, true},
		"VP9":                 {stream.VP9, []byte{0x08, 0x82}, false},
		"AV1 header":          {stream.AV1, []byte{0x10}, true},
		"AV1":                 {stream.AV1, []byte{0x10, 0x30}, false},
		"H264 header":         {stream.H264, []byte{0x61}, true},
		"H264 FU-A":           {stream.H264, []byte{0x7c, 0x85}, true},
		"H264 STAP-A":         {stream.H264, []byte{0x78, 0, 0}, true},
		"H264":                {stream.H264, []byte{0x61, 1}, false},
		"Opus":                {stream.Opus, nil, true},
		"Opus packet":         {stream.Opus, []byte{0xf8}, false},
	}
	for name, tt := range tests {
		if got := frame.Empty(tt.codec, tt.payload); got != tt.want {
			t.Errorf("%s: got %v, want %v", name, got, tt.want)
		}
	}
}

func TestOpusDuration(t *testing.T) {
	tests := []struct {
		packet []byte
		want   time.Duration
	}{
		{[]byte{0x00}, 10 * time.Millisecond},
		{[]byte{0x18}, 60 * time.Millisecond},
		{[]byte{0x68}, 20 * time.Millisecond}, // hybrid
		{[]byte{0x80}, 2500 * time.Microsecond},
		{[]byte{0xf8, 0xff, 0xfe}, 20 * time.Millisecond},
		{[]byte{0xf9}, 40 * time.Millisecond},
		{[]byte{0xfb, 0x03}, 60 * time.Millisecond},
		{[]byte{0xfb}, 0},
		{[]byte{0xfb, 0x3f}, 0}, // more than 120 ms
		{nil, 0},
	}
	for _, tt := range tests {
		if got := frame.OpusDuration(tt.packet); got != tt.want {
			t.Errorf("% x: got %v, want %v", tt.packet, got, tt.want)
		}
	}
}

func TestAnnexB(t *testing.T) {
	in := []byte{9, 0, 0, 0, 1, 0x67, 1, 2, 0, 0, 1, 0x68, 3, 0, 0, 0, 0, 1, 0, 0, 1, 0x65, 0, 0, 3, 1, 0, 0}
	want := [][]byte{{0x67, 1, 2}, {0x68, 3}, {0x65, 0, 0, 3, 1}}
	got := frame.SplitNALUs(in)
	if !slices.EqualFunc(got, want, bytes.Equal) {
		t.Errorf("SplitNALUs: got %x, want %x", got, want)
	}
	avcc := []byte{0, 0, 0, 3, 0x67, 1, 2, 0, 0, 0, 2, 0x68, 3, 0, 0, 0, 5, 0x65, 0, 0, 3, 1}
	if got := frame.AVCC(in); !bytes.Equal(got, avcc) {
		t.Errorf("AVCC: got %x, want %x", got, avcc)
	}
	sps, pps := frame.ParameterSets(in)
	if !bytes.Equal(sps, want[0]) || !bytes.Equal(pps, want[1]) {
		t.Errorf("ParameterSets: got %x and %x", sps, pps)
	}
	if got := frame.SplitNALUs([]byte{0, 0}); got != nil {
		t.Errorf("no NALU: got %x", got)
	}
}

func TestAAC_PackUnpack(t *testing.T) {
	raw := bytes.Repeat([]byte{7}, 5000)
	frames, want, ok := frame.UnpackAAC(frame.PackAAC(raw))
	if !ok || want != len(raw) || len(frames) != 1 || !bytes.Equal(frames[0], raw) {
		t.Errorf("got %d frames of %d, %v", len(frames), want, ok)
	}
	if frame.PackAAC(nil) != nil || frame.PackAAC(make([]byte, 8192)) != nil {
		t.Error("want nil for frames that do not fit the size field")
	}
	two := []byte{0, 32, 0, 2 << 3, 0, 3 << 3, 1, 1, 2, 2, 2}
	frames, _, ok = frame.UnpackAAC(two)
	if !ok || len(frames) != 2 || len(frames[0]) != 2 || len(frames[1]) != 3 {
		t.Errorf("two frames: got %v, %v", frames, ok)
	}
	for _, bad := range [][]byte{nil, {0, 16, 0, 8}, {0, 15, 0, 8, 1}, {0xff, 0xf0, 1, 1, 1}, {0, 32, 0, 16, 0, 80, 1, 1, 2}} {
		if _, _, ok := frame.UnpackAAC(bad); ok {
			t.Errorf("% x: want an error", bad)
		}
	}
}

// FuzzPayload reads an arbitrary payload in all ways.
func FuzzPayload(f *testing.F) {
	for _, p := range [][]byte{{0x10}, {0x90, 0x80, 0x01}, vp8Key, sps, idr, {0x2e, 0, 0, 0x30, 0, 160, 0, 90}, {0x18, 0x0a, 0x0b, 0, 0, 0, 1}} {
		f.Add(p)
	}
	all := []stream.Codec{stream.VP8, stream.VP9, stream.AV1, stream.H264, stream.Opus, stream.AAC, ""}
	f.Fuzz(func(t *testing.T, p []byte) {
		for _, c := range all {
			key, empty := frame.KeyframeStart(c, p), frame.Empty(c, p)
			if key && empty && c.Kind() == stream.Video {
				t.Errorf("%s: % x is a keyframe and empty", c, p)
			}
			if w, h, ok := frame.VideoSize(c, p); ok && (w <= 0 || h <= 0) {
				t.Errorf("%s: size %dx%d", c, w, h)
			}
		}
		_ = frame.AVCC(p)
		frame.ParameterSets(p)
		_, _, _ = frame.UnpackAAC(p)
		if d := frame.OpusDuration(p); d < 0 || d > 120*time.Millisecond {
			t.Errorf("Opus: %v", d)
		}
	})
}

// Package frame turns the units of a stream into access units (whole coded
// pictures and audio frames) for those who do not speak RTP: files, RTMP,
// encoders. It also reads what little of the bitstreams the gateway must know:
// where keyframes begin and how large the picture is.
//
// Everything here works on bytes from outside and never panics on them.
package frame

import (
	"time"

	"github.com/lectern/lectern/stream"
)

// AccessUnit is one coded picture or one audio frame. Whoever takes it from an
// Assembler owns it.
type AccessUnit struct {
	Track   *stream.Track
	PTS     time.Duration // on the timeline of the stream; DTS is the same, nobody reorders
	NTP     time.Time     // of the first unit, see stream.Unit
	Arrival time.Time     // of the last unit

	// Keyframe is true for pictures that need no other, and for all audio.
	Keyframe bool

	// Discontinuity is true if the timeline jumped before it.
	Discontinuity bool

	// Lost is true if something before it was lost for good: a hole.
	Lost bool

	// Data is, by codec: a VP8 or VP9 frame (VP9 with spatial layers: a
	// superframe with its index); an AV1 temporal unit in low-overhead format
	// with size fields and without temporal delimiter; an H.264 access unit as
	// Annex B with 4-byte start codes, parameter sets before each IDR picture;
	// an Opus packet; a raw AAC frame.
	Data []byte

	// Width and Height are the size in pixels of video keyframes, else 0.
	Width, Height int

	// Timestamp is the RTP timestamp of its units.
	Timestamp uint32
}

// KeyframeStart reports whether an RTP payload begins a keyframe of codec c:
// VP8 and VP9 the first packet of an intra frame, AV1 of a coded video sequence,
// H.264 an SPS or the start of an IDR slice (several packets of one access unit
// may qualify). It is true for all audio.
func KeyframeStart(c stream.Codec, payload []byte) bool {
	switch c {
	case stream.VP8:
		d, ok := parseVP8(payload)
		return ok && d.start && payload[d.size]&1 == 0
	case stream.VP9:
		d, ok := parseVP9(payload)
		return ok && d.begin && !d.inter && d.spatial == 0
	case stream.AV1:
		return av1KeyframeStart(payload)
	case stream.H264:
		return h264KeyframeStart(payload)
	}
	return c.Kind() == stream.Audio
}

// Empty reports whether an RTP payload of codec c carries no media: nothing at
// all (Chrome probes the bandwidth with padding), or a payload descriptor alone.
// A payload whose descriptor is cut short is empty too.
func Empty(c stream.Codec, payload []byte) bool {
	switch c {
	case stream.VP8:
		_, ok := parseVP8(payload)
		return !ok
	case stream.VP9:
		_, ok := parseVP9(payload)
		return !ok
	case stream.AV1:
		return len(payload) < 2
	case stream.H264:
		return h264Empty(payload)
	}
	return len(payload) == 0
}

// VideoSize returns the size in pixels that a keyframe of codec c announces, in
// the form of AccessUnit.Data. It reports false if data is no keyframe or
// announces no size.
func VideoSize(c stream.Codec, data []byte) (w, h int, ok bool) {
	switch c {
	case stream.VP8:
		w, h, ok = vp8Size(data)
	case stream.VP9:
		w, h, ok = vp9Size(data)
	case stream.AV1:
		w, h, ok = av1Size(data)
	case stream.H264:
		sps, _ := ParameterSets(data)
		w, h, ok = spsSize(sps)
	}
	return w, h, ok && w > 0 && h > 0
}

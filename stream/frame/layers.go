package frame

import "github.com/lectern/lectern/stream"

// Info is what the gateway must know of one RTP payload of video.
type Info struct {
	// Keyframe is as KeyframeStart tells.
	Keyframe bool

	// Temporal and Spatial are the layers of the packet, 0 if it does not tell.
	Temporal, Spatial uint8

	// Switch is true if a decoder may go up to this temporal layer here: VP8's
	// layer sync bit (RFC 7741, section 4.2), VP9's switching up point (RFC 9628,
	// section 4.2).
	Switch bool

	// EndOfLayer is VP9's end of a layer frame. It is false for other codecs,
	// of which the marker bit tells.
	EndOfLayer bool

	// Continues is true if the payload goes on in the middle of what the packet
	// before began (AV1): then it does not tell its layers, which are the same.
	Continues bool

	// Width and Height are the size in pixels of a keyframe, with spatial layers
	// of the largest; 0 if the payload does not tell.
	Width, Height uint16
}

// Inspect reads the payload of one RTP packet of codec c. It allocates at most
// for the parameter sets of H.264, and knows nothing of a payload that is Empty.
func Inspect(c stream.Codec, payload []byte) Info {
	switch c {
	case stream.VP8:
		return inspectVP8(payload)
	case stream.VP9:
		return inspectVP9(payload)
	case stream.AV1:
		return inspectAV1(payload)
	case stream.H264:
		i := Info{Keyframe: h264KeyframeStart(payload)}
		if i.Keyframe {
			i.sized(spsSize(payloadSPS(payload)))
		}
		return i
	}
	return Info{Keyframe: KeyframeStart(c, payload)}
}

func (i *Info) sized(w, h int, ok bool) {
	const most = 1<<16 - 1
	if ok && w > 0 && h > 0 && w <= most && h <= most {
		i.Width, i.Height = uint16(w), uint16(h)
	}
}

func inspectVP8(p []byte) Info {
	d, ok := parseVP8(p)
	if !ok {
		return Info{}
	}
	i := Info{Temporal: d.temporal, Switch: d.sync, Keyframe: d.start && p[d.size]&1 == 0}
	if i.Keyframe {
		i.sized(vp8Size(p[d.size:]))
	}
	return i
}

func inspectVP9(p []byte) Info {
	d, ok := parseVP9(p)
	if !ok {
		return Info{}
	}
	i := Info{Temporal: d.temporal, Spatial: d.spatial, Switch: d.up, EndOfLayer: d.end}
	i.Keyframe = d.begin && !d.inter && d.spatial == 0
	switch {
	case !i.Keyframe:
	case d.w > 0:
		i.sized(d.w, d.h, true)
	default:
		i.sized(vp9Size(p[d.size:]))
	}
	return i
}

// inspectAV1 looks at the first OBU that is no temporal delimiter: all OBUs of
// a packet are of one layer (RTP payload format for AV1, section 5).
func inspectAV1(p []byte) Info {
	if len(p) < 2 {
		return Info{}
	}
	i := Info{Keyframe: av1KeyframeStart(p), Continues: p[0]&av1Continues != 0}
	if i.Continues {
		return i
	}
	av1Elements(p, func(e []byte, _, _ bool) bool {
		if len(e) == 0 {
			return true
		}
		kind := obuType(e)
		if kind == obuSequenceHeader {
			if _, payload, _, ok := obuPayload(e); ok {
				i.sized(av1SequenceSize(payload))
			}
		}
		const extension = 0x04
		if e[0]&extension != 0 && len(e) > 1 {
			i.Temporal, i.Spatial = e[1]>>5, e[1]>>3&0x03
			return false
		}
		return kind == obuTemporalDelimiter || kind == obuSequenceHeader
	})
	return i
}

// payloadSPS is the SPS that a payload holds whole, or nil.
func payloadSPS(p []byte) (sps []byte) {
	switch naluType(p[0]) {
	case naluSPS:
		return p
	case naluSTAPA:
		stapNALUs(p, func(n []byte) bool {
			if naluType(n[0]) == naluSPS {
				sps = n
			}
			return sps == nil
		})
	}
	return sps
}

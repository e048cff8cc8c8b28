package playback

import (
	"encoding/binary"
	"fmt"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/av1"

	"github.com/lectern/lectern/stream"
	"github.com/lectern/lectern/stream/frame"
)

// config is what a decoder must know before the first frame.
type config struct {
	codecs   string // of the MIME type (RFC 6381)
	private  []byte // CodecPrivate of WebM
	sps, pps []byte // of H.264
}

// configOf reads the configuration from a keyframe.
func configOf(c stream.Codec, key []byte) (*config, error) {
	switch c {
	case stream.VP8:
		return &config{codecs: "vp8"}, nil
	case stream.VP9:
		// Frame marker and two bits of profile, the lower first (VP9 bitstream,
		// section 6.2). Level 4.1: browsers look at the profile.
		profile := key[0]>>5&1 | key[0]>>3&2
		return &config{codecs: fmt.Sprintf("vp09.%02d.41.08", profile)}, nil
	case stream.AV1:
		return configAV1(key)
	case stream.H264:
		sps, pps := frame.ParameterSets(key)
		if len(sps) < 4 || len(pps) == 0 {
			return nil, fmt.Errorf("%w: keyframe without parameter sets", ErrBroken)
		}
		return &config{codecs: fmt.Sprintf("avc1.%02X%02X%02X", sps[1], sps[2], sps[3]), sps: sps, pps: pps}, nil
	}
	return nil, fmt.Errorf("%w: codec %q", ErrUnsupported, c)
}

// OBU types (AV1 bitstream, section 6.2.2).
const (
	obuSequenceHeader    = 1
	obuTemporalDelimiter = 2
)

// splitOBU splits the OBU with size field at the head of b.
func splitOBU(b []byte) (obu, rest []byte, ok bool) {
	if len(b) < 2 || b[0]&0x02 == 0 {
		return nil, nil, false
	}
	n := 1
	if b[0]&0x04 != 0 { // extension
		n++
	}
	size, l := binary.Uvarint(b[n:min(len(b), n+8)]) // same as leb128
	if l <= 0 || size > uint64(len(b)-n-l) {
		return nil, nil, false
	}
	end := n + l + int(size)
	return b[:end], b[end:], true
}

func obuType(obu []byte) byte { return obu[0] >> 3 & 0x0f }

// withoutDelimiter is a temporal unit as WebM and MP4 want it: they mark where it
// begins by other means (AV1 in ISOBMFF, section 2.4).
func withoutDelimiter(tu []byte) []byte {
	for {
		obu, rest, ok := splitOBU(tu)
		if !ok || obuType(obu) != obuTemporalDelimiter || len(rest) == 0 {
			return tu
		}
		tu = rest
	}
}

// configAV1 makes av1C (AV1 in ISOBMFF, section 2.3.3) of the sequence header.
func configAV1(key []byte) (*config, error) {
	var obu []byte
	for rest := key; ; {
		var ok bool
		if obu, rest, ok = splitOBU(rest); !ok {
			return nil, fmt.Errorf("%w: keyframe without sequence header", ErrBroken)
		}
		if obuType(obu) == obuSequenceHeader {
			break
		}
	}
	var h av1.SequenceHeader
	if err := h.Unmarshal(obu); err != nil {
		return nil, fmt.Errorf("%w: sequence header: %w", ErrBroken, err)
	}
	var level uint8
	if len(h.SeqLevelIdx) > 0 {
		level = h.SeqLevelIdx[0]
	}
	high := len(h.SeqTier) > 0 && h.SeqTier[0]
	tier, depth := "M", 8
	if high {
		tier = "H"
	}
	c := h.ColorConfig
	if c.HighBitDepth {
		depth = 10
	}
	if c.TwelveBit {
		depth = 12
	}
	private := []byte{0x81, h.SeqProfile<<5 | level&0x1f, bit(high)<<7 | bit(c.HighBitDepth)<<6 | bit(c.TwelveBit)<<5 |
		bit(c.MonoChrome)<<4 | bit(c.SubsamplingX)<<3 | bit(c.SubsamplingY)<<2, 0}
	return &config{
		codecs:  fmt.Sprintf("av01.%d.%02d%s.%02d", h.SeqProfile, level, tier, depth),
		private: append(private, obu...),
	}, nil
}

func bit(b bool) byte {
	if b {
		return 1
	}
	return 0
}

// opusHead is the configuration of Opus (RFC 7845, section 5.1). Without
// pre-skip: segments hold their samples at the times at which they play.
func opusHead() []byte {
	h := []byte("OpusHead\x01\x02\x00\x00")
	h = binary.LittleEndian.AppendUint32(h, audioClock)
	return append(h, 0, 0, 0) // gain, mapping family
}

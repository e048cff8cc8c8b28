package frame

import (
	"bytes"
	"encoding/binary"
)

const startCode = "\x00\x00\x00\x01"

// SplitNALUs returns the NALUs between the start codes of an Annex B byte
// stream (3 or 4 bytes each), without them. The slices share annexB. Bytes
// before the first start code are left out, empty NALUs too.
func SplitNALUs(annexB []byte) [][]byte {
	var out [][]byte
	for n, rest := nextNALU(annexB); n != nil; n, rest = nextNALU(rest) {
		out = append(out, n)
	}
	return out
}

// nextNALU returns the first NALU that is not empty, and what follows it,
// beginning with a start code; nil at the end.
func nextNALU(b []byte) (nalu, rest []byte) {
	short := []byte(startCode[1:])
	i := bytes.Index(b, short)
	for i >= 0 {
		b = b[i+len(short):]
		i = bytes.Index(b, short)
		end := len(b)
		if i >= 0 {
			end = i
		}
		// Zeros at the end belong to the next start code.
		if n := bytes.TrimRight(b[:end], "\x00"); len(n) > 0 {
			return n[:len(n):len(n)], b[end:]
		}
	}
	return nil, nil
}

// AVCC is annexB with 4-byte big-endian lengths in place of start codes, the
// form of MP4 and FLV (ISO/IEC 14496-15). The result is a copy.
func AVCC(annexB []byte) []byte {
	out := make([]byte, 0, len(annexB)+4)
	for _, n := range SplitNALUs(annexB) {
		out = binary.BigEndian.AppendUint32(out, uint32(len(n)))
		out = append(out, n...)
	}
	return out
}

// ParameterSets returns the first SPS and PPS of an Annex B access unit, without
// start codes; nil if absent. They share annexB.
func ParameterSets(annexB []byte) (sps, pps []byte) {
	for n, rest := nextNALU(annexB); n != nil; n, rest = nextNALU(rest) {
		switch t := naluType(n[0]); {
		case isSlice(t):
			return sps, pps
		case t == naluSPS && sps == nil:
			sps = n
		case t == naluPPS && pps == nil:
			pps = n
		}
	}
	return sps, pps
}

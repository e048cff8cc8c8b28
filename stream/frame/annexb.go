package frame

import "encoding/binary"

const startCode = "\x00\x00\x00\x01"

// SplitNALUs returns the NALUs between the start codes of an Annex B byte
// stream (3 or 4 bytes each), without them. The slices share annexB. Bytes
// before the first start code are left out, empty NALUs too.
func SplitNALUs(annexB []byte) [][]byte {
	var out [][]byte
	begin, zeros := -1, 0
	for i, c := range annexB {
		if c == 1 && zeros >= 2 {
			out = appendNALU(out, annexB, begin, i-zeros)
			begin = i + 1
		}
		if c == 0 {
			zeros++
		} else {
			zeros = 0
		}
	}
	return appendNALU(out, annexB, begin, len(annexB)-zeros)
}

// appendNALU leaves out trailing zeros: they belong to the next start code.
func appendNALU(out [][]byte, b []byte, begin, end int) [][]byte {
	if begin < 0 || begin >= end {
		return out
	}
	return append(out, b[begin:end:end])
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
	for _, n := range SplitNALUs(annexB) {
		switch t := naluType(n[0]); {
		case t == naluSPS && sps == nil:
			sps = n
		case t == naluPPS && pps == nil:
			pps = n
		}
		if isSlice(naluType(n[0])) {
			break
		}
	}
	return sps, pps
}

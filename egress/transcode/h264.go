package transcode

import (
	"encoding/binary"
	"errors"
)

var (
	errAVCC     = errors.New("transcode: malformed decoder configuration record")
	errNALU     = errors.New("transcode: malformed picture")
	errNoConfig = errors.New("transcode: media before its configuration")
)

// parseAVCC returns the first SPS and PPS of a decoder configuration record.
// They share it.
func parseAVCC(b []byte) (sps, pps []byte, err error) {
	if len(b) < 6 || b[0] != 1 || b[4]&3 != 3 || b[5]&31 == 0 {
		return nil, nil, errAVCC
	}
	sets := b[6:]
	for i := range int(b[5] & 31) {
		var n []byte
		if n, sets, err = cutSet(sets); err != nil {
			return nil, nil, err
		}
		if i == 0 {
			sps = n
		}
	}
	if len(sets) < 1 || sets[0] == 0 {
		return nil, nil, errAVCC
	}
	// Further sets and the extensions of high profiles are not needed.
	if pps, _, err = cutSet(sets[1:]); err != nil {
		return nil, nil, err
	}
	if len(sps) < 4 || len(pps) < 1 {
		return nil, nil, errAVCC
	}
	return sps, pps, nil
}

// cutSet takes one parameter set with its 2-byte length off b.
func cutSet(b []byte) (set, rest []byte, err error) {
	if len(b) < 2 {
		return nil, nil, errAVCC
	}
	n := int(binary.BigEndian.Uint16(b))
	if len(b) < 2+n {
		return nil, nil, errAVCC
	}
	return b[2 : 2+n], b[2+n:], nil
}

// annexB appends nalu to dst with a start code.
func annexB(dst, nalu []byte) []byte {
	dst = append(dst, 0, 0, 0, 1)
	return append(dst, nalu...)
}

// lengthsToStartCodes turns 4-byte lengths into start codes, in place.
func lengthsToStartCodes(b []byte) ([]byte, error) {
	for at := 0; at < len(b); {
		if len(b)-at < 4 {
			return nil, errNALU
		}
		n := int(binary.BigEndian.Uint32(b[at:]))
		if n <= 0 || n > len(b)-at-4 {
			return nil, errNALU
		}
		binary.BigEndian.PutUint32(b[at:], 1)
		at += 4 + n
	}
	return b, nil
}

package peer

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"time"

	"github.com/pion/webrtc/v4"
)

// A stamp stands behind the last byte of a picture, in characters that no
// bitstream takes for a start code: mark, layer, hexadecimal time of sending.
const (
	stampMark  = "<sent>"
	stampBytes = len(stampMark) + 1 + 16
)

// stamped returns a copy of a picture with a stamp.
func stamped(frame []byte, layer byte, now time.Time) []byte {
	out := make([]byte, 0, len(frame)+stampBytes)
	out = append(append(append(out, frame...), stampMark...), layer)
	var t [8]byte
	binary.BigEndian.PutUint64(t[:], uint64(now.UnixNano()))
	return hex.AppendEncode(out, t[:])
}

// findStamp looks at the end of the last packet of a picture.
func findStamp(payload []byte) (layer byte, sent time.Time, ok bool) {
	if len(payload) < stampBytes {
		return 0, time.Time{}, false
	}
	s := payload[len(payload)-stampBytes:]
	if !bytes.HasPrefix(s, []byte(stampMark)) {
		return 0, time.Time{}, false
	}
	var t [8]byte
	if _, err := hex.Decode(t[:], s[len(stampMark)+1:]); err != nil {
		return 0, time.Time{}, false
	}
	return s[len(stampMark)], time.Unix(0, int64(binary.BigEndian.Uint64(t[:]))), true
}

// BeginsKeyframe says whether an RTP payload of VP8 or H.264 is the first of a
// keyframe (or carries its parameter sets).
func BeginsKeyframe(mime string, p []byte) bool {
	if len(p) < 4 {
		return false
	}
	if mime == webrtc.MimeTypeH264 {
		n := p[0] & 31
		return n == 7 || n == 24 || (n == 5) || (n == 28 && p[1]&31 == 5 && p[1]&0x80 != 0)
	}
	at := 1 // RFC 7741, section 4.2
	if p[0]&0x80 != 0 {
		at = 2
		if p[1]&0x80 != 0 {
			at++
			if p[2]&0x80 != 0 {
				at++
			}
		}
		if p[1]&0x40 != 0 {
			at++
		}
		if p[1]&0x30 != 0 {
			at++
		}
	}
	return p[0]&0x1f == 0x10 && at < len(p) && p[at]&1 == 0
}

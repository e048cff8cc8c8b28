package stream

import "encoding/binary"

// The head of a dependency descriptor (AV1 RTP specification, appendix A.8.1) is
// always the same: a byte of which the second bit ends a frame, and the number of
// the frame. What follows is nobody's business but the browsers'.
const (
	endOfFrame     = 0x40
	frameNumberAt  = 1
	descriptorHead = 3
)

// FrameNumber reads the number of the frame that a dependency descriptor is of.
// Each layer of a picture is a frame. It reports false if b is none.
func FrameNumber(b []byte) (uint16, bool) {
	if len(b) < descriptorHead {
		return 0, false
	}
	return binary.BigEndian.Uint16(b[frameNumberAt:]), true
}

// EndsFrame says whether a packet with the dependency descriptor b is the last
// of its frame.
func EndsFrame(b []byte) bool { return len(b) >= descriptorHead && b[0]&endOfFrame != 0 }

// frameNumbers keeps the numbers in dependency descriptors continuous across
// publishers: browsers drop frames that are of the past by their number.
type frameNumbers struct {
	started bool
	off     uint16
	last    uint16
}

// splice rewrites b in place.
func (f *frameNumbers) splice(b []byte, fresh bool) {
	n, ok := FrameNumber(b)
	if !ok {
		return
	}
	switch {
	case !f.started:
		f.started = true
	case fresh:
		f.off = f.last + 1 - n
	}
	f.last = n + f.off
	binary.BigEndian.PutUint16(b[frameNumberAt:], f.last)
}

package rtc

import "encoding/binary"

// The forms of header extensions (RFC 8285, sections 4.2 and 4.3): the profile
// says which. The low bits of that of the two-byte form are the application's.
const (
	oneByteProfile = 0xBEDE
	twoByteProfile = 0x1000
	twoByteMask    = 0xFFF0

	maxOneByteID  = 14
	oneByteEndsAt = 15 // id that ends the elements of the one-byte form
)

// extensionIDs are those of the extensions that we read, 0 if not negotiated.
type extensionIDs struct{ transport, mid, rid, repaired, descriptor uint8 }

// extensions is what a packet tells in its header extensions.
type extensions struct {
	transport         uint16 // transport-wide sequence number
	counted           bool   // transport is there
	mid, rid, repairs []byte // nil if not there; repairs is the rid of what a repair repeats
	descriptor        []byte // of dependencies; nil if not there
}

// set takes one element.
func (x *extensions) set(ids extensionIDs, id uint8, value []byte) {
	switch {
	case id == 0 || len(value) == 0: // no element; what was not negotiated has the id 0
	case id == ids.transport && len(value) >= 2:
		x.transport, x.counted = binary.BigEndian.Uint16(value), true
	case id == ids.mid:
		x.mid = value
	case id == ids.rid:
		x.rid = value
	case id == ids.repaired:
		x.repairs = value
	case id == ids.descriptor:
		x.descriptor = value
	}
}

// readExtensions reads the elements of an extension block, as far as they are
// sound.
func readExtensions(profile uint16, block []byte, ids extensionIDs) (x extensions) {
	oneByte := profile == oneByteProfile
	if !oneByte && profile&twoByteMask != twoByteProfile {
		return x
	}
	for len(block) > 0 {
		if block[0] == 0 { // padding, of one byte in both forms
			block = block[1:]
			continue
		}
		id, head := block[0], 1
		var n int
		if oneByte {
			id, n = block[0]>>4, int(block[0]&0x0f)+1
			if id == 0 || id == oneByteEndsAt {
				return x
			}
		} else {
			if len(block) < 2 {
				return x
			}
			n, head = int(block[1]), 2
		}
		if head+n > len(block) {
			return x
		}
		x.set(ids, id, block[head:head+n])
		block = block[head+n:]
	}
	return x
}

// body is an RTP packet behind its fixed header and contributors.
type body struct {
	profile uint16
	block   []byte // elements of the header extension
	payload []byte // without padding
}

// readBody splits a packet; false if it is malformed (RFC 3550, section 5.1).
func readBody(b []byte) (body, bool) {
	const extensionBit, paddingBit, contributors = 0x10, 0x20, 0x0f
	if len(b) < rtpHeaderBytes {
		return body{}, false
	}
	var out body
	rest := b[rtpHeaderBytes:]
	if n := 4 * int(b[0]&contributors); n <= len(rest) {
		rest = rest[n:]
	} else {
		return body{}, false
	}
	if b[0]&extensionBit != 0 {
		if len(rest) < extensionHeadBytes {
			return body{}, false
		}
		n := 4 * int(binary.BigEndian.Uint16(rest[2:]))
		out.profile = binary.BigEndian.Uint16(rest)
		if rest = rest[extensionHeadBytes:]; n > len(rest) {
			return body{}, false
		}
		out.block, rest = rest[:n], rest[n:]
	}
	if b[0]&paddingBit != 0 {
		if len(rest) == 0 || rest[len(rest)-1] == 0 || int(rest[len(rest)-1]) > len(rest) {
			return body{}, false
		}
		rest = rest[:len(rest)-int(rest[len(rest)-1])]
	}
	out.payload = rest
	return out, true
}

const (
	extensionHeadBytes = 4 // profile and length
	wordBytes          = 4

	// maxExtensionHead is what a block takes at most besides a descriptor.
	maxExtensionHead = extensionHeadBytes + 2 + transportSize + 2 + wordBytes - 1

	transportSize    = 2  // bytes of the number
	maxOneByteLength = 16 // bytes of an element
	maxTwoByteLength = 255
)

// size returns the bytes of the block that a packet with h bears, 0 for none.
func (ids extensionIDs) size(h *Header) int {
	counted, described := ids.counts(h), ids.describes(h)
	if !counted && !described {
		return 0
	}
	n, head := extensionHeadBytes, 1
	if ids.needsTwoBytes(h) {
		head = 2
	}
	if counted {
		n += head + transportSize
	}
	if described {
		n += head + len(h.Descriptor)
	}
	return (n + wordBytes - 1) / wordBytes * wordBytes
}

func (ids extensionIDs) counts(h *Header) bool { return h.Transport && ids.transport != 0 }

func (ids extensionIDs) describes(h *Header) bool {
	return ids.descriptor != 0 && len(h.Descriptor) >= minDescriptor && len(h.Descriptor) <= maxTwoByteLength
}

// needsTwoBytes: for ids and lengths that the one-byte form lacks. That the peer
// takes both was negotiated, or all of its ids are such.
func (ids extensionIDs) needsTwoBytes(h *Header) bool {
	return ids.counts(h) && ids.transport > maxOneByteID ||
		ids.describes(h) && (ids.descriptor > maxOneByteID || len(h.Descriptor) > maxOneByteLength)
}

// put writes the block; b has its size.
func (ids extensionIDs) put(b []byte, h *Header) {
	twoBytes := ids.needsTwoBytes(h)
	profile := uint16(oneByteProfile)
	if twoBytes {
		profile = twoByteProfile
	}
	binary.BigEndian.PutUint16(b, profile)
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)/wordBytes-1))
	b = b[extensionHeadBytes:]
	if ids.counts(h) {
		b = putElementHead(b, twoBytes, ids.transport, transportSize)
		binary.BigEndian.PutUint16(b, h.TransportSeq)
		b = b[transportSize:]
	}
	if ids.describes(h) {
		b = putElementHead(b, twoBytes, ids.descriptor, len(h.Descriptor))
		n := copy(b, h.Descriptor)
		frame := b[frameNumberAt:]
		binary.BigEndian.PutUint16(frame, binary.BigEndian.Uint16(frame)+h.FrameOffset)
		b = b[n:]
	}
	clear(b) // the rest is padding
}

// putElementHead writes id and length, and returns the rest of b.
func putElementHead(b []byte, twoBytes bool, id uint8, n int) []byte {
	if twoBytes {
		b[0], b[1] = id, uint8(n)
		return b[2:]
	}
	b[0] = id<<4 | uint8(n-1)
	return b[1:]
}

const (
	frameNumberAt = 1 // of the two bytes, in a dependency descriptor
	minDescriptor = 3 // bytes; it has no more unless something is new
)

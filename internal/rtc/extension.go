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
type extensionIDs struct{ transport, mid, rid, repaired uint8 }

// extensions is what a packet tells in its header extensions.
type extensions struct {
	transport         uint16 // transport-wide sequence number
	counted           bool   // transport is there
	mid, rid, repairs []byte // nil if not there; repairs is the rid of what a repair repeats
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
		id, n, head := block[0], 0, 1
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
	// transportBytes is the size of a block that holds a transport-wide sequence
	// number alone: it comes to one word in both forms.
	transportBytes = extensionHeadBytes + 4
)

// putTransport writes such a block. Ids that the one-byte form lacks need the
// other one; the peer takes it, for it has offered the id.
func putTransport(b []byte, id uint8, seq uint16) {
	binary.BigEndian.PutUint16(b[2:], 1) // words
	if id <= maxOneByteID {
		binary.BigEndian.PutUint16(b, oneByteProfile)
		b[4], b[7] = id<<4|1, 0 // a length of 1 stands for two bytes
		binary.BigEndian.PutUint16(b[5:], seq)
		return
	}
	binary.BigEndian.PutUint16(b, twoByteProfile)
	b[4], b[5] = id, 2
	binary.BigEndian.PutUint16(b[6:], seq)
}

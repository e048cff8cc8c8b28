package turn

import (
	"encoding/binary"
	"net/netip"
	"time"
)

// Methods and attributes of STUN and TURN that are looked at (RFC 8489, RFC
// 8656, section 18).
const (
	methodBinding          = 0x001
	methodAllocate         = 0x003
	methodRefresh          = 0x004
	methodSend             = 0x006
	methodCreatePermission = 0x008
	methodChannelBind      = 0x009

	classRequest    = 0
	classIndication = 1

	attrLifetime = 0x000d

	magicCookie  = 0x2112a442
	stunHeader   = 20
	dataHeader   = 4
	firstChannel = 0x4000
	lastChannel  = 0x7fff // of RFC 5766; RFC 8656 uses the lower part

	// maxMessage is the largest message taken: an Ethernet frame and a Send
	// indication around it.
	maxMessage = 1600

	defaultLifetime = 10 * time.Minute // of an allocation (RFC 8656, section 3.2)
	maxLifetime     = time.Hour
)

// message is what matters of a message from a client.
type message struct {
	src      netip.AddrPort
	data     bool // ChannelData; the rest is 0
	class    int
	method   int
	lifetime time.Duration // asked for, within bounds
}

// parse reads a message. ok is false if it is malformed, or of a kind that no
// client of ours has business with: responses, relayed TCP (RFC 6062).
func parse(b []byte) (m message, ok bool) {
	if len(b) < dataHeader || len(b) > maxMessage {
		return m, false
	}
	if n := binary.BigEndian.Uint16(b); n >= firstChannel && n <= lastChannel {
		return message{data: true}, int(binary.BigEndian.Uint16(b[2:])) <= len(b)-dataHeader
	}
	if len(b) < stunHeader || b[0]&0xc0 != 0 || binary.BigEndian.Uint32(b[4:]) != magicCookie ||
		int(binary.BigEndian.Uint16(b[2:])) != len(b)-stunHeader || len(b)%4 != 0 {
		return m, false
	}
	t := int(binary.BigEndian.Uint16(b))
	m.class = t>>4&1 | t>>7&2
	m.method = t&0xf | t>>1&0x70 | t>>2&0xf80
	m.lifetime = defaultLifetime
	if !m.known() {
		return m, false
	}
	return m, m.readAttributes(b[stunHeader:])
}

// readAttributes walks the attributes. The first of a kind counts (RFC 8489,
// section 14).
func (m *message) readAttributes(b []byte) bool {
	seen := false
	for len(b) > 0 {
		if len(b) < 4 {
			return false
		}
		kind, size := binary.BigEndian.Uint16(b), int(binary.BigEndian.Uint16(b[2:]))
		padded := (size + 3) &^ 3
		if len(b)-4 < padded {
			return false
		}
		if kind == attrLifetime && !seen {
			seen = true
			if size != 4 {
				return false
			}
			if d := time.Duration(binary.BigEndian.Uint32(b[4:])) * time.Second; d < maxLifetime {
				m.lifetime = d
			}
		}
		b = b[4+padded:]
	}
	return true
}

func (m *message) known() bool {
	switch m.method {
	case methodBinding, methodAllocate, methodRefresh, methodCreatePermission, methodChannelBind:
		return m.class == classRequest
	case methodSend:
		return m.class == classIndication
	}
	return false
}

// frameSize returns how long the message that begins with head (4 bytes) is on
// a stream, with padding (RFC 8656, section 12.5). ok is false if it is none or
// too long.
func frameSize(head []byte) (n int, ok bool) {
	first, size := binary.BigEndian.Uint16(head), int(binary.BigEndian.Uint16(head[2:]))
	switch {
	case first >= firstChannel && first <= lastChannel:
		n = dataHeader + (size+3)&^3
	case first < firstChannel && size%4 == 0:
		n = stunHeader + size
	default:
		return 0, false
	}
	return n, n <= maxMessage
}

package frame

// bits reads a bitstream from its most significant bit on. Past the end it
// returns zeros and sets short; so callers check once.
type bits struct {
	b     []byte
	pos   int // in bits
	short bool
}

// u reads n bits, 0..32.
func (r *bits) u(n int) uint32 {
	if n < 0 || n > 32 || r.pos+n > 8*len(r.b) {
		r.short = true
		return 0
	}
	var v uint32
	for range n {
		v = v<<1 | uint32(r.b[r.pos>>3]>>(7-r.pos&7)&1)
		r.pos++
	}
	return v
}

func (r *bits) flag() bool { return r.u(1) == 1 }

func (r *bits) skip(n int) {
	if r.pos+n > 8*len(r.b) {
		r.short = true
		return
	}
	r.pos += n
}

// leadingZeros counts the zeros before the next one bit and passes over both;
// at most 31, more is an error in every bitstream here.
func (r *bits) leadingZeros() int {
	for n := 0; n < 32; n++ {
		if r.flag() {
			return n
		}
		if r.short {
			return 0
		}
	}
	r.short = true
	return 0
}

// ue reads an unsigned Exp-Golomb code (ITU-T H.264, section 9.1).
func (r *bits) ue() uint32 {
	n := r.leadingZeros()
	return 1<<n - 1 + r.u(n)
}

// se reads a signed Exp-Golomb code.
func (r *bits) se() int32 {
	v := r.ue()
	if v&1 == 1 {
		return int32(v/2) + 1
	}
	return -int32(v / 2)
}

// leb128 reads an unsigned integer of at most 4 payload bytes (28 bits) at the
// head of b and returns how many bytes it took; 0 if b is cut short or the
// number is larger than any packet (AV1 specification, section 4.10.5).
func leb128(b []byte) (v, n int) {
	for n < len(b) && n < 4 {
		v |= int(b[n]&0x7f) << (7 * n)
		n++
		if b[n-1]&0x80 == 0 {
			return v, n
		}
	}
	return 0, 0
}

// appendLEB128 appends v in as few bytes as it takes.
func appendLEB128(dst []byte, v int) []byte {
	for v >= 0x80 {
		dst = append(dst, byte(v)|0x80)
		v >>= 7
	}
	return append(dst, byte(v))
}

package frame

// vp8Desc is the VP8 payload descriptor (RFC 7741, section 4.2).
type vp8Desc struct {
	size  int  // bytes before the VP8 data
	start bool // begins a frame: S bit and partition 0

	temporal uint8 // TID, 0 if absent
	sync     bool  // Y: depends on the base layer only
}

// parseVP8 reports false if no VP8 data follows the descriptor.
func parseVP8(p []byte) (vp8Desc, bool) {
	if len(p) < 2 {
		return vp8Desc{}, false
	}
	d := vp8Desc{size: 1, start: p[0]&0x10 != 0 && p[0]&0x07 == 0}
	if p[0]&0x80 != 0 { // X
		ext := p[1]
		d.size++
		if ext&0x80 != 0 { // I: picture id, 7 or 15 bits
			if d.size < len(p) && p[d.size]&0x80 != 0 {
				d.size++
			}
			d.size++
		}
		if ext&0x40 != 0 { // L: TL0PICIDX
			d.size++
		}
		if ext&0x30 != 0 { // T or K: one byte for both
			if ext&0x20 != 0 && d.size < len(p) {
				d.temporal, d.sync = p[d.size]>>6, p[d.size]&0x20 != 0
			}
			d.size++
		}
	}
	return d, d.size < len(p)
}

// vp8Size reads the frame header of a keyframe (RFC 6386, section 9.1).
func vp8Size(b []byte) (w, h int, ok bool) {
	if len(b) < 10 || b[0]&1 != 0 || b[3] != 0x9d || b[4] != 0x01 || b[5] != 0x2a {
		return 0, 0, false
	}
	w = int(b[6]) | int(b[7]&0x3f)<<8
	h = int(b[8]) | int(b[9]&0x3f)<<8
	return w, h, true
}

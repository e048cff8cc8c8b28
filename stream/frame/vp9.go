package frame

// vp9Desc is the VP9 payload descriptor (RFC 9628, section 4.2).
type vp9Desc struct {
	size     int // bytes before the VP9 data
	inter    bool
	temporal uint8
	begin    bool // first packet of a layer frame
	end      bool // last packet of a layer frame
	spatial  uint8
	up       bool // a decoder may go up to this temporal layer
	w, h     int  // largest layer of the scalability structure, 0 if absent
}

// parseVP9 reports false if no VP9 data follows the descriptor.
func parseVP9(p []byte) (vp9Desc, bool) {
	if len(p) < 2 {
		return vp9Desc{}, false
	}
	head := p[0]
	d := vp9Desc{size: 1, inter: head&0x40 != 0, begin: head&0x08 != 0, end: head&0x04 != 0}
	flexible := head&0x10 != 0
	if head&0x80 != 0 { // I: picture id, 7 or 15 bits
		if p[1]&0x80 != 0 {
			d.size++
		}
		d.size++
	}
	if head&0x20 != 0 { // L: layer indices, and TL0PICIDX unless flexible
		if d.size >= len(p) {
			return d, false
		}
		d.temporal, d.up = p[d.size]>>5, p[d.size]&0x10 != 0
		d.spatial = p[d.size] >> 1 & 0x07
		d.size++
		if !flexible {
			d.size++
		}
	}
	if flexible && d.inter { // up to three reference distances, each with a "more" bit
		for n := 0; ; n++ {
			if d.size >= len(p) || n == 3 {
				return d, false
			}
			d.size++
			if p[d.size-1]&1 == 0 {
				break
			}
		}
	}
	if head&0x02 != 0 && !d.structure(p) {
		return d, false
	}
	return d, d.size < len(p)
}

// structure passes over the scalability structure and keeps the largest size.
func (d *vp9Desc) structure(p []byte) bool {
	if d.size >= len(p) {
		return false
	}
	head := p[d.size]
	d.size++
	if head&0x10 != 0 { // Y: width and height of each layer
		for range int(head>>5) + 1 {
			if d.size+4 > len(p) {
				return false
			}
			s := p[d.size:]
			w, h := int(s[0])<<8|int(s[1]), int(s[2])<<8|int(s[3])
			if w*h > d.w*d.h {
				d.w, d.h = w, h
			}
			d.size += 4
		}
	}
	if head&0x08 == 0 { // G: picture group
		return true
	}
	if d.size >= len(p) {
		return false
	}
	n := int(p[d.size])
	d.size++
	for range n {
		if d.size >= len(p) {
			return false
		}
		d.size += 1 + int(p[d.size]>>2&0x03)
	}
	return true
}

// vp9Size reads the uncompressed header of a keyframe (VP9 bitstream
// specification, section 6.2).
func vp9Size(b []byte) (w, h int, ok bool) {
	r := bits{b: b}
	if r.u(2) != 2 {
		return 0, 0, false
	}
	profile := r.u(1) | r.u(1)<<1
	if profile == 3 {
		r.skip(1)
	}
	showExisting, inter := r.flag(), r.flag()
	r.skip(2) // show_frame, error_resilient_mode
	if showExisting || inter || r.u(24) != 0x498342 {
		return 0, 0, false
	}
	r.vp9Color(profile)
	w, h = int(r.u(16))+1, int(r.u(16))+1
	return w, h, !r.short
}

// appendVP9Index makes a superframe of data, the layer frames of one picture
// that are sizes bytes long (VP9 bitstream specification, annex B).
func appendVP9Index(data []byte, sizes []int) []byte {
	if len(sizes) < 2 || len(sizes) > 8 {
		return data
	}
	const sizeBytes = 4
	marker := byte(0xc0 | (sizeBytes-1)<<3 | len(sizes) - 1)
	data = append(data, marker)
	for _, n := range sizes {
		data = append(data, byte(n), byte(n>>8), byte(n>>16), byte(n>>24))
	}
	return append(data, marker)
}

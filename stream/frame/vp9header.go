package frame

// vp9Sizes are the sizes of the reference frames of a VP9 decoder: without them
// a header cannot be read to its end.
type vp9Sizes [8]struct{ w, h int }

// vp9Header is what must be known of the uncompressed header of a frame (VP9
// bitstream specification, section 6.2) to hide it. Positions are in bits.
type vp9Header struct {
	showAt  int  // of show_frame
	intraAt int  // where intra_only stands, or would if the frame were hidden
	inter   bool // intra_only is there in hidden frames
	hidden  bool
	end     int // where the padding begins
	refresh uint8
	w, h    int
}

// vp9Reader reads one header.
type vp9Reader struct {
	bits
	vp9Header
	sizes     *vp9Sizes
	profile   uint32
	resilient bool
}

// next reads the header of the next frame and keeps its size. It reports false
// for frames that show another one, and for headers that cannot be read.
func (s *vp9Sizes) next(frame []byte) (vp9Header, bool) {
	r := vp9Reader{bits: bits{b: frame}, sizes: s}
	if r.u(2) != 2 {
		return vp9Header{}, false
	}
	r.profile = r.u(1) | r.u(1)<<1
	if r.profile == 3 {
		r.skip(1)
	}
	if r.flag() { // show_existing_frame
		return vp9Header{}, false
	}
	r.inter = r.flag()
	r.showAt = r.pos
	r.hidden = !r.flag()
	r.resilient = r.flag()
	r.intraAt = r.pos
	r.picture()
	if !r.resilient {
		r.skip(2) // refresh_frame_context, frame_parallel_decoding_mode
	}
	r.skip(2) // frame_context_idx
	r.filter()
	r.quantization()
	r.segmentation()
	r.tiles()
	r.skip(16) // header_size_in_bytes
	r.end = r.pos
	if r.short || r.w == 0 {
		return vp9Header{}, false
	}
	for i := range s {
		if r.refresh>>i&1 == 1 {
			s[i].w, s[i].h = r.w, r.h
		}
	}
	return r.vp9Header, true
}

// picture reads what depends on the type of the frame.
func (r *vp9Reader) picture() {
	const syncBits = 24
	if !r.inter {
		r.skip(syncBits)
		r.vp9Color(r.profile)
		r.size()
		r.refresh = 0xff
		return
	}
	intraOnly := r.hidden && r.flag()
	if !r.resilient {
		r.skip(2) // reset_frame_context
	}
	if intraOnly {
		r.skip(syncBits)
		if r.profile > 0 {
			r.vp9Color(r.profile)
		}
		r.refresh = uint8(r.u(8))
		r.size()
		return
	}
	r.refresh = uint8(r.u(8))
	var refs [3]uint32
	for i := range refs {
		refs[i] = r.u(3)
		r.skip(1) // sign bias
	}
	r.sizeOf(refs)
	r.skip(1)      // allow_high_precision_mv
	if !r.flag() { // is_filter_switchable
		r.skip(2)
	}
}

// vp9Color passes over color_config.
func (r *bits) vp9Color(profile uint32) {
	const sRGB = 7
	odd := profile&1 == 1
	if profile >= 2 {
		r.skip(1) // bit depth
	}
	if r.u(3) != sRGB {
		r.skip(1) // color_range
		if odd {
			r.skip(3)
		}
	} else if odd {
		r.skip(1)
	}
}

// size reads frame_size and render_size.
func (r *vp9Reader) size() {
	r.w, r.h = int(r.u(16))+1, int(r.u(16))+1
	r.renderSize()
}

// sizeOf reads frame_size_with_refs: the size may be that of a reference.
func (r *vp9Reader) sizeOf(refs [3]uint32) {
	for _, ref := range refs {
		if r.flag() {
			r.w, r.h = r.sizes[ref].w, r.sizes[ref].h
			r.renderSize()
			return
		}
	}
	r.size()
}

func (r *vp9Reader) renderSize() {
	if r.flag() {
		r.skip(32)
	}
}

func (r *vp9Reader) filter() {
	r.skip(6 + 3) // level, sharpness
	enabled := r.flag()
	if enabled && r.flag() { // deltas are updated
		for range 4 + 2 {
			r.optional(7)
		}
	}
}

func (r *vp9Reader) quantization() {
	r.skip(8)
	for range 3 {
		r.optional(5)
	}
}

func (r *vp9Reader) segmentation() {
	if !r.flag() {
		return
	}
	if r.flag() { // update_map
		for range 7 {
			r.optional(8)
		}
		if r.flag() { // temporal_update
			for range 3 {
				r.optional(8)
			}
		}
	}
	if !r.flag() { // update_data
		return
	}
	r.skip(1) // absolute
	for range 8 {
		for _, n := range []int{8 + 1, 6 + 1, 2, 0} { // with the signs
			r.optional(n)
		}
	}
}

// optional passes over n bits if a flag says that they are there.
func (r *vp9Reader) optional(n int) {
	if r.flag() {
		r.skip(n)
	}
}

func (r *vp9Reader) tiles() {
	const leastTile, mostTile = 4, 64 // in blocks of 64 pixels
	blocks := (r.w + 63) / 64
	least, most := 0, 1
	for mostTile<<least < blocks {
		least++
	}
	for blocks>>most >= leastTile {
		most++
	}
	for n := least; n < most-1 && r.flag(); n++ {
		continue
	}
	r.optional(1) // rows
}

// appendHidden appends a frame with show_frame cleared. That makes room for a
// bit, intra_only, which hidden frames have more.
func (h vp9Header) appendHidden(dst, frame []byte) []byte {
	if h.hidden {
		return append(dst, frame...)
	}
	head := make([]byte, 0, (h.end+8)/8)
	n := 0
	put := func(bit byte) {
		if n%8 == 0 {
			head = append(head, 0)
		}
		head[n/8] |= bit << (7 - n%8)
		n++
	}
	for i := range h.end {
		if h.inter && i == h.intraAt {
			put(0)
		}
		bit := frame[i/8] >> (7 - i%8) & 1
		if i == h.showAt {
			bit = 0
		}
		put(bit)
	}
	dst = append(dst, head...)
	return append(dst, frame[(h.end+7)/8:]...)
}

package frame

// NALU types (ITU-T H.264, table 7-1; RFC 6184, section 5.2).
const (
	naluIDR    = 5
	naluSPS    = 7
	naluPPS    = 8
	naluAUD    = 9
	naluFiller = 12
	naluSTAPA  = 24
	naluFUA    = 28
)

func naluType(b byte) byte { return b & 0x1f }

// isSlice says whether a NALU of that type carries picture data.
func isSlice(t byte) bool { return t >= 1 && t <= naluIDR }

// stapNALUs calls f for each NALU of a STAP-A until f reports false. It reports
// false if the sizes do not fit.
func stapNALUs(p []byte, f func(nalu []byte) bool) bool {
	for p = p[1:]; len(p) > 0; {
		if len(p) < 2 {
			return false
		}
		n := int(p[0])<<8 | int(p[1])
		if n > len(p)-2 {
			return false
		}
		if n > 0 && !f(p[2:2+n]) {
			return true
		}
		p = p[2+n:]
	}
	return true
}

func h264Empty(p []byte) bool {
	if len(p) < 2 {
		return true
	}
	switch naluType(p[0]) {
	case naluSTAPA:
		empty := true
		stapNALUs(p, func([]byte) bool { empty = false; return false })
		return empty
	case naluFUA:
		return len(p) < 3
	}
	return false
}

// h264KeyframeStart looks for an SPS, or for the first slice of an IDR picture
// (first_mb_in_slice 0 is a single one bit).
func h264KeyframeStart(p []byte) bool {
	starts := func(t byte, body []byte) bool {
		return t == naluSPS || t == naluIDR && len(body) > 0 && body[0]&0x80 != 0
	}
	if len(p) < 2 {
		return false
	}
	switch t := naluType(p[0]); t {
	case naluSTAPA:
		found := false
		stapNALUs(p, func(n []byte) bool {
			found = starts(naluType(n[0]), n[1:])
			return !found
		})
		return found
	case naluFUA:
		return len(p) > 2 && p[1]&0x80 != 0 && starts(naluType(p[1]), p[2:])
	default:
		return starts(t, p[1:])
	}
}

// spsSize reads a sequence parameter set (ITU-T H.264, section 7.3.2.1.1) and
// returns the cropped size.
func spsSize(sps []byte) (w, h int, ok bool) {
	if len(sps) < 4 || naluType(sps[0]) != naluSPS {
		return 0, 0, false
	}
	r := bits{b: unescape(sps[1:])}
	profile := r.u(8)
	r.skip(16) // constraint flags, level_idc
	r.ue()     // seq_parameter_set_id
	chroma, separate := uint32(1), false
	if hasChroma(profile) {
		chroma, separate = spsChroma(&r)
	}
	r.ue() // log2_max_frame_num_minus4
	switch r.ue() {
	case 0:
		r.ue() // log2_max_pic_order_cnt_lsb_minus4
	case 1:
		r.skip(1)
		r.se()
		r.se()
		for n := r.ue(); n > 0 && !r.short; n-- {
			r.se()
		}
	}
	r.ue()    // max_num_ref_frames
	r.skip(1) // gaps_in_frame_num_value_allowed_flag
	const maxMacroblocks = 1 << 12
	mbW, mbH := r.ue()+1, r.ue()+1
	if mbW > maxMacroblocks || mbH > maxMacroblocks {
		return 0, 0, false
	}
	w, h = int(mbW)*16, int(mbH)*16
	unitX, unitY := 1, 1
	if !r.flag() { // frame_mbs_only_flag
		h *= 2
		unitY = 2
		r.skip(1)
	}
	r.skip(1) // direct_8x8_inference_flag
	if !separate {
		if chroma == 1 || chroma == 2 {
			unitX *= 2
		}
		if chroma == 1 {
			unitY *= 2
		}
	}
	if r.flag() { // frame_cropping_flag: left, right, top, bottom
		x := int64(r.ue()) + int64(r.ue())
		y := int64(r.ue()) + int64(r.ue())
		w -= int(min(x*int64(unitX), int64(w)))
		h -= int(min(y*int64(unitY), int64(h)))
	}
	return w, h, !r.short
}

// hasChroma says whether an SPS of that profile has chroma_format_idc.
func hasChroma(profile uint32) bool {
	switch profile {
	case 100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135:
		return true
	}
	return false
}

func spsChroma(r *bits) (format uint32, separate bool) {
	format = r.ue()
	if format == 3 {
		separate = r.flag()
	}
	r.ue() // bit_depth_luma_minus8
	r.ue()
	r.skip(1)
	if !r.flag() { // seq_scaling_matrix_present_flag
		return format, separate
	}
	lists := 8
	if format == 3 {
		lists = 12
	}
	for i := range lists {
		if !r.flag() {
			continue
		}
		size := 16
		if i >= 6 {
			size = 64
		}
		last, next := int32(8), int32(8)
		for range size {
			if next != 0 {
				next = (last + r.se() + 256) & 0xff
			}
			if next != 0 {
				last = next
			}
		}
	}
	return format, separate
}

// unescape removes the emulation prevention bytes (section 7.4.1).
func unescape(b []byte) []byte {
	out := make([]byte, 0, len(b))
	zeros := 0
	for _, c := range b {
		if zeros >= 2 && c == 3 {
			zeros = 0
			continue
		}
		if c == 0 {
			zeros++
		} else {
			zeros = 0
		}
		out = append(out, c)
	}
	return out
}

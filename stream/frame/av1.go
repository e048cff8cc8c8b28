package frame

// OBU types (AV1 specification, section 6.2.2).
const (
	obuSequenceHeader    = 1
	obuTemporalDelimiter = 2
	obuFrameHeader       = 3
	obuFrame             = 6
	obuTileList          = 8
	obuPadding           = 15
)

// Bits of the AV1 aggregation header (RTP payload format for AV1, section 4.4).
const (
	av1Continues  = 0x80 // Z: the first element goes on from the packet before
	av1Unfinished = 0x40 // Y: the last element goes on in the next packet
	av1NewSeq     = 0x08 // N: first packet of a coded video sequence
)

// av1Elements calls f for each OBU element of the payload p until f reports
// false. It reports false itself if the elements do not fit p.
func av1Elements(p []byte, f func(element []byte, first, last bool) bool) bool {
	if len(p) < 2 {
		return false
	}
	count, rest := int(p[0]>>4&3), p[1:]
	for i := 1; len(rest) > 0; i++ {
		n := len(rest)
		if count == 0 || i < count {
			v, size := leb128(rest)
			if size == 0 || v > len(rest)-size {
				return false
			}
			n, rest = v, rest[size:]
		}
		element := rest[:n]
		rest = rest[n:]
		if !f(element, i == 1, len(rest) == 0) {
			return true
		}
	}
	return true
}

func obuType(obu []byte) byte { return obu[0] >> 3 & 0x0f }

// obuPayload splits an OBU into its header (without size field) and payload. It
// reports false if the OBU is cut short. rest is what follows it when the OBU
// has a size field.
func obuPayload(obu []byte) (header, payload, rest []byte, ok bool) {
	if len(obu) == 0 || obu[0]&0x80 != 0 {
		return nil, nil, nil, false
	}
	n := 1
	if obu[0]&0x04 != 0 { // extension
		n = 2
	}
	if len(obu) < n {
		return nil, nil, nil, false
	}
	header, payload = obu[:n], obu[n:]
	if obu[0]&0x02 != 0 { // has_size_field
		v, size := leb128(payload)
		if size == 0 || v > len(payload)-size {
			return nil, nil, nil, false
		}
		payload, rest = payload[size:size+v], payload[size+v:]
	}
	return header, payload, rest, true
}

// appendOBU appends one OBU as it came in an element, with a size field. What
// has no place in a stored temporal unit is left out.
func appendOBU(dst, obu []byte) ([]byte, bool) {
	header, payload, _, ok := obuPayload(obu)
	if !ok {
		return dst, false
	}
	switch obuType(obu) {
	case obuTemporalDelimiter, obuTileList, obuPadding:
		return dst, true
	}
	dst = append(dst, header[0]|0x02)
	dst = append(dst, header[1:]...)
	dst = appendLEB128(dst, len(payload))
	return append(dst, payload...), true
}

func av1KeyframeStart(p []byte) bool {
	if len(p) < 2 || p[0]&av1Continues != 0 {
		return false
	}
	if p[0]&av1NewSeq != 0 {
		return true
	}
	found := false
	av1Elements(p, func(e []byte, _, _ bool) bool {
		if len(e) == 0 {
			return true
		}
		found = obuType(e) == obuSequenceHeader
		return obuType(e) == obuTemporalDelimiter
	})
	return found
}

// av1OBUs calls f for each OBU of a temporal unit with size fields.
func av1OBUs(data []byte, f func(kind byte, payload []byte)) {
	for len(data) > 0 {
		_, payload, rest, ok := obuPayload(data)
		if !ok {
			return
		}
		f(obuType(data), payload)
		data = rest
	}
}

// av1Keyframe reports whether a temporal unit can be decoded without any
// before it: it has a sequence header, and its first frame is a key frame.
func av1Keyframe(data []byte) bool {
	var sequence, reduced, key, seen bool
	av1OBUs(data, func(kind byte, p []byte) {
		switch kind {
		case obuSequenceHeader:
			sequence = len(p) > 0
			reduced = sequence && p[0]&0x08 != 0
		case obuFrame, obuFrameHeader:
			if !seen && len(p) > 0 {
				// show_existing_frame, then two bits of frame_type: 0 is a key frame.
				key = reduced || p[0]&0xe0 == 0
				seen = true
			}
		}
	})
	return sequence && key
}

func av1Size(data []byte) (w, h int, ok bool) {
	av1OBUs(data, func(kind byte, p []byte) {
		if kind == obuSequenceHeader && !ok {
			w, h, ok = av1SequenceSize(p)
		}
	})
	return w, h, ok
}

// av1SequenceSize reads a sequence header OBU up to the maximal frame size (AV1
// specification, section 5.5).
func av1SequenceSize(p []byte) (w, h int, ok bool) {
	r := bits{b: p}
	r.skip(3 + 1) // seq_profile, still_picture
	if r.flag() { // reduced_still_picture_header
		r.skip(5)
	} else {
		av1OperatingPoints(&r)
	}
	wBits, hBits := int(r.u(4))+1, int(r.u(4))+1
	w, h = int(r.u(wBits))+1, int(r.u(hBits))+1
	return w, h, !r.short
}

func av1OperatingPoints(r *bits) {
	var model bool
	delayBits := 0
	if r.flag() { // timing_info_present_flag
		r.skip(32 + 32)
		if r.flag() { // equal_picture_interval
			r.skip(r.leadingZeros())
		}
		if model = r.flag(); model {
			delayBits = int(r.u(5)) + 1
			r.skip(32 + 5 + 5)
		}
	}
	display := r.flag()
	for range int(r.u(5)) + 1 {
		r.skip(12)
		if r.u(5) > 7 { // seq_level_idx; then seq_tier
			r.skip(1)
		}
		if model && r.flag() {
			r.skip(2*delayBits + 1)
		}
		if display && r.flag() {
			r.skip(4)
		}
	}
}

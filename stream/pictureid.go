package stream

// pictureIDs keeps the picture id and TL0PICIDX of the payload descriptors of
// VP8 (RFC 7741, section 4.2) and VP9 (RFC 9628, section 4.2) continuous across
// publishers. Without it Chromium stalls in 3 of 10 reconnects.
type pictureIDs struct {
	started bool
	pidOff  uint16
	tl0Off  uint8
	lastPID uint16
	lastTL0 uint8
}

// PictureID says where the picture id and TL0PICIDX of a payload descriptor are,
// for those who number pictures anew. Offsets of 0 mean absent.
type PictureID struct {
	At, Len int // of the picture id, bytes
	TL0     int // of TL0PICIDX
}

// FindPictureID reads the descriptor at the head of payload. Codecs without one
// and descriptors too short for what they announce yield the zero value.
func FindPictureID(c Codec, payload []byte) PictureID {
	var f PictureID
	switch c {
	case VP8:
		f = vp8Fields(payload)
	case VP9:
		f = vp9Fields(payload)
	}
	if f.At == 0 {
		return PictureID{}
	}
	return f
}

// splice rewrites the descriptor at the head of payload in place. Descriptors
// too short to hold what they announce are left alone.
func (v *pictureIDs) splice(c Codec, payload []byte, fresh bool) {
	f := FindPictureID(c, payload)
	if f.At == 0 {
		return
	}
	mask := uint16(0x7f)
	pid := uint16(payload[f.At] & 0x7f)
	if f.Len == 2 {
		mask = 0x7fff
		pid = pid<<8 | uint16(payload[f.At+1])
	}
	if fresh {
		v.pidOff, v.tl0Off = 0, 0
		if v.started {
			v.pidOff = v.lastPID + 1 - pid
			if f.TL0 > 0 {
				v.tl0Off = v.lastTL0 + 1 - payload[f.TL0]
			}
		}
		v.started = true
	}
	pid = (pid + v.pidOff) & mask
	v.lastPID = pid
	if f.Len == 2 {
		payload[f.At] = 0x80 | byte(pid>>8)
		payload[f.At+1] = byte(pid)
	} else {
		payload[f.At] = byte(pid)
	}
	if f.TL0 > 0 {
		payload[f.TL0] += v.tl0Off
		v.lastTL0 = payload[f.TL0]
	}
}

// vp8Fields finds the fields of a VP8 payload. Chromium always sends 15-bit
// picture ids.
func vp8Fields(p []byte) PictureID {
	if len(p) < 3 || p[0]&0x80 == 0 {
		return PictureID{}
	}
	ext, at := p[1], 2
	var f PictureID
	if ext&0x80 != 0 { // I: picture id
		if f = pictureID(p, at); f.At == 0 {
			return f
		}
		at += f.Len
	}
	if ext&0x40 != 0 && at < len(p) { // L: TL0PICIDX
		f.TL0 = at
	}
	return f
}

// vp9Fields finds the fields of a VP9 payload. TL0PICIDX follows the layer
// indices, in non-flexible mode only.
func vp9Fields(p []byte) PictureID {
	if len(p) < 2 || p[0]&0x80 == 0 {
		return PictureID{}
	}
	f := pictureID(p, 1)
	const layers, flexible = 0x20, 0x10
	if tl0 := 1 + f.Len + 1; f.At != 0 && p[0]&layers != 0 && p[0]&flexible == 0 && tl0 < len(p) {
		f.TL0 = tl0
	}
	return f
}

// pictureID reads the length of the picture id at p[at].
func pictureID(p []byte, at int) PictureID {
	n := 1
	if p[at]&0x80 != 0 {
		n = 2
	}
	if at+n > len(p) {
		return PictureID{}
	}
	return PictureID{At: at, Len: n}
}

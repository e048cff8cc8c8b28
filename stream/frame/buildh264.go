package frame

import (
	"encoding/base64"
	"slices"
	"strings"
)

type h264Builder struct {
	buffer
	fragment bool // a FU-A is under way
	slice    bool // there is a slice
	idr      bool
	sps, pps []byte // the newest seen, for IDR pictures that come without
}

// newH264Builder takes the parameter sets of the format parameters, if there are
// any (RFC 6184, section 8.1: sprop-parameter-sets).
func newH264Builder(fmtp string) *h264Builder {
	b := &h264Builder{}
	for _, param := range strings.Split(fmtp, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(param), "=")
		if name != "sprop-parameter-sets" {
			continue
		}
		for _, set := range strings.Split(value, ",") {
			if n, err := base64.StdEncoding.DecodeString(set); err == nil {
				b.keep(n)
			}
		}
	}
	return b
}

// keep remembers n if it is a parameter set.
func (b *h264Builder) keep(n []byte) {
	if len(n) < 2 {
		return
	}
	switch naluType(n[0]) {
	case naluSPS:
		b.sps = slices.Clone(n)
	case naluPPS:
		b.pps = slices.Clone(n)
	}
}

// starts wants an SPS if the packet before was lost: it may have been the SPS.
func (b *h264Builder) starts(p []byte, boundary bool) bool {
	if len(p) < 2 {
		return false
	}
	t := naluType(p[0])
	if t == naluFUA {
		return boundary && p[1]&0x80 != 0
	}
	if boundary {
		return true
	}
	if t == naluSTAPA {
		stapNALUs(p, func(n []byte) bool { t = naluType(n[0]); return t == naluAUD })
	}
	return t == naluSPS
}

func (b *h264Builder) skip(p []byte) {
	if len(p) > 0 && naluType(p[0]) == naluSTAPA {
		stapNALUs(p, func(n []byte) bool { b.keep(n); return true })
		return
	}
	b.keep(p)
}

func (b *h264Builder) pictured() bool { return b.slice }

func (b *h264Builder) add(p []byte) bool {
	switch t := naluType(p[0]); {
	case t == naluFUA:
		return b.addFragment(p)
	case b.fragment:
		return false
	case t == naluSTAPA:
		return stapNALUs(p, func(n []byte) bool { b.addNALU(n); return true })
	case t == 0 || t > naluSTAPA:
		return false // not in packetization modes 0 and 1
	}
	b.addNALU(p)
	return true
}

func (b *h264Builder) addNALU(n []byte) {
	t := naluType(n[0])
	if t == naluAUD || t == naluFiller {
		return
	}
	b.keep(n)
	b.note(t)
	b.data = append(append(b.data, startCode...), n...)
}

func (b *h264Builder) note(t byte) {
	b.slice = b.slice || isSlice(t)
	b.idr = b.idr || t == naluIDR
}

func (b *h264Builder) addFragment(p []byte) bool {
	if len(p) < 3 {
		return false
	}
	begin, end := p[1]&0x80 != 0, p[1]&0x40 != 0
	if begin == b.fragment {
		return false
	}
	if begin {
		t := naluType(p[1])
		b.note(t)
		b.data = append(append(b.data, startCode...), p[0]&0xe0|t)
	}
	b.data = append(b.data, p[2:]...)
	b.fragment = !end
	return true
}

func (b *h264Builder) finish() (picture, bool) {
	defer b.reset()
	if b.fragment {
		return picture{}, false
	}
	if !b.slice {
		return picture{}, true // parameter sets alone: kept for the next IDR picture
	}
	if !b.idr {
		return picture{data: slices.Clone(b.data)}, true
	}
	sps, pps := ParameterSets(b.data)
	var head []byte
	if sps == nil {
		head = append(append(head, startCode...), b.sps...)
		sps = b.sps
	}
	if pps == nil && len(b.pps) > 0 && len(head) > 0 {
		head = append(append(head, startCode...), b.pps...)
	}
	if len(sps) == 0 {
		return picture{}, false
	}
	pic := picture{data: slices.Concat(head, b.data), keyframe: true}
	pic.w, pic.h, _ = spsSize(sps)
	return pic, true
}

func (b *h264Builder) reset() {
	b.clear()
	b.fragment, b.slice, b.idr = false, false, false
}

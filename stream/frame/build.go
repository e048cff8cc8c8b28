package frame

import "slices"

// buffer collects the bytes of an access unit; its memory is used again.
type buffer struct{ data []byte }

func (b *buffer) size() int      { return len(b.data) }
func (b *buffer) pictured() bool { return len(b.data) > 0 }

func (b *buffer) skip([]byte) {}

// keepBuffer bounds the memory that is held between access units, in bytes.
const keepBuffer = 256 << 10

func (b *buffer) clear() {
	if cap(b.data) > keepBuffer {
		b.data = nil
	}
	b.data = b.data[:0]
}

type vp8Builder struct{ buffer }

func (b *vp8Builder) starts(p []byte, _ bool) bool {
	d, ok := parseVP8(p)
	return ok && d.start
}

func (b *vp8Builder) add(p []byte) bool {
	d, ok := parseVP8(p)
	if !ok || d.start != (len(b.data) == 0) {
		return false
	}
	b.data = append(b.data, p[d.size:]...)
	return true
}

func (b *vp8Builder) finish() (picture, bool) {
	pic := picture{data: slices.Clone(b.data), keyframe: b.data[0]&1 == 0}
	b.clear()
	if pic.keyframe {
		pic.w, pic.h, pic.keyframe = vp8Size(pic.data)
	}
	return pic, true
}

func (b *vp8Builder) reset() { b.clear() }

type vp9Builder struct {
	buffer
	layers []int // sizes of the layer frames that are complete
	begun  int   // where the layer frame under way begins
	within bool  // one is under way
	w, h   int   // of the scalability structure
	sizes  vp9Sizes
}

func (b *vp9Builder) starts(p []byte, _ bool) bool {
	d, ok := parseVP9(p)
	return ok && d.begin
}

func (b *vp9Builder) add(p []byte) bool {
	d, ok := parseVP9(p)
	if !ok || d.begin == b.within {
		return false
	}
	if d.begin {
		b.begun = len(b.data)
	}
	if d.w > 0 {
		b.w, b.h = d.w, d.h
	}
	b.data = append(b.data, p[d.size:]...)
	b.within = !d.end
	if d.end {
		b.layers = append(b.layers, len(b.data)-b.begun)
	}
	return true
}

func (b *vp9Builder) finish() (picture, bool) {
	if b.within {
		return picture{}, false
	}
	pic := picture{}
	pic.w, pic.h, pic.keyframe = vp9Size(b.data)
	if pic.keyframe && len(b.layers) > 1 && b.w > 0 {
		pic.w, pic.h = b.w, b.h // the first layer is the smallest
	}
	pic.data = b.superframe()
	b.reset()
	return pic, true
}

// superframe puts the layers together. Browsers mark each of them as to be
// shown, and show the last; other decoders would show all of them, in all sizes.
func (b *vp9Builder) superframe() []byte {
	rest, out := b.data, make([]byte, 0, len(b.data)+len(b.layers)*6)
	for i, n := range b.layers {
		layer := rest[:n]
		rest = rest[n:]
		begun := len(out)
		if h, ok := b.sizes.next(layer); ok && i < len(b.layers)-1 {
			out = h.appendHidden(out, layer)
		} else {
			out = append(out, layer...)
		}
		b.layers[i] = len(out) - begun
	}
	return appendVP9Index(out, b.layers)
}

func (b *vp9Builder) reset() {
	b.clear()
	b.layers, b.within, b.w, b.h = b.layers[:0], false, 0, 0
}

type av1Builder struct {
	buffer
	partial []byte // an OBU that goes on in the next packet
	within  bool
}

func (b *av1Builder) starts(p []byte, _ bool) bool {
	return len(p) > 1 && p[0]&av1Continues == 0
}

func (b *av1Builder) size() int { return len(b.data) + len(b.partial) }

// pictured is always true: a marker ends a temporal unit whatever is in it.
func (b *av1Builder) pictured() bool { return true }

func (b *av1Builder) add(p []byte) bool {
	if len(p) < 2 || (p[0]&av1Continues != 0) != b.within {
		return false
	}
	good := true
	fits := av1Elements(p, func(e []byte, first, last bool) bool {
		good = b.element(e, first && b.within, last && p[0]&av1Unfinished != 0)
		return good
	})
	return fits && good
}

// element takes one OBU element. continues: it goes on from the packet before;
// unfinished: it goes on in the next.
func (b *av1Builder) element(e []byte, continues, unfinished bool) bool {
	if continues || unfinished {
		b.partial = append(b.partial, e...)
		b.within = unfinished
		if unfinished {
			return true
		}
		e = b.partial
		defer func() { b.partial = b.partial[:0] }()
	}
	if len(e) == 0 {
		return true
	}
	var ok bool
	b.data, ok = appendOBU(b.data, e)
	return ok
}

func (b *av1Builder) finish() (picture, bool) {
	if b.within {
		return picture{}, false
	}
	pic := picture{data: slices.Clone(b.data), keyframe: av1Keyframe(b.data)}
	if pic.keyframe {
		pic.w, pic.h, _ = av1Size(pic.data)
	}
	b.reset()
	return pic, true
}

func (b *av1Builder) reset() {
	b.clear()
	b.partial, b.within = b.partial[:0], false
}

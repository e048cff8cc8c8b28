package rtmp

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Bounds of AMF0 from a peer.
const (
	maxAMFDepth = 8
	maxAMFArray = 256 // elements of a strict array
)

// AMF0 markers (AMF0 specification, section 2.1).
const (
	amfNumber      = 0
	amfBoolean     = 1
	amfString      = 2
	amfObject      = 3
	amfNull        = 5
	amfUndefined   = 6
	amfECMAArray   = 8
	amfObjectEnd   = 9
	amfStrictArray = 10
	amfDate        = 11
	amfLongString  = 12
)

// checkAMF checks that b is a sequence of AMF0 values within our bounds. The
// library believes what an array says of its length, and would allocate it.
func checkAMF(b []byte) error {
	if len(b) == 0 {
		return fmt.Errorf("%w: empty command", errInbound)
	}
	w := amfWalker{b: b}
	for len(w.b) > 0 && !w.bad {
		w.value(0)
	}
	if w.bad {
		return fmt.Errorf("%w: AMF0", errInbound)
	}
	return nil
}

// amfWalker steps over AMF0 values.
type amfWalker struct {
	b   []byte
	bad bool
}

// take returns the next n bytes, or n zeros and bad.
func (w *amfWalker) take(n int) []byte {
	if n > len(w.b) {
		w.bad = true
		w.b = nil
		return make([]byte, min(n, 8))
	}
	t := w.b[:n]
	w.b = w.b[n:]
	return t
}

func (w *amfWalker) value(depth int) {
	if depth > maxAMFDepth {
		w.bad = true
		return
	}
	switch w.take(1)[0] {
	case amfNumber:
		w.take(8)
	case amfBoolean:
		w.take(1)
	case amfString:
		w.take(int(binary.BigEndian.Uint16(w.take(2))))
	case amfObject:
		w.properties(depth)
	case amfNull, amfUndefined:
	case amfECMAArray:
		w.take(4) // the count, which decoders ignore
		w.properties(depth)
	case amfStrictArray:
		n := binary.BigEndian.Uint32(w.take(4))
		if n > maxAMFArray {
			w.bad = true
			return
		}
		for range n {
			if w.value(depth + 1); w.bad {
				return
			}
		}
	case amfDate:
		w.take(10)
	case amfLongString:
		n := binary.BigEndian.Uint32(w.take(4))
		w.take(int(min(n, math.MaxInt32)))
	default:
		w.bad = true
	}
}

// properties steps over names and values up to the end marker.
func (w *amfWalker) properties(depth int) {
	for !w.bad {
		n := int(binary.BigEndian.Uint16(w.take(2)))
		if n == 0 {
			if w.take(1)[0] != amfObjectEnd {
				w.bad = true
			}
			return
		}
		w.take(n)
		w.value(depth + 1)
	}
}

// Property is one entry of the metadata of a stream. Value is a float64, bool or
// string.
type Property struct {
	Name  string
	Value any
}

// encodeMetadata encodes properties as the ECMA array that onMetaData carries.
func encodeMetadata(ps []Property) []byte {
	b := []byte{amfECMAArray}
	b = binary.BigEndian.AppendUint32(b, uint32(len(ps)))
	for _, p := range ps {
		b = binary.BigEndian.AppendUint16(b, uint16(len(p.Name)))
		b = append(b, p.Name...)
		switch v := p.Value.(type) {
		case float64:
			b = binary.BigEndian.AppendUint64(append(b, amfNumber), math.Float64bits(v))
		case bool:
			b = append(b, amfBoolean, 0)
			if v {
				b[len(b)-1] = 1
			}
		case string:
			b = binary.BigEndian.AppendUint16(append(b, amfString), uint16(len(v)))
			b = append(b, v...)
		default:
			b = append(b, amfNull)
		}
	}
	return append(b, 0, 0, amfObjectEnd)
}

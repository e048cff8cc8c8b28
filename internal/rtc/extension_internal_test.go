package rtc

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"

	"github.com/pion/rtp"
)

var testIDs = extensionIDs{transport: 3, mid: 4, rid: 10, repaired: 14}

func TestReadExtensions(t *testing.T) {
	const one, two = oneByteProfile, twoByteProfile
	far := extensionIDs{transport: 200, rid: 15, mid: 4}
	long := bytes.Repeat([]byte{'x'}, 200)
	for name, tc := range map[string]struct {
		profile uint16
		block   []byte
		ids     extensionIDs
		want    extensions
	}{
		"nothing":                    {one, nil, testIDs, extensions{}},
		"all":                        {one, []byte{0x31, 1, 2, 0x40, '1', 0xa0, 'h', 0xe1, 'a', 'b', 0, 0}, testIDs, extensions{transport: 258, counted: true, mid: []byte("1"), rid: []byte("h"), repairs: []byte("ab")}},
		"padding between":            {one, []byte{0, 0xa0, 'h', 0, 0, 0x31, 1, 2}, testIDs, extensions{transport: 258, counted: true, rid: []byte("h")}},
		"others":                     {one, []byte{0x52, 1, 2, 3, 0xa0, 'l'}, testIDs, extensions{rid: []byte("l")}},
		"15 ends the elements":       {one, []byte{0xf0, 1, 0xa0, 'l'}, testIDs, extensions{}},
		"padding with a length":      {one, []byte{0x03, 1, 2, 3, 0xa0, 'l'}, testIDs, extensions{}},
		"cut off":                    {one, []byte{0xa0, 'l', 0x32, 1, 2}, testIDs, extensions{rid: []byte("l")}},
		"cut off at once":            {one, []byte{0xa0}, testIDs, extensions{}},
		"short number":               {one, []byte{0x30, 1}, testIDs, extensions{}},
		"two bytes":                  {two, []byte{3, 2, 1, 2, 10, 1, 'h', 0}, testIDs, extensions{transport: 258, counted: true, rid: []byte("h")}},
		"two bytes, bits of theirs":  {two | 7, []byte{10, 1, 'h', 0}, testIDs, extensions{rid: []byte("h")}},
		"two bytes, empty element":   {two, []byte{10, 0, 4, 1, '1', 0, 0, 0}, testIDs, extensions{mid: []byte("1")}},
		"two bytes, ids beyond 14":   {two, []byte{200, 2, 1, 2, 15, 1, 'h'}, far, extensions{transport: 258, counted: true, rid: []byte("h")}},
		"two bytes, more than 16":    {two, append([]byte{4, 200}, long...), testIDs, extensions{mid: long}},
		"two bytes, cut off":         {two, []byte{10, 1, 'h', 4}, testIDs, extensions{rid: []byte("h")}},
		"two bytes, cut off in it":   {two, []byte{10, 5, 'h', 4}, testIDs, extensions{}},
		"another profile":            {0xABAC, []byte{0xa0, 'l', 0, 0}, testIDs, extensions{}},
		"what was not negotiated":    {one, []byte{0x31, 1, 2, 0xa0, 'h'}, extensionIDs{}, extensions{}},
		"the later one of two":       {one, []byte{0xa0, 'h', 0xa0, 'l'}, testIDs, extensions{rid: []byte("l")}},
		"not negotiated, id of zero": {two, []byte{0, 1, 'h', 0}, extensionIDs{}, extensions{}},
	} {
		got := readExtensions(tc.profile, tc.block, tc.ids)
		if got.transport != tc.want.transport || got.counted != tc.want.counted || got.String() != tc.want.String() {
			t.Errorf("%s: got %+v, want %+v", name, got, tc.want)
		}
	}
}

func TestPutExtensions(t *testing.T) {
	ids := func(transport, descriptor uint8) extensionIDs {
		return extensionIDs{transport: transport, descriptor: descriptor}
	}
	desc, long := []byte{0xc1, 0xff, 0xff}, append([]byte{0xc1, 0, 5}, make([]byte, 14)...)
	for name, tc := range map[string]struct {
		ids  extensionIDs
		h    Header
		want []byte
	}{
		"a number":             {ids(3, 0), Header{Transport: true, TransportSeq: 0x1234}, []byte{0xBE, 0xDE, 0, 1, 0x31, 0x12, 0x34, 0}},
		"the last small id":    {ids(14, 0), Header{Transport: true, TransportSeq: 0x1234}, []byte{0xBE, 0xDE, 0, 1, 0xe1, 0x12, 0x34, 0}},
		"a large id":           {ids(200, 0), Header{Transport: true, TransportSeq: 0x1234}, []byte{0x10, 0, 0, 1, 200, 2, 0x12, 0x34}},
		"none wanted":          {ids(3, 12), Header{TransportSeq: 1}, nil},
		"none negotiated":      {ids(0, 0), Header{Transport: true, Descriptor: desc}, nil},
		"a descriptor":         {ids(3, 12), Header{Descriptor: desc, FrameOffset: 3}, []byte{0xBE, 0xDE, 0, 1, 0xc2, 0xc1, 0, 2}},
		"both":                 {ids(3, 12), Header{Transport: true, TransportSeq: 0x1234, Descriptor: desc}, []byte{0xBE, 0xDE, 0, 2, 0x31, 0x12, 0x34, 0xc2, 0xc1, 0xff, 0xff, 0}},
		"a long descriptor":    {ids(3, 12), Header{Transport: true, TransportSeq: 0x1234, Descriptor: long}, append([]byte{0x10, 0, 0, 6, 3, 2, 0x12, 0x34, 12, 17, 0xc1, 0, 5}, make([]byte, 15)...)},
		"a short descriptor":   {ids(3, 12), Header{Descriptor: desc[:2]}, nil},
		"too long a one":       {ids(3, 12), Header{Descriptor: make([]byte, 256)}, nil},
		"only one negotiated":  {ids(0, 12), Header{Transport: true, Descriptor: desc}, []byte{0xBE, 0xDE, 0, 1, 0xc2, 0xc1, 0xff, 0xff}},
		"only the other of it": {ids(3, 0), Header{Transport: true, Descriptor: desc}, []byte{0xBE, 0xDE, 0, 1, 0x31, 0, 0, 0}},
	} {
		n := tc.ids.size(&tc.h)
		if n != len(tc.want) || n > maxExtensionHead+len(tc.h.Descriptor) {
			t.Errorf("%s: got %d bytes, want %d", name, n, len(tc.want))
			continue
		}
		b := bytes.Repeat([]byte{0xff}, n) // what was there before
		if n > 0 {
			tc.ids.put(b, &tc.h)
		}
		if !bytes.Equal(b, tc.want) {
			t.Errorf("%s: got % x, want % x", name, b, tc.want)
		}
		x := readExtensions(binary.BigEndian.Uint16(append(b, 0, 0)), append(b, 0, 0, 0, 0)[min(4, n):n], tc.ids)
		if n > 0 && (x.counted != tc.ids.counts(&tc.h) || (x.descriptor != nil) != tc.ids.describes(&tc.h)) {
			t.Errorf("%s: read back %+v", name, x)
		}
	}
	if desc[1] != 0xff {
		t.Error("the caller's descriptor was changed")
	}
}

func TestReadBody(t *testing.T) {
	head := func(first byte, rest ...byte) []byte {
		return append(append([]byte{first}, make([]byte, 11)...), rest...)
	}
	for name, tc := range map[string]struct {
		packet  []byte
		ok      bool
		payload string
		block   int
	}{
		"plain":                        {head(0x80, 'a', 'b'), true, "ab", 0},
		"empty":                        {head(0x80), true, "", 0},
		"too short":                    {head(0x80)[:11], false, "", 0},
		"contributors":                 {head(0x82, 1, 2, 3, 4, 5, 6, 7, 8, 'a'), true, "a", 0},
		"contributors cut off":         {head(0x82, 1, 2, 3, 4, 5, 6, 7), false, "", 0},
		"extension":                    {head(0x90, 0xBE, 0xDE, 0, 1, 1, 2, 3, 4, 'a'), true, "a", 4},
		"extension of no words":        {head(0x90, 0xBE, 0xDE, 0, 0, 'a'), true, "a", 0},
		"extension cut off":            {head(0x90, 0xBE, 0xDE, 0, 1, 1, 2, 3), false, "", 0},
		"extension without a head":     {head(0x90, 0xBE, 0xDE, 0), false, "", 0},
		"padding":                      {head(0xa0, 'a', 0, 0, 3), true, "a", 0},
		"padding alone":                {head(0xa0, 0, 0, 3), true, "", 0},
		"padding of nothing":           {head(0xa0, 'a', 0), false, "", 0},
		"padding longer than the rest": {head(0xa0, 'a', 9), false, "", 0},
		"padding that is not there":    {head(0xa0), false, "", 0},
	} {
		got, ok := readBody(tc.packet)
		if ok != tc.ok || string(got.payload) != tc.payload || len(got.block) != tc.block {
			t.Errorf("%s: got %q, block of %d, %v", name, got.payload, len(got.block), ok)
		}
	}
}

// What another parser reads from a packet, we read too.
func FuzzReadExtensions(f *testing.F) {
	f.Add([]byte{0x90, 96, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0xBE, 0xDE, 0, 2, 0x31, 1, 2, 0x40, '1', 0xa0, 'h', 0, 'x'})
	f.Add([]byte{0xb1, 96, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 9, 9, 9, 9, 0x10, 0, 0, 2, 3, 2, 1, 2, 10, 1, 'h', 0, 'x', 0, 2})
	f.Fuzz(func(t *testing.T, b []byte) {
		got, ok := readBody(b)
		x := readExtensions(got.profile, got.block, testIDs)
		var want rtp.Packet
		if want.Unmarshal(b) != nil {
			return // it is stricter with elements
		}
		if !ok || !bytes.Equal(got.payload, want.Payload) {
			t.Fatalf("got %v, % x, want % x", ok, got.payload, want.Payload)
		}
		ids := want.GetExtensionIDs()
		slices.Sort(ids)
		if len(slices.Compact(slices.Clone(ids))) < len(ids) || want.ExtensionProfile != oneByteProfile && want.ExtensionProfile != twoByteProfile {
			return // of two with the same id it gives the first
		}
		for id, value := range map[uint8][]byte{testIDs.mid: x.mid, testIDs.rid: x.rid, testIDs.repaired: x.repairs} {
			if got := want.GetExtension(id); !bytes.Equal(got, value) {
				t.Fatalf("extension %d: got % x, want % x", id, value, got)
			}
		}
	})
}

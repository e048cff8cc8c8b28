package rtc

import (
	"fmt"
	"testing"
	"time"
)

func newLayers() *layers {
	l := &layers{}
	l.init(&section{mid: "1", layers: []offeredLayer{{name: "h"}, {name: "m"}, {name: "l"}}})
	return l
}

// step is a packet, and the layer that it must be found to be of.
type step struct {
	ssrc uint32
	x    extensions
	rtx  bool
	want int
}

func (s step) run(t *testing.T, l *layers, name string, now time.Time) {
	t.Helper()
	if got := l.find(s.ssrc, &s.x, s.rtx, now); got != s.want {
		t.Errorf("%s: SSRC %d with %q: got layer %d, want %d", name, s.ssrc, s.x, got, s.want)
	}
}

func TestLayers_Find(t *testing.T) {
	rid := func(s string) extensions { return extensions{rid: []byte(s)} }
	repairs := func(s string) extensions { return extensions{repairs: []byte(s)} }
	var none extensions
	for name, steps := range map[string][]step{
		"by rid, then by SSRC":      {{1, rid("h"), false, 0}, {2, rid("l"), false, 2}, {1, none, false, 0}, {2, none, false, 2}},
		"not named yet":             {{1, none, false, -1}, {1, rid("m"), false, 1}, {1, none, false, 1}},
		"unknown rid":               {{1, rid("x"), false, -1}, {1, rid("hh"), false, -1}, {1, none, false, -1}},
		"unknown rid of a known":    {{1, rid("h"), false, 0}, {1, rid("x"), false, -1}, {1, none, false, 0}},
		"no SSRC at all":            {{0, rid("h"), false, -1}, {0, none, false, -1}, {0, none, true, -1}},
		"with its mid":              {{1, extensions{mid: []byte("1"), rid: []byte("l")}, false, 2}},
		"with another mid":          {{1, extensions{mid: []byte("0"), rid: []byte("l")}, false, -1}, {1, none, false, -1}},
		"repairs":                   {{9, repairs("m"), true, 1}, {9, none, true, 1}, {9, none, false, -1}, {8, none, true, -1}},
		"rid of the repairs' own":   {{9, extensions{rid: []byte("l"), repairs: []byte("h")}, true, 0}},
		"rid on repairs alone":      {{9, rid("h"), true, -1}},
		"the source changes":        {{1, rid("h"), false, 0}, {2, rid("h"), false, 0}, {2, none, false, 0}},
		"late packets of the old":   {{1, rid("h"), false, 0}, {2, rid("h"), false, 0}, {1, none, false, -1}, {1, rid("h"), false, -1}, {2, none, false, 0}},
		"the layer of a source":     {{1, rid("h"), false, 0}, {1, rid("l"), false, 2}, {1, none, false, 2}},
		"two sources change places": {{1, rid("h"), false, 0}, {2, rid("l"), false, 2}, {1, rid("l"), false, 2}, {2, rid("h"), false, 0}, {1, none, false, 2}, {2, none, false, 0}},
	} {
		l := newLayers()
		for _, s := range steps {
			s.run(t, l, name, time.Now())
		}
	}
}

func TestLayers_KnowsDeclaredSources(t *testing.T) {
	l := &layers{}
	l.init(&section{layers: []offeredLayer{{name: "0", ssrc: 5}, {name: "1", ssrc: 6}}, rtxOf: map[uint32]uint32{55: 5, 66: 6, 77: 7}})
	for _, s := range []step{{ssrc: 5, want: 0}, {ssrc: 6, want: 1}, {ssrc: 7, want: -1}, {ssrc: 55, rtx: true, want: 0}, {ssrc: 66, rtx: true, want: 1}, {ssrc: 77, rtx: true, want: -1}} {
		s.run(t, l, "declared", time.Now())
	}
	if l.ssrc(1) != 6 || l.ssrc(2) != 0 || l.ssrc(-1) != 0 || l.ssrc(99) != 0 {
		t.Error("ssrc: wrong")
	}
}

// Whoever begins a layer anew with every packet is slowed down, and served again
// later.
func TestLayers_BoundsMoves(t *testing.T) {
	l, now := newLayers(), time.Now()
	x := extensions{rid: []byte("h")}
	taken := 0
	for ssrc := uint32(1); ssrc < 1000; ssrc++ {
		if l.find(ssrc, &x, false, now) == 0 {
			taken++
		}
	}
	if taken != maxMoves+1 {
		t.Errorf("got %d sources in one moment, want %d", taken, maxMoves+1)
	}
	if got := l.find(1000, &x, false, now.Add(moveWindow+1)); got != 0 {
		t.Errorf("later: got layer %d, want 0", got)
	}
	if got := l.find(2000, &extensions{rid: []byte("m")}, false, now); got != 1 {
		t.Errorf("the first source of a layer: got layer %d, want 1", got)
	}
}

func TestLayers_DoesNotAllocate(t *testing.T) {
	l, now := newLayers(), time.Now()
	x := extensions{mid: []byte("1"), rid: []byte("l")}
	if got := testing.AllocsPerRun(100, func() { l.find(3, &x, false, now); l.find(3, &extensions{}, false, now) }); got > 0 {
		t.Errorf("got %.1f allocations, want 0", got)
	}
}

func (x extensions) String() string {
	return fmt.Sprintf("mid %s rid %s repairs %s", x.mid, x.rid, x.repairs)
}

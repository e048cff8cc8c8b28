package whep

import (
	"testing"
	"time"
)

// three are layers as browsers send them, with two temporal layers each.
func three() []quality {
	var out []quality
	for i, rate := range []float64{150e3, 500e3, 1500e3} {
		out = append(out, quality{rid: string("qhf"[i]), w: 320 << i, h: 180 << i, temporal: []float64{0.6 * rate, rate}, flowing: true})
	}
	return out
}

// story feeds a chooser with an estimate that changes over time.
type story struct {
	t    *testing.T
	c    chooser
	s    situation
	last decision
	n    int // changes of layer
}

func newStory(t *testing.T) *story {
	return &story{t: t, s: situation{at: time.Unix(0, 0), all: three(), rate: 1e6, proven: true}}
}

// run goes on for d with the estimate.
func (y *story) run(d time.Duration, rate float64) decision {
	y.t.Helper()
	y.s.rate = rate
	for end := y.s.at.Add(d); y.s.at.Before(end); y.s.at = y.s.at.Add(100 * time.Millisecond) {
		d := y.c.choose(&y.s)
		if d.q != y.last.q {
			y.n++
		}
		y.last = d
	}
	return y.last
}

func (y *story) want(d decision, q int, temporal uint8, reason Reason) {
	y.t.Helper()
	if d.q != q || d.temporal != temporal || d.reason != reason {
		y.t.Errorf("got quality %d, temporal %d, %q, want %d, %d, %q", d.q, d.temporal, d.reason, q, temporal, reason)
	}
}

func TestChoose_StartsWithWhatFits(t *testing.T) {
	y := newStory(t)
	d := y.run(100*time.Millisecond, 1e6)
	y.want(d, 1, 1, ReasonBandwidth)
	if d.want < 1700e3 {
		t.Errorf("wants to know of %v", d.want)
	}
}

func TestChoose_DownAtOnceUpAfterAWhile(t *testing.T) {
	y := newStory(t)
	y.run(2*time.Second, 2e6)
	y.want(y.last, 2, 1, ReasonBest)
	y.want(y.run(100*time.Millisecond, 1200e3), 2, 0, ReasonBandwidth) // the temporal layer first
	y.want(y.run(100*time.Millisecond, 600e3), 1, 1, ReasonBandwidth)
	y.want(y.run(100*time.Millisecond, 300e3), 1, 0, ReasonBandwidth)
	y.want(y.run(100*time.Millisecond, 200e3), 0, 1, ReasonBandwidth)
	y.want(y.run(100*time.Millisecond, 100e3), 0, 0, ReasonBandwidth)
	y.want(y.run(900*time.Millisecond, 3e6), 0, 0, ReasonRising)
	y.want(y.run(300*time.Millisecond, 3e6), 2, 1, ReasonBest)
}

func TestChoose_NeverTheSameFlipTwiceWithinFiveSeconds(t *testing.T) {
	y := newStory(t)
	y.run(2*time.Second, 2e6)
	y.n = 0
	for range 10 { // 30 s of an estimate that swings around what the best needs
		y.run(time.Second, 850e3)
		y.run(2*time.Second, 1740e3*0.73) // less than newNetwork times
	}
	if y.n > 1 {
		t.Errorf("%d changes", y.n)
	}
	y.n = 0
	for range 10 {
		y.run(time.Second, 1400e3*0.6)
		y.run(2*time.Second, 1800e3)
	}
	if y.n > 12 {
		t.Errorf("%d changes of layer in 30 s", y.n)
	}
}

func TestChoose_ALayerThatStopsIsLeftAtOnce(t *testing.T) {
	y := newStory(t)
	y.run(2*time.Second, 2e6)
	y.s.all[2].flowing = false
	y.want(y.run(100*time.Millisecond, 2e6), 1, 1, ReasonBest)
	for i := range y.s.all {
		y.s.all[i].flowing = false
	}
	if d := y.run(100*time.Millisecond, 2e6); d.q != -1 || d.reason != ReasonNone {
		t.Errorf("got %+v", d)
	}
}

func TestChoose_FreezesThePictureForTheSound(t *testing.T) {
	y := newStory(t)
	y.run(time.Second, 300e3)
	if d := y.run(1500*time.Millisecond, 50e3); d.frozen {
		t.Error("frozen too early")
	}
	d := y.run(time.Second, 50e3)
	if !d.frozen || d.reason != ReasonFrozen || d.want != 0.6*150e3 {
		t.Errorf("got %+v", d)
	}
	if d := y.run(200*time.Millisecond, 95e3); d.frozen || d.q != 0 {
		t.Errorf("got %+v after it fitted again", d)
	}
}

// Of a network on which nothing is sent nothing is heard: the picture is tried
// now and then, or it would stand still for ever.
func TestChoose_TriesThePictureWhereNothingIsLearntWithoutIt(t *testing.T) {
	y := newStory(t)
	y.s.blind = true
	shown := 0
	y.run(4*time.Second, 50e3)
	for range 10 * 30 {
		if !y.run(100*time.Millisecond, 50e3).frozen {
			shown++
		}
	}
	if shown < 50 || shown > 70 {
		t.Errorf("shown for %d tenths of 30 seconds, want 60", shown)
	}
	if d := y.run(10*time.Second, 95e3); d.frozen {
		t.Errorf("got %+v after it fitted again", d)
	}
}

func TestChoose_WhatTheViewerWants(t *testing.T) {
	ptr := func(n int) *int { return &n }
	q, f, gone := "q", "f", "x"
	for _, tt := range []struct {
		name     string
		wish     LayerChoice
		rate     float64
		q        int
		temporal uint8
		reason   Reason
	}{
		{"low", LayerChoice{RID: &q}, 5e6, 0, 1, ReasonExplicit},
		{"high", LayerChoice{RID: &f}, 5e6, 2, 1, ReasonExplicit},
		{"high on a poor network", LayerChoice{RID: &f}, 700e3, 1, 1, ReasonTooMuch},
		{"gone", LayerChoice{RID: &gone}, 5e6, 2, 1, ReasonUnavailable},
		{"half the pictures", LayerChoice{MaxTemporal: ptr(0)}, 5e6, 2, 0, ReasonExplicit},
		{"a small window", LayerChoice{MaxWidth: ptr(700)}, 5e6, 1, 1, ReasonExplicit},
		{"smaller than any", LayerChoice{MaxHeight: ptr(50)}, 5e6, 0, 1, ReasonExplicit},
	} {
		t.Run(tt.name, func(t *testing.T) {
			y := newStory(t)
			y.s.wish = tt.wish
			y.want(y.run(2*time.Second, tt.rate), tt.q, tt.temporal, tt.reason)
		})
	}
}

// What a layer needs is measured, and moves: once there was room for it with a
// margin, it need not be so at every look.
func TestChoose_UpThoughTheRateOfTheLayerMoves(t *testing.T) {
	y := newStory(t)
	y.run(2*time.Second, 2e6)
	y.run(100*time.Millisecond, 600e3)
	y.run(500*time.Millisecond, 2e6)
	y.want(y.run(300*time.Millisecond, 1550e3), 1, 1, ReasonBandwidth)
	y.want(y.run(400*time.Millisecond, 1800e3), 2, 1, ReasonBest)
}

// Temporal layers that are seen a moment later, or wanted again, are sent at
// once as long as nothing speaks against it.
func TestChoose_AllTemporalLayersAsTheyBecomeKnown(t *testing.T) {
	y := newStory(t)
	y.s.all = []quality{{w: 640, h: 360, temporal: []float64{500e3}, flowing: true}}
	y.want(y.run(100*time.Millisecond, 1e6), 0, 0, ReasonOnlyOne)
	y.s.all = []quality{{w: 640, h: 360, temporal: []float64{250e3, 350e3, 500e3}, flowing: true}}
	y.want(y.run(100*time.Millisecond, 1e6), 0, 2, ReasonBest)
	base := 0
	y.s.wish = LayerChoice{MaxTemporal: &base}
	y.want(y.run(100*time.Millisecond, 1e6), 0, 0, ReasonExplicit)
	y.s.wish = LayerChoice{}
	y.want(y.run(100*time.Millisecond, 1e6), 0, 2, ReasonBest)
	y.want(y.run(100*time.Millisecond, 300e3), 0, 0, ReasonBandwidth)
	y.want(y.run(time.Second, 1e6), 0, 0, ReasonRising) // what the network could not carry must be earned
}

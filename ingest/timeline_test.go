package ingest_test

import (
	"slices"
	"testing"
	"time"
)

// offset is by how much b is late against a, at their ends.
func offset(a, b []stamped) time.Duration {
	return b[len(b)-1].err() - a[len(a)-1].err()
}

func checkWithin(t *testing.T, what string, got, most time.Duration) {
	t.Helper()
	if got > most || got < -most {
		t.Errorf("%s: got %v, want at most %v", what, got, most)
	}
}

func discontinuities(units []stamped) (n int) {
	for _, u := range units {
		if u.Discontinuity {
			n++
		}
	}
	return n
}

func TestTimeline_SoundAndPictureMeet(t *testing.T) {
	a, v := audio(20*time.Second), video(20*time.Second)
	v.delayed = func(at time.Duration) time.Duration { // the first keyframe is large
		if at == 0 {
			return 140 * ms
		}
		return 0
	}
	out := simulate(t, a, v)
	checkWithin(t, "offset at the end", offset(out[0], out[1]), 20*ms)
	if n := discontinuities(out[0]) + discontinuities(out[1]); n != 0 {
		t.Errorf("got %d discontinuities, want none", n)
	}
	last := out[1][len(out[1])-1]
	checkWithin(t, "NTP", last.NTP.Sub(wallClock)-last.capture, 2*ms)
}

func TestTimeline_LargeOffsetOfSound(t *testing.T) {
	a, v := audio(20*time.Second), video(20*time.Second)
	v.latency = 450 * ms // a slow encoder
	out := simulate(t, a, v)
	checkWithin(t, "offset at the end", offset(out[0], out[1]), 20*ms)
}

// stopped is a capture that is silent between from and to while the RTP clock
// stands still: Chrome's replaceTrack(null).
func stopped(s source, from, to time.Duration) source {
	s.captured = func(at time.Duration) bool { return at < from || at >= to }
	s.media = func(at time.Duration) time.Duration {
		switch {
		case at < from:
			return at
		case at < to:
			return from
		}
		return at - (to - from)
	}
	return s
}

func TestTimeline_PauseIsKept(t *testing.T) {
	a := stopped(audio(12*time.Second), 5*time.Second, 9*time.Second)
	a.reports = []time.Duration{2400 * ms}
	for name, sources := range map[string][]source{
		"sound alone":  {a},
		"with picture": {a, video(12 * time.Second)},
	} {
		out := simulate(t, sources...)[0]
		if n := discontinuities(out); n != 1 {
			t.Errorf("%s: got %d discontinuities, want 1", name, n)
		}
		i := slices.IndexFunc(out, func(s stamped) bool { return s.Discontinuity })
		if i < 0 {
			continue
		}
		checkWithin(t, name+": pause", out[i].PTS-out[i-1].PTS-4*time.Second, 50*ms)
		checkWithin(t, name+": end", out[len(out)-1].err()-out[i-1].err(), 20*ms)
		if late := out[i].out - out[i].capture; late > 200*ms {
			t.Errorf("%s: held back for %v", name, late)
		}
	}
}

func TestTimeline_PauseThenReport(t *testing.T) {
	a := stopped(audio(20*time.Second), 5*time.Second, 9*time.Second)
	out := simulate(t, a, video(20*time.Second))
	checkWithin(t, "offset", offset(out[0], out[1]), 20*ms)
}

// stalled delays all that is sent between from and to until to; it then comes
// out speed times as fast as it was captured.
func stalled(s source, from, to time.Duration, speed float64) source {
	s.delayed = func(at time.Duration) time.Duration {
		if at < from {
			return 0
		}
		out := to + time.Duration(float64(at-from)/speed)
		return max(out-at, 0)
	}
	return s
}

func TestTimeline_StallIsNoPause(t *testing.T) {
	for name, speed := range map[string]float64{"burst": 100, "slow burst": 3} {
		a := stalled(audio(12*time.Second), 4*time.Second, 5*time.Second, speed)
		v := stalled(video(12*time.Second), 4*time.Second, 5*time.Second, speed)
		for with, out := range map[string][][]stamped{"alone": simulate(t, a), "both": simulate(t, a, v)} {
			if n := discontinuities(out[0]); n != 0 {
				t.Errorf("%s, %s: got %d discontinuities, want none", name, with, n)
			}
			first := out[0][200] // at 4 s
			for _, s := range out[0][200:400] {
				checkWithin(t, name+", "+with+": change", s.err()-first.err(), 30*ms)
			}
		}
	}
}

func TestTimeline_ComfortNoiseIsNoPause(t *testing.T) {
	a := audio(15 * time.Second)
	a.captured = func(at time.Duration) bool { // DTX: one packet in 400 ms
		return at < 4*time.Second || at > 8*time.Second || at%(400*ms) == 0
	}
	out := simulate(t, a)[0]
	if n := discontinuities(out); n != 0 {
		t.Errorf("got %d discontinuities, want none", n)
	}
	for _, s := range out[100:] {
		checkWithin(t, "change", s.err()-out[100].err(), 20*ms)
		if s.out-s.capture > 60*ms {
			t.Fatalf("unit of %v held back until %v", s.capture, s.out)
		}
	}
}

func TestTimeline_ReportShowsPause(t *testing.T) {
	// The pause is hidden from arrival: what was sent before it comes late.
	a := stopped(audio(20*time.Second), 5*time.Second, 5600*ms)
	a.delayed = func(at time.Duration) time.Duration {
		if at > 4*time.Second && at < 5*time.Second {
			return (at - 4*time.Second) / 2
		}
		return 0
	}
	out := simulate(t, a, video(20*time.Second))
	checkWithin(t, "offset", offset(out[0], out[1]), 20*ms)
}

func TestTimeline_ClockThatIsSetDoesNotMatter(t *testing.T) {
	for _, by := range []time.Duration{time.Hour, -time.Hour, 2 * time.Second} {
		set := func(at time.Duration) time.Duration {
			if at > 6*time.Second {
				return at + by
			}
			return at
		}
		a, v := audio(20*time.Second), video(20*time.Second)
		a.wall, v.wall = set, set
		out := simulate(t, a, v)
		if n := discontinuities(out[0]) + discontinuities(out[1]); n != 0 {
			t.Errorf("by %v: got %d discontinuities, want none", by, n)
		}
		checkWithin(t, "offset", offset(out[0], out[1]), 20*ms)
		checkWithin(t, "error", out[1][len(out[1])-1].err(), 150*ms)
	}
}

func TestTimeline_WildTimestampsAreCapped(t *testing.T) {
	for _, by := range []time.Duration{3 * time.Hour, -3 * time.Hour, 5 * time.Second, -2 * time.Second} {
		a := audio(12 * time.Second)
		a.media = func(at time.Duration) time.Duration {
			if at >= 6*time.Second {
				return at + by
			}
			return at
		}
		out := simulate(t, a, video(12*time.Second))
		if n := discontinuities(out[0]); n != 1 {
			t.Errorf("by %v: got %d discontinuities, want 1", by, n)
		}
		checkWithin(t, "offset", offset(out[0], out[1]), 20*ms)
	}
}

func TestTimeline_SleepIsATrueGap(t *testing.T) {
	asleep := func(at time.Duration) bool { return at < 5*time.Second || at > 65*time.Second }
	a, v := audio(75*time.Second), video(75*time.Second)
	a.captured, v.captured = asleep, asleep
	out := simulate(t, a, v)
	checkWithin(t, "offset", offset(out[0], out[1]), 20*ms)
	checkWithin(t, "error", out[0][len(out[0])-1].err(), 150*ms)
}

func TestTimeline_TimestampsWrap(t *testing.T) {
	a, v := audio(10*time.Second), video(10*time.Second)
	a.base, v.base = 1<<32-48000*3, 1<<32-90000*5
	out := simulate(t, a, v)
	if n := discontinuities(out[0]) + discontinuities(out[1]); n != 0 {
		t.Errorf("got %d discontinuities, want none", n)
	}
	checkWithin(t, "offset", offset(out[0], out[1]), 20*ms)
}

func TestTimeline_LossDoesNotMatter(t *testing.T) {
	a, v := audio(10*time.Second), video(10*time.Second)
	a.lost = func(n int) bool { return n%10 == 3 || n > 200 && n < 300 }
	v.lost = func(n int) bool { return n%7 == 3 }
	out := simulate(t, a, v)
	if n := discontinuities(out[0]) + discontinuities(out[1]); n != 0 {
		t.Errorf("got %d discontinuities, want none", n)
	}
	checkWithin(t, "offset", offset(out[0], out[1]), 20*ms)
}

func TestTimeline_FollowsDrift(t *testing.T) {
	const drift = 1.0001 // 100 ppm: 60 ms in ten minutes
	fast := func(at time.Duration) time.Duration { return time.Duration(float64(at) * drift) }
	for name, reported := range map[string]bool{"reports": true, "arrival": false} {
		a, v := audio(10*time.Minute), video(10*time.Minute)
		a.media, a.wall, v.media, v.wall = fast, fast, fast, fast
		if !reported {
			a.reports, v.reports = nil, nil
		}
		out := simulate(t, a, v)
		want := 20 * ms
		if !reported {
			want = 90 * ms // nothing tells the latency of the picture
		}
		checkWithin(t, name+": offset", offset(out[0], out[1]), want)
		checkWithin(t, name+": error", out[0][len(out[0])-1].err(), 120*ms)
	}
}

func TestTimeline_NoReports(t *testing.T) {
	a, v := audio(20*time.Second), video(20*time.Second)
	a.reports, v.reports = nil, nil
	v.latency = a.latency
	out := simulate(t, a, v)
	checkWithin(t, "offset", offset(out[0], out[1]), 20*ms)
}

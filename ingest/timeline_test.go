package ingest_test

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/pion/rtp"

	"github.com/lectern/lectern/ingest"
	"github.com/lectern/lectern/stream"
)

const ms = time.Millisecond

// origin is the begin of the stream; the simulated sender begins to capture a
// second later, by a wall clock of its own.
var (
	origin    = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	wallClock = time.Date(2026, 1, 2, 9, 0, 0, 0, time.UTC)
)

const captureBegins = time.Second

// source is a simulated track. All times are since the begin of capture.
type source struct {
	rate     uint32
	every    time.Duration // between access units
	latency  time.Duration // of capture, coding and network
	jitter   time.Duration // more, at random
	base     uint32        // first timestamp
	end      time.Duration
	reports  []time.Duration // when sender reports are sent
	captured func(at time.Duration) bool
	media    func(at time.Duration) time.Duration // what the RTP clock shows
	wall     func(at time.Duration) time.Duration // what the NTP clock shows
	delayed  func(at time.Duration) time.Duration // network delay of a packet on top
	lost     func(n int) bool
}

// event is a packet or a report that arrives.
type event struct {
	at      time.Duration // arrival since captureBegins
	capture time.Duration
	packet  *rtp.Packet
	ntp     time.Time // of a report
	ts      uint32
	track   int
}

func same(at time.Duration) time.Duration { return at }

func (s source) events(track int, rnd *rand.Rand) []event {
	if s.media == nil {
		s.media = same
	}
	if s.wall == nil {
		s.wall = same
	}
	ts := func(at time.Duration) uint32 {
		return s.base + uint32(int64(s.media(at).Seconds()*float64(s.rate)+0.5))
	}
	var out []event
	for n, at := 0, time.Duration(0); at < s.end; n, at = n+1, at+s.every {
		if s.captured != nil && !s.captured(at) || s.lost != nil && s.lost(n) {
			continue
		}
		delay := s.latency
		if s.jitter > 0 {
			delay += time.Duration(rnd.Int64N(int64(s.jitter)))
		}
		if s.delayed != nil {
			delay += s.delayed(at)
		}
		out = append(out, event{at: at + delay, capture: at, track: track, packet: &rtp.Packet{
			Header: rtp.Header{Timestamp: ts(at), Marker: true}, Payload: []byte{1, 2},
		}})
	}
	// A network that keeps order.
	for i := 1; i < len(out); i++ {
		out[i].at = max(out[i].at, out[i-1].at+10*time.Microsecond)
	}
	for _, at := range s.reports {
		out = append(out, event{at: at + s.latency, capture: at, track: track, ntp: wallClock.Add(s.wall(at)), ts: ts(at)})
	}
	return out
}

// stamped is what came out.
type stamped struct {
	capture time.Duration
	out     time.Duration // when, since captureBegins
	ingest.Stamp
}

// err is by how much the unit stands wrong on the timeline.
func (s stamped) err() time.Duration { return s.PTS - captureBegins - s.capture }

// simulate runs sources through one Timeline, with a tick every 20 ms.
func simulate(t *testing.T, sources ...source) [][]stamped {
	t.Helper()
	rnd := rand.New(rand.NewPCG(1, 2))
	tl := ingest.NewTimeline(func(at time.Time) time.Duration { return at.Sub(origin) })
	out := make([][]stamped, len(sources))
	clocks := make([]*ingest.Clock, len(sources))
	captures := map[*rtp.Packet]time.Duration{}
	var events []event
	var now time.Duration
	for i, s := range sources {
		clocks[i] = tl.NewClock(s.rate, func(p ingest.Packet, st ingest.Stamp) {
			out[i] = append(out[i], stamped{capture: captures[p.Packet], out: now, Stamp: st})
		})
		events = append(events, s.events(i, rnd)...)
	}
	slices.SortStableFunc(events, func(a, b event) int { return int(a.at - b.at) })
	wall := func(at time.Duration) time.Time { return origin.Add(captureBegins + at) }
	nextTick := time.Duration(0)
	for _, e := range events {
		for ; nextTick <= e.at; nextTick += 20 * ms {
			now = nextTick
			for _, c := range clocks {
				c.Tick(wall(now))
			}
		}
		now = e.at
		if e.packet == nil {
			clocks[e.track].SenderReport(e.ntp, e.ts)
			continue
		}
		captures[e.packet] = e.capture
		clocks[e.track].Push(ingest.Packet{Packet: e.packet, Format: opusFormat, Arrival: wall(e.at)})
	}
	for i, c := range clocks {
		c.Tick(wall(now + time.Second))
		for k := 1; k < len(out[i]); k++ {
			if out[i][k].PTS < out[i][k-1].PTS {
				t.Fatalf("track %d, unit %d: PTS went back from %v to %v", i, k, out[i][k-1].PTS, out[i][k].PTS)
			}
		}
	}
	return out
}

var opusFormat = &ingest.Format{Codec: stream.Opus, ClockRate: 48000, Channels: 2}

// audio and video are as Chrome sends them: the first report on sound comes
// after 2.4 s, then one each 5 to 7 s.
func audio(end time.Duration) source {
	s := source{rate: 48000, every: 20 * ms, latency: 30 * ms, jitter: 15 * ms, base: 4e9, end: end}
	for at := 2400 * ms; at < end; at += 6 * time.Second {
		s.reports = append(s.reports, at)
	}
	return s
}

func video(end time.Duration) source {
	s := source{rate: 90000, every: time.Second / 30, latency: 90 * ms, jitter: 25 * ms, base: 77, end: end}
	for at := 300 * ms; at < end; at += time.Second {
		s.reports = append(s.reports, at)
	}
	return s
}

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

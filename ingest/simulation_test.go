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

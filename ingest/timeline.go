package ingest

import "time"

// Timeline maps the RTP timestamps of all tracks of one publication onto the
// clock of its stream, so that sound and picture stay together.
//
// Until the first sender report a track follows the arrival of its packets: the
// earliest ones, since delay only ever adds. From its first report on it follows
// the sender's NTP clock, which all its tracks share; the first report of any
// track says where that clock stands on the stream, the others fall in line.
//
// A correction of up to 150 ms, or one that would turn time back, is made by
// letting PTS run up to 5 % faster or slower (1 % once it is within 40 ms); a
// larger one forward is a step, and the unit after it is marked a discontinuity.
// No step goes further than the arrival of the packets bears out: neither a
// clock that was set nor a wild timestamp makes hours of silence.
//
// A Timeline is not goroutine-safe, and its Clocks belong to it.
type Timeline struct {
	since  func(time.Time) time.Duration
	clocks []*Clock

	// PTS = NTP - ref + base, once there is a sender report.
	synced bool
	ref    time.Time
	base   time.Duration

	trimmed time.Duration // when base was last compared with arrival
}

// NewTimeline returns a Timeline. since maps this machine's time of an arrival
// to the clock of the stream: stream.Stream.Since.
func NewTimeline(since func(time.Time) time.Duration) *Timeline {
	return &Timeline{since: since}
}

// Stamp is where a packet stands on the timeline of the stream.
type Stamp struct {
	PTS           time.Duration
	NTP           time.Time // zero before the first sender report
	Discontinuity bool
}

// NewClock adds a track with a clock rate in Hz. out gets its packets in order
// with their stamps, from within Push, Tick and Flush.
func (t *Timeline) NewClock(rate uint32, out func(Packet, Stamp)) *Clock {
	return t.newClock(rate, out, nil)
}

// newClock adds another layer of the picture that like is of, if that is not
// nil: it is taken to be as late from capture to arrival, until its own sender
// reports tell.
func (t *Timeline) newClock(rate uint32, out func(Packet, Stamp), like *Clock) *Clock {
	c := &Clock{
		t: t, rate: max(int64(rate), 1), out: out,
		early: envelope{width: earlyWindow}, recent: envelope{width: recentWindow},
	}
	if like != nil {
		c.late = min(max(like.level(), 0), plausible)
	}
	t.clocks = append(t.clocks, c)
	return c
}

// Remove takes a track off the timeline.
func (t *Timeline) Remove(c *Clock) {
	for i := range t.clocks {
		if t.clocks[i] == c {
			t.clocks = append(t.clocks[:i], t.clocks[i+1:]...)
			return
		}
	}
}

const (
	// The sender's clock and ours drift apart by up to 100 ppm: 0.36 s an hour.
	// Each trimEvery the base follows a tenth of what it is off, 5 ms at most.
	trimEvery = 10 * time.Second
	trimShare = 10
	trimMost  = 5 * time.Millisecond
)

// trim keeps the sender's NTP clock from drifting away from ours.
func (t *Timeline) trim(now time.Duration) {
	if !t.synced || now-t.trimmed < trimEvery {
		return
	}
	t.trimmed = now
	off, any := time.Duration(0), false
	for _, c := range t.clocks {
		if !c.reported || now-c.arrival > trimEvery {
			continue
		}
		if late := c.early.min() - c.off; !any || late < off {
			off, any = late, true
		}
	}
	t.move(min(max(off/trimShare, -trimMost), trimMost))
}

// move sets the sender's NTP clock elsewhere on the stream; the tracks follow.
func (t *Timeline) move(by time.Duration) {
	t.base += by
	for _, c := range t.clocks {
		if c.reported {
			c.goal += by
		}
	}
}

// flowed says whether another track went on through the time between from and
// to: then the network was fine, and c itself paused.
func (t *Timeline) flowed(c *Clock, from, to time.Duration) bool {
	for _, o := range t.clocks {
		if o != c && o.started && o.run <= from && to-o.arrival < pauseGap {
			return true
		}
	}
	return false
}

// envelope is the minimum of a value over the last one to two widths of time.
type envelope struct {
	width     time.Duration
	begun     time.Duration
	cur, prev time.Duration
	n         int // buckets that hold something
}

func (e *envelope) add(at, v time.Duration) {
	switch {
	case e.n == 0 || at-e.begun >= 2*e.width:
		e.begun, e.cur, e.n = at, v, 1
	case at-e.begun >= e.width:
		e.begun, e.prev, e.cur, e.n = at, e.cur, v, 2
	default:
		e.cur = min(e.cur, v)
	}
}

func (e *envelope) min() time.Duration {
	if e.n == 2 {
		return min(e.cur, e.prev)
	}
	return e.cur
}

func (e *envelope) shift(d time.Duration) {
	e.cur += d
	e.prev += d
}

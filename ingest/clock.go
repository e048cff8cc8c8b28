package ingest

import "time"

const (
	// A track that was silent for longer than pauseGap, and whose timestamps
	// then lag by pauseLate more than before, either paused or was held up by
	// the network. Its next packets tell: see Clock.decide.
	pauseGap  = 200 * time.Millisecond
	pauseLate = 200 * time.Millisecond

	holdTime    = 80 * time.Millisecond
	holdUnits   = 4 // of different timestamps
	holdPackets = 256

	// Timestamps that are so much ahead of arrival, or so far back, have jumped.
	jumpAhead = 500 * time.Millisecond
	jumpBack  = time.Second

	maxSlew   = 150 * time.Millisecond // larger corrections are steps
	fastSlew  = 20                     // one part in twenty: 5 %
	slowSlew  = 100                    // 1 %
	slewClose = 40 * time.Millisecond  // the slow one is enough within this

	earlyWindow  = 10 * time.Second
	recentWindow = 500 * time.Millisecond

	// The first report of a track may say that the delays of two tracks, from
	// capture to arrival, differ by this much. Later ones must make a packet's
	// lateness smaller by betterBy at least, or are slewed to.
	plausible = 800 * time.Millisecond
	betterBy  = 50 * time.Millisecond

	recheckAfter = 1500 * time.Millisecond
)

// Clock maps the RTP timestamps of one track. Packets must come in order of
// their sequence numbers.
type Clock struct {
	t    *Timeline
	rate int64 // Hz
	out  func(Packet, Stamp)

	started bool
	ts      uint32        // newest timestamp
	ticks   int64         // the same, unwrapped, since the first
	arrival time.Duration // of the newest packet
	run     time.Duration // since when packets came without a gap

	off  time.Duration // PTS = media time + off
	goal time.Duration // where off is going
	late time.Duration // of the packets on the timeline, as far as known at the start
	pts  time.Duration // of ts
	jump bool          // the next packet follows a discontinuity

	early, recent envelope // of arrival minus media time

	reported bool          // a sender report came
	ntpOff   time.Duration // NTP - ref = media time + ntpOff

	held      []Packet
	heldUnits int
	heldSince time.Duration

	stall    bool // late because the network was held up, as far as known
	stallAt  time.Duration
	stallLag time.Duration
}

// media is the time that ticks last.
func (c *Clock) media(ticks int64) time.Duration {
	const second = int64(time.Second)
	return time.Duration(ticks/c.rate*second + ticks%c.rate*second/c.rate)
}

// Waiting says whether packets are held until Tick lets them out.
func (c *Clock) Waiting() bool { return len(c.held) > 0 }

// level is by how much the packets of the last second were late at least.
func (c *Clock) level() time.Duration { return c.recent.min() - c.off }

// Push takes the next packet. It comes out at once, unless it follows a gap
// that must be understood first: then within 80 ms.
func (c *Clock) Push(p Packet) {
	if !c.started {
		c.start(p)
		return
	}
	at := c.t.since(p.Arrival)
	if len(c.held) > 0 {
		c.hold(p, at)
		return
	}
	if p.Timestamp != c.ts && c.suspicious(p, at) {
		c.hold(p, at)
		return
	}
	c.pass(p, at)
}

func (c *Clock) start(p Packet) {
	at := c.t.since(p.Arrival)
	c.started = true
	c.ts, c.arrival, c.run = p.Timestamp, at, at
	c.off, c.goal = at-c.late, at-c.late
	c.pts = max(c.off, 0)
	c.early.add(at, at)
	c.recent.add(at, at)
	c.emit(p, true)
}

// ahead is how many ticks ts is ahead of the newest; it may be negative.
func (c *Clock) ahead(ts uint32) int64 { return int64(int32(ts - c.ts)) }

// suspicious says whether p is late after a gap.
func (c *Clock) suspicious(p Packet, at time.Duration) bool {
	if at-c.arrival <= pauseGap {
		return false
	}
	late := at - c.media(c.ticks+c.ahead(p.Timestamp)) - c.off
	return c.ahead(p.Timestamp) > 0 && late-c.level() > pauseLate
}

// pass stamps p and lets it out.
func (c *Clock) pass(p Packet, at time.Duration) {
	d := c.ahead(p.Timestamp)
	if d != 0 {
		media := c.media(d)
		switch gone := max(at-c.arrival, 0); {
		case d < 0 && media > -jumpBack:
			// Pictures out of display order: decoding order is what counts.
		case d < 0 || (media-gone > jumpAhead && at-c.media(c.ticks+d)-c.off < -jumpAhead):
			c.renumber(p.Timestamp, at)
		default:
			c.advance(d, at)
		}
	}
	c.note(at)
	c.emit(p, d != 0)
}

// note keeps the time of the newest packet. Repairs come later than their order.
func (c *Clock) note(at time.Duration) {
	if at-c.arrival > pauseGap {
		c.run = at
	}
	c.arrival = max(c.arrival, at)
	c.t.trim(c.arrival)
}

// advance moves on by d ticks, d > 0, and closes in on the goal.
func (c *Clock) advance(d int64, at time.Duration) {
	c.ts += uint32(d)
	c.ticks += d
	media := c.media(c.ticks)
	c.early.add(at, at-media)
	c.recent.add(at, at-media)
	if c.stall {
		c.recheck(at)
	}
	if !c.reported {
		c.goal = c.early.min() - c.late
	}
	if off := c.goal - c.off; off != 0 {
		share := time.Duration(slowSlew)
		if off > slewClose || off < -slewClose {
			share = fastSlew
		}
		most := c.media(d) / share
		c.off += min(max(off, -most), most)
	}
	c.pts = max(c.pts, media+c.off)
}

// renumber begins with other timestamps, without a jump on the stream.
func (c *Clock) renumber(ts uint32, at time.Duration) {
	lag := max(c.level(), 0)
	c.ts = ts
	c.ticks++ // any number will do, as long as it moves on
	c.step(max(at-lag, c.pts) - c.media(c.ticks) - c.off)
	c.pts = c.media(c.ticks) + c.off
}

// step moves the track on the timeline by d at once.
func (c *Clock) step(d time.Duration) {
	c.off += d
	c.goal += d
	c.ntpOff += d
	c.early.shift(d)
	c.recent.shift(d)
	c.jump, c.stall = true, false
}

// jumpToGoal is a step to the goal. What is known of NTP and arrival stays as it is.
func (c *Clock) jumpToGoal() {
	c.off, c.jump, c.stall = c.goal, true, false
	c.early = envelope{width: earlyWindow}
	c.early.add(c.arrival, c.recent.min())
}

// emit lets p out. A jump is marked where an access unit begins, never within.
func (c *Clock) emit(p Packet, begins bool) {
	s := Stamp{PTS: c.pts, Discontinuity: c.jump && begins}
	if c.reported {
		s.NTP = c.t.ref.Add(c.media(c.ticks) + c.ntpOff)
	}
	c.jump = c.jump && !begins
	c.out(p, s)
}

package ingest

import "time"

// hold keeps p back until it is clear why the track was silent.
//
// Chrome's timestamps and sequence numbers stand still while a microphone is
// taken away (replaceTrack(null)), and its next sender report for sound comes up
// to 7 s later: only arrival shows such a pause.
func (c *Clock) hold(p Packet, at time.Duration) {
	if len(c.held) == 0 {
		c.heldSince, c.heldUnits = at, 0
	}
	if n := len(c.held); n == 0 || c.held[n-1].Timestamp != p.Timestamp {
		c.heldUnits++
	}
	c.held = append(c.held, p)
	if c.heldUnits >= holdUnits || len(c.held) >= holdPackets || at-c.heldSince >= holdTime {
		c.decide()
	}
}

// Tick lets out what was held back for long enough at now.
func (c *Clock) Tick(now time.Time) {
	if len(c.held) > 0 && c.t.since(now)-c.heldSince >= holdTime {
		c.decide()
	}
}

// Flush lets out what is held back.
func (c *Clock) Flush() {
	if len(c.held) > 0 {
		c.decide()
	}
}

// lateness is by how much p is late on the present mapping.
func (c *Clock) lateness(p Packet) time.Duration {
	return c.t.since(p.Arrival) - c.media(c.ticks+c.ahead(p.Timestamp)) - c.off
}

// decide tells a pause from a network that was held up, and lets out what was
// held back.
//
// After a stall all that was sent meanwhile comes in a burst, and lateness falls
// as fast as media time goes on. After a pause packets come at their usual pace
// and are all equally late; then the track steps forward by that much. If
// nothing of another track came during the silence either, a stall is likelier
// and a slower fall is proof enough.
func (c *Clock) decide() {
	held := c.held
	first, last := held[0], held[len(held)-1]
	from, to := c.arrival, c.t.since(first.Arrival)
	span := c.media(int64(int32(last.Timestamp - first.Timestamp)))
	fell := c.lateness(first) - c.lateness(last)
	proof := span / 4
	if c.t.flowed(c, from, to) {
		proof = span / 2
	}
	least := c.lateness(first)
	for _, p := range held {
		least = min(least, c.lateness(p))
	}
	level := c.level()
	if span > 0 && fell > proof {
		c.stall, c.stallAt, c.stallLag = true, to, least-level
	} else if least-level > pauseLate/2 { // else just the first was late: a repair
		c.step(least - level)
	}
	c.held = nil
	for _, p := range held {
		c.pass(p, c.t.since(p.Arrival))
	}
}

// recheck looks again at a track that was taken for held up by the network: if
// it does not catch up, it did pause.
func (c *Clock) recheck(at time.Duration) {
	if at-c.stallAt < recheckAfter {
		return
	}
	lag := c.level()
	if lag <= pauseLate {
		c.stall = false
		return
	}
	if c.stallLag-lag < (at-c.stallAt)/10 {
		c.step(lag)
		return
	}
	c.stallAt, c.stallLag = at, lag
}

// SenderReport takes the pair of NTP time and RTP timestamp of a sender report
// (RFC 3550, section 6.4.1). Reports before the first packet are ignored.
func (c *Clock) SenderReport(ntp time.Time, ts uint32) {
	if !c.started {
		return
	}
	media := c.media(c.ticks + c.ahead(ts))
	if !c.t.synced {
		c.t.synced, c.t.ref, c.t.base = true, ntp, c.goal+media
		c.t.trimmed = c.arrival
		c.reported, c.ntpOff = true, -media
		return
	}
	ntpOff := ntp.Sub(c.t.ref) - media
	// What matters is the change against where the track is going already.
	delta := ntpOff + c.t.base - c.goal
	late := c.recent.min() - c.goal
	if n := len(c.held); n > 0 {
		late = c.lateness(c.held[n-1]) + c.off - c.goal
	}
	first := !c.reported
	if early := late - delta; first && early < -maxSlew && early > -plausible {
		// The picture, slow to encode, has set the clock: all move back.
		c.t.move(early)
		delta += early
	}
	c.reported, c.ntpOff = true, ntpOff
	small := delta <= maxSlew && delta >= -maxSlew
	if !small && !credible(late, late-delta, first) {
		// The sender's clock was set. The other tracks will say so as well.
		c.t.base -= delta
		return
	}
	c.goal += delta
	if c.goal-c.off > maxSlew {
		c.jumpToGoal()
	}
}

// credible says whether arrival bears out a correction that changes how late
// the packets are from before to after.
func credible(before, after time.Duration, first bool) bool {
	if first && after > -maxSlew && after < plausible {
		return true
	}
	return max(after, -after)+betterBy < max(before, -before)
}

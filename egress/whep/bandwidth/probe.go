package bandwidth

import (
	"math"
	"time"
)

const (
	// firstWait is the time between probes at first; each that finds nothing
	// doubles it, up to mostWait. The bound keeps the way back short when the
	// network gets better.
	firstWait = time.Second
	mostWait  = 1200 * time.Millisecond

	// doubling is the time in which the rate of a probe doubles. The first sign
	// of a queue comes back after some 150 ms: by then the rate is 1.4 times what
	// the network carries, and the queue some 50 ms.
	doubling = 300 * time.Millisecond

	probeMost    = 4 * time.Second // longest probe
	probeSilence = 350 * time.Millisecond
	// ahead is how far a probe may be beyond what has arrived of late.
	ahead = 1.6
	// grace is how long the queue that a probe has left is not held against the
	// media.
	grace = time.Second
)

// probe is the attempt to carry more.
type probe struct {
	active bool
	begin  int64 // µs
	from   float64
	want   float64

	next  int64 // not before, µs
	wait  time.Duration
	ended int64 // µs
	owes  bool  // its queue has not gone yet
	count uint64
}

// Probe says what should be sent at the moment, media and repeats together, to
// find out whether the network carries want bit/s; 0: the media alone. Call it
// every 5 to 10 ms while more is wanted than the estimate, and at once send what
// is missing.
func (e *Estimator) Probe(want float64, at time.Time) float64 {
	now := e.micros(at)
	e.watch(now)
	p := &e.probe
	if !p.active {
		if !e.mayProbe(want, now) {
			return 0
		}
		*p = probe{active: true, begin: now, from: e.known(want, now), want: want, next: p.next, wait: p.wait, count: p.count + 1}
	}
	patience := probeSilence
	if e.paused(now) {
		patience *= 2 // the packets are few
	}
	if now-max(e.heard, p.begin) > patience.Microseconds() || now-p.begin > probeMost.Microseconds() {
		e.endProbe(now, false)
		return 0
	}
	p.want = want
	rate := p.from * math.Exp2(float64(now-p.begin)/float64(doubling.Microseconds()))
	most := ahead * max(e.arrived.rate(shortWindow), p.from)
	return min(rate, 1.08*want, most)
}

// known is the rate that a probe may begin with.
func (e *Estimator) known(want float64, now int64) float64 {
	if e.paused(now) {
		return max(min(e.rate, want), want/2) // less would be a packet now and then
	}
	if e.proven {
		return e.rate
	}
	return bound(min(e.rate, 1.5*e.arrived.rate(rateWindow)))
}

// mayProbe says whether the network is quiet enough to learn something.
func (e *Estimator) mayProbe(want float64, now int64) bool {
	if want <= e.rate && e.proven || now < e.probe.next {
		return false
	}
	if e.paused(now) {
		return true // what was seen last is of the past
	}
	queue, ok := e.arrived.queue(longWindow)
	return ok && !e.congested && !e.probe.owes && queue < noQueue &&
		now-e.heard < probeSilence.Microseconds() && !e.losses.excessive()
}

// paused says whether no media is sent, be it because the network carried none.
func (e *Estimator) paused(now int64) bool { return now-e.media > (2 * silence).Microseconds() }

// recent says whether losses may be due to a probe.
func (p *probe) recent(now int64) bool {
	return p.active || p.count > 0 && now-p.ended < (grace+rateWindow).Microseconds()
}

// judgeProbe ends a probe that has found what it looked for, or the limit.
func (e *Estimator) judgeProbe(now int64) {
	p := &e.probe
	if !p.active {
		return
	}
	carried := e.arrived.rate(shortWindow)
	queue, ok := e.arrived.queue(shortWindow)
	if ok && queue > noQueue || e.losses.sudden(0) || e.probed.sudden(e.losses.share()) {
		// The queue is there because all that the network carries comes through.
		limit := 0.9 * min(carried, e.arrived.rate(2*shortWindow))
		if e.proven {
			limit = max(limit, e.rate)
		}
		e.rate, e.proven = bound(limit), true
		e.endProbe(now, false)
		return
	}
	if !ok {
		return
	}
	if now-p.begin > shortWindow.Microseconds() {
		got := 0.97 * e.arrived.rate(2*shortWindow)
		if !e.proven && got >= p.want {
			e.rate = got // what was only believed beyond it does not count
		}
		e.prove(got)
	}
	if e.proven && e.rate >= p.want {
		e.endProbe(now, true)
	}
}

// endProbe ends a probe, if there is one, and says when the next may be.
func (e *Estimator) endProbe(now int64, found bool) {
	p := &e.probe
	if !p.active {
		return
	}
	p.active, p.ended, p.owes = false, now, !found
	if found || e.rate > 1.3*p.from {
		p.wait = firstWait
	}
	p.next = now + p.wait.Microseconds()
	p.wait = min(2*p.wait, mostWait)
	if found {
		p.next, p.wait = now, firstWait
	}
}

// excused says whether the queue is what a probe has just left behind.
func (e *Estimator) excused(now int64, queue time.Duration) bool {
	p := &e.probe
	if !p.owes {
		return false
	}
	if queue < noQueue && now-p.ended > longWindow.Microseconds() || now-p.ended > grace.Microseconds() {
		p.owes = false
	}
	return p.owes && e.proven && queue < 2*severe
}

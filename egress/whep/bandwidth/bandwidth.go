// Package bandwidth estimates what the network can carry to one viewer.
//
// An Estimator learns from transport-wide feedback: how much arrives, whether
// the packets wait longer on the way than they need to, and what is lost. A
// queue on the way is the sign of congestion; loss alone is one only when it is
// more than radio links lose by chance. Upwards the estimate goes only by
// evidence: what has arrived without a queue. A viewer that gets less than the
// network can carry shows nothing of the rest, so that the owner is told to
// probe: to send more than the media for a moment.
//
// Reports does the same, with less to go by, for viewers that send receiver
// reports alone.
//
// Nothing here has a goroutine, a clock or a lock: time is handed in, and calls
// must not overlap. Rates are in bits per second of what the owner counts in
// Sent; that should be the unit in which it measures its media.
package bandwidth

import (
	"math"
	"time"

	"github.com/pion/rtcp"
)

// Bounds of every estimate, bit/s.
const (
	Least = 30e3
	Most  = 100e6
)

// State is what the network is seen to do.
type State uint8

// The states.
const (
	Normal    State = iota
	Congested       // packets wait in a queue, or get lost, because too much is sent
	Probing         // more than the media is sent for a moment
)

// String returns "normal", "congested" or "probing".
func (s State) String() string {
	switch s {
	case Congested:
		return "congested"
	case Probing:
		return "probing"
	}
	return "normal"
}

// Estimate is what is known at a moment.
type Estimate struct {
	Rate     float64 // that the network carries, bit/s
	Proven   bool    // Rate rests on feedback, not on the start value
	State    State
	Received float64       // that arrived over the last half second, bit/s
	Queue    time.Duration // that packets wait on the way beyond the least seen
	RTT      time.Duration // from a packet to its feedback, the least of late; 0: unknown
	Loss     float64       // share of the packets of the last second, 0 to 1
	Probes   uint64        // begun so far
}

const (
	// standing is the queue that is taken for congestion when it lasts, severe
	// the one that needs no proof. Jitter does not count: the least wait of
	// several packets is looked at.
	standing = 40 * time.Millisecond
	severe   = 120 * time.Millisecond
	// noQueue is a queue that is none.
	noQueue = 20 * time.Millisecond

	longWindow   = 260 * time.Millisecond // for standing
	shortWindow  = 100 * time.Millisecond // for severe, and in probes
	severeWindow = 160 * time.Millisecond // for the rate then
	rateWindow   = 500 * time.Millisecond

	// decreaseEvery is the least time between two steps down: the effect of one
	// must be seen before the next.
	decreaseEvery = 300 * time.Millisecond
	// settled is how long a queue must be gone for the state to be normal.
	settled = 500 * time.Millisecond

	// silence is how long feedback may be missing while packets are sent.
	silence = time.Second
)

// Estimator is the estimate for one viewer. Use New.
type Estimator struct {
	sent    history
	arrived arrivals
	steep   steep
	losses  losses // of the media
	probed  losses // of probes
	clock   receiverClock
	told    told
	delay   int64 // of the packet reported last, µs

	rate     float64
	proven   bool
	begun    bool
	origin   time.Time // of the µs in which all else is told
	heard    int64     // time of the last feedback, µs
	unheard  int       // packets sent since
	media    int64     // time of the last packet that was no probe, µs
	punished int64     // last cut for silence, µs
	rtt      rttWindow

	congested bool
	overAt    int64 // last sign of congestion, µs
	cut       cut
	probe     probe
}

// cut is the last step down.
type cut struct {
	at      int64         // µs
	queue   time.Duration // then
	rate    float64       // that arrived then
	before  float64       // estimate before the first of a row
	seen    int64         // when the queue was last seen to shrink, µs
	low     time.Duration // the queue then
	ongoing bool
}

// New returns an Estimator that begins with start bit/s, which is not proven.
func New(start float64) *Estimator {
	e := &Estimator{rate: bound(start)}
	e.probe.wait = firstWait
	return e
}

func bound(rate float64) float64 { return math.Min(math.Max(rate, Least), Most) }

// micros tells at in µs since the first call.
func (e *Estimator) micros(at time.Time) int64 {
	if !e.begun {
		e.begun, e.origin = true, at
	}
	return at.Sub(e.origin).Microseconds()
}

// Sent notes a packet with its transport-wide sequence number, which goes up by
// one with each. probe is true for one that repeats another as part of a probe.
func (e *Estimator) Sent(seq uint16, bytes int, at time.Time, probe bool) {
	now := e.micros(at)
	e.sent.add(seq, bytes, now, probe)
	if !probe {
		e.media = now
	}
	e.unheard++
}

// Feedback takes the viewer's report (draft-holmer-rmcat-transport-wide-cc-
// extensions-01, section 3.1). What does not fit together in it is passed over.
func (e *Estimator) Feedback(fb *rtcp.TransportLayerCC, at time.Time) {
	now := e.micros(at)
	if !e.sent.started {
		return
	}
	base, fresh := e.clock.read(fb.ReferenceTime, now)
	if fresh {
		e.arrived.reset()
		e.steep.reset()
	}
	e.assume(fb.BaseSequenceNumber)
	known := false
	newest := int64(-1)
	walk(fb, e.sent.oldest(), func(seq uint16, got bool, offset int64) {
		p := e.sent.get(seq)
		if p == nil {
			return
		}
		known = true
		count := &e.losses
		if p.probe {
			count = &e.probed // it was to find out
		}
		if !got {
			if p.state == inFlight {
				p.state = lost
				count.add(now, 1, 1)
			}
			return
		}
		switch p.state {
		case arrived:
			return
		case lost:
			count.add(now, 0, -1) // late, not lost
		case assumed:
			p.state = arrived
			return
		default:
			count.add(now, 1, 0)
		}
		p.state = arrived
		e.delay = base + offset - p.at
		newest = max(newest, p.at)
		e.arrived.add(base+offset, base+offset-p.at, int(p.bytes))
		e.steep.add(p.at, base+offset, int(p.bytes))
	})
	if !known {
		return
	}
	e.told.note(fb.BaseSequenceNumber + fb.PacketStatusCount - 1)
	e.heard, e.unheard = max(now, 1), 0
	if newest >= 0 {
		e.rtt.add(now, now-newest)
	}
	e.judge(now)
}

// assume counts what a lost feedback may have told of as arrived: the rate must
// not seem to fall because of it.
func (e *Estimator) assume(base uint16) {
	if e.told.started {
		from := e.told.last + 1
		if base-e.sent.oldest() >= historySize || base-from >= historySize {
			from = base // from the past, or of nothing that is known
		}
		for seq := from; seq != base; seq++ {
			if p := e.sent.get(seq); p != nil && p.state == inFlight {
				p.state = assumed
				e.arrived.add(p.at+e.delay, noDelay, int(p.bytes))
			}
		}
	}
}

// judge draws the conclusions of a feedback.
func (e *Estimator) judge(now int64) {
	received := e.arrived.rate(rateWindow)
	queue, ok := e.arrived.queue(longWindow)
	short, _ := e.arrived.queue(shortWindow)
	e.judgeProbe(now)
	if e.excused(now, queue) {
		return
	}
	rising, carried := e.steep.read(e.rate)
	switch {
	case rising > 0 && !e.probe.active:
		e.tooMuch(now, rising, carried)
	case ok && (queue > standing || short > severe):
		e.tooMuch(now, max(queue, short), math.Inf(1))
	case e.losses.excessive() && !e.probe.recent(now):
		e.lossy(now)
	default:
		if ok && queue < noQueue {
			e.prove(received)
		}
		if e.congested && now-e.overAt > settled.Microseconds() {
			e.congested, e.cut.ongoing = false, false
		}
	}
}

// tooMuch follows a queue: what arrives meanwhile is what the network carries.
// The estimate is a share of it, so that the queue goes away. most is what it is
// known not to exceed.
func (e *Estimator) tooMuch(now int64, queue time.Duration, most float64) {
	e.overAt = now
	e.endProbe(now, false)
	carried := min(e.arrived.rate(decreaseEvery), most)
	if queue > severe {
		// A queue that grew so fast is of a moment ago: before it, more arrived.
		carried = min(carried, e.arrived.rate(severeWindow))
	}
	if e.cut.ongoing && (now-e.cut.at < max(decreaseEvery.Microseconds(), e.rtt.least()) || e.wait(now, carried)) {
		return
	}
	if !e.cut.ongoing {
		e.cut.before = e.rate
	}
	share := 0.9 - min(queue.Seconds()/2, 0.2)
	e.rate = bound(max(min(e.rate, share*carried), 0.7*carried))
	e.proven, e.congested = true, true
	e.cut = cut{at: now, queue: queue, rate: carried, before: e.cut.before, ongoing: true}
}

// wait says whether the last cut is enough as yet: the queue does not grow. If
// it does not shrink either although less is sent and nothing is lost, the way
// is longer and not full: the least wait is learnt anew, the cut taken back.
func (e *Estimator) wait(now int64, carried float64) bool {
	const still = 8 * time.Millisecond
	c := &e.cut
	queue, _ := e.arrived.queue(shortWindow)
	if queue > c.queue+still {
		return false
	}
	if c.seen == 0 || queue < c.low-still {
		c.seen, c.low = now, queue
	}
	if now-c.seen < settled.Microseconds() {
		return true
	}
	if queue > c.low+still || carried > 0.95*c.rate || e.losses.share() > 0.02 {
		return false
	}
	e.arrived.forget()
	e.rate = max(e.rate, c.before)
	e.congested, c.ongoing = false, false
	return true
}

// prove takes what has arrived without a queue.
func (e *Estimator) prove(rate float64) {
	e.proven = e.proven || rate > 0.9*e.rate
	e.rate = bound(max(e.rate, rate))
}

// lossy follows loss without a queue: a policer, or a very short queue.
func (e *Estimator) lossy(now int64) {
	e.overAt = now
	e.endProbe(now, false)
	if e.cut.ongoing && now-e.cut.at < rateWindow.Microseconds() {
		return
	}
	carried := e.arrived.rate(rateWindow)
	// What arrives may be little because little is sent.
	e.rate = bound(max(min(e.rate, 0.95*carried), 0.7*e.rate))
	e.proven, e.congested = true, true
	e.cut = cut{at: now, rate: carried, before: e.rate, ongoing: true}
}

// watch follows the silence of a viewer that has reported before.
func (e *Estimator) watch(now int64) {
	if e.heard == 0 || e.unheard < 5 || now-max(e.heard, e.punished) < silence.Microseconds() {
		return
	}
	e.punished, e.overAt = now, now
	e.congested = true
	e.endProbe(now, false)
	e.rate = bound(0.6 * e.rate)
}

// Heard says whether feedback has come at all.
func (e *Estimator) Heard() bool { return e.heard > 0 }

// Proven says whether Rate rests on feedback.
func (e *Estimator) Proven() bool { return e.proven }

// Congested says whether packets waited too long a moment ago.
func (e *Estimator) Congested() bool { return e.congested }

// Rate is that of the Estimate before.
func (e *Estimator) Rate() float64 { return e.rate }

// Estimate tells what is known at the moment.
func (e *Estimator) Estimate(at time.Time) Estimate {
	now := e.micros(at)
	e.watch(now)
	queue, _ := e.arrived.queue(longWindow)
	est := Estimate{
		Rate: e.rate, Proven: e.proven, Received: e.arrived.rate(rateWindow), Queue: queue,
		RTT: time.Duration(e.rtt.least()) * time.Microsecond, Loss: e.losses.share(), Probes: e.probe.count,
	}
	if now-e.heard > (2 * silence).Microseconds() {
		est.Received = 0
	}
	switch {
	case e.probe.active:
		est.State = Probing
	case e.congested:
		est.State = Congested
	}
	return est
}

package whep

import (
	"time"

	"github.com/lectern/lectern/egress/whep/bandwidth"
	"github.com/lectern/lectern/internal/rtc"
)

const (
	// Viewers whose network carries less than this get their packets spread:
	// a keyframe at once would fill the queue before the narrow place. All others
	// get them as they come, which costs less.
	paceBelow = 3e6 // bit/s

	// A burst goes out as fast as the network carries it, for a short queue before
	// the narrow place loses what comes faster: paceAhead times the media at most
	// while that is not known, and always paceAlways times.
	paceAhead  = 2.5
	paceAlways = 1.2
	// paceDebt is how far repairs may put off what waits.
	paceDebt = 50 * time.Millisecond
	// paceDrain is how long a full queue gets to make room for a smaller layer,
	// whose first packets would be lost else.
	paceDrain = 80 * time.Millisecond
	// paceBurst is what goes out without waiting.
	paceBurst = 40 * time.Millisecond
	// paceDelay is how long a packet may wait: what does not pass in that time at
	// the usual speed goes faster.
	paceDelay = 600 * time.Millisecond
	// paceBytes bounds what waits. Beyond it all that waits is dropped, and the
	// viewer goes on at the next keyframe.
	paceBytes   = 384 << 10
	pacePackets = logSize * 3 / 4

	// probeBurst is what a probe sends at once at most, however late its step is.
	probeBurst = 12 * time.Millisecond
)

// pacer holds back packets of a video. They are in its log: what waits is next
// up to the last number.
type pacer struct {
	next   uint16
	bytes  int
	tokens float64 // bytes that may go
	at     time.Time

	sent    int     // bytes since the last step
	padding float64 // bytes that a probe owes
	probeAt time.Time
	copied  uint16 // how far back the last repeat was
}

// pace sends e, or lets it wait.
func (a *video) pace(b *rtc.Batch, e *logged, now time.Time) {
	p := &a.pacer
	n := len(e.u.Packet.Payload)
	if p.bytes == 0 && !a.paced() { // what waits has an estimate
		p.next = e.seq + 1
		a.emit(b, e, now)
		return
	}
	a.refill(now)
	if p.bytes == 0 && p.tokens > 0 {
		p.next = e.seq + 1
		p.tokens -= float64(n)
		a.emit(b, e, now)
		return
	}
	p.bytes += n
	if p.bytes > paceBytes || int16(e.seq-p.next) > pacePackets {
		a.overflow(now)
		return
	}
	a.kick()
}

// paced says whether the network is narrow. That of a viewer without
// transport-wide feedback shows itself too late.
func (a *video) paced() bool { return a.est != nil && a.est.Rate() < paceBelow }

// crowded says whether the network is full at the moment.
func (a *video) crowded() bool { return a.est != nil && a.est.Congested() }

// overflow drops what waits. The numbers were not seen by anyone.
func (a *video) overflow(now time.Time) {
	a.pacer.drop(a)
	if a.from != nil && a.target == nil {
		a.target = a.from
		a.ask(a.target, now)
	}
	a.from = nil
}

// drop forgets what waits, as if it had never been.
func (p *pacer) drop(a *video) {
	if p.bytes == 0 {
		return
	}
	for seq := p.next; seq != a.o.lastSeq+1; seq++ {
		a.log[seq%logSize] = logged{}
	}
	a.o.lastSeq, p.bytes, a.ended = p.next-1, 0, false
	if e := a.get(p.next - 1); e != nil {
		a.ended = e.marker
		a.o.lastTS, a.o.lastPTS = e.ts, e.u.PTS
	}
}

func (a *video) refill(now time.Time) {
	p := &a.pacer
	rate := a.est.Rate()
	if !a.est.Proven() {
		rate = min(rate, paceAhead*a.rate)
	}
	rate = max(rate, paceAlways*a.rate)
	rate = max(rate, bandwidth.Least) / 8
	rate = max(rate, float64(p.bytes)/paceDelay.Seconds())
	p.tokens = min(p.tokens+rate*min(now.Sub(p.at), time.Second).Seconds(), rate*paceBurst.Seconds())
	p.at = now
}

// mayRepair says whether a repair of so many bytes may go now, and puts off what
// waits because of it. What must not go is asked for again.
func (a *video) mayRepair(bytes int, now time.Time) bool {
	if !a.paced() {
		return true
	}
	a.refill(now)
	p := &a.pacer
	if p.tokens < -a.est.Rate()/8*paceDebt.Seconds() {
		return false
	}
	p.tokens -= float64(bytes)
	return true
}

// step sends what is due, and repeats if a probe is on. It reports whether more
// is to come soon.
func (a *video) step(b *rtc.Batch, now time.Time) bool {
	p := &a.pacer
	if p.bytes > 0 {
		a.refill(now)
		for p.tokens > 0 && p.bytes > 0 {
			e := a.get(p.next)
			p.next++
			if e == nil {
				if int16(p.next-a.o.lastSeq) > 1 {
					p.bytes = 0 // cannot be; but never for ever
				}
				continue
			}
			n := len(e.u.Packet.Payload)
			p.bytes -= n
			p.tokens -= float64(n)
			a.emit(b, e, now)
		}
	}
	probing := a.probe(b, now)
	return p.bytes > 0 || probing
}

// probe repeats packets of late to find out whether the network carries more.
func (a *video) probe(b *rtc.Batch, now time.Time) bool {
	p := &a.pacer
	since := min(now.Sub(p.probeAt), 4*paceEvery)
	sent := p.sent
	p.probeAt, p.sent = now, 0
	if a.est == nil || a.want <= 0 || a.o.rtxSSRC == 0 || !a.o.started {
		return false
	}
	rate := a.est.Probe(a.want, now)
	if rate == 0 {
		p.padding = 0
		return false
	}
	p.padding += rate/8*since.Seconds() - float64(sent)
	p.padding = max(p.padding, -rate/8*(4*paceEvery).Seconds())
	p.padding = min(p.padding, rate/8*probeBurst.Seconds())
	for p.padding > 0 {
		e := a.recent()
		if e == nil || !a.again(b, e, now, true) {
			return false
		}
		p.padding -= float64(len(e.u.Packet.Payload))
	}
	p.sent = 0
	return true
}

// recent returns one of the last packets, another each time.
func (a *video) recent() *logged {
	const back = 32
	p := &a.pacer
	last := p.next - 1
	for range back {
		p.copied = (p.copied + 1) % back
		if e := a.get(last - p.copied); e != nil && len(e.u.Packet.Payload) > 100 {
			return e
		}
	}
	return a.get(last)
}

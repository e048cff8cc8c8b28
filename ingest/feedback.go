package ingest

import (
	"time"

	"github.com/pion/rtcp"

	"github.com/lectern/lectern/stream"
)

// run moves time on for receivers and clocks, and sends the feedback. It is the
// only goroutine of a Publisher.
func (p *Publisher) run() {
	defer close(p.done)
	timer := time.NewTimer(tickEvery)
	defer timer.Stop()
	ticked := p.now()
	for {
		select {
		case <-p.stop:
			return
		case <-p.pub.Done():
			p.mu.Lock()
			p.failLocked(p.pub.Err())
			p.mu.Unlock()
			<-p.stop
			return
		case <-timer.C:
		case <-p.kick:
		}
		now := p.now()
		tick := now.Sub(ticked) >= tickEvery
		if tick {
			ticked = now
		}
		out, wait := p.feedback(now, tick)
		timer.Reset(max(min(ticked.Add(wait).Sub(now), p.next(now, wait)), minTick))
		if len(out) > 0 && p.cfg.Feedback != nil {
			p.cfg.Feedback(out)
		}
	}
}

// feedback moves time on if tick, and returns what is due to the publisher and
// how long after the last tick the next one is.
func (p *Publisher) feedback(now time.Time, tick bool) (out []rtcp.Packet, wait time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, in := range p.inputs {
		l := in.lane
		if l == nil {
			continue
		}
		l.recv.Tick(now)
		if tick {
			l.clock.Tick(now)
		}
		out = p.nackLocked(out, l, now)
		if in.pli.CompareAndSwap(true, false) {
			in.asks.Add(1)
			out = append(out, &rtcp.PictureLossIndication{SenderSSRC: p.sender, MediaSSRC: l.ssrc})
		}
	}
	if tick && now.Sub(p.reportAt) >= reportEvery {
		p.reportAt = now
		out = p.reportLocked(out, now)
	}
	p.idle = !p.waitingLocked()
	if p.idle {
		return out, idleEvery
	}
	return out, tickEvery
}

// next is how long after now a packet that is missing needs attention, at most
// most.
func (p *Publisher) next(now time.Time, most time.Duration) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, in := range p.inputs {
		if in.lane != nil {
			most = in.lane.recv.Next(now, most)
		}
	}
	return most
}

// waitingLocked says whether packets wait for others or for their time.
func (p *Publisher) waitingLocked() bool {
	for _, in := range p.inputs {
		if l := in.lane; l != nil && (l.recv.Waiting() || l.clock.Waiting()) {
			return true
		}
	}
	return false
}

func (p *Publisher) nackLocked(out []rtcp.Packet, l *lane, now time.Time) []rtcp.Packet {
	p.nacks = l.recv.NACKs(p.nacks[:0], now)
	if l.recv.Doubtful() && l.in.kind == stream.Video {
		l.in.pub.Stream().RequestKeyframe()
	}
	if len(p.nacks) == 0 {
		return out
	}
	return append(out, &rtcp.TransportLayerNack{
		SenderSSRC: p.sender,
		MediaSSRC:  l.ssrc,
		Nacks:      rtcp.NackPairsFromSequenceNumbers(p.nacks),
	})
}

// reportLocked appends a receiver report.
func (p *Publisher) reportLocked(out []rtcp.Packet, now time.Time) []rtcp.Packet {
	rr := &rtcp.ReceiverReport{SSRC: p.sender}
	for _, in := range p.inputs {
		l := in.lane
		if l == nil {
			continue
		}
		if r, ok := l.recv.Report(l.ssrc, now); ok {
			rr.Reports = append(rr.Reports, r)
		}
	}
	if len(rr.Reports) == 0 {
		return out
	}
	return append(out, rr)
}

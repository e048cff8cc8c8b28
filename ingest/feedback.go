package ingest

import (
	"time"

	"github.com/pion/rtcp"
)

// run moves time on for receivers and clocks, and sends the feedback. It is the
// only goroutine of a Publisher.
func (p *Publisher) run() {
	defer close(p.done)
	ticker := time.NewTicker(tickEvery)
	defer ticker.Stop()
	for {
		tick := false
		select {
		case <-p.stop:
			return
		case <-p.pub.Done():
			p.mu.Lock()
			p.failLocked(p.pub.Err())
			p.mu.Unlock()
			<-p.stop
			return
		case <-ticker.C:
			tick = true
		case <-p.kick:
		}
		if out := p.feedback(p.now(), tick); len(out) > 0 && p.cfg.Feedback != nil {
			p.cfg.Feedback(out)
		}
	}
}

// feedback moves time on if tick, and returns what is due to the publisher.
func (p *Publisher) feedback(now time.Time, tick bool) []rtcp.Packet {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []rtcp.Packet
	for _, l := range p.lanes {
		if l == nil {
			continue
		}
		if tick {
			l.recv.Tick(now)
			l.clock.Tick(now)
		}
		out = p.nackLocked(out, l, now)
	}
	if ssrc := p.ssrc.Load(); ssrc != 0 && p.pli.CompareAndSwap(true, false) {
		p.asks.Add(1)
		out = append(out, &rtcp.PictureLossIndication{SenderSSRC: p.sender, MediaSSRC: ssrc})
	}
	if tick && now.Sub(p.reportAt) >= reportEvery {
		p.reportAt = now
		out = p.reportLocked(out, now)
	}
	return out
}

func (p *Publisher) nackLocked(out []rtcp.Packet, l *lane, now time.Time) []rtcp.Packet {
	p.nacks = l.recv.NACKs(p.nacks[:0], now)
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
	for _, l := range p.lanes {
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

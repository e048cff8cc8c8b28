package whep

import (
	"slices"
	"time"

	"github.com/pion/rtcp"

	"github.com/lectern/lectern/egress/whep/bandwidth"
	"github.com/lectern/lectern/stream"
)

const (
	// decideEvery is how often qualities and estimates are looked at. Feedback is
	// looked at when it comes.
	decideEvery = 100 * time.Millisecond
	// paceEvery is the step of paced packets and probes.
	paceEvery = 8 * time.Millisecond

	// startRate is what is believed of a network that nothing is known of,
	// startReports where receiver reports alone will tell.
	startRate    = 1e6
	startReports = 1.5e6

	// askEvery is how often a viewer asks again for the keyframe that it waits
	// for; the gate of the stream lets through what is due.
	askEvery = time.Second
)

// tick does what is due at now and tells when to come again; 0: only when
// something changes.
func (sh *shard) tick(now time.Time) time.Duration {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if !sh.adaptive {
		return 0
	}
	if now.Sub(sh.decided) >= decideEvery {
		sh.decided = now
		sh.lookLocked(now)
		for _, v := range sh.viewers {
			sh.decideLocked(v, now)
		}
	}
	busy := false
	for _, v := range sh.viewers {
		if v.video != nil {
			busy = v.video.step(sh.batch, now) || busy
		}
	}
	sh.batch.Flush()
	if busy {
		return paceEvery
	}
	return decideEvery
}

// adaptLocked begins to choose: the publisher sends what can be chosen of.
func (sh *shard) adaptLocked() {
	if sh.adaptive {
		return
	}
	sh.adaptive = true
	for _, v := range sh.viewers {
		v.adapt(sh)
	}
	sh.poke()
}

// poke makes the shard look at its timer.
func (sh *shard) poke() {
	select {
	case sh.kick <- struct{}{}:
	default:
	}
}

// lookLocked takes stock of the qualities. Layers count while one of them
// flows, the main stream else: it has a publisher's only quality.
func (sh *shard) lookLocked(now time.Time) {
	sh.all, sh.of = sh.all[:0], sh.of[:0]
	any := false
	for _, in := range sh.layers {
		in.grid.tick(now)
		flowing := in.flowing()
		any = any || flowing
		sh.all = in.qualities(sh.all, flowing)
		for len(sh.of) < len(sh.all) {
			sh.of = append(sh.of, in)
		}
	}
	sh.main.grid.tick(now)
	if any {
		return
	}
	sh.all, sh.of = sh.main.qualities(sh.all[:0], sh.main.flowing()), sh.of[:0]
	for range sh.all {
		sh.of = append(sh.of, sh.main)
	}
}

// decideLocked chooses for v and begins what follows from it.
func (sh *shard) decideLocked(v *viewer, now time.Time) {
	a := v.video
	if a == nil || v.out[stream.Video].ssrc == 0 {
		return
	}
	est := a.estimate(now)
	s := situation{at: now, all: sh.all, rate: est.Rate, proven: est.Proven, blind: a.est == nil || !a.est.Heard()}
	if w := v.wish.Load(); w != nil {
		s.wish = *w
	}
	if a.lowestOnly() {
		s.wish.Spatial, s.wish.MaxSpatial = nil, new(int)
	}
	d := a.chooser.choose(&s)
	a.want = d.want
	if d.q < 0 {
		return // what flowed last is kept: it may flow again
	}
	q, in := &sh.all[d.q], sh.of[d.q]
	a.rate = q.temporal[d.temporal]
	a.wantSpatial, a.wantTemporal = q.spatial, d.temporal
	if d.temporal == q.top() {
		a.wantTemporal = gridSize // more may come
	}
	switch {
	case d.frozen:
		a.from, a.target = nil, nil
	case in == a.from:
		a.target = nil
	default:
		a.goTo(sh, in, est.Rate, now)
	}
	a.askUp(now)
}

// goTo makes in the target: at once if its last keyframe will do, else from the
// next on. What is sent now goes on until then.
func (a *video) goTo(sh *shard, in *input, rate float64, now time.Time) {
	if a.target == in {
		// A track that the viewer cannot decode is followed by another, which begins
		// with a keyframe unasked.
		undecodable := a.from == nil && a.o.track != nil && !a.o.carried
		if now.Sub(a.asked) >= askEvery && !undecodable {
			a.ask(in, now)
		}
		return
	}
	a.target = in
	a.ease(rate, now)
	if gop := in.ring.sinceKeyframe(now); a.mayReplay(gop, in.ring.bytes, rate, now) {
		for _, u := range gop {
			if u.Track.Kind == stream.Video {
				a.take(sh.batch, in, u, now)
			}
		}
		sh.batch.Flush()
		return
	}
	a.ask(in, now)
}

// ease makes less of what is sent while something smaller is waited for: it
// would fill the queue that the smaller must pass. With much too much of it, the
// pictures are broken on the way anyway.
func (a *video) ease(rate float64, now time.Time) {
	const muchTooMuch = 1.5
	if a.from == nil || a.from.grid.upTo(min(int(a.spatial), gridSize-1), gridSize-1) <= rate {
		return
	}
	a.temporal = 0
	if a.from.grid.upTo(min(int(a.spatial), gridSize-1), 0) > muchTooMuch*rate {
		a.from = nil
		a.pacer.drop(a)
		a.pacer.tokens, a.pacer.at = -rate/8*paceDrain.Seconds(), now
	}
}

// mayReplay says whether the pictures since a keyframe are few and young enough
// to be sent again to one who comes from elsewhere: they pass in no time on the
// screen, but not on the network.
func (a *video) mayReplay(gop []*stream.Unit, bytes int, rate float64, now time.Time) bool {
	if len(gop) == 0 {
		return false
	}
	const (
		switchAge   = 700 * time.Millisecond
		switchShare = 0.3 // s of the estimate
		joinShare   = 0.5
	)
	bits := float64(bytes) * 8
	if a.from == nil || !a.from.flowing() {
		return bits <= joinShare*rate
	}
	return now.Sub(gop[0].Arrival) <= switchAge && bits <= switchShare*rate
}

func (a *video) ask(in *input, now time.Time) {
	a.asked = now
	in.st.RequestKeyframe()
}

// askUp asks for a keyframe where higher layers of the same stream wait for one
// that does not come by itself.
func (a *video) askUp(now time.Time) {
	if a.from == nil || a.target != nil {
		return
	}
	top, rows := a.from.grid.top()
	waits := min(int(a.wantSpatial), top) > int(a.spatial) || min(int(a.wantTemporal), rows) > int(a.temporal)
	switch {
	case !waits:
		a.waits = time.Time{}
	case a.waits.IsZero():
		a.waits = now
	case now.Sub(a.waits) >= 2*askEvery || a.wantSpatial > a.spatial && now.Sub(a.asked) >= 2*askEvery:
		a.waits = now
		a.ask(a.from, now)
	}
}

// estimate is that of the feedback, or without it that of the reports.
func (a *video) estimate(now time.Time) bandwidth.Estimate {
	if a.est != nil && a.est.Heard() {
		return a.est.Estimate(now)
	}
	e := a.reports.Estimate()
	if a.est != nil && !e.Proven {
		return a.est.Estimate(now)
	}
	return e
}

// feedback takes transport-wide feedback of v.
func (sh *shard) feedback(v *viewer, fb *rtcp.TransportLayerCC, at time.Time) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if v.video == nil || v.video.est == nil {
		return
	}
	v.video.est.Feedback(fb, at)
	sh.decideLocked(v, at)
}

// received takes the reception reports of v.
func (sh *shard) received(v *viewer, reports []rtcp.ReceptionReport, at time.Time) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	i := slices.IndexFunc(reports, func(r rtcp.ReceptionReport) bool { return r.SSRC == v.out[stream.Video].ssrc })
	if i < 0 {
		return
	}
	r := &reports[i]
	loss, whole := v.losses.take(r, at)
	if whole {
		v.loss = loss
	}
	rep := bandwidth.Report{Loss: v.loss}
	if r.LastSenderReport != 0 {
		now := uint32(ntpTime(at) >> 16)
		if d := int32(now - r.LastSenderReport - r.Delay); d >= 0 {
			v.rtt = time.Duration(d) * time.Second >> 16
			rep.RTT = max(v.rtt, time.Millisecond)
		}
	}
	if v.video == nil || !whole {
		return
	}
	rep.Sending, rep.Most = v.video.rate, max(v.video.want, v.video.rate)*1.05
	v.video.reports.Report(rep, at)
}

package stream

import "time"

// gate coalesces keyframe requests. All methods but init are called with the
// lock of the stream held.
type gate struct {
	s       *Stream
	request func() // of the present publisher; nil when it cannot be asked
	sent    uint64
	last    time.Time // of the last request
	got     time.Time // of the last keyframe
	timer   *time.Timer
	pending bool // asked during the gate; timer runs
	open    bool // asked, and no keyframe came since
}

func (g *gate) init(s *Stream) { g.s = s }

// openLocked starts anew for another publisher, or for none.
func (g *gate) openLocked(request func()) {
	g.stopLocked()
	g.request = request
	g.last, g.got = time.Time{}, time.Time{}
}

func (g *gate) stopLocked() {
	if g.timer != nil {
		g.timer.Stop()
	}
	g.timer, g.pending, g.open, g.request = nil, false, false, nil
}

// askLocked returns the call to the publisher that is due now, or nil. The
// caller makes it after it has let go of the lock.
func (g *gate) askLocked(now time.Time) func() {
	if g.request == nil {
		return nil
	}
	if wait := KeyframeGate - now.Sub(g.last); !g.last.IsZero() && wait > 0 {
		if !g.pending {
			g.pending = true
			// Ended by stopLocked, or by itself.
			g.timer = time.AfterFunc(wait, g.late)
		}
		return nil
	}
	g.last, g.open = now, true
	g.sent++
	return g.request
}

// late sends the request that came too early, unless a keyframe answered it.
func (g *gate) late() {
	g.s.mu.Lock()
	if !g.pending {
		g.s.mu.Unlock()
		return
	}
	g.pending = false
	f := g.askLocked(g.s.now())
	g.s.mu.Unlock()
	call(f)
}

// gotLocked notes a keyframe: it answers all who asked so far.
func (g *gate) gotLocked(at time.Time) {
	g.got, g.open = at, false
	if g.pending {
		g.pending = false
		g.timer.Stop()
	}
}

// unanswered says that a request, or its answer, was lost on the way.
func (g *gate) unanswered(now time.Time) bool {
	return g.open && now.Sub(g.last) >= keyframeRetry
}

func (g *gate) sinceKeyframe(now time.Time) time.Duration {
	if g.got.IsZero() {
		return 0
	}
	return now.Sub(g.got)
}

package access

import (
	"sync/atomic"
	"time"
)

// maxWait is how long a watch trusts its timer: a timer does not see that the
// clock was set, or that the machine slept.
const maxWait = 30 * time.Second

// watch is one session that must end with the right to it.
type watch struct {
	a     *Authority
	c     Claims
	ended func(error)
	said  atomic.Bool // ended has begun, or must not begin any more
	timer *time.Timer // nil: the claims do not expire
}

// Watch calls ended once, on a goroutine of its own, within a second of when the
// claims no longer hold: ErrExpired, ErrRevoked, or ErrRoomClosed when the room
// is shut to their bearer. Of claims for every room only the closing of all is
// seen; Claims.Within says which room it is. The caller must call stop, which
// never waits for ended and may be called from it; after stop, ended is not begun.
func (a *Authority) Watch(c Claims, ended func(reason error)) (stop func()) {
	w := &watch{a: a, c: c, ended: ended}
	now := time.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return func() {}
	}
	a.watches[w] = struct{}{}
	if err := a.standingLocked(c, c.Room, now); err != nil {
		a.tellLocked(w, err)
	} else if !c.Expires.IsZero() {
		w.timer = time.AfterFunc(min(c.Expires.Sub(now), maxWait), w.look)
	}
	return w.leave
}

// look is what the timer does.
func (w *watch) look() {
	now := time.Now()
	a := w.a
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, ok := a.watches[w]; !ok {
		return
	}
	if err := a.standingLocked(w.c, w.c.Room, now); err != nil {
		a.tellLocked(w, err)
		return
	}
	w.timer.Reset(min(max(w.c.Expires.Sub(now), time.Millisecond), maxWait))
}

// tellLocked ends w, once.
func (a *Authority) tellLocked(w *watch, reason error) {
	delete(a.watches, w)
	a.gone.Go(func() { // waited for by Close; a is not closed, for w was there
		if !w.said.Swap(true) {
			w.ended(reason)
		}
	})
}

// leave forgets w.
func (w *watch) leave() {
	w.a.mu.Lock()
	delete(w.a.watches, w)
	w.a.mu.Unlock()
	w.stop()
}

// stop keeps what has not begun from beginning.
func (w *watch) stop() {
	w.said.Store(true)
	if w.timer != nil {
		w.timer.Stop()
	}
}

// recheck ends the watches whose claims do not hold any more.
func (a *Authority) recheck() {
	now := time.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	for w := range a.watches {
		if err := a.standingLocked(w.c, w.c.Room, now); err != nil {
			a.tellLocked(w, err)
		}
	}
}

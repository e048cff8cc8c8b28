package api

import (
	"context"
	"sync"
	"time"
)

// Wrong passcodes that are looked at: few enough that four digits hold out for
// hours against many addresses, and enough that a class which types them on
// phones behind one address is not held up.
const (
	addressGuesses = 20
	addressEvery   = 3 * time.Second // one more
	roomGuesses    = 60
	roomEvery      = time.Second
	passcodeWait   = 3 * time.Second
)

// throttle slows down the guessing of passcodes, per address and per room. A
// guess is taken before it is looked at and given back if it was right, so that
// no number of requests at once gets more guesses than there are. Safe for
// concurrent use.
type throttle struct {
	now func() time.Time

	mu      sync.Mutex // guards what follows
	tries   map[string]*tries
	settled chan struct{} // closed and replaced whenever a guess is settled
}

// tries is how many guesses are left, as of a time.
type tries struct {
	left    float64
	most    float64
	gain    time.Duration // time for one more
	at      time.Time
	pending int // taken, and not settled yet
}

func newThrottle(now func() time.Time) *throttle {
	return &throttle{now: now, tries: make(map[string]*tries), settled: make(chan struct{})}
}

// take takes a guess of both, or says that there is none. Where all that are
// left are being looked at it waits for these: a class that comes at once is
// right for the most part. Who has taken one must settle it.
func (t *throttle) take(ctx context.Context, addr, roomName string) bool {
	for {
		taken, later := t.try(addr, roomName)
		if taken || later == nil {
			return taken
		}
		select {
		case <-later:
		case <-ctx.Done():
			return false
		}
	}
}

// try is take without waiting; later is not nil if there may be one when it is
// closed.
func (t *throttle) try(addr, roomName string) (taken bool, later <-chan struct{}) {
	now := t.now()
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.tries)+2 > maxBuckets {
		t.shrinkLocked(now) // before both: neither may push out the other
	}
	a := t.ofLocked("addr "+addr, addressGuesses, addressEvery, now)
	r := t.ofLocked("room "+roomName, roomGuesses, roomEvery, now)
	if a.left >= 1 && r.left >= 1 {
		for _, q := range []*tries{a, r} {
			q.left--
			q.pending++
		}
		return true, nil
	}
	for _, q := range []*tries{a, r} {
		if q.left < 1 && q.pending == 0 {
			return false, nil
		}
	}
	return false, t.settled
}

// settle ends what take has begun; a right guess costs nothing.
func (t *throttle) settle(addr, roomName string, right bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, name := range []string{"addr " + addr, "room " + roomName} {
		q := t.tries[name]
		if q == nil {
			continue // forgotten meanwhile
		}
		q.pending = max(q.pending-1, 0)
		if right {
			q.left = min(q.left+1, q.most)
		}
	}
	close(t.settled)
	t.settled = make(chan struct{})
}

func (t *throttle) ofLocked(name string, most float64, gain time.Duration, now time.Time) *tries {
	q := t.tries[name]
	if q == nil {
		q = &tries{left: most, most: most, gain: gain, at: now}
		t.tries[name] = q
	}
	q.refill(now)
	return q
}

func (q *tries) refill(now time.Time) {
	if d := now.Sub(q.at); d > 0 {
		q.left = min(q.left+float64(d)/float64(q.gain), q.most)
		q.at = now
	}
}

// shrinkLocked forgets who has all guesses left. If that is nobody, it forgets
// the addresses: rooms still hold.
func (t *throttle) shrinkLocked(now time.Time) {
	full := func(q *tries) bool { q.refill(now); return q.left >= q.most && q.pending == 0 }
	for name, q := range t.tries {
		if full(q) {
			delete(t.tries, name)
		}
	}
	if len(t.tries)+2 <= maxBuckets {
		return
	}
	for name := range t.tries {
		if name[0] == 'a' {
			delete(t.tries, name)
		}
	}
}

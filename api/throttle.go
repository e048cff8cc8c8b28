package api

import (
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

	mu    sync.Mutex // guards what follows
	tries map[string]*tries
}

// tries is how many guesses are left, as of a time.
type tries struct {
	left float64
	most float64
	gain time.Duration // time for one more
	at   time.Time
}

func newThrottle(now func() time.Time) *throttle {
	return &throttle{now: now, tries: make(map[string]*tries)}
}

// take takes a guess of both, or of none.
func (t *throttle) take(addr, roomName string) bool {
	now := t.now()
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.tries)+2 > maxBuckets {
		t.shrinkLocked(now) // before both: neither may push out the other
	}
	a := t.ofLocked("addr "+addr, addressGuesses, addressEvery, now)
	r := t.ofLocked("room "+roomName, roomGuesses, roomEvery, now)
	if a.left < 1 || r.left < 1 {
		return false
	}
	a.left--
	r.left--
	return true
}

// giveBack undoes a take.
func (t *throttle) giveBack(addr, roomName string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, name := range []string{"addr " + addr, "room " + roomName} {
		if q := t.tries[name]; q != nil {
			q.left = min(q.left+1, q.most)
		}
	}
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
	full := func(q *tries) bool { q.refill(now); return q.left >= q.most }
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

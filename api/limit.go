package api

import (
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Rates per remote address. A whole school may sit behind one address, and all
// of it comes back at once when a switch reboots: the bursts allow for that.
const (
	signallingRate  = 200 // requests per second that make or change sessions
	signallingBurst = 2000
	guessRate       = 2 // wrong credentials per second
	guessBurst      = 60
	changesRate     = 50 // other changing requests per second
	changesBurst    = 200

	// maxBuckets bounds the memory of one limiter. Above it the idle ones go,
	// and if none is idle all go: forgetting is better than growing.
	maxBuckets = 8192
)

// limiter keeps a token bucket per remote address. Safe for concurrent use.
type limiter struct {
	rate  rate.Limit
	burst int
	now   func() time.Time

	mu      sync.Mutex // guards what follows
	buckets map[netip.Addr]*rate.Limiter
}

func newLimiter(perSecond float64, burst int, now func() time.Time) *limiter {
	return &limiter{
		rate: rate.Limit(perSecond), burst: burst, now: now,
		buckets: make(map[netip.Addr]*rate.Limiter),
	}
}

// allow takes one token of addr.
func (l *limiter) allow(addr netip.Addr) bool {
	now := l.now()
	return l.bucket(addr, now).AllowN(now, 1)
}

// spent says whether addr has no token left, without taking one.
func (l *limiter) spent(addr netip.Addr) bool {
	now := l.now()
	l.mu.Lock()
	b := l.buckets[key(addr)]
	l.mu.Unlock()
	return b != nil && b.TokensAt(now) < 1
}

func (l *limiter) bucket(addr netip.Addr, now time.Time) *rate.Limiter {
	addr = key(addr)
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.buckets[addr]
	if b == nil {
		if len(l.buckets) >= maxBuckets {
			l.shrinkLocked(now)
		}
		b = rate.NewLimiter(l.rate, l.burst)
		l.buckets[addr] = b
	}
	return b
}

func (l *limiter) shrinkLocked(now time.Time) {
	for a, b := range l.buckets {
		if b.TokensAt(now) >= float64(l.burst) {
			delete(l.buckets, a)
		}
	}
	if len(l.buckets) >= maxBuckets {
		clear(l.buckets)
	}
}

// key is what counts as one sender: an IPv4 address, or an IPv6 /64, since one
// host commands a whole one.
func key(addr netip.Addr) netip.Addr {
	addr = addr.Unmap().WithZone("")
	if addr.Is6() {
		if p, err := addr.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return addr
}

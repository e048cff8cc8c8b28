package api

import (
	"crypto/sha256"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/lectern/lectern/internal/sender"
)

// Rates per remote address and per token. A whole school may sit behind one
// address or hold one link, and all of it comes back at once when a switch
// reboots: the bursts let 500 people in within 10 s.
const (
	requestRate     = 2000 // requests per second of any kind
	requestBurst    = 40000
	signallingRate  = 300 // requests per second that make or change sessions
	signallingBurst = 3000
	changesRate     = 100 // other changing requests per second
	changesBurst    = 600

	// maxBuckets bounds the memory of one limiter. Above it the idle ones go,
	// and if that makes no room some go that are not: forgetting a few is
	// better than growing, and than forgetting all.
	maxBuckets = 8192
)

// buckets keeps a token bucket per key. Safe for concurrent use.
type buckets[K comparable] struct {
	rate  rate.Limit
	burst int
	now   func() time.Time

	mu sync.Mutex // guards what follows
	by map[K]*rate.Limiter
}

// take takes one token of k. The result is 0, or how long until there is one.
func (b *buckets[K]) take(k K) time.Duration {
	now := b.now()
	l := b.of(k, now)
	if l.AllowN(now, 1) {
		return 0
	}
	missing := 1 - l.TokensAt(now)
	return max(time.Duration(missing/float64(b.rate)*float64(time.Second)), time.Millisecond)
}

func (b *buckets[K]) of(k K, now time.Time) *rate.Limiter {
	b.mu.Lock()
	defer b.mu.Unlock()
	l := b.by[k]
	if l == nil {
		if len(b.by) >= maxBuckets {
			shrink(b.by, func(l *rate.Limiter) bool { return l.TokensAt(now) >= float64(b.burst) })
		}
		l = rate.NewLimiter(b.rate, b.burst)
		b.by[k] = l
	}
	return l
}

// shrink makes room in a full map: what is idle goes, and where too little is
// some of the rest, so that not every newcomer has to search.
func shrink[K comparable, V any](m map[K]V, idle func(V) bool) {
	for k, v := range m {
		if idle(v) {
			delete(m, k)
		}
	}
	for k := range m {
		if len(m) < maxBuckets-maxBuckets/16 {
			return
		}
		delete(m, k)
	}
}

// limiter bounds the requests of one address, and those with one token from
// wherever. Safe for concurrent use.
type limiter struct {
	addrs  buckets[netip.Addr]
	tokens buckets[[sha256.Size]byte]
}

func newLimiter(perSecond float64, burst int, now func() time.Time) *limiter {
	return &limiter{
		addrs:  buckets[netip.Addr]{rate: rate.Limit(perSecond), burst: burst, now: now, by: make(map[netip.Addr]*rate.Limiter)},
		tokens: buckets[[sha256.Size]byte]{rate: rate.Limit(perSecond), burst: burst, now: now, by: make(map[[sha256.Size]byte]*rate.Limiter)},
	}
}

// allow takes one token of addr.
func (l *limiter) allow(addr netip.Addr) bool { return l.addrs.take(sender.Of(addr)) == 0 }

// admit takes one token of addr and one of the credential, if there is one. The
// result is 0, or how long the sender should wait. The credential need not be
// verified; it is kept as a hash.
func (l *limiter) admit(addr netip.Addr, credential string) time.Duration {
	if wait := l.addrs.take(sender.Of(addr)); wait > 0 || credential == "" {
		return wait
	}
	return l.tokens.take(sha256.Sum256([]byte(credential)))
}

// Failures of an address before they are slowed down, how many are forgiven
// per second, and for how long at most nothing is tried for it. One address may
// be a campus of which some mistype, and most come with an old link.
const (
	guessBurst = 60
	guessRate  = 0.2
	guessMost  = time.Minute
)

// failures slows down those who present wrong tokens and passcodes. Each
// failure beyond the burst doubles the time in which nothing new of the address
// is looked at, and what is forgiven bounds the long run. Credentials that were
// good before are looked at all the same: one pupil who guesses does not lock
// out the school. Safe for concurrent use.
type failures struct {
	now func() time.Time

	mu   sync.Mutex // guards what follows
	by   map[netip.Addr]*misses
	good map[[sha256.Size]byte]struct{} // hashes of credentials
}

// misses are the failures of one address.
type misses struct {
	count float64   // not yet forgiven
	at    time.Time // of the last
	until time.Time // nothing is tried before
}

func newFailures(now func() time.Time) *failures {
	return &failures{now: now, by: make(map[netip.Addr]*misses), good: make(map[[sha256.Size]byte]struct{})}
}

// wait is how long addr has to wait before it may try again; 0: it may now.
func (f *failures) wait(addr netip.Addr) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	m := f.by[sender.Of(addr)]
	if m == nil {
		return 0
	}
	return max(m.until.Sub(f.now()), 0)
}

// waitWith is wait for a credential: none for one that was good before.
func (f *failures) waitWith(addr netip.Addr, credential string) time.Duration {
	wait := f.wait(addr)
	if wait == 0 {
		return 0
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := f.good[sha256.Sum256([]byte(credential))]; ok {
		return 0
	}
	return wait
}

// passed remembers that a credential is good.
func (f *failures) passed(credential string) {
	k := sha256.Sum256([]byte(credential))
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := f.good[k]; ok {
		return
	}
	if len(f.good) >= maxBuckets {
		shrink(f.good, func(struct{}) bool { return false })
	}
	f.good[k] = struct{}{}
}

// failed counts a failure of addr. It returns how long addr has to wait now.
func (f *failures) failed(addr netip.Addr) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.now()
	m := f.by[sender.Of(addr)]
	if m == nil {
		if len(f.by) >= maxBuckets {
			shrink(f.by, func(m *misses) bool { return m.left(now) == 0 })
		}
		m = &misses{}
		f.by[sender.Of(addr)] = m
	}
	m.count = m.left(now) + 1
	m.at = now
	if over := int(m.count - guessBurst); over >= 0 {
		m.until = now.Add(min(time.Second<<min(over, 10), guessMost))
	}
	return max(m.until.Sub(now), 0)
}

// left is how many failures are not forgiven yet.
func (m *misses) left(now time.Time) float64 {
	return max(m.count-now.Sub(m.at).Seconds()*guessRate, 0)
}

// maxSessionsPerAddr is the bound on WHIP and WHEP sessions of one address,
// unless Config has another.
const maxSessionsPerAddr = 2000

// places counts what an address holds at once, up to a bound. Safe for
// concurrent use.
type places struct {
	bound int

	mu sync.Mutex // guards what follows
	by map[netip.Addr]int
}

func newPlaces(bound int) *places {
	return &places{bound: bound, by: make(map[netip.Addr]int)}
}

// take takes a place of addr, and says whether there was one. Each place taken
// must be given back.
func (p *places) take(addr netip.Addr) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	k := sender.Of(addr)
	if p.by[k] >= p.bound {
		return false
	}
	p.by[k]++
	return true
}

// give gives a place of addr back.
func (p *places) give(addr netip.Addr) {
	p.mu.Lock()
	defer p.mu.Unlock()
	k := sender.Of(addr)
	if p.by[k]--; p.by[k] <= 0 {
		delete(p.by, k)
	}
}

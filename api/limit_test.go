package api

import (
	"net/netip"
	"strconv"
	"sync"
	"testing"
	"time"
)

const classTime = 10 * time.Second

func itoa(n int) string { return strconv.Itoa(n) }

// clock is a time that stands still unless told. Safe for concurrent use.
type clock struct {
	mu sync.Mutex // guards what follows
	at time.Time
}

func newClock() *clock { return &clock{at: time.Now()} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

func TestLimiter_RefusesAboveItsBurstAndRefills(t *testing.T) {
	now := newClock()
	l := newLimiter(1, 3, now.now)
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	for i := range 3 {
		if !l.allow(a) {
			t.Fatalf("request %d was refused", i)
		}
	}
	if l.allow(a) {
		t.Error("a request above the burst was allowed")
	}
	if !l.allow(b) {
		t.Error("another address was refused")
	}
	now.pass(time.Second)
	if !l.allow(a) {
		t.Error("a request after a second was refused")
	}
	if wait := l.admit(a, ""); wait <= 0 || wait > time.Second {
		t.Errorf("told to wait %s, want up to 1 s", wait)
	}
}

func TestLimiter_CountsTokensByThemselves(t *testing.T) {
	now := newClock()
	l := newLimiter(1, 2, now.now)
	addr := netip.MustParseAddr("192.0.2.1")
	next := func() netip.Addr { addr = addr.Next(); return addr }
	for range 2 {
		if l.admit(next(), "one") != 0 {
			t.Fatal("refused within the burst")
		}
	}
	if l.admit(next(), "one") == 0 {
		t.Error("a token was let in above its burst")
	}
	if l.admit(next(), "two") != 0 || l.admit(next(), "") != 0 {
		t.Error("another token, or none, was refused")
	}
}

func TestLimiter_TakesAnIPv6NetworkAsOneSender(t *testing.T) {
	l := newLimiter(1, 1, newClock().now)
	l.allow(netip.MustParseAddr("2001:db8::1"))
	if l.allow(netip.MustParseAddr("2001:db8::2")) {
		t.Error("two addresses of one /64 had a bucket each")
	}
	l.allow(netip.MustParseAddr("192.0.2.1"))
	if l.allow(netip.MustParseAddr("::ffff:192.0.2.1")) {
		t.Error("an IPv4 address had two buckets")
	}
}

func TestLimiter_IsBoundedAndForgetsOnlyAFew(t *testing.T) {
	l := newLimiter(1, 1, newClock().now)
	addr := netip.MustParseAddr("10.0.0.0")
	for range maxBuckets + 10 {
		l.allow(addr)
		addr = addr.Next()
	}
	if n := len(l.addrs.by); n > maxBuckets || n < maxBuckets/2 {
		t.Errorf("got %d buckets, want at most %d and not many less", n, maxBuckets)
	}
}

func TestFailures_BackOffAndAreForgiven(t *testing.T) {
	now := newClock()
	f := newFailures(now.now)
	addr, other := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	for i := range guessBurst - 1 {
		if wait := f.failed(addr); wait != 0 {
			t.Fatalf("failure %d: has to wait %s", i, wait)
		}
	}
	for i, want := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60} {
		if got := f.failed(addr); got != want*time.Second || f.wait(addr) != got {
			t.Errorf("failure %d: has to wait %s, want %d s", guessBurst+i, got, want)
		}
	}
	if f.wait(other) != 0 {
		t.Error("another address has to wait")
	}
	now.pass(guessMost)
	if f.wait(addr) != 0 {
		t.Error("has to wait longer than the longest wait")
	}
	now.pass(time.Hour)
	if f.failed(addr) != 0 {
		t.Error("nothing was forgiven within an hour")
	}
}

// Over a day an attacker gets as many guesses as are forgiven, and not more.
func TestFailures_BoundTheGuessesOfADay(t *testing.T) {
	now := newClock()
	f := newFailures(now.now)
	addr, guesses, end := netip.MustParseAddr("192.0.2.1"), 0, now.now().Add(24*time.Hour)
	for now.now().Before(end) {
		if wait := f.wait(addr); wait > 0 {
			now.pass(wait)
			continue
		}
		f.failed(addr)
		guesses++
	}
	if most := 20_000; guesses > most { // a passcode of six digits holds out for weeks
		t.Errorf("got %d guesses in a day, want at most %d", guesses, most)
	}
}

// One pupil who guesses does not lock out who is in already.
func TestFailures_GoodCredentialsGoOn(t *testing.T) {
	f := newFailures(newClock().now)
	addr := netip.MustParseAddr("192.0.2.1")
	f.passed("the key")
	for range guessBurst + 5 {
		f.failed(addr)
	}
	if f.waitWith(addr, "the key") != 0 {
		t.Error("a credential that was good before has to wait")
	}
	if f.waitWith(addr, "another") == 0 {
		t.Error("a new credential need not wait")
	}
}

func TestFailures_AreBounded(t *testing.T) {
	f := newFailures(newClock().now)
	addr := netip.MustParseAddr("10.0.0.0")
	for i := range maxBuckets + 10 {
		f.failed(addr)
		f.passed(itoa(i))
		addr = addr.Next()
	}
	if len(f.by) > maxBuckets || len(f.good) > maxBuckets {
		t.Errorf("got %d addresses, %d credentials", len(f.by), len(f.good))
	}
}

func TestPlaces_AreBoundedAndComeBack(t *testing.T) {
	p := newPlaces(2)
	addr := netip.MustParseAddr("192.0.2.1")
	if one, two, three := p.take(addr), p.take(addr), p.take(addr); !one || !two || three {
		t.Error("want two places and no third")
	}
	if !p.take(netip.MustParseAddr("192.0.2.2")) {
		t.Error("another address got none")
	}
	p.give(addr)
	if !p.take(addr) {
		t.Error("a place that was given back is gone")
	}
	p.give(addr)
	p.give(addr)
	p.give(netip.MustParseAddr("192.0.2.2"))
	if len(p.by) != 0 {
		t.Errorf("%d addresses are remembered that hold nothing", len(p.by))
	}
}

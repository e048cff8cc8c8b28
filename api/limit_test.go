package api

import (
	"net/netip"
	"testing"
	"time"
)

func TestLimiter_RefusesAboveItsBurstAndRefills(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	l := newLimiter(1, 3, func() time.Time { return now })
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
	now = now.Add(time.Second)
	if !l.allow(a) {
		t.Error("a request after a second was refused")
	}
}

func TestLimiter_TakesAnIPv6NetworkAsOneSender(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	l := newLimiter(1, 1, func() time.Time { return now })
	l.allow(netip.MustParseAddr("2001:db8::1"))
	if l.allow(netip.MustParseAddr("2001:db8::2")) {
		t.Error("two addresses of one /64 had a bucket each")
	}
	l.allow(netip.MustParseAddr("192.0.2.1"))
	if l.allow(netip.MustParseAddr("::ffff:192.0.2.1")) {
		t.Error("an IPv4 address had two buckets")
	}
}

func TestLimiter_IsBounded(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	l := newLimiter(1, 1, func() time.Time { return now })
	addr := netip.MustParseAddr("10.0.0.0")
	for range maxBuckets + 10 {
		l.allow(addr)
		addr = addr.Next()
	}
	if n := len(l.addrs.by); n > maxBuckets {
		t.Errorf("got %d buckets, want at most %d", n, maxBuckets)
	}
}

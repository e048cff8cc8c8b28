package sender_test

import (
	"net/netip"
	"testing"

	"github.com/lectern/lectern/internal/sender"
)

func TestOf(t *testing.T) {
	for addr, want := range map[string]string{
		"192.0.2.1":            "192.0.2.1",
		"::ffff:192.0.2.1":     "192.0.2.1",
		"2001:db8:1:2:3:4:5:6": "2001:db8:1:2::",
		"fe80::1%eth0":         "fe80::",
	} {
		if got := sender.Of(netip.MustParseAddr(addr)); got != netip.MustParseAddr(want) {
			t.Errorf("%s: got %s, want %s", addr, got, want)
		}
	}
	if got := sender.Of(netip.Addr{}); got.IsValid() {
		t.Errorf("no address: got %s", got)
	}
}

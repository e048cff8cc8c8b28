package rtc

import (
	"net"
	"testing"
)

func TestSocket_ReadsWithoutAllocating(t *testing.T) {
	for _, addr := range []string{"127.0.0.1:0", ":0"} {
		to, err := net.ResolveUDPAddr("udp", addr)
		if err != nil {
			t.Fatal(err)
		}
		conn, err := net.ListenUDP("udp", to)
		if err != nil {
			t.Fatal(err)
		}
		s := newSocket(&Endpoint{}, conn)
		t.Cleanup(func() { _ = s.close() })
		from, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = from.Close() })
		want, payload := addrPortOf(from.LocalAddr()), sequence(1000)
		dst := addrPortOf(&net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: int(s.local.Port())})
		got := testing.AllocsPerRun(100, func() {
			if _, err := from.WriteToUDPAddrPort(payload, dst); err != nil {
				t.Fatal(err)
			}
			if b, peer, err := s.read(); err != nil || len(b) != len(payload) || peer != want {
				t.Fatalf("got %d bytes from %v, %v", len(b), peer, err)
			}
		})
		if got > 0 && !raceEnabled {
			t.Errorf("%s: got %.1f allocations, want 0", addr, got)
		}
	}
}

//go:build linux

package rtc

import (
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// What the kernel refuses in one piece must arrive in several, and the path must
// not be tried again.
func TestBatch_RetriesRefusedSegments(t *testing.T) {
	e := newTestEndpoint(t)
	sink, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sink.Close() }()
	to := addrPortOf(sink.LocalAddr())
	p := &path{addr: to, udp: net.UDPAddrFromAddrPort(to)}
	m := &message{to: p, start: 10, size: 250, segment: 100, segments: 3, full: true}
	newBatchWriter(e).retry(sequence(300), m, os.NewSyscallError("sendmmsg", unix.EIO))
	buf := make([]byte, 500)
	for _, want := range []int{100, 100, 50} {
		_ = sink.SetReadDeadline(time.Now().Add(5 * time.Second))
		if n, err := sink.Read(buf); err != nil || n != want {
			t.Errorf("got %d bytes, %v; want %d", n, err, want)
		}
	}
	if !p.single.Load() || !e.warned.Load() {
		t.Error("the path is still taken for one that takes segments")
	}
}

package rtsp_test

import (
	"net"
	"testing"
	"time"

	"github.com/lectern/lectern/egress/rtsp"
)

// dialFrom opens a connection from an address of this machine.
func dialFrom(t *testing.T, from, to string) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	c, err := d.Dial("tcp", to)
	if err != nil {
		t.Skipf("this machine has no address %s: %v", from, err)
	}
	t.Cleanup(func() { _ = c.Close() }) // nothing is left to lose
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	return c
}

// Who holds connections without playing keeps out nobody from elsewhere.
func TestServer_OneAddressDoesNotTakeAllConnections(t *testing.T) {
	f := serve(t, func(cfg *rtsp.Config) { cfg.MaxConnections = 4 })
	to := f.Addr().String()
	first := dialFrom(t, "127.0.0.1", to)
	eventually(t, "the first connection", func() bool { return f.Stats().Connections == 1 })
	for range 3 {
		dialFrom(t, "127.0.0.1", to)
	}
	eventually(t, "four connections", func() bool { return f.Stats().Connections == 4 })
	for range 2 {
		c := dialFrom(t, "127.0.0.2", to)
		if _, err := c.Write([]byte("OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(make([]byte, 1)); err != nil {
			t.Fatalf("from another address: %v", err)
		}
	}
	if _, err := first.Read(make([]byte, 1)); err == nil || isTimeout(err) {
		t.Errorf("the oldest connection: got %v, want it closed", err)
	}
	c := dialFrom(t, "127.0.0.2", to) // two and two: neither takes more
	if _, err := c.Read(make([]byte, 1)); err == nil || isTimeout(err) {
		t.Errorf("a third from there: got %v, want it closed", err)
	}
}

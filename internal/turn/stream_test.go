package turn_test

import (
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/lectern/lectern/internal/turn"
)

func TestStream_CutsOffWhatIsNotTURN(t *testing.T) {
	s := listen(t, nil, netip.MustParseAddrPort("127.0.0.1:9"))
	for name, b := range map[string][]byte{
		"HTTP":                   []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
		"TLS on the plain port":  {0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc},
		"a message of no length": append([]byte{0, 1, 0xff, 0xec, 0x21, 0x12, 0xa4, 0x42}, make([]byte, 30)...),
		"a message too long":     {0, 1, 0x40, 0, 0x21, 0x12, 0xa4, 0x42},
		"data too long":          {0x40, 0, 0xff, 0xff, 0, 0, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			conn := must[net.Conn](t)(net.Dial("tcp", s.Addr("tcp").String()))
			defer func() { _ = conn.Close() }()
			if _, err := conn.Write(b); err != nil {
				t.Fatal(err)
			}
			if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(conn); isTimeout(err) || len(got) != 0 {
				t.Errorf("got %q, %v; want the connection closed", got, err)
			}
		})
	}
}

func isTimeout(err error) bool {
	ne, ok := err.(net.Error) //nolint:errorlint // straight from the socket
	return ok && ne.Timeout()
}

func TestStream_BoundsConnectionsOfAnAddress(t *testing.T) {
	s := listen(t, func(c *turn.Config) { c.MaxPerAddress = 5 }, netip.MustParseAddrPort("127.0.0.1:9"))
	for i := range 8 {
		conn := must[net.Conn](t)(net.Dial("tcp", s.Addr("tcp").String()))
		defer func() { _ = conn.Close() }()
		if i < 5 {
			waitFor(t, "the connection", func() bool { return s.Stats().Connections == i+1 })
			continue
		}
		if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Read(make([]byte, 1)); err == nil || isTimeout(err) {
			t.Errorf("connection %d was kept (%v)", i, err)
		}
	}
	if n := s.Stats().Connections; n != 5 {
		t.Errorf("got %d connections, want 5", n)
	}
}

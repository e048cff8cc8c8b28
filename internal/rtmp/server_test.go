package rtmp_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/lectern/lectern/internal/rtmp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// cinema lets everybody watch "live/film": n messages and the end.
type cinema struct {
	n            int
	open, closed atomic.Int64
	last         atomic.Value // rtmp.Request
}

func (c *cinema) OnPlay(_ context.Context, r rtmp.Request) (rtmp.Source, error) {
	c.last.Store(r)
	if len(r.Path) != 2 || r.Path[1] != "film" {
		return nil, rtmp.ErrNotFound
	}
	c.open.Add(1)
	return &film{c: c, left: c.n}, nil
}

type film struct {
	c    *cinema
	left int // negative: the film shows nothing, for ever
}

func (f *film) Next(ctx context.Context) (rtmp.Message, error) {
	if f.left < 0 {
		<-ctx.Done()
		return rtmp.Message{}, ctx.Err()
	}
	if f.left == 0 {
		return rtmp.Message{}, io.EOF
	}
	f.left--
	return rtmp.Message{Kind: rtmp.Kind(f.left % 3), Timestamp: uint32(f.c.n - f.left), Body: bytes.Repeat([]byte{7}, 100_000)}, nil
}

func (f *film) Close() { f.c.closed.Add(1) }

func serve(t *testing.T, cfg rtmp.Config) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := rtmp.NewServer(cfg)
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		if err := <-done; !errors.Is(err, rtmp.ErrClosed) {
			t.Errorf("serve: %v", err)
		}
		if n := s.Conns(); n != 0 {
			t.Errorf("%d connections left", n)
		}
	})
	return l.Addr().String()
}

// TestServer_Abuse throws at the server what no player sends. Each time it must
// end the connection by itself.
func TestServer_Abuse(t *testing.T) {
	addr := serve(t, rtmp.Config{Handler: &cinema{}, SetupTimeout: 300 * time.Millisecond})
	random := make([]byte, 100_000)
	src := rand.New(rand.NewPCG(1, 2))
	for i := range random {
		random[i] = byte(src.Uint32())
	}
	hello := make([]byte, 1+1536+1536)
	hello[0] = 3
	for name, input := range map[string][]byte{
		"silence":          nil,
		"half a handshake": hello[:700],
		"only a handshake": hello,
		"noise":            random,
		"noise after":      append(append([]byte{}, hello...), random...),
		"empty message":    append(append([]byte{}, hello...), 3, 0, 0, 0, 0, 0, 0, 20, 0, 0, 0, 0),
		"huge message":     append(append([]byte{}, hello...), 3, 0, 0, 0, 0xff, 0xff, 0xff, 20, 0, 0, 0, 0),
		"huge array": append(append([]byte{}, hello...), 3, 0, 0, 0, 0, 0, 24, 20, 0, 0, 0, 0,
			2, 0, 7, 'c', 'o', 'n', 'n', 'e', 'c', 't', 0, 0x3f, 0xf0, 0, 0, 0, 0, 0, 0, 10, 0x7f, 0xff, 0xff, 0xff),
		"wrong types": append(append([]byte{}, hello...), 3, 0, 0, 0, 0, 0, 20, 20, 0, 0, 0, 0,
			2, 0, 7, 'c', 'o', 'n', 'n', 'e', 'c', 't', 0, 0x3f, 0xf0, 0, 0, 0, 0, 0, 0, 5),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if err := c.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
				t.Fatal(err)
			}
			_, _ = c.Write(input) // it may be cut off before
			_, err = io.Copy(io.Discard, c)
			var late net.Error
			if errors.As(err, &late) && late.Timeout() {
				t.Error("connection was left open")
			}
		})
	}
}

// command is a message of type 20 in one chunk: a name, a transaction of 0 and
// what follows in AMF0.
func command(streamID byte, name string, rest ...byte) []byte {
	body := append([]byte{2, 0, byte(len(name))}, name...)
	body = append(append(body, 0, 0, 0, 0, 0, 0, 0, 0, 0), rest...)
	return append([]byte{3, 0, 0, 0, 0, 0, byte(len(body)), 20, streamID, 0, 0, 0}, body...)
}

// play is all that a player says up to the play of "film?a=1".
func play() []byte {
	b := append([]byte{3}, make([]byte, 2*1536)...)
	b = append(b, command(0, "connect", 3, 0, 3, 'a', 'p', 'p', 2, 0, 4, 'l', 'i', 'v', 'e', 0, 0, 9)...)
	b = append(b, command(0, "createStream", 5)...)
	return append(b, command(1, "play", 5, 2, 0, 8, 'f', 'i', 'l', 'm', '?', 'a', '=', '1')...)
}

// A player that leaves gets the time to close the connection itself, but not
// for ever; the source is let go at once.
func TestServer_LeaverClosesFirst(t *testing.T) {
	house := &cinema{n: -1}
	addr := serve(t, rtmp.Config{Handler: house})
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write(append(play(), command(1, "deleteStream", 5)...)); err != nil {
		t.Fatal(err)
	}
	if err := c.SetReadDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, c); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %v: the server closed first", err)
	}
	if house.closed.Load() != 1 {
		t.Error("the source is still open")
	}
	if err := c.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, c); err != nil {
		t.Errorf("got %v: the server did not close at all", err)
	}
}

// TestServer_ManyMessages goes through the whole of a play, with messages larger
// than a chunk, up to the farewell.
func TestServer_ManyMessages(t *testing.T) {
	house := &cinema{n: 300}
	addr := serve(t, rtmp.Config{Handler: house})
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	// What comes in the same breath as play must not get in the way of the pump.
	input := play()
	input = append(input, 2, 0, 0, 0, 0, 0, 4, 5, 0, 0, 0, 0, 0, 0, 0, 2) // acknowledge every two bytes
	input = append(input, command(1, "unknown", 5)...)
	if _, err := c.Write(input); err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	if len(out) < 200*100_000 || !bytes.Contains(out, []byte("NetStream.Play.UnpublishNotify")) {
		t.Errorf("got %d bytes", len(out))
	}
	if house.open.Load() != 1 || house.closed.Load() != 1 {
		t.Errorf("source opened %d times, closed %d times", house.open.Load(), house.closed.Load())
	}
	if r, _ := house.last.Load().(rtmp.Request); r.Query.Get("a") != "1" || !r.Remote.IsValid() {
		t.Errorf("got request %+v", r)
	}
}

func TestServer_BoundsConnections(t *testing.T) {
	addr := serve(t, rtmp.Config{Handler: &cinema{}, MaxConns: 2})
	var conns []net.Conn
	for range 3 {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		conns = append(conns, c)
	}
	if err := conns[2].SetReadDeadline(time.Now().Add(3 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := conns[2].Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("third connection: got %v, want EOF", err)
	}
}

// Who holds connections without playing keeps out nobody from elsewhere.
func TestServer_OneAddressDoesNotTakeAllConnections(t *testing.T) {
	addr := serve(t, rtmp.Config{Handler: &cinema{}, MaxConns: 4})
	dial := func(from string) net.Conn {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
		c, err := d.Dial("tcp", addr)
		if err != nil {
			t.Skipf("this machine has no address %s: %v", from, err)
		}
		t.Cleanup(func() { _ = c.Close() }) // nothing is left to lose
		_ = c.SetDeadline(time.Now().Add(5 * time.Second))
		return c
	}
	hello := make([]byte, 1+1536)
	hello[0] = 3
	greeted := func(c net.Conn) error {
		if _, err := c.Write(hello); err != nil {
			return err
		}
		_, err := c.Read(make([]byte, 1))
		return err
	}
	for range 4 {
		if err := greeted(dial("127.0.0.1")); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := greeted(dial("127.0.0.2")); err != nil {
			t.Fatalf("from another address: %v", err)
		}
	}
	if err := greeted(dial("127.0.0.2")); err == nil { // two and two: neither takes more
		t.Error("a third connection from there was served")
	}
}

package api

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"
)

// serve runs the server on loopback with the time limits that it really has.
func (g *gateway) serve(tune func(*http.Server)) string {
	g.t.Helper()
	return serveOn(g.t, g.Server, nil, tune)
}

// serveOn runs s on loopback, over TLS if cfg is not nil, until the test ends.
func serveOn(t *testing.T, s *Server, cfg *tls.Config, tune func(*http.Server)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	hs := s.httpServer(cfg)
	if tune != nil {
		tune(hs)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- s.run(ctx, hs, l) }() // ended by the cleanup
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

// sendRaw sends bytes as they are and returns what comes back until the
// connection ends, at most five seconds long.
func sendRaw(t *testing.T, addr, request string) string {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()                                    // nothing is left to lose
	_ = nc.SetDeadline(time.Now().Add(5 * time.Second)) // of a TCP connection: cannot fail
	if _, err := nc.Write([]byte(request)); err != nil {
		return "" // refused before all was sent
	}
	answer, _ := io.ReadAll(nc) // cut connections are answers too
	return string(answer)
}

// A client that never ends its header, or its body, is cut; others are served
// meanwhile.
func TestServer_CutsSlowClients(t *testing.T) {
	g := newGateway(t, nil)
	const limit = 200 * time.Millisecond
	addr := g.serve(func(hs *http.Server) { hs.ReadHeaderTimeout, hs.ReadTimeout = limit, limit })
	var all sync.WaitGroup
	for _, opening := range []string{
		"GET /api/info HTTP/1.1\r\nHost: x\r\nX-Slow: ",
		"POST /whip/algebra HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + adminKey + "\r\nContent-Type: application/sdp\r\nContent-Length: 1000\r\n\r\nv=0",
		"",
	} {
		all.Go(func() {
			nc, err := net.Dial("tcp", addr)
			if err != nil {
				t.Error(err)
				return
			}
			defer nc.Close() // nothing is left to lose
			if _, err := nc.Write([]byte(opening)); err != nil {
				t.Error(err)
				return
			}
			_ = nc.SetReadDeadline(time.Now().Add(5 * time.Second)) // of a TCP connection: cannot fail
			began := time.Now()
			r := bufio.NewReader(nc)
			for err == nil {
				_, err = r.ReadString('\n')
			}
			if took := time.Since(began); took > 3*time.Second {
				t.Errorf("%.20q: still open after %v", opening, took)
			}
		})
	}
	resp, err := http.Get("http://" + addr + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close() // read only
	http.DefaultClient.CloseIdleConnections()
	all.Wait()
}

// A download goes on for longer than an answer may take, as long as it moves.
func TestServer_LetsLargeBodiesMove(t *testing.T) {
	g := newGateway(t, nil)
	const limit = 150 * time.Millisecond
	addr := g.serve(func(hs *http.Server) { hs.ReadTimeout, hs.WriteTimeout = limit, limit })
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close() // nothing is left to lose
	// An upload in two parts, the second of which comes after the time limit.
	const sum = "b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9" // of "hello world"
	head := "PUT /api/rooms/algebra/files/1?name=a.txt&sha256=" + sum + " HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " +
		adminKey + "\r\nContent-Length: 11\r\nConnection: close\r\n\r\n"
	if _, err := nc.Write([]byte(head + "hello ")); err != nil {
		t.Fatal(err)
	}
	<-time.After(2 * limit)
	if _, err := nc.Write([]byte("world")); err != nil {
		t.Fatal(err)
	}
	_ = nc.SetReadDeadline(time.Now().Add(5 * time.Second)) // of a TCP connection: cannot fail
	line, err := bufio.NewReader(nc).ReadString('\n')
	if err != nil || !strings.Contains(line, " 201 ") {
		t.Errorf("got %q, %v, want 201", line, err)
	}
}

// The limits that the tests above shorten are those of the real server.
func TestServer_HasItsTimeLimits(t *testing.T) {
	s, _ := bareServer(t, nil)
	for _, cfg := range []*tls.Config{nil, {}} {
		hs := s.httpServer(cfg)
		if hs.ReadHeaderTimeout != 10*time.Second || hs.ReadTimeout != 30*time.Second || hs.WriteTimeout != time.Minute ||
			hs.IdleTimeout != time.Minute || hs.MaxHeaderBytes != 32<<10 || hs.HTTP2.SendPingTimeout != 30*time.Second {
			t.Errorf("got %+v", hs)
		}
	}
}

func TestServer_BoundsItsConnections(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	bounded := newConnections(2, 2, func(netip.Addr) bool { return false }).listen(l)
	defer bounded.Close() // nothing is left to lose
	accepted := make(chan net.Conn, 3)
	go func() { // ended by the close of the listener
		for {
			nc, err := bounded.Accept()
			if err != nil {
				close(accepted)
				return
			}
			accepted <- nc
		}
	}()
	var ours []net.Conn
	for range 3 {
		nc, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close() // nothing is left to lose
		ours = append(ours, nc)
	}
	first := <-accepted
	<-accepted
	_ = ours[2].SetReadDeadline(time.Now().Add(5 * time.Second)) // of a TCP connection: cannot fail
	if _, err := ours[2].Read(make([]byte, 1)); err == nil || strings.Contains(err.Error(), "timeout") {
		t.Errorf("the third connection: got %v, want it closed", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	nc, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close() // nothing is left to lose
	select {
	case <-accepted:
	case <-time.After(5 * time.Second):
		t.Error("a connection in place of a closed one was refused")
	}
}

func TestServer_BoundsTheConnectionsOfAnAddress(t *testing.T) {
	proxy, one, other := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	b := newConnections(6, 2, func(a netip.Addr) bool { return a == proxy })
	var leave []func()
	enter := func(a netip.Addr) bool {
		l, ok := b.enter(a)
		if ok {
			leave = append(leave, l)
		}
		return ok
	}
	if first, second, third := enter(one), enter(one), enter(one); !first || !second || third {
		t.Error("want two connections of an address and no third")
	}
	if !enter(other) {
		t.Error("another address is refused")
	}
	if first, second, third := enter(proxy), enter(proxy), enter(proxy); !first || !second || !third {
		t.Error("a proxy is bounded like a client")
	}
	if enter(proxy) {
		t.Error("there is a seventh connection")
	}
	for _, l := range leave {
		l()
		l() // a second Close gives no second place
	}
	if b.open != 0 || len(b.addrs.by) != 0 {
		t.Errorf("%d connections and %d addresses are left", b.open, len(b.addrs.by))
	}
}

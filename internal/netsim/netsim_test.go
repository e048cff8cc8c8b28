package netsim_test

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/lectern/lectern/internal/netsim"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// echo is a gateway that sends everything back.
func echo(t *testing.T) netip.AddrPort {
	t.Helper()
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { // ended by the end of c
		defer close(done)
		buf := make([]byte, 2048)
		for {
			n, from, err := c.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			_, _ = c.WriteToUDPAddrPort(buf[:n], from) // a peer that is gone
		}
	}()
	t.Cleanup(func() { _ = c.Close(); <-done })
	return c.LocalAddr().(*net.UDPAddr).AddrPort()
}

func listen(t *testing.T, cfg netsim.Config) *netsim.Relay {
	t.Helper()
	r, err := netsim.Listen(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for range 2 { // Close is idempotent
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	return r
}

func dial(t *testing.T, to netip.AddrPort) *net.UDPConn {
	t.Helper()
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func ask(t *testing.T, c *net.UDPConn, word string, within time.Duration) string {
	t.Helper()
	if _, err := c.Write([]byte(word)); err != nil {
		t.Fatal(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(within))
	buf := make([]byte, 100)
	n, _ := c.Read(buf)
	return string(buf[:n])
}

func TestRelay_PassesBothWaysAndKeepsAddressesApart(t *testing.T) {
	r := listen(t, netsim.Config{Target: echo(t)})
	one, two := dial(t, r.Addr()), dial(t, r.Addr())
	for range 3 {
		if a, b := ask(t, one, "one", 5*time.Second), ask(t, two, "two", 5*time.Second); a != "one" || b != "two" {
			t.Fatalf("got %q and %q", a, b)
		}
	}
	up, down := r.Stats()
	if up.Packets != 6 || up.Passed != 6 || down.Passed != 6 || up.Bytes != 18 {
		t.Errorf("up %+v, down %+v", up, down)
	}
}

func TestRelay_ItsWaysAreChangedWhileRunning(t *testing.T) {
	r := listen(t, netsim.Config{Target: echo(t), Up: netsim.Link{Delay: 20 * time.Millisecond}})
	c := dial(t, r.Addr())
	began := time.Now()
	if got := ask(t, c, "a", 5*time.Second); got != "a" || time.Since(began) < 20*time.Millisecond {
		t.Errorf("got %q after %v", got, time.Since(began))
	}
	r.SetDown(netsim.Link{Loss: 1})
	if got := ask(t, c, "b", 50*time.Millisecond); got != "" {
		t.Errorf("got %q through a way that loses all", got)
	}
	r.SetDown(netsim.Link{})
	if got := ask(t, c, "c", 5*time.Second); got != "c" {
		t.Errorf("got %q", got)
	}
	if _, down := r.Stats(); down.Lost != 1 {
		t.Errorf("down %+v", down)
	}
}

func TestRelay_AnswersToNobodyBeyondItsBound(t *testing.T) {
	r := listen(t, netsim.Config{Target: echo(t)})
	for i := range 64 {
		if ask(t, dial(t, r.Addr()), "x", 5*time.Second) != "x" {
			t.Fatalf("address %d got nothing", i)
		}
	}
	if got := ask(t, dial(t, r.Addr()), "x", 50*time.Millisecond); got != "" {
		t.Errorf("address 65 got %q", got)
	}
	if up, _ := r.Stats(); up.Refused != 1 {
		t.Errorf("up %+v", up)
	}
}

// A gateway that is restarted on its port is found again.
func TestRelay_OutlivesItsTarget(t *testing.T) {
	gone, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	addr := gone.LocalAddr().(*net.UDPAddr)
	_ = gone.Close()
	r := listen(t, netsim.Config{Target: addr.AddrPort()})
	c := dial(t, r.Addr())
	for range 3 {
		if got := ask(t, c, "x", 20*time.Millisecond); got != "" {
			t.Fatalf("got %q", got)
		}
	}
	back, err := net.ListenUDP("udp", addr)
	if err != nil {
		t.Skip("the port was taken meanwhile")
	}
	defer func() { _ = back.Close() }()
	if _, err := c.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	_ = back.SetReadDeadline(time.Now().Add(5 * time.Second))
	buf := make([]byte, 10)
	for { // what was asked before may still be on its way
		n, err := back.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		if string(buf[:n]) == "hello" {
			return
		}
	}
}

const offer = "v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:0\r\n" +
	"a=candidate:1 1 udp 1 192.0.2.1 5 typ host\r\na=candidate:2 1 tcp 1 192.0.2.1 9 typ host tcptype active\r\na=end-of-candidates\r\n"

func TestHandler_CandidatesAreTheRelays(t *testing.T) {
	var got string
	gateway := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		b, _ := io.ReadAll(req.Body)
		got = string(b)
		w.Header().Set("Content-Type", req.Header.Get("Content-Type"))
		w.Header().Set("Location", "/whep/s/1")
		w.Header().Add("Link", `<turn:x:3478>; rel="ice-server"`)
		w.Header().Add("Link", `</whep/s/1/sse>; rel="urn:ietf:params:whep:ext:core:server-sent-events"`)
		w.WriteHeader(http.StatusCreated)
		_, _ = w.Write(b)
	}))
	defer gateway.Close()
	target, err := url.Parse(gateway.URL)
	if err != nil {
		t.Fatal(err)
	}
	r := listen(t, netsim.Config{Target: netip.MustParseAddrPort("127.0.0.1:9")})
	front := httptest.NewServer(r.Handler(target))
	defer front.Close()
	defer http.DefaultClient.CloseIdleConnections()
	for kind, want := range map[string]bool{"application/sdp": true, "application/trickle-ice-sdpfrag; charset=utf-8": true, "text/plain": false} {
		resp, err := http.Post(front.URL+"/whep/x", kind, strings.NewReader(offer))
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusCreated || resp.Header.Get("Location") != "/whep/s/1" || len(resp.Header.Values("Link")) != 1 {
			t.Errorf("%s: %s, %v", kind, resp.Status, resp.Header)
		}
		if touched := got != offer; touched != want || strings.Contains(got, "a=candidate:") == want {
			t.Errorf("%s: the gateway got %q", kind, got)
		}
		if want && strings.Contains(string(b), "192.0.2.1") {
			t.Errorf("%s: the client got %q", kind, b)
		}
	}
}

func TestWithCandidate_EachSectionThatHasSomeGetsOne(t *testing.T) {
	answer := offer + "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:1\r\nm=audio 9 X 1\r\na=candidate:7 1 udp 5 2001:db8::1 4 typ host\r\n"
	got := netsim.WithCandidate(answer, netip.MustParseAddrPort("127.0.0.1:4000"))
	want := "v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:0\r\na=candidate:1 1 udp 2130706431 127.0.0.1 4000 typ host\r\na=end-of-candidates\r\n" +
		"m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:1\r\nm=audio 9 X 1\r\na=candidate:1 1 udp 2130706431 127.0.0.1 4000 typ host\r\n"
	if got != want {
		t.Errorf("got\n%s", got)
	}
}

package turn_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/pion/logging"
	pion "github.com/pion/turn/v5"
	"go.uber.org/goleak"

	"github.com/lectern/lectern/internal/turn"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 5 * time.Second

func must[T any](t testing.TB) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func waitFor(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("timed out waiting for %s", what)
		}
	}
}

// echo is a socket that sends everything back, and remembers whether anything
// came at all.
type echo struct {
	conn *net.UDPConn
	addr netip.AddrPort
	got  chan string
}

func openEcho(t testing.TB, addr string) *echo {
	t.Helper()
	conn := must[*net.UDPConn](t)(net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(addr))))
	e := &echo{conn: conn, addr: netip.MustParseAddrPort(conn.LocalAddr().String()), got: make(chan string, 1024)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 2000)
		for {
			n, from, err := conn.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			select {
			case e.got <- string(buf[:n]):
			default:
			}
			_, _ = conn.WriteToUDPAddrPort(buf[:n], from)
		}
	}()
	t.Cleanup(func() { _ = conn.Close(); <-done })
	return e
}

// listen opens a server on loopback that relays to targets and that the test
// closes.
func listen(t testing.TB, change func(*turn.Config), targets ...netip.AddrPort) *turn.Server {
	t.Helper()
	cfg := turn.Config{
		UDP: "127.0.0.1:0", TCP: "127.0.0.1:0", TLS: "127.0.0.1:0", TLSConfig: testTLS(t),
		Targets: func() []netip.AddrPort { return targets },
	}
	if change != nil {
		change(&cfg)
	}
	s := must[*turn.Server](t)(turn.Listen(cfg))
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}

// client makes a TURN client of another make over a transport.
func client(t testing.TB, s *turn.Server, transport, user, password string) *pion.Client {
	t.Helper()
	c, err := dial(t, s, transport, user, password)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func dial(t testing.TB, s *turn.Server, transport, user, password string) (*pion.Client, error) {
	t.Helper()
	addr := s.Addr(transport).String()
	var conn net.PacketConn
	switch transport {
	case "udp":
		conn = must[net.PacketConn](t)(net.ListenPacket("udp4", "127.0.0.1:0"))
	case "tcp":
		conn = pion.NewSTUNConn(must[net.Conn](t)(net.Dial("tcp", addr)))
	case "tls":
		c, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			return nil, err
		}
		conn = pion.NewSTUNConn(c)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return newClient(t, conn, addr, user, password)
}

func newClient(t testing.TB, conn net.PacketConn, addr, user, password string) (*pion.Client, error) {
	t.Helper()
	c, err := pion.NewClient(&pion.ClientConfig{
		STUNServerAddr: addr, TURNServerAddr: addr, Conn: conn, Username: user, Password: password, Realm: "lectern",
		LoggerFactory: &logging.DefaultLoggerFactory{}, RTO: 100 * time.Millisecond,
	})
	if err != nil {
		return nil, err
	}
	t.Cleanup(c.Close)
	return c, c.Listen()
}

func allocate(t testing.TB, s *turn.Server, transport string) net.PacketConn {
	t.Helper()
	user, password, _ := s.Credentials("")
	relay, err := client(t, s, transport, user, password).Allocate()
	if err != nil {
		t.Fatalf("allocating over %s: %v", transport, err)
	}
	t.Cleanup(func() { _ = relay.Close() })
	return relay
}

// exchange sends text to a peer through a relay and waits for its echo.
func exchange(relay net.PacketConn, to netip.AddrPort, text string, wait time.Duration) (from netip.AddrPort, err error) {
	if _, err := relay.WriteTo([]byte(text), net.UDPAddrFromAddrPort(to)); err != nil {
		return from, fmt.Errorf("write: %w", err)
	}
	if err := relay.SetReadDeadline(time.Now().Add(wait)); err != nil {
		return from, err
	}
	buf := make([]byte, 2000)
	n, addr, err := relay.ReadFrom(buf)
	if err != nil {
		return from, fmt.Errorf("read: %w", err)
	}
	if string(buf[:n]) != text {
		return from, fmt.Errorf("got %q back, want %q", buf[:n], text)
	}
	return netip.MustParseAddrPort(addr.String()), nil
}

func TestRelay_ReachesTheMediaPortByEveryTransport(t *testing.T) {
	media := openEcho(t, "127.0.0.1:0")
	s := listen(t, nil, media.addr)
	for _, transport := range []string{"udp", "tcp", "tls"} {
		t.Run(transport, func(t *testing.T) {
			relay := allocate(t, s, transport)
			for _, size := range []int{9, 10, 11, 12, 100, 1200, 1400} { // padded and not
				from, err := exchange(relay, media.addr, strings.Repeat("x", size), patience)
				if err != nil {
					t.Fatalf("%d bytes: %v", size, err)
				}
				if from != media.addr {
					t.Errorf("echo from %s, want %s", from, media.addr)
				}
			}
		})
	}
	if st := s.Stats(); st.BytesUp == 0 || st.BytesUp != st.BytesDown || st.Refused != 0 {
		t.Errorf("got %+v", st)
	}
}

func TestRelay_GoesOnThroughAChannel(t *testing.T) {
	media := openEcho(t, "127.0.0.1:0")
	s := listen(t, nil, media.addr)
	relay := allocate(t, s, "udp")
	for i := range 200 { // the client binds a channel after the first packets
		if _, err := exchange(relay, media.addr, fmt.Sprint("packet ", i), patience); err != nil {
			t.Fatal(err)
		}
	}
}

// A client may know the port by an address that is not of this machine (1:1
// NAT): what it sends there goes to the port, and the answer bears that name.
func TestRelay_KnowsTheMediaPortByItsPublicName(t *testing.T) {
	media := openEcho(t, "127.0.0.1:0")
	public := netip.AddrPortFrom(netip.MustParseAddr("192.0.2.7"), media.addr.Port())
	s := listen(t, nil, public, media.addr)
	relay := allocate(t, s, "udp")
	for _, name := range []netip.AddrPort{public, media.addr, public} {
		from, err := exchange(relay, name, "hello", patience)
		if err != nil {
			t.Fatal(err)
		}
		if from != name {
			t.Errorf("answer from %s, want %s", from, name)
		}
	}
}

func TestBinding_NeedsNoCredentials(t *testing.T) {
	s := listen(t, nil, netip.MustParseAddrPort("127.0.0.1:9"))
	for _, transport := range []string{"udp", "tcp", "tls"} {
		addr, err := client(t, s, transport, "", "").SendBindingRequest()
		if err != nil {
			t.Errorf("%s: %v", transport, err)
		} else if !strings.HasPrefix(addr.String(), "127.0.0.1:") {
			t.Errorf("%s: got %s", transport, addr)
		}
	}
}

func TestAllocate_ForIPv6(t *testing.T) {
	probe, err := net.ListenPacket("udp6", "[::1]:0")
	if err != nil {
		t.Skip("this machine has no IPv6")
	}
	_ = probe.Close()
	media := openEcho(t, "[::1]:0")
	s := listen(t, func(c *turn.Config) { c.UDP = "[::1]:0" }, media.addr)
	user, password, _ := s.Credentials("")
	conn := must[net.PacketConn](t)(net.ListenPacket("udp6", "[::1]:0"))
	t.Cleanup(func() { _ = conn.Close() })
	c := must[*pion.Client](t)(newClient(t, conn, s.Addr("udp").String(), user, password))
	relay := must[net.PacketConn](t)(c.Allocate())
	t.Cleanup(func() { _ = relay.Close() })
	if _, err := exchange(relay, media.addr, "six", patience); err != nil {
		t.Error(err)
	}
}

func TestListen_Refusals(t *testing.T) {
	if _, err := turn.Listen(turn.Config{UDP: "127.0.0.1:0"}); !errors.Is(err, turn.ErrNoTargets) {
		t.Errorf("got %v, want ErrNoTargets", err)
	}
	busy := must[net.Listener](t)(net.Listen("tcp", "127.0.0.1:0"))
	defer func() { _ = busy.Close() }()
	none := func() []netip.AddrPort { return nil }
	if _, err := turn.Listen(turn.Config{UDP: "127.0.0.1:0", TCP: busy.Addr().String(), Targets: none}); err == nil {
		t.Error("a port that is taken was taken")
	}
	s := listen(t, func(c *turn.Config) { c.TLSConfig = nil }, netip.MustParseAddrPort("127.0.0.1:9"))
	if s.Addr("tls").IsValid() || !s.Addr("udp").IsValid() || !s.Addr("tcp").IsValid() {
		t.Error("without a certificate TLS is off, and UDP and TCP are on")
	}
}

func TestClose_EndsEverythingAndIsIdempotent(t *testing.T) {
	media := openEcho(t, "127.0.0.1:0")
	s := listen(t, nil, media.addr)
	for _, transport := range []string{"udp", "tcp", "tls"} {
		relay := allocate(t, s, transport)
		if _, err := exchange(relay, media.addr, "some packet", patience); err != nil {
			t.Fatal(err)
		}
	}
	idle := must[net.Conn](t)(net.Dial("tcp", s.Addr("tls").String()))
	defer func() { _ = idle.Close() }()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if st := s.Stats(); st.Allocations != 0 || st.Connections != 0 {
		t.Errorf("left over: %+v", st)
	}
}

package rtc

import (
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/pion/stun/v3"
)

// dialICE opens a TCP connection that names the session of ufrag.
func dialICE(t *testing.T, e *Endpoint, ufrag string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", e.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	m, err := stun.Build(stun.BindingRequest, stun.TransactionID, stun.NewUsername(ufrag+":peer"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(m.Raw))), m.Raw...)); err != nil {
		t.Fatal(err)
	}
	return c
}

func poll(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(5 * time.Second)
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("timed out waiting for %s", what)
		}
	}
}

// Browsers open a connection to each address and close all but one, which need
// not be the one that the agent holds for the best.
func TestTCP_MovesFromAClosedConnection(t *testing.T) {
	e, err := Listen(Config{Addr: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	sum := strings.TrimSuffix(strings.Repeat("01:", 32), ":")
	offer, err := ParseOffer([]byte("v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n"+
		"m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:peer\r\na=ice-pwd:0123456789012345678901\r\na=mid:0\r\n"+
		"a=fingerprint:sha-256 "+sum+"\r\na=setup:actpass\r\na=rtcp-mux\r\na=rtpmap:111 opus/48000/2\r\n"), View)
	if err != nil {
		t.Fatal(err)
	}
	s, err := e.NewSession(SessionConfig{Offer: offer})
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(s.Answer()), "a=ice-ufrag:")
	ufrag, _, _ := strings.Cut(rest, "\r\n")

	first, second := dialICE(t, e, ufrag), dialICE(t, e, ufrag)
	at := func(c net.Conn) *tcpPeer { return e.tcp.peer(addrPortOf(c.LocalAddr())) }
	for _, c := range []net.Conn{first, second} {
		poll(t, "the connection to be known", func() bool { p := at(c); return p != nil && p.owner() == s })
	}
	s.usePath(&path{addr: at(first).addr, tcp: at(first)})
	other := at(second)
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	poll(t, "the path to move", func() bool { p := s.path.Load(); return p != nil && p.tcp == other })
	s.transmit([]byte("hello"))
	got := make([]byte, 7)
	if _, err := io.ReadFull(second, got); err != nil || string(got) != "\x00\x05hello" {
		t.Errorf("got %q, %v", got, err)
	}
	if err := s.Close(nil); err != nil {
		t.Error(err)
	}
	if _, err := second.Read(got); err == nil {
		t.Error("the connection outlives the session")
	}
}

func TestTCP_StrangersAreSentAway(t *testing.T) {
	e, err := Listen(Config{Addr: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	huge, err := net.Dial("tcp", e.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = huge.Close() }()
	if _, err := huge.Write([]byte{0xff, 0xff, 1, 2, 3}); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]net.Conn{"unknown session": dialICE(t, e, "nobody"), "huge frame": huge} {
		_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
		var timeout net.Error
		if _, err := c.Read(make([]byte, 1)); err == nil || errors.As(err, &timeout) && timeout.Timeout() {
			t.Errorf("%s: got %v, want a closed connection", name, err)
		}
	}
}

func TestTCP_StrangersAreFewAndShort(t *testing.T) {
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	m := newTCPMux(l, slog.New(slog.DiscardHandler), 200*time.Millisecond)
	defer func() { _ = m.Close() }()
	count := func() (int, int) {
		m.mu.Lock()
		defer m.mu.Unlock()
		return len(m.strangers), len(m.peers)
	}
	silent, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	media, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = media.Close() }()
	if _, err := media.Write(append([]byte{0, 12, 0x80}, make([]byte, 11)...)); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]net.Conn{"says nothing": silent, "sends media": media} {
		_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
		var timeout net.Error
		if _, err := c.Read(make([]byte, 1)); err == nil || errors.As(err, &timeout) && timeout.Timeout() {
			t.Errorf("%s: got %v, want a closed connection", name, err)
		}
	}
	poll(t, "nothing to be left", func() bool {
		strangers, peers := count()
		return strangers == 0 && peers == 0
	})
}

func TestTCP_StrangersAreBounded(t *testing.T) {
	m := &tcpMux{strangers: map[*tcpPeer]time.Time{}}
	began := time.Now()
	enter := func(a netip.Addr, i int) (*tcpPeer, bool) {
		p := &tcpPeer{addr: netip.AddrPortFrom(a, uint16(i)), closing: make(chan struct{})}
		ok := m.roomForLocked(p)
		if ok {
			m.strangers[p] = began.Add(time.Duration(i))
		}
		return p, ok
	}
	first, _ := enter(netip.MustParseAddr("192.0.2.1"), 1)
	for i := 2; i <= maxTCPStrangersOfAddr; i++ {
		if _, ok := enter(netip.MustParseAddr("192.0.2.1"), i); !ok {
			t.Fatalf("number %d of one address is sent away", i)
		}
	}
	if _, ok := enter(netip.MustParseAddr("192.0.2.1"), 999); ok {
		t.Error("one address may have any number")
	}
	for i := range maxTCPStrangersOfAddr {
		enter(netip.AddrFrom16([16]byte{0x20, 1, 15: byte(i)}), 1000+i)
	}
	if _, ok := enter(netip.MustParseAddr("2001::ffff"), 2000); ok {
		t.Error("one network of IPv6 may have any number")
	}
	for i := 2 * maxTCPStrangersOfAddr; i < maxTCPStrangers; i++ {
		enter(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 3000+i)
	}
	if first.isClosing() {
		t.Error("the oldest went before its time")
	}
	if _, ok := enter(netip.MustParseAddr("192.0.2.9"), 9000); !ok || !first.isClosing() || len(m.strangers) != maxTCPStrangers {
		t.Errorf("the newest comes in: %v, the oldest goes: %v, %d strangers", ok, first.isClosing(), len(m.strangers))
	}
}

func TestTCP_ConnectionsOfASessionAreBounded(t *testing.T) {
	m := &tcpMux{peers: map[netip.AddrPort]*tcpPeer{}, strangers: map[*tcpPeer]time.Time{}}
	home := &tcpConn{owner: &Session{}}
	for i := range maxTCPOfSession + 1 {
		p := &tcpPeer{addr: netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), uint16(i)), closing: make(chan struct{})}
		m.peers[p.addr] = p
		if got, want := m.introduce(p, home), i < maxTCPOfSession; got != want {
			t.Errorf("connection %d: taken %v, want %v", i, got, want)
		}
	}
}

// A peer that does not read must not hold anyone up.
func TestTCPPeer_QueueIsBounded(t *testing.T) {
	ours, theirs := net.Pipe()
	defer func() { _ = theirs.Close() }()
	defer func() { _ = ours.Close() }()
	p := newTCPPeer(&tcpMux{}, ours)
	packet := make([]byte, 1200)
	n := 0
	for p.queue(packet, tcpMediaLimit) {
		n++
	}
	if want := tcpMediaLimit / 1202; n != want {
		t.Errorf("got %d packets queued, want %d", n, want)
	}
	if !p.queue(packet, tcpControlLimit) {
		t.Error("no room for checks behind the media")
	}
	p.close()
	if p.queue(packet, tcpControlLimit) {
		t.Error("a closed connection takes packets")
	}
}

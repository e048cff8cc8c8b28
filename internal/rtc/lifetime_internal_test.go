package rtc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/stun/v3"
)

// left counts what an endpoint holds for its sessions. The maps of the mux can
// only be read when its own goroutines, which empty them, have ended; that of
// addresses not at all, for nothing public takes its lock.
func (e *Endpoint) left() map[string]int {
	stacks := make([]byte, 1<<20)
	if stacks = stacks[:runtime.Stack(stacks, true)]; bytes.Contains(stacks, []byte("UDPMuxDefault).GetConn")) {
		return map[string]int{"goroutines of the mux": 1}
	}
	e.mux.RemoveConnByUfrag("nobody") // takes the lock: what was done before is seen
	out := map[string]int{"sessions": e.Stats().Sessions, "addresses": len(*e.udp.byAddr.Load())}
	e.tcp.mu.Lock()
	defer e.tcp.mu.Unlock()
	out["tcp sessions"], out["tcp connections"] = len(e.tcp.conns), len(e.tcp.peers)
	for _, name := range []string{"connsIPv4", "connsIPv6"} {
		out["mux "+name] = reflect.ValueOf(e.mux).Elem().FieldByName(name).Len()
	}
	return out
}

func TestSession_ThatNeverConnectsFreesEverything(t *testing.T) {
	e, err := Listen(Config{Addr: "127.0.0.1:0", ConnectTimeout: 200 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	o, err := ParseOffer(clientOffers(t)["chrome-publish"].raw, Publish)
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	var sessions []*Session
	for range 20 {
		s, err := e.NewSession(SessionConfig{Offer: o})
		if err != nil {
			t.Fatal(err)
		}
		sessions = append(sessions, s)
	}
	local, err := sessionUfrag(sessions[0])
	if err != nil {
		t.Fatal(err)
	}
	held := dialICE(t, e, local) // names a session, but knows no password
	for _, s := range sessions {
		<-s.Done()
		if !errors.Is(s.Err(), ErrConnectTimeout) {
			t.Errorf("got %v", s.Err())
		}
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("took %v", took)
	}
	_ = held.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := held.Read(make([]byte, 1)); errors.Is(err, context.DeadlineExceeded) {
		t.Error("the TCP connection outlives its session")
	}
	poll(t, "nothing to be left", func() bool {
		for _, n := range e.left() {
			if n != 0 {
				return false
			}
		}
		return true
	})
}

func sessionUfrag(s *Session) (string, error) {
	ufrag, _, err := s.agent.GetLocalUserCredentials()
	return ufrag, err
}

// A peer that answers checks and then says nothing does not hold its session.
func TestSession_ThatNeverShakesHandsNamesTheStage(t *testing.T) {
	e, err := Listen(Config{Addr: "127.0.0.1:0", ConnectTimeout: 500 * time.Millisecond, DisableTCP: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	o, err := ParseOffer(clientOffers(t)["bare"].raw, Publish)
	if err != nil {
		t.Fatal(err)
	}
	s, err := e.NewSession(SessionConfig{Offer: o})
	if err != nil {
		t.Fatal(err)
	}
	peer, err := ice.NewAgentWithOptions(ice.WithLocalCredentials(o.ice.ufrag, o.ice.pwd), ice.WithIncludeLoopback(),
		ice.WithNetworkTypes([]ice.NetworkType{ice.NetworkTypeUDP4}), ice.WithMulticastDNSMode(ice.MulticastDNSModeDisabled))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = peer.GracefulClose() }()
	_ = peer.OnCandidate(func(ice.Candidate) {})
	if err := peer.GatherCandidates(); err != nil {
		t.Fatal(err)
	}
	ufrag, pwd, err := s.agent.GetLocalUserCredentials()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range strings.Split(string(s.Answer()), "\r\n") {
		if v, ok := strings.CutPrefix(l, "a=candidate:"); ok {
			c, err := ice.UnmarshalCandidate(v)
			if err == nil {
				err = peer.AddRemoteCandidate(c)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := peer.Dial(t.Context(), ufrag, pwd); err != nil {
		t.Fatal(err)
	}
	<-s.Done()
	var failed *ConnectError
	if !errors.As(s.Err(), &failed) || failed.Stage != "dtls" || !errors.Is(failed, ErrConnectTimeout) {
		t.Errorf("got %v", s.Err())
	}
}

// Whoever does not know a user fragment and its password leaves no trace.
func TestSocket_StrangersLeaveNoTrace(t *testing.T) {
	e := openEndpoint(t)
	o, err := ParseOffer(clientOffers(t)["bare"].raw, Publish)
	if err != nil {
		t.Fatal(err)
	}
	s, err := e.NewSession(SessionConfig{Offer: o})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close(nil) }()
	ufrag, err := sessionUfrag(s)
	if err != nil {
		t.Fatal(err)
	}
	before := e.left()
	c, err := net.Dial("udp", e.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	check := func(user, pwd string) []byte {
		m, err := stun.Build(stun.BindingRequest, stun.TransactionID, stun.NewUsername(user), stun.NewShortTermIntegrity(pwd), stun.Fingerprint)
		if err != nil {
			t.Fatal(err)
		}
		return m.Raw
	}
	packets := [][]byte{
		{}, {0}, {0x80}, make([]byte, 1400), append([]byte{22, 0xfe, 0xfd}, make([]byte, 60)...), // a DTLS record
		append([]byte{0x80, 96}, make([]byte, 60)...), check("nobody:peer", "x"), check(ufrag+":"+o.ice.ufrag, "wrong password"),
	}
	sent := 0
	for range 50 {
		for _, p := range packets {
			if _, err := c.Write(p); err != nil {
				t.Fatal(err)
			}
			sent++
		}
	}
	poll(t, "the packets to arrive", func() bool { return e.Stats().PacketsReceived >= uint64(sent)*9/10 })
	if after := e.left(); !reflect.DeepEqual(before, after) {
		t.Errorf("before %v, after %v", before, after)
	}
	if got, err := s.agent.GetRemoteCandidates(); err != nil || len(got) > 2 {
		t.Errorf("the agent knows %v, %v", got, err)
	}
	_ = c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if n, err := c.Read(make([]byte, 100)); err == nil {
		t.Errorf("a stranger got an answer of %d bytes", n)
	}
}

func TestTrickle_CandidatesAreBounded(t *testing.T) {
	e := openEndpoint(t)
	o, err := ParseOffer(clientOffers(t)["bare"].raw, Publish)
	if err != nil {
		t.Fatal(err)
	}
	s, err := e.NewSession(SessionConfig{Offer: o})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close(nil) }()
	for i := range 40 {
		frag := ""
		for j := range maxCandidates {
			frag += fmt.Sprintf("a=candidate:1 1 udp 1 127.0.0.1 %d typ host\r\n", 1000+i*maxCandidates+j)
		}
		if err := s.PatchTrickle([]byte(frag)); err != nil {
			t.Fatal(err)
		}
	}
	var got []ice.Candidate
	poll(t, "the candidates", func() bool {
		got, err = s.agent.GetRemoteCandidates()
		return err != nil || len(got) >= maxRemoteCandidates
	})
	if err != nil || len(got) > maxRemoteCandidates {
		t.Errorf("got %d, %v", len(got), err)
	}
}

// An ICE-lite peer makes no checks, so that we must control (RFC 8445, section 6.1.1).
func TestSession_ControlsAnICELitePeer(t *testing.T) {
	e := openEndpoint(t)
	for _, lite := range []bool{false, true} {
		c, err := net.ListenPacket("udp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		offer := strings.Replace(string(clientOffers(t)["bare"].raw), "a=mid:v",
			fmt.Sprintf("a=candidate:1 1 udp 1 127.0.0.1 %d typ host\na=mid:v", addrPortOf(c.LocalAddr()).Port()), 1)
		if lite {
			offer = strings.Replace(offer, "t=0 0\n", "t=0 0\na=ice-lite\n", 1)
		}
		o, err := ParseOffer([]byte(offer), Publish)
		if err != nil {
			t.Fatal(err)
		}
		s, err := e.NewSession(SessionConfig{Offer: o})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = s.Close(nil) }()
		_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
		buf := make([]byte, 1500)
		n, _, err := c.ReadFrom(buf)
		if err != nil {
			t.Fatal(err)
		}
		m := &stun.Message{Raw: buf[:n]}
		if err := m.Decode(); err != nil {
			t.Fatal(err)
		}
		if m.Contains(stun.AttrICEControlling) != lite || m.Contains(stun.AttrICEControlled) == lite {
			t.Errorf("lite %v: got %v", lite, m)
		}
	}
}

func TestNames_AreLookedUpAgain(t *testing.T) {
	var turn atomic.Int32
	answers := [][]netip.Addr{{netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("::ffff:192.0.2.1")}, nil, {netip.MustParseAddr("192.0.2.3")}}
	lookUp := func(context.Context, string) ([]netip.Addr, error) {
		i := int(turn.Add(1)) - 1
		if i == 1 {
			return nil, errors.New("no such host")
		}
		return answers[min(i, 2)], nil
	}
	n := followNames([]string{"class.example.org", "198.51.100.1"}, slog.New(slog.DiscardHandler), lookUp, 5*time.Millisecond)
	defer n.close()
	fixed := netip.MustParseAddr("198.51.100.1")
	first := []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2"), fixed}
	if got := n.addrs(); turn.Load() < 3 && !slices.Equal(got, first) {
		t.Errorf("got %v, want %v", got, first)
	}
	poll(t, "the new address", func() bool { return slices.Equal(n.addrs(), []netip.Addr{netip.MustParseAddr("192.0.2.3"), fixed}) })
}

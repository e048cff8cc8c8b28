package rtc_test

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"

	"github.com/lectern/lectern/internal/rtc"
)

func TestPaths_LimitTheCandidates(t *testing.T) {
	e := listen(t, nil)
	for name, tc := range map[string]struct {
		paths   rtc.Paths
		network string
	}{"udp": {rtc.PathUDP, "udp"}, "tcp": {rtc.PathTCP, "tcp"}} {
		pc := newPeer(t, peerOptions{both: true})
		view(t, pc)
		s := connect(t, e, pc, rtc.View, rtc.SessionConfig{Paths: tc.paths})
		other := map[string]string{"udp": " tcp ", "tcp": " udp "}[name]
		if got := string(s.Answer()); strings.Contains(got, other) || !strings.Contains(got, " "+name+" ") {
			t.Errorf("%s: got candidates of another transport:\n%s", name, got)
		}
		waitFor(t, "connection", s.Connected)
		p, ok := s.Path()
		if !ok || p.Network != tc.network || p.Local != e.Addr() || p.Remote != s.Stats().Remote || p.Type == "" {
			t.Errorf("%s: got path %+v, %v", name, p, ok)
		}
		offered, received := s.Candidates()
		if want := []string{name + " " + e.Addr().String() + " host"}; !slices.Equal(offered, want) {
			t.Errorf("%s: offered %q, want %q", name, offered, want)
		}
		if len(received) == 0 {
			t.Errorf("%s: no candidates of the peer", name)
		}
		// A restart keeps to the limit.
		frag, _, err := s.Restart([]byte("a=ice-ufrag:news\r\na=ice-pwd:new3456789012345678901\r\n"))
		if err != nil || strings.Contains(string(frag), other) || !strings.Contains(string(frag), " "+name+" ") {
			t.Errorf("%s: restarted with %s, %v", name, frag, err)
		}
		_ = s.Close(nil)
		if _, ok := s.Path(); ok {
			t.Errorf("%s: a path is left", name)
		}
	}
}

func TestPaths_NoSuchTransport(t *testing.T) {
	e := listen(t, func(c *rtc.Config) { c.DisableTCP = true })
	if e.TCP() {
		t.Error("TCP is said to be on")
	}
	o, err := rtc.ParseOffer([]byte(full), rtc.View)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.NewSession(rtc.SessionConfig{Offer: o, Paths: rtc.PathTCP}); !errors.Is(err, rtc.ErrNoPath) {
		t.Errorf("got %v, want ErrNoPath", err)
	}
}

// A path test is a session of data channels alone.
func TestProbe_Echoes(t *testing.T) {
	e := listen(t, nil)
	for _, paths := range []rtc.Paths{rtc.PathUDP, rtc.PathTCP} {
		pc := newPeer(t, peerOptions{both: true})
		theirs, err := pc.CreateDataChannel("probe", nil)
		if err != nil {
			t.Fatal(err)
		}
		channels, echoed := make(chan *rtc.DataChannel, 1), make(chan string, 1)
		theirs.OnMessage(func(m webrtc.DataChannelMessage) { echoed <- string(m.Data) })
		s := connect(t, e, pc, rtc.Probe, rtc.SessionConfig{Paths: paths, OnDataChannel: func(ch *rtc.DataChannel) { channels <- ch }})
		ours := await(t, "the channel", channels)
		opened := func() bool { return theirs.ReadyState() == webrtc.DataChannelStateOpen }
		waitFor(t, "the channel to open", opened)
		if err := theirs.SendText("hello"); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, rtc.MaxMessageSize)
		n, _, err := ours.ReadMessage(buf)
		if err != nil {
			t.Fatal(err)
		}
		if err := ours.WriteText(buf[:n]); err != nil {
			t.Fatal(err)
		}
		if got := await(t, "the echo", echoed); got != "hello" {
			t.Errorf("got %q", got)
		}
		_ = s.Close(nil)
	}
}

func TestProbe_RefusesMedia(t *testing.T) {
	for sdp, code := range map[string]string{full: rtc.CodeUnsupportedMedia, head: rtc.CodeNoMedia} {
		var oe *rtc.OfferError
		if _, err := rtc.ParseOffer([]byte(sdp), rtc.Probe); !errors.As(err, &oe) || oe.Code != code {
			t.Errorf("got %v, want %s", err, code)
		}
	}
	if _, err := rtc.ParseOffer([]byte(offerOf(dataLines)), rtc.Probe); err != nil {
		t.Error(err)
	}
}

// An ICE-lite peer makes no checks, so that we must control (RFC 8445, section 6.1.1).
func TestSession_ServesAnICELitePeer(t *testing.T) {
	e := listen(t, nil)
	s, _ := publishSomething(t, e, peerOptions{lite: true})
	if p, ok := s.Path(); !ok || p.Type != "host" {
		t.Errorf("got path %+v", p)
	}
	both := listen(t, func(c *rtc.Config) { c.ICELite = true })
	o, err := rtc.ParseOffer([]byte(strings.Replace(full, "t=0 0\r\n", "t=0 0\r\na=ice-lite\r\n", 1)), rtc.View)
	if err != nil {
		t.Fatal(err)
	}
	var oe *rtc.OfferError
	if _, err := both.NewSession(rtc.SessionConfig{Offer: o}); !errors.As(err, &oe) || oe.Code != rtc.CodeUnsupportedICE {
		t.Errorf("two lite agents: got %v", err)
	}
}

func TestConnectError_NamesStageAndCandidates(t *testing.T) {
	e := listen(t, func(c *rtc.Config) { c.ConnectTimeout = 100 * time.Millisecond })
	offer := strings.Replace(full, "a=mid:0\r\n", "a=mid:0\r\na=candidate:1 1 udp 1 192.0.2.77 40000 typ srflx raddr 0.0.0.0 rport 0\r\n"+
		"a=candidate:2 1 udp 1 5f0c.local 40001 typ host\r\n", 1)
	s := startOnly(t, e, offer, rtc.View, rtc.SessionConfig{})
	await(t, "the end", s.Done())
	var failed *rtc.ConnectError
	if !errors.As(s.Err(), &failed) || failed.Stage != "ice" || !errors.Is(s.Err(), rtc.ErrConnectTimeout) {
		t.Fatalf("got %v", s.Err())
	}
	for _, want := range []string{"udp 192.0.2.77:40000 srflx", "udp 5f0c.local:40001 host", "udp " + e.Addr().String() + " host", "tcp " + e.Addr().String() + " host"} {
		if !strings.Contains(failed.Error(), want) {
			t.Errorf("the error lacks %q: %v", want, failed)
		}
	}
}

func TestConnectError_OwnersReasonIsKept(t *testing.T) {
	e := listen(t, nil)
	s := startOnly(t, e, full, rtc.View, rtc.SessionConfig{})
	reason := errors.New("the class is over")
	_ = s.Close(reason)
	if !errors.Is(s.Err(), reason) {
		t.Errorf("got %v, want %v", s.Err(), reason)
	}
}

func TestHosts_AreFiltered(t *testing.T) {
	everywhere := func(change func(*rtc.Config)) []netip.Addr {
		return listen(t, func(c *rtc.Config) { c.Addr = ":0"; change(c) }).Hosts()
	}
	loopback := netip.MustParseAddr("127.0.0.1")
	all := []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}
	if got := everywhere(func(*rtc.Config) {}); !slices.Contains(got, loopback) {
		t.Errorf("unfiltered: got %v", got)
	}
	if got := everywhere(func(c *rtc.Config) { c.Interfaces = []string{"l*"} }); !slices.Contains(got, loopback) || slices.ContainsFunc(got, func(a netip.Addr) bool { return !a.IsLoopback() }) {
		t.Errorf("interface lo: got %v", got)
	}
	if got := everywhere(func(c *rtc.Config) { c.ExcludeInterfaces = []string{"lo"} }); slices.Contains(got, loopback) {
		t.Errorf("without lo: got %v", got)
	}
	if got := everywhere(func(c *rtc.Config) { c.Networks = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} }); !slices.Equal(got, []netip.Addr{loopback}) {
		t.Errorf("network 127/8: got %v", got)
	}
	if got := everywhere(func(c *rtc.Config) { c.ExcludeNetworks = all[1:] }); slices.ContainsFunc(got, netip.Addr.Is6) {
		t.Errorf("without IPv6: got %v", got)
	}
	want := ips("192.0.2.1", "2001:db8::1", "192.0.2.2")
	if got := everywhere(func(c *rtc.Config) {
		c.ExcludeNetworks, c.AdvertiseIPs, c.Hosts = all, want[:1], []string{"2001:db8::1", "192.0.2.2", "192.0.2.1"}
	}); !slices.Equal(got, want) {
		t.Errorf("nothing but what is named: got %v, want %v", got, want)
	}
}

// What is offered is one thing, what is used another: a session connects at an
// address that the host itself does not have.
func TestHosts_OnlyNamedOnesStillConnect(t *testing.T) {
	e := listen(t, func(c *rtc.Config) {
		c.Addr, c.Hosts = ":0", []string{"127.0.0.1"}
		c.ExcludeNetworks = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}
	})
	publishSomething(t, e, peerOptions{})
}

func TestHosts_NamesAreLookedUp(t *testing.T) {
	e := listen(t, func(c *rtc.Config) { c.Hosts = []string{"localhost", "no-such-host.invalid"} })
	if got := e.Hosts(); !slices.Contains(got, netip.MustParseAddr("127.0.0.1")) {
		t.Errorf("got %v", got)
	}
}

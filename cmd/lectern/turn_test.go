package main

import (
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"

	"github.com/lectern/lectern/api"
	"github.com/lectern/lectern/config"
	"github.com/lectern/lectern/internal/certs"
	"github.com/lectern/lectern/internal/rtc"
)

// mediaOnly is a gateway of a media port and TURN, on free ports of loopback.
func mediaOnly(t *testing.T, change func(*config.Config)) *gateway {
	t.Helper()
	cfg, err := config.Load("", nil, map[string]any{
		"webrtc.addr": "127.0.0.1:0", "turn.udp_addr": "127.0.0.1:0", "turn.tcp_addr": "127.0.0.1:0", "turn.tls_addr": "127.0.0.1:0",
	})
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(&cfg)
	}
	g := &gateway{cfg: cfg, log: slog.New(slog.DiscardHandler)}
	if g.certs, err = certs.Open(certs.Config{SelfSigned: true, Dir: t.TempDir()}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = g.certs.Close() })
	if err := g.openMedia(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.closeMedia(); err != nil {
			t.Error(err)
		}
	})
	return g
}

func urls(servers []api.ICEServer) []string {
	var out []string
	for _, s := range servers {
		out = append(out, s.URL)
	}
	return out
}

func TestTURN_ServersAreNamedAsTheClientReachesUs(t *testing.T) {
	g := mediaOnly(t, nil)
	port := func(transport string) string { return g.turn.Addr(transport).String()[len("127.0.0.1"):] }
	want := func(host string) []string {
		return []string{
			"stun:" + host + port("udp"), "turn:" + host + port("udp") + "?transport=udp",
			"turn:" + host + port("tcp") + "?transport=tcp", "turns:" + host + port("tls") + "?transport=tcp",
		}
	}
	for host, named := range map[string]string{
		"class.example.org": "class.example.org", "192.0.2.1": "192.0.2.1",
		"2001:db8::1": "[2001:db8::1]", "[2001:db8::1]": "[2001:db8::1]",
	} {
		if got := urls(g.iceServers(api.ICERequest{Host: host})); !slices.Equal(got, want(named)) {
			t.Errorf("for %s: got %v, want %v", host, got, want(named))
		}
	}
	for _, odd := range []string{"", "a b", "x>; rel=y", "fe80::1%eth0", "0.0.0.0", "a/b", strings.Repeat("a", 300)} {
		if got := g.iceServers(api.ICERequest{Host: odd}); got != nil {
			t.Errorf("for %q: got %v, want none", odd, got)
		}
	}
	one, other := g.iceServers(api.ICERequest{Host: "h", Session: "a"})[1], g.iceServers(api.ICERequest{Host: "h", Session: "b"})[1]
	if one.Username == other.Username || one.Credential == other.Credential || strings.Contains(one.Username, "a:") {
		t.Errorf("two sessions share credentials: %+v, %+v", one, other)
	}
}

func TestTURN_OthersAreNamedToo(t *testing.T) {
	g := mediaOnly(t, func(c *config.Config) {
		c.TURN.Enabled = false
		c.TURN.STUN = []string{"stun:s.example.org:3478"}
		c.TURN.External = config.ExternalTURN{URLs: []string{"turns:t.example.org:443?transport=tcp"}, Secret: "shared", Life: time.Hour}
	})
	got := g.iceServers(api.ICERequest{Host: "h"})
	if !slices.Equal(urls(got), []string{"stun:s.example.org:3478", "turns:t.example.org:443?transport=tcp"}) {
		t.Fatalf("got %v", urls(got))
	}
	if got[0].Username != "" || !strings.Contains(got[1].Username, ":") || len(got[1].Credential) != 28 {
		t.Errorf("got %+v", got)
	}
}

func TestTURN_PublicHostComesFirst(t *testing.T) {
	g := mediaOnly(t, func(c *config.Config) { c.TURN.PublicHost = "turn.example.org"; c.TURN.UDPAddr = "" })
	for _, u := range urls(g.iceServers(api.ICERequest{Host: "h"})) {
		if !strings.Contains(u, ":turn.example.org:") || strings.Contains(u, "udp") || strings.HasPrefix(u, "stun") {
			t.Errorf("got %s", u)
		}
	}
}

// Another program on the usual port of TURN must not keep a class from being
// taught; chosen ports are wanted.
func TestTURN_TakenPortIsAWarningUnlessChosen(t *testing.T) {
	busy, err := net.Listen("tcp", ":3478")
	if err == nil { // else somebody else is so kind
		defer func() { _ = busy.Close() }()
	}
	d, err := config.Load("", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	g := mediaOnly(t, func(c *config.Config) { c.TURN = d.TURN })
	if g.turn != nil {
		t.Error("it listens at a port that is taken")
	}
	g = &gateway{cfg: g.cfg, log: g.log, endpoint: g.endpoint}
	g.cfg.TURN.UDPAddr = ":3479"
	if err := g.openTURN(nil); err == nil {
		_ = g.closeTURN()
		t.Error("no error for a chosen port that is taken")
	}
}

// overTLS forwards plain connections to a TLS address: the foreign peer cannot
// be told to trust a certificate. It returns the address and counts the bytes.
func overTLS(t *testing.T, to string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := tls.Dial("tcp", to, &tls.Config{InsecureSkipVerify: true})
			if err != nil {
				t.Error(err)
				_ = in.Close()
				continue
			}
			wg.Go(func() { _, _ = io.Copy(out, in); _ = out.Close() })
			wg.Go(func() { _, _ = io.Copy(in, out); _ = in.Close() })
		}
	})
	t.Cleanup(func() { _ = l.Close(); wg.Wait() })
	return l.Addr().String()
}

// A whole peer whose every packet goes through TURN.
func TestTURN_APeerConnectsThroughNothingElse(t *testing.T) {
	g := mediaOnly(t, nil)
	server := g.iceServers(api.ICERequest{Host: "127.0.0.1"})[1]
	for name, at := range map[string]string{
		"udp": server.URL,
		"tcp": "turn:" + g.turn.Addr("tcp").String() + "?transport=tcp",
		"tls": "turn:" + overTLS(t, g.turn.Addr("tls").String()) + "?transport=tcp",
	} {
		t.Run(name, func(t *testing.T) {
			pc, err := webrtc.NewPeerConnection(webrtc.Configuration{
				ICEServers:         []webrtc.ICEServer{{URLs: []string{at}, Username: server.Username, Credential: server.Credential}},
				ICETransportPolicy: webrtc.ICETransportPolicyRelay,
			})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = pc.GracefulClose() }()
			s := probeWith(t, g.endpoint, pc)
			path, ok := s.Path()
			if own := netip.MustParseAddr("127.0.0.1"); !ok || path.Type != "relay" || path.Remote.Addr() != own {
				t.Errorf("got path %+v", path)
			}
		})
	}
	if st := g.turn.Stats(); st.BytesUp == 0 || st.BytesDown == 0 {
		t.Errorf("got %+v", st)
	}
}

// probeWith connects pc to the endpoint and has a message echoed.
func probeWith(t *testing.T, e *rtc.Endpoint, pc *webrtc.PeerConnection) *rtc.Session {
	t.Helper()
	ch, err := pc.CreateDataChannel("diagnose", nil)
	if err != nil {
		t.Fatal(err)
	}
	heard := make(chan string, 1)
	ch.OnOpen(func() { _ = ch.SendText("through the relay") })
	ch.OnMessage(func(m webrtc.DataChannelMessage) { heard <- string(m.Data) })
	offer, err := pc.CreateOffer(nil)
	if err != nil {
		t.Fatal(err)
	}
	gathered := webrtc.GatheringCompletePromise(pc)
	if err := pc.SetLocalDescription(offer); err != nil {
		t.Fatal(err)
	}
	<-gathered
	parsed, err := rtc.ParseOffer([]byte(pc.LocalDescription().SDP), rtc.Probe)
	if err != nil {
		t.Fatal(err)
	}
	s, err := e.NewSession(rtc.SessionConfig{Offer: parsed, OnDataChannel: func(ch *rtc.DataChannel) {
		go func() { // ended by the session
			buf := make([]byte, 100)
			if n, _, err := ch.ReadMessage(buf); err == nil {
				_ = ch.WriteText(buf[:n])
			}
		}()
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close(nil) })
	if err := pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: string(s.Answer())}); err != nil {
		t.Fatal(err)
	}
	select {
	case got := <-heard:
		if got != "through the relay" {
			t.Errorf("got %q", got)
		}
	case <-time.After(15 * time.Second):
		offered, received := s.Candidates()
		t.Fatalf("no echo; offered %v, received %v, session %v", offered, received, s.Err())
	}
	return s
}

package api

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/webrtc/v4"

	"github.com/lectern/lectern/internal/rtc"
	"github.com/lectern/lectern/room/access"
)

// tester is a foreign peer that tests a path.
type tester struct {
	*webrtc.PeerConnection
	channel *webrtc.DataChannel
	opened  chan struct{}
	got     chan string
	offer   string
}

func newTester(t *testing.T, networks ...webrtc.NetworkType) *tester {
	t.Helper()
	var se webrtc.SettingEngine
	se.SetIncludeLoopbackCandidate(true)
	se.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	if len(networks) > 0 {
		se.SetNetworkTypes(networks)
	}
	pc, err := webrtc.NewAPI(webrtc.WithSettingEngine(se)).NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pc.GracefulClose() })
	p := &tester{PeerConnection: pc, opened: make(chan struct{}), got: make(chan string, 16)}
	if p.channel, err = pc.CreateDataChannel("diagnose", nil); err != nil {
		t.Fatal(err)
	}
	p.channel.OnOpen(func() { close(p.opened) })
	p.channel.OnMessage(func(m webrtc.DataChannelMessage) { p.got <- string(m.Data) })
	offer, err := pc.CreateOffer(nil)
	if err != nil {
		t.Fatal(err)
	}
	gathered := webrtc.GatheringCompletePromise(pc)
	if err := pc.SetLocalDescription(offer); err != nil {
		t.Fatal(err)
	}
	<-gathered
	p.offer = pc.LocalDescription().SDP
	return p
}

// tests posts the offer and takes the answer; it returns the address of the test.
func (g *gateway) tests(p *tester, token, query string) (location, answer string) {
	g.t.Helper()
	resp := g.call(token, "POST", "/api/diagnose"+query, []byte(p.offer), "Content-Type", typeSDP)
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 201 || resp.Header.Get("Content-Type") != typeSDP {
		g.t.Fatalf("got %d %s", resp.StatusCode, body)
	}
	if err := p.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: string(body)}); err != nil {
		g.t.Fatal(err)
	}
	return resp.Header.Get("Location"), string(body)
}

func within[T any](t *testing.T, what string, ch <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-ch:
	case <-time.After(10 * time.Second):
		t.Fatalf("timed out waiting for %s", what)
	}
	return v
}

func TestDiagnose_TestsEachPathByAnEcho(t *testing.T) {
	g := newGateway(t, nil)
	token := g.token("algebra", access.Student)
	for path, network := range map[string]webrtc.NetworkType{"udp": webrtc.NetworkTypeUDP4, "tcp": webrtc.NetworkTypeTCP4} {
		t.Run(path, func(t *testing.T) {
			p := newTester(t, network)
			location, answer := g.tests(p, token, "?path="+path)
			other := map[string]string{"udp": " tcp ", "tcp": " udp "}[path]
			if strings.Contains(strings.ToLower(answer), other) {
				t.Errorf("the answer offers another path:\n%s", answer)
			}
			within(t, "the channel", p.opened)
			if err := p.channel.SendText("hello"); err != nil {
				t.Fatal(err)
			}
			if got := within(t, "the echo", p.got); got != "hello" {
				t.Errorf("got %q back", got)
			}
			var v probeView
			g.want(200, g.call("", "GET", location, nil), &v)
			if v.State != "connected" || v.Path == nil || v.Path.Network != path || len(v.Offered) == 0 || v.Notes[0].Code != "connected" {
				t.Errorf("got %+v", v)
			}
			g.want(204, g.call(token, "DELETE", location, nil), nil)
			g.want(404, g.call(token, "GET", location, nil), nil)
			g.want(404, g.call(token, "DELETE", location, nil), nil)
		})
	}
}

func TestDiagnose_SaysWhyNothingCameAbout(t *testing.T) {
	g := newGatewayOn(t, rtc.Config{Addr: "127.0.0.1:0", ConnectTimeout: 300 * time.Millisecond}, nil)
	p := newTester(t, webrtc.NetworkTypeUDP4)
	p.offer = strings.ReplaceAll(p.offer, "a=ice-pwd:", "a=ice-pwd:x") // no check will be answered
	location, _ := g.tests(p, g.token("algebra", access.Student), "")
	for deadline := time.Now().Add(10 * time.Second); ; {
		var v probeView
		g.want(200, g.call("", "GET", location, nil), &v)
		if v.State == "ended" {
			if v.Notes[0].Code != "no_pair" || len(v.Offered) == 0 || len(v.Received) == 0 || v.Path != nil {
				t.Errorf("got %+v", v)
			}
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("it never ended: %+v", v)
		}
	}
}

func TestDiagnose_TellsWhatIsOffered(t *testing.T) {
	g := newGateway(t, func(c *Config) {
		c.ICEServers = func(r ICERequest) []ICEServer {
			return []ICEServer{
				{URL: "stun:" + r.Host + ":3478"},
				{URL: "turn:" + r.Host + ":3478?transport=udp", Username: "u", Credential: "p"},
				{URL: "turns:" + r.Host + ":5349?transport=tcp", Username: "u", Credential: "p"},
			}
		}
	})
	var d diagnosis
	g.want(200, g.call(g.token("algebra", access.Player), "GET", "/api/diagnose", nil), &d)
	at := g.cfg.Endpoint.Addr().String()
	if !slices.Equal(d.UDP.Addresses, []string{at}) || !slices.Equal(d.TCP.Addresses, []string{at}) {
		t.Errorf("got addresses %v, %v, want %s", d.UDP, d.TCP, at)
	}
	if len(d.TURN.Servers) != 2 || len(d.STUN.Servers) != 1 || d.TURN.Servers[0].Credential != "p" || d.Client.Address == "" {
		t.Errorf("got %+v", d)
	}
	var codes []string
	for i, n := range d.Notes {
		codes = append(codes, n.Code)
		if d.Words[i] != n.Text || !strings.HasSuffix(n.Text, ".") && !strings.Contains(n.Text, "turn") {
			t.Errorf("got words %q for %+v", d.Words[i], n)
		}
	}
	for _, want := range []string{"client_address", "udp_offered", "tcp_offered", "turn_udp_offered", "turn_tls_offered"} {
		if !slices.Contains(codes, want) {
			t.Errorf("got notes %v, want %s", codes, want)
		}
	}
	if slices.Contains(codes, "turn_tcp_offered") || slices.Contains(codes, "turn_off") {
		t.Errorf("got notes %v", codes)
	}
}

func TestDiagnose_NeedsARight(t *testing.T) {
	g := newGateway(t, nil)
	mode := access.Mode("open")
	if _, err := g.cfg.Authority.SetRules(t.Context(), "algebra", access.RulesChange{Mode: &mode}); err != nil {
		t.Fatal(err)
	}
	g.want(401, g.call("", "GET", "/api/diagnose", nil), nil)
	g.want(401, g.call("", "GET", "/api/diagnose?room=geometry", nil), nil)
	g.want(200, g.call("", "GET", "/api/diagnose?room=algebra", nil), nil)
	g.want(400, g.call("", "GET", "/api/diagnose?room=..%2F", nil), nil)
	p := newTester(t)
	post := func(query, media string, body string) int {
		return g.call("", "POST", "/api/diagnose"+query, []byte(body), "Content-Type", media).StatusCode
	}
	for _, tt := range []struct {
		query, media, body string
		want               int
	}{
		{"", typeSDP, p.offer, 401},
		{"?room=algebra", typeSDP, p.offer, 201},
		{"?room=algebra&path=icmp", typeSDP, p.offer, 400},
		{"?room=algebra", "text/plain", p.offer, 415},
		{"?room=algebra", typeSDP, "nonsense", 400},
		{"?room=algebra", typeSDP, strings.Repeat("a", maxSDP+1), 413},
	} {
		if got := post(tt.query, tt.media, tt.body); got != tt.want {
			t.Errorf("%s as %s: got %d, want %d", tt.query, tt.media, got, tt.want)
		}
	}
}

func TestDiagnose_MediaAreNotForIt(t *testing.T) {
	g := newGateway(t, nil)
	f := newForeign(t, g, g.token("algebra", access.Teacher), true)
	resp := f.open("/api/diagnose")
	if resp.StatusCode != 422 {
		t.Errorf("got %d, want 422", resp.StatusCode)
	}
}

func TestDiagnose_FewAtOnceFromOneAddress(t *testing.T) {
	g := newGateway(t, nil)
	token := g.token("algebra", access.Student)
	p := newTester(t, webrtc.NetworkTypeUDP4)
	var last string
	for i := range maxProbesFrom {
		resp := g.call(token, "POST", "/api/diagnose", []byte(p.offer), "Content-Type", typeSDP)
		if resp.StatusCode != 201 {
			t.Fatalf("test %d: got %d", i, resp.StatusCode)
		}
		last = resp.Header.Get("Location")
	}
	resp := g.call(token, "POST", "/api/diagnose", []byte(p.offer), "Content-Type", typeSDP)
	if resp.StatusCode != 429 || resp.Header.Get("Retry-After") == "" {
		t.Errorf("got %d, Retry-After %q", resp.StatusCode, resp.Header.Get("Retry-After"))
	}
	g.want(204, g.call(token, "DELETE", last, nil), nil)
	if resp := g.call(token, "POST", "/api/diagnose", []byte(p.offer), "Content-Type", typeSDP); resp.StatusCode != 201 {
		t.Errorf("in its place: got %d", resp.StatusCode)
	}
}

func TestDiagnose_EndsWithTheServer(t *testing.T) {
	g := newGateway(t, nil)
	p := newTester(t, webrtc.NetworkTypeUDP4)
	g.tests(p, g.token("algebra", access.Student), "?path=any")
	within(t, "the channel", p.opened)
	if err := g.Close(); err != nil {
		t.Error(err)
	}
	if n := g.cfg.Endpoint.Stats().Sessions; n != 0 {
		t.Errorf("%d sessions left", n)
	}
	resp := g.call(g.token("algebra", access.Student), "POST", "/api/diagnose", []byte(p.offer), "Content-Type", typeSDP)
	if resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("got %d, want 503", resp.StatusCode)
	}
}

func TestDiagnose_EchoIsBounded(t *testing.T) {
	g := newGateway(t, nil)
	p := newTester(t, webrtc.NetworkTypeUDP4)
	closed := make(chan struct{})
	p.channel.OnClose(func() { close(closed) })
	g.tests(p, g.token("algebra", access.Student), "")
	within(t, "the channel", p.opened)
	if err := p.channel.SendText(fmt.Sprintf("%0*d", maxEcho+1, 1)); err != nil {
		t.Fatal(err)
	}
	within(t, "the end of the channel", closed)
}

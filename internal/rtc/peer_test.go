package rtc_test

import (
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/ice/v4"
	"github.com/pion/interceptor"
	"github.com/pion/webrtc/v4"
	"go.uber.org/goleak"

	"github.com/lectern/lectern/internal/rtc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 10 * time.Second

// waitFor polls until ok holds.
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

func await[T any](t testing.TB, what string, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(patience):
		t.Fatalf("timed out waiting for %s", what)
		panic("unreachable")
	}
}

// listen opens an endpoint on loopback that the test closes.
func listen(t testing.TB, change func(*rtc.Config)) *rtc.Endpoint {
	t.Helper()
	cfg := rtc.Config{Addr: "127.0.0.1:0", Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelInfo}))}
	if change != nil {
		change(&cfg)
	}
	e, err := rtc.Listen(cfg)
	if err != nil {
		t.Fatalf("Listen: %v", err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return e
}

// peerOptions bend the foreign peer connection.
type peerOptions struct {
	profiles []dtls.SRTPProtectionProfile
	tcpOnly  bool
	ipv6     bool
	socket   net.PacketConn // instead of own ones
	reports  bool           // wait for a sender report, which takes a second
	lite     bool           // an ICE-lite peer
	both     bool           // UDP and TCP
}

// newPeer makes a peer connection of another make.
func newPeer(t testing.TB, o peerOptions) *webrtc.PeerConnection {
	t.Helper()
	media := &webrtc.MediaEngine{}
	if err := media.RegisterDefaultCodecs(); err != nil {
		t.Fatal(err)
	}
	registry := &interceptor.Registry{}
	if err := webrtc.RegisterDefaultInterceptors(media, registry); err != nil {
		t.Fatal(err)
	}
	if err := webrtc.ConfigureTWCCHeaderExtensionSender(media, registry); err != nil {
		t.Fatal(err)
	}
	var se webrtc.SettingEngine
	se.SetIncludeLoopbackCandidate(true)
	se.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	se.SetIPFilter(func(ip net.IP) bool { return ip.IsLoopback() && (ip.To4() == nil) == o.ipv6 })
	if o.socket != nil {
		se.SetICEUDPMux(webrtc.NewICEUDPMux(nil, o.socket))
	}
	if o.profiles != nil {
		se.SetSRTPProtectionProfiles(o.profiles...)
	}
	se.SetLite(o.lite)
	switch {
	case o.both:
		se.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4, webrtc.NetworkTypeTCP4})
	case o.tcpOnly:
		se.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeTCP4})
	case o.ipv6:
		se.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP6})
	default:
		se.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	}
	pc, err := webrtc.NewAPI(webrtc.WithMediaEngine(media), webrtc.WithInterceptorRegistry(registry), webrtc.WithSettingEngine(se)).
		NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pc.GracefulClose() })
	return pc
}

// makeOffer returns the whole offer of pc.
func makeOffer(t testing.TB, pc *webrtc.PeerConnection, o *webrtc.OfferOptions) string {
	t.Helper()
	offer, err := pc.CreateOffer(o)
	if err != nil {
		t.Fatal(err)
	}
	gathered := webrtc.GatheringCompletePromise(pc)
	if err := pc.SetLocalDescription(offer); err != nil {
		t.Fatal(err)
	}
	<-gathered
	return pc.LocalDescription().SDP
}

// connect answers pc's offer.
func connect(t testing.TB, e *rtc.Endpoint, pc *webrtc.PeerConnection, dir rtc.Direction, cfg rtc.SessionConfig) *rtc.Session {
	t.Helper()
	return connectSDP(t, e, pc, makeOffer(t, pc, nil), dir, cfg)
}

func connectSDP(t testing.TB, e *rtc.Endpoint, pc *webrtc.PeerConnection, sdp string, dir rtc.Direction, cfg rtc.SessionConfig) *rtc.Session {
	t.Helper()
	offer, err := rtc.ParseOffer([]byte(sdp), dir)
	if err != nil {
		t.Fatalf("ParseOffer: %v", err)
	}
	cfg.Offer = offer
	s, err := e.NewSession(cfg)
	if err != nil {
		t.Fatalf("NewSession: %v", err)
	}
	if err := pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: string(s.Answer())}); err != nil {
		t.Fatalf("answer refused: %v\n%s", err, s.Answer())
	}
	return s
}

// addTrack adds a track that publishes codec.
func addTrack(t testing.TB, pc *webrtc.PeerConnection, codec webrtc.RTPCodecCapability) *webrtc.TrackLocalStaticRTP {
	t.Helper()
	kind, _, _ := strings.Cut(codec.MimeType, "/")
	track, err := webrtc.NewTrackLocalStaticRTP(codec, kind, "s")
	if err != nil {
		t.Fatal(err)
	}
	tr, err := pc.AddTransceiverFromTrack(track, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly})
	if err != nil {
		t.Fatal(err)
	}
	drain.Go(func() { // ended by closing pc
		for {
			if _, _, err := tr.Sender().ReadRTCP(); err != nil {
				return
			}
		}
	})
	return track
}

var drain sync.WaitGroup

// view makes pc a viewer of audio and video.
func view(t testing.TB, pc *webrtc.PeerConnection) {
	t.Helper()
	for _, kind := range []webrtc.RTPCodecType{webrtc.RTPCodecTypeAudio, webrtc.RTPCodecTypeVideo} {
		if _, err := pc.AddTransceiverFromKind(kind, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly}); err != nil {
			t.Fatal(err)
		}
	}
}

func ips(texts ...string) []netip.Addr {
	var out []netip.Addr
	for _, s := range texts {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}

package rtc_test

import (
	"bytes"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"github.com/lectern/lectern/internal/rtc"
)

// received collects what OnRTP got.
type received struct {
	mu      sync.Mutex
	packets map[string][]*rtp.Packet // by MIME type
}

func (r *received) add(in rtc.Inbound) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.packets == nil {
		r.packets = map[string][]*rtp.Packet{}
	}
	r.packets[in.Codec.MimeType] = append(r.packets[in.Codec.MimeType], in.Packet)
}

func (r *received) of(mime string) []*rtp.Packet {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]*rtp.Packet(nil), r.packets[mime]...)
}

var (
	vp8  = webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeVP8, ClockRate: 90000}
	opus = webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2}
)

// send writes n packets with payloads that tell their number.
func send(t *testing.T, track *webrtc.TrackLocalStaticRTP, n int) {
	t.Helper()
	for i := range n {
		err := track.WriteRTP(&rtp.Packet{
			Header:  rtp.Header{Version: 2, SequenceNumber: uint16(65530 + i), Timestamp: uint32(i) * 3000, Marker: i%3 == 0},
			Payload: bytes.Repeat([]byte{byte(i)}, 100+i),
		})
		if err != nil {
			t.Fatalf("WriteRTP: %v", err)
		}
	}
}

func checkSent(t *testing.T, got []*rtp.Packet, n int) {
	t.Helper()
	if len(got) != n {
		t.Fatalf("got %d packets, want %d", len(got), n)
	}
	for i, p := range got {
		want := bytes.Repeat([]byte{byte(i)}, 100+i)
		if p.SequenceNumber != uint16(65530+i) || p.Timestamp != uint32(i)*3000 || p.Marker != (i%3 == 0) || !bytes.Equal(p.Payload, want) {
			t.Fatalf("packet %d: got %v with %d bytes", i, p.Header, len(p.Payload))
		}
		if p.Extension || p.Padding || len(p.Extensions) != 0 || p.SSRC == 0 {
			t.Fatalf("packet %d: got header %+v, want neither extensions nor padding", i, p.Header)
		}
	}
}

func publishSomething(t *testing.T, e *rtc.Endpoint, o peerOptions) (*rtc.Session, *webrtc.PeerConnection) {
	t.Helper()
	pc := newPeer(t, o)
	audio, video := addTrack(t, pc, opus), addTrack(t, pc, vp8)
	var got received
	reports := make(chan []rtcp.Packet, 100)
	s := connect(t, e, pc, rtc.Publish, rtc.SessionConfig{OnRTP: got.add, OnRTCP: func(p []rtcp.Packet, _ time.Time) {
		select {
		case reports <- p:
		default:
		}
	}})
	waitFor(t, "connection", s.Connected)
	waitFor(t, "peer's connection", func() bool { return pc.ConnectionState() == webrtc.PeerConnectionStateConnected })
	const n = 50
	send(t, audio, n)
	send(t, video, n)
	waitFor(t, "all packets", func() bool { return len(got.of("audio/opus")) >= n && len(got.of("video/VP8")) >= n })
	checkSent(t, got.of("audio/opus"), n)
	checkSent(t, got.of("video/VP8"), n)
	if ssrc := got.of("video/VP8")[0].SSRC; s.RemoteSSRC(rtc.Video) != ssrc {
		t.Errorf("RemoteSSRC: got %d, want %d", s.RemoteSSRC(rtc.Video), ssrc)
	}
	if st := s.Stats(); st.PacketsReceived != 2*n || st.Discarded != 0 || st.TCP != o.tcpOnly {
		t.Errorf("Stats: got %+v", st)
	}
	if o.reports {
		await(t, "a sender report", reports)
	}
	return s, pc
}

func TestPublish(t *testing.T) {
	e := listen(t, nil)
	s, pc := publishSomething(t, e, peerOptions{reports: true})
	if got := s.Stats().Profile; got != "SRTP_AEAD_AES_128_GCM" {
		t.Errorf("got profile %s, want GCM-128 first", got)
	}
	if err := s.Close(nil); err != nil {
		t.Errorf("Close: %v", err)
	}
	if got := s.Err(); !errors.Is(got, rtc.ErrClosed) {
		t.Errorf("Err: got %v, want ErrClosed", got)
	}
	waitFor(t, "the peer to hear of it", func() bool { return pc.ConnectionState() == webrtc.PeerConnectionStateClosed })
}

func TestPublish_Profiles(t *testing.T) {
	for name, p := range map[string]dtls.SRTPProtectionProfile{
		"SRTP_AEAD_AES_256_GCM":       dtls.SRTP_AEAD_AES_256_GCM,
		"SRTP_AES128_CM_HMAC_SHA1_80": dtls.SRTP_AES128_CM_HMAC_SHA1_80,
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := publishSomething(t, listen(t, nil), peerOptions{profiles: []dtls.SRTPProtectionProfile{p}})
			if got := s.Stats().Profile; got != name {
				t.Errorf("got profile %s, want %s", got, name)
			}
		})
	}
}

func TestPublish_Lite(t *testing.T) {
	publishSomething(t, listen(t, func(c *rtc.Config) { c.ICELite = true }), peerOptions{})
}

func TestPublish_AllAddresses(t *testing.T) {
	publishSomething(t, listen(t, func(c *rtc.Config) { c.Addr = ":0" }), peerOptions{})
}

func TestPublish_TCP(t *testing.T) {
	publishSomething(t, listen(t, nil), peerOptions{tcpOnly: true})
}

func TestPublish_PeerCloses(t *testing.T) {
	e := listen(t, nil)
	closed := make(chan error, 2)
	pc := newPeer(t, peerOptions{})
	addTrack(t, pc, vp8)
	s := connect(t, e, pc, rtc.Publish, rtc.SessionConfig{OnClosed: func(err error) { closed <- err }})
	// Both sides: a peer whose handshake is not over cannot say that it goes.
	waitFor(t, "connection", func() bool {
		return s.Connected() && pc.ConnectionState() == webrtc.PeerConnectionStateConnected
	})
	if err := pc.GracefulClose(); err != nil {
		t.Fatal(err)
	}
	if got := await(t, "OnClosed", closed); !errors.Is(got, rtc.ErrPeerClosed) {
		t.Errorf("OnClosed: got %v, want ErrPeerClosed", got)
	}
	<-s.Done()
	if got := e.Stats().Sessions; got != 0 {
		t.Errorf("got %d sessions, want 0", got)
	}
}

func TestPublish_IPv6(t *testing.T) {
	for _, addr := range []string{"[::1]:0", ":0"} {
		socket, err := net.ListenPacket("udp6", "[::1]:0")
		if err != nil {
			t.Skip("no IPv6 here")
		}
		publishSomething(t, listen(t, func(c *rtc.Config) { c.Addr = addr }), peerOptions{ipv6: true, socket: socket})
		_ = socket.Close()
	}
}

func TestPublish_Repairs(t *testing.T) {
	e := listen(t, nil)
	pc := newPeer(t, peerOptions{})
	video := addTrack(t, pc, vp8)
	var got received
	s := connect(t, e, pc, rtc.Publish, rtc.SessionConfig{OnRTP: got.add})
	waitFor(t, "connection", s.Connected)
	const n = 20
	waitFor(t, "peer's connection", func() bool { return pc.ConnectionState() == webrtc.PeerConnectionStateConnected })
	send(t, video, n)
	waitFor(t, "all packets", func() bool { return len(got.of("video/VP8")) == n })
	nack := &rtcp.TransportLayerNack{SenderSSRC: s.SSRC(rtc.Video), MediaSSRC: s.RemoteSSRC(rtc.Video), Nacks: rtcp.NackPairsFromSequenceNumbers([]uint16{65533})}
	if err := s.WriteRTCP([]rtcp.Packet{nack}); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the repair", func() bool { return len(got.of("video/VP8")) > n })
	all := got.of("video/VP8")
	if first, again := all[3], all[n]; again.SequenceNumber != first.SequenceNumber || again.SSRC != first.SSRC || again.PayloadType != first.PayloadType || again.Timestamp != first.Timestamp || !bytes.Equal(again.Payload, first.Payload) {
		t.Errorf("got repair\n%v, want\n%v", again, first)
	}
	if st := s.Stats(); st.Repairs != 1 {
		t.Errorf("got %d repairs, want 1", st.Repairs)
	}
}

func TestPublish_TransportFeedback(t *testing.T) {
	e := listen(t, nil)
	pc := newPeer(t, peerOptions{})
	track, err := webrtc.NewTrackLocalStaticRTP(vp8, "video", "s")
	if err != nil {
		t.Fatal(err)
	}
	sender, err := pc.AddTrack(track)
	if err != nil {
		t.Fatal(err)
	}
	feedback := make(chan *rtcp.TransportLayerCC, 100)
	drain.Go(func() { // ended by closing pc
		for {
			pkts, _, err := sender.ReadRTCP()
			if err != nil {
				return
			}
			for _, p := range pkts {
				if f, ok := p.(*rtcp.TransportLayerCC); ok {
					feedback <- f
				}
			}
		}
	})
	s := connect(t, e, pc, rtc.Publish, rtc.SessionConfig{})
	waitFor(t, "connection", s.Connected)
	waitFor(t, "peer's connection", func() bool { return pc.ConnectionState() == webrtc.PeerConnectionStateConnected })
	send(t, track, 10)
	if f := await(t, "feedback", feedback); f.PacketStatusCount == 0 || f.MediaSSRC != s.RemoteSSRC(rtc.Video) {
		t.Errorf("got feedback %+v", f)
	}
}

func TestPublish_WrongFingerprint(t *testing.T) {
	e := listen(t, nil)
	pc := newPeer(t, peerOptions{})
	addTrack(t, pc, vp8)
	sdp := makeOffer(t, pc, nil)
	_, rest, _ := strings.Cut(sdp, "a=fingerprint:sha-256 ")
	sum, _, _ := strings.Cut(rest, "\r\n")
	sdp = strings.ReplaceAll(sdp, sum, strings.Repeat("00:", 31)+"00")
	closed := make(chan error, 1)
	s := connectSDP(t, e, pc, sdp, rtc.Publish, rtc.SessionConfig{
		OnConnected: func() { t.Error("connected with the wrong certificate") },
		OnClosed:    func(err error) { closed <- err },
	})
	if err := await(t, "the end", closed); !errors.Is(err, rtc.ErrFingerprint) {
		t.Errorf("got %v, want ErrFingerprint", err)
	}
	<-s.Done()
}

func TestSession_ConnectTimeout(t *testing.T) {
	e := listen(t, func(c *rtc.Config) { c.ConnectTimeout = 50 * time.Millisecond })
	pc := newPeer(t, peerOptions{})
	addTrack(t, pc, vp8)
	offer, err := rtc.ParseOffer([]byte(makeOffer(t, pc, nil)), rtc.Publish)
	if err != nil {
		t.Fatal(err)
	}
	s, err := e.NewSession(rtc.SessionConfig{Offer: offer})
	if err != nil {
		t.Fatal(err)
	}
	<-s.Done()
	if !errors.Is(s.Err(), rtc.ErrConnectTimeout) {
		t.Errorf("got %v, want ErrConnectTimeout", s.Err())
	}
}

// A peer that vanishes without a word must not stay for long.
func TestSession_ConsentLost(t *testing.T) {
	for _, lite := range []bool{false, true} {
		e := listen(t, func(c *rtc.Config) { c.ConsentTimeout, c.ICELite = 400*time.Millisecond, lite })
		socket, err := net.ListenPacket("udp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		pc := newPeer(t, peerOptions{socket: socket})
		addTrack(t, pc, vp8)
		s := connect(t, e, pc, rtc.Publish, rtc.SessionConfig{})
		waitFor(t, "connection", s.Connected)
		if err := socket.Close(); err != nil {
			t.Fatal(err)
		}
		await(t, "the end", s.Done())
		if !errors.Is(s.Err(), rtc.ErrConsentLost) {
			t.Errorf("lite %v: got %v, want ErrConsentLost", lite, s.Err())
		}
	}
}

func TestEndpoint_CloseEndsSessions(t *testing.T) {
	e, err := rtc.Listen(rtc.Config{Addr: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	var offer *rtc.Offer
	var sessions []*rtc.Session
	for _, o := range []peerOptions{{}, {tcpOnly: true}} {
		pc := newPeer(t, o)
		addTrack(t, pc, vp8)
		sdp := makeOffer(t, pc, nil)
		s := connectSDP(t, e, pc, sdp, rtc.Publish, rtc.SessionConfig{})
		waitFor(t, "connection", s.Connected)
		sessions = append(sessions, s)
		if offer, err = rtc.ParseOffer([]byte(sdp), rtc.Publish); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	for _, s := range sessions {
		select {
		case <-s.Done():
		default:
			t.Error("a session is still open")
		}
	}
	if err := e.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
	if _, err := e.NewSession(rtc.SessionConfig{Offer: offer}); err == nil {
		t.Error("NewSession after Close: got no error")
	}
}

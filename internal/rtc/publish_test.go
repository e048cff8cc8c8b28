package rtc_test

import (
	"bytes"
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

func (r *received) add(p *rtp.Packet, c rtc.Codec, _ time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.packets == nil {
		r.packets = map[string][]*rtp.Packet{}
	}
	r.packets[c.MimeType] = append(r.packets[c.MimeType], p)
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
	if got := s.Err(); got != rtc.ErrClosed {
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
	waitFor(t, "connection", s.Connected)
	if err := pc.GracefulClose(); err != nil {
		t.Fatal(err)
	}
	if got := await(t, "OnClosed", closed); got != rtc.ErrPeerClosed {
		t.Errorf("OnClosed: got %v, want ErrPeerClosed", got)
	}
	<-s.Done()
	if got := e.Stats().Sessions; got != 0 {
		t.Errorf("got %d sessions, want 0", got)
	}
}

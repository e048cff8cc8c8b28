package rtc_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/pion/webrtc/v4"

	"github.com/lectern/lectern/internal/rtc"
)

// A peer that insists on being the DTLS server: ours is the client then.
func TestPublish_SetupPassive(t *testing.T) {
	e := listen(t, nil)
	pc := newPeer(t, peerOptions{})
	track := addTrack(t, pc, vp8)
	if _, err := pc.CreateDataChannel("chat", nil); err != nil {
		t.Fatal(err)
	}
	var got received
	opened := make(chan string, 1)
	offer := strings.ReplaceAll(makeOffer(t, pc, nil), "setup:actpass", "setup:passive")
	s := connectSDP(t, e, pc, offer, rtc.Publish, rtc.SessionConfig{
		OnRTP: got.add, OnDataChannel: func(d *rtc.DataChannel) { opened <- d.Label() },
	})
	if answer := string(s.Answer()); !strings.Contains(answer, "a=setup:active\r\n") || strings.Contains(answer, "setup:passive") {
		t.Errorf("got answer\n%s", answer)
	}
	waitFor(t, "the connection", s.Connected)
	waitFor(t, "the peer's connection", func() bool { return pc.ConnectionState() == webrtc.PeerConnectionStateConnected })
	const packets = 20
	send(t, track, packets)
	waitFor(t, "packets", func() bool { return len(got.of(webrtc.MimeTypeVP8)) >= packets })
	checkSent(t, got.of(webrtc.MimeTypeVP8), packets)
	if label := await(t, "the data channel", opened); label != "chat" {
		t.Errorf("got channel %q", label)
	}
}

func TestView_SetupPassive(t *testing.T) {
	e := listen(t, nil)
	pc := newPeer(t, peerOptions{})
	view(t, pc)
	offer := strings.ReplaceAll(makeOffer(t, pc, nil), "setup:actpass", "setup:passive")
	s := connectSDP(t, e, pc, offer, rtc.View, rtc.SessionConfig{})
	waitFor(t, "the connection", s.Connected)
	waitFor(t, "the peer's connection", func() bool { return pc.ConnectionState() == webrtc.PeerConnectionStateConnected })
}

// The fingerprint binds a server just as a client.
func TestPublish_SetupPassiveWithWrongFingerprint(t *testing.T) {
	e := listen(t, nil)
	pc := newPeer(t, peerOptions{})
	addTrack(t, pc, vp8)
	offer := strings.ReplaceAll(makeOffer(t, pc, nil), "setup:actpass", "setup:passive")
	i := strings.Index(offer, "sha-256 ") + len("sha-256 ")
	sum := offer[i : i+95]
	other := strings.Repeat("AB:", 31) + "AB"
	s := connectSDP(t, e, pc, strings.ReplaceAll(offer, sum, other), rtc.Publish, rtc.SessionConfig{})
	await(t, "the end", s.Done())
	if !errors.Is(s.Err(), rtc.ErrFingerprint) {
		t.Errorf("got %v, want ErrFingerprint", s.Err())
	}
}

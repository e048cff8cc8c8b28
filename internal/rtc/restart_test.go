package rtc_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"

	"github.com/lectern/lectern/internal/rtc"
)

// fragmentOf cuts the ICE fragment out of a description.
func fragmentOf(sdp string) string {
	var b strings.Builder
	for _, l := range strings.Split(sdp, "\r\n") {
		for _, p := range []string{"a=group:", "a=ice-options:", "m=", "a=mid:", "a=ice-ufrag:", "a=ice-pwd:", "a=candidate:", "a=end-of-candidates"} {
			if strings.HasPrefix(l, p) {
				b.WriteString(l + "\r\n")
			}
		}
	}
	return b.String()
}

// merge puts the credentials and candidates of a fragment into an answer.
func merge(answer, frag string) string {
	value := func(key string) string {
		_, rest, _ := strings.Cut(frag, "a="+key+":")
		v, _, _ := strings.Cut(rest, "\r\n")
		return v
	}
	var b strings.Builder
	for _, l := range strings.Split(strings.TrimSuffix(answer, "\r\n"), "\r\n") {
		switch {
		case strings.HasPrefix(l, "a=ice-ufrag:"):
			l = "a=ice-ufrag:" + value("ice-ufrag")
		case strings.HasPrefix(l, "a=ice-pwd:"):
			l = "a=ice-pwd:" + value("ice-pwd")
		case strings.HasPrefix(l, "o="):
			f := strings.Fields(l)
			l = fmt.Sprintf("o=- %s 2 IN IP4 0.0.0.0", f[1])
		}
		b.WriteString(l + "\r\n")
	}
	return b.String()
}

func testRestart(t *testing.T, o peerOptions) {
	e := listen(t, nil)
	v := newViewer(t, e, o)
	before := v.s.ETag()
	c := codecOf(t, v.s, "video/VP8")
	b := e.NewBatch()
	n := 0
	write := func() {
		b.Write(v.s, rtc.Header{PayloadType: c.PayloadType, SSRC: v.s.SSRC(rtc.Video), SequenceNumber: uint16(n)}, nil, payloadOf(n, 100))
		b.Flush()
		n++
	}
	write()
	await(t, "a packet before the restart", v.packets[rtc.Video])

	old := v.s.Stats().Remote
	offer := makeOffer(t, v.pc, &webrtc.OfferOptions{ICERestart: true})
	frag, tag, err := v.s.Restart([]byte(fragmentOf(offer)))
	if err != nil {
		t.Fatalf("Restart: %v", err)
	}
	if tag == before || tag != v.s.ETag() || !strings.HasPrefix(tag, `"`) {
		t.Errorf("got tag %s, before it was %s", tag, before)
	}
	answer := merge(string(v.s.Answer()), string(frag))
	if err := v.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: answer}); err != nil {
		t.Fatalf("restart refused: %v\n%s", err, answer)
	}
	waitFor(t, "media after the restart", func() bool {
		write()
		return v.s.Stats().Remote != old && len(v.packets[rtc.Video]) > 0
	})
	waitFor(t, "the peer's connection", func() bool {
		return v.pc.ICEConnectionState() == webrtc.ICEConnectionStateConnected
	})
	if !v.s.Connected() {
		t.Error("session is not connected")
	}
}

func TestRestart(t *testing.T) { testRestart(t, peerOptions{}) }

func TestRestart_TCP(t *testing.T) { testRestart(t, peerOptions{tcpOnly: true}) }

func TestRestart_Refused(t *testing.T) {
	e := listen(t, nil)
	v := newViewer(t, e, peerOptions{})
	same := fragmentOf(v.pc.LocalDescription().SDP)
	for name, frag := range map[string]string{
		"empty":               "",
		"no credentials":      "a=end-of-candidates\r\n",
		"short password":      "a=ice-ufrag:abcd\r\na=ice-pwd:short\r\n",
		"the old credentials": same,
		"not a fragment":      "hello",
	} {
		var oe *rtc.OfferError
		if _, _, err := v.s.Restart([]byte(frag)); !errors.As(err, &oe) {
			t.Errorf("%s: got %v, want an OfferError", name, err)
		}
	}
	if !v.s.Connected() {
		t.Error("a refused restart ended the session")
	}
}

func TestTrickle(t *testing.T) {
	e := listen(t, nil)
	pc := newPeer(t, peerOptions{})
	view(t, pc)
	sdp := makeOffer(t, pc, nil)
	var bare strings.Builder
	for _, l := range strings.SplitAfter(sdp, "\r\n") {
		if !strings.HasPrefix(l, "a=candidate") {
			bare.WriteString(l)
		}
	}
	s := connectSDP(t, e, pc, bare.String(), rtc.View, rtc.SessionConfig{})
	odd := "a=candidate:1 1 udp 2130706431 7f3a.local 5000 typ host\r\n" +
		"a=candidate:2 1 sctp 2130706431 192.0.2.1 5000 typ host\r\n" +
		"a=candidate:3 1 tcp 2130706431 192.0.2.1 9 typ host tcptype active\r\n" +
		"a=candidate:4 1 udp 2130706431 192.0.2.1 9 typ carrier-pigeon\r\n"
	if err := s.PatchTrickle([]byte(fragmentOf(sdp) + odd)); err != nil {
		t.Errorf("PatchTrickle: %v", err)
	}
	if err := s.PatchTrickle([]byte("nonsense")); err == nil {
		t.Error("a malformed fragment was taken")
	}
	waitFor(t, "connection", s.Connected)
	if err := s.Close(nil); err != nil {
		t.Error(err)
	}
	if err := s.PatchTrickle([]byte(fragmentOf(sdp))); !errors.Is(err, rtc.ErrClosed) {
		t.Errorf("after Close: got %v, want ErrClosed", err)
	}
}

// startOnly answers an offer without anybody to take the answer.
func startOnly(t *testing.T, e *rtc.Endpoint, sdp string, dir rtc.Direction, cfg rtc.SessionConfig) *rtc.Session {
	t.Helper()
	o, err := rtc.ParseOffer([]byte(sdp), dir)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Offer = o
	s, err := e.NewSession(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close(nil) })
	return s
}

func TestRestart_BeforeTheFirstConnection(t *testing.T) {
	e := listen(t, nil)
	pc := newPeer(t, peerOptions{})
	view(t, pc)
	sdp := makeOffer(t, pc, nil)
	// As if the client had changed its network between POST and answer.
	old := strings.NewReplacer("a=ice-ufrag:", "a=ice-ufrag:old", "a=ice-pwd:", "a=ice-pwd:old").Replace(sdp)
	s := startOnly(t, e, old, rtc.View, rtc.SessionConfig{})
	before := s.ETag()
	frag, tag, err := s.Restart([]byte(fragmentOf(sdp)))
	if err != nil {
		t.Fatalf("Restart: %v", err)
	}
	if tag == before {
		t.Error("the tag is the old one")
	}
	answer := merge(string(s.Answer()), string(frag))
	if err := pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: answer}); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "connection", s.Connected)
}

func TestRestart_KeepsOptionsAndForgetsOldCandidates(t *testing.T) {
	e := listen(t, func(c *rtc.Config) { c.DisableTCP = true })
	withOption := strings.Replace(full, "t=0 0\r\n", "t=0 0\r\na=ice-options:trickle renomination\r\n", 1)
	old := strings.Replace(withOption, "a=mid:0", "a=candidate:1 1 udp 1 127.0.0.1 9 typ host\r\na=mid:0", 1)
	s := startOnly(t, e, old, rtc.View, rtc.SessionConfig{})
	if _, got := s.Candidates(); len(got) != 1 || got[0] != "udp 127.0.0.1:9 host" {
		t.Errorf("got candidates %q before", got)
	}
	frag, _, err := s.Restart([]byte("m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=ice-ufrag:news\r\na=ice-pwd:new3456789012345678901\r\n" +
		"a=candidate:1 1 udp 1 127.0.0.1 10 typ host\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	if _, got := s.Candidates(); len(got) != 1 || got[0] != "udp 127.0.0.1:10 host" {
		t.Errorf("got candidates %q after", got)
	}
	const options = "a=ice-options:trickle ice2\r\n"
	if !strings.Contains(string(frag), options) || !strings.Contains(string(s.Answer()), options) {
		t.Errorf("options differ:\n%s%s", s.Answer(), frag)
	}
	if !strings.Contains(string(frag), "a=mid:0\r\n") || !strings.Contains(string(frag), "a=end-of-candidates\r\n") {
		t.Errorf("got fragment %s", frag)
	}
}

func TestRestart_ThatLeadsNowhereEndsInTime(t *testing.T) {
	e := listen(t, func(c *rtc.Config) { c.ConnectTimeout = 2 * time.Second })
	v := newViewer(t, e, peerOptions{})
	began := time.Now()
	_, _, err := v.s.Restart([]byte("a=ice-ufrag:news\r\na=ice-pwd:new3456789012345678901\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	await(t, "the end", v.s.Done())
	if !errors.Is(v.s.Err(), rtc.ErrConsentLost) || time.Since(began) > 4*time.Second {
		t.Errorf("got %v after %v", v.s.Err(), time.Since(began))
	}
}

func TestTrickle_OfAnotherICESession(t *testing.T) {
	e := listen(t, nil)
	// Each m-line with a transport of its own, as before bundling.
	i := strings.Index(full, "m=video")
	s := startOnly(t, e, full[:i]+strings.ReplaceAll(full[i:], "ufrag:abcd", "ufrag:efgh"), rtc.Publish, rtc.SessionConfig{})
	line := "a=candidate:1 1 udp 1 127.0.0.1 9 typ host\r\n"
	for name, tc := range map[string]struct {
		frag, code string
		received   bool
	}{
		"another ufrag":          {"a=ice-ufrag:wxyz\r\n" + line, rtc.CodeUnknownUfrag, false},
		"another password":       {"a=ice-ufrag:abcd\r\na=ice-pwd:x123456789012345678901\r\n" + line, rtc.CodeUnknownUfrag, false},
		"of a bundled m-line":    {"m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:1\r\na=ice-ufrag:efgh\r\n" + line, "", false},
		"of another in the line": {"a=ice-ufrag:abcd\r\n" + strings.Replace(line, "host", "host ufrag wxyz", 1), "", false},
		"the right one":          {"a=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\n" + strings.Replace(line, " 9 ", " 10 ", 1), "", true},
	} {
		err := s.PatchTrickle([]byte(tc.frag))
		var oe *rtc.OfferError
		if errors.As(err, &oe); (tc.code == "") != (err == nil) || oe != nil && oe.Code != tc.code {
			t.Errorf("%s: got %v, want %q", name, err, tc.code)
		}
		if tc.received {
			waitFor(t, "the candidate", func() bool { _, got := s.Candidates(); return len(got) == 1 })
		}
	}
	if _, got := s.Candidates(); len(got) != 1 || got[0] != "udp 127.0.0.1:10 host" {
		t.Errorf("got candidates %q", got)
	}
}

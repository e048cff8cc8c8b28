package api

import (
	"bytes"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"

	"github.com/lectern/lectern/room/datachannel"
)

// foreign is a peer on pion/webrtc that is signalled through the handlers.
type foreign struct {
	*webrtc.PeerConnection
	t        *testing.T
	g        *gateway
	token    string
	location string
	etag     string
	live     chan struct{} // closed when media can flow
	gone     chan struct{} // closed when the other side has ended
	lines    chan string   // of the chat channel
	chat     *webrtc.DataChannel
}

// newForeign makes a viewer, or a publisher of VP8 and Opus.
func newForeign(t *testing.T, g *gateway, token string, publishes bool) *foreign {
	t.Helper()
	var se webrtc.SettingEngine
	se.SetIncludeLoopbackCandidate(true)
	pc, err := webrtc.NewAPI(webrtc.WithSettingEngine(se)).NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		t.Fatal(err)
	}
	f := &foreign{
		PeerConnection: pc, t: t, g: g, token: token,
		live: make(chan struct{}), gone: make(chan struct{}), lines: make(chan string, 256),
	}
	t.Cleanup(func() { _ = pc.GracefulClose() })
	up, over := sync.OnceFunc(func() { close(f.live) }), sync.OnceFunc(func() { close(f.gone) })
	pc.OnConnectionStateChange(func(st webrtc.PeerConnectionState) {
		switch st {
		case webrtc.PeerConnectionStateConnected:
			up()
		case webrtc.PeerConnectionStateClosed, webrtc.PeerConnectionStateFailed:
			over()
		}
	})
	if f.chat, err = pc.CreateDataChannel("chat", &webrtc.DataChannelInit{Protocol: ptr(datachannel.Protocol)}); err != nil {
		t.Fatal(err)
	}
	f.chat.OnMessage(func(m webrtc.DataChannelMessage) { f.lines <- string(m.Data) })
	f.chat.OnClose(over)
	for _, codec := range []string{webrtc.MimeTypeOpus, webrtc.MimeTypeVP8} {
		if publishes {
			track, err := webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: codec}, codec[:5], "foreign")
			if err != nil {
				t.Fatal(err)
			}
			_, err = pc.AddTransceiverFromTrack(track, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly})
			if err != nil {
				t.Fatal(err)
			}
			continue
		}
		kind := webrtc.NewRTPCodecType(codec[:5])
		_, err := pc.AddTransceiverFromKind(kind, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly})
		if err != nil {
			t.Fatal(err)
		}
	}
	return f
}

func ptr[T any](v T) *T { return &v }

// offer makes an offer with all candidates.
func (f *foreign) offer(o *webrtc.OfferOptions) []byte {
	f.t.Helper()
	offer, err := f.CreateOffer(o)
	if err != nil {
		f.t.Fatal(err)
	}
	gathered := webrtc.GatheringCompletePromise(f.PeerConnection)
	if err := f.SetLocalDescription(offer); err != nil {
		f.t.Fatal(err)
	}
	<-gathered
	return []byte(f.LocalDescription().SDP)
}

// open posts an offer and takes the answer.
func (f *foreign) open(target string, header ...string) *http.Response {
	f.t.Helper()
	resp := f.g.call(f.token, "POST", target, f.offer(nil), append(header, "Content-Type", "application/sdp")...)
	if resp.StatusCode != http.StatusCreated {
		return resp
	}
	var body bytes.Buffer
	if _, err := body.ReadFrom(resp.Body); err != nil {
		f.t.Fatal(err)
	}
	f.location, f.etag = resp.Header.Get("Location"), resp.Header.Get("ETag")
	if err := f.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: body.String()}); err != nil {
		f.t.Fatalf("%v in\n%s", err, &body)
	}
	return resp
}

// patch sends a fragment.
func (f *foreign) patch(frag, contentType string, header ...string) *http.Response {
	f.t.Helper()
	return f.g.call(f.token, "PATCH", f.location, []byte(frag), append(header, "Content-Type", contentType)...)
}

// await waits for a channel to be closed.
func (f *foreign) await(ch <-chan struct{}, what string) {
	f.t.Helper()
	select {
	case <-ch:
	case <-time.After(10 * time.Second):
		f.t.Fatalf("not in time: %s", what)
	}
}

// fragment cuts out of a description what a PATCH carries (RFC 8840).
func fragment(sdp string) string {
	var b strings.Builder
	for line := range strings.Lines(sdp) {
		for _, p := range []string{"a=ice-ufrag", "a=ice-pwd", "m=", "a=mid", "a=candidate"} {
			if strings.HasPrefix(line, p) {
				b.WriteString(line)
			}
		}
		if strings.HasPrefix(line, "a=candidate") && strings.Contains(b.String(), "a=end") {
			break
		}
	}
	head, _, _ := strings.Cut(b.String(), "m=")
	parts := strings.SplitN(b.String(), "m=", 3)
	if len(parts) < 2 {
		return b.String()
	}
	return head + "m=" + parts[1] // the first m-section: all is bundled
}

package datachannel_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"

	"github.com/lectern/lectern/internal/rtc"
	"github.com/lectern/lectern/room"
	"github.com/lectern/lectern/room/datachannel"
)

// page is a foreign peer with the two channels.
type page struct {
	t           *testing.T
	chat, files *webrtc.DataChannel
	texts       chan string // of both channels
	chunks      chan []byte
}

// dialPeer connects a page over WebRTC to a session of who.
func dialPeer(t *testing.T, e *rtc.Endpoint, r *room.Room, who room.Identity) *page {
	t.Helper()
	var se webrtc.SettingEngine
	se.SetIncludeLoopbackCandidate(true)
	se.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	se.SetIPFilter(func(ip net.IP) bool { return ip.IsLoopback() })
	media := &webrtc.MediaEngine{}
	if err := media.RegisterDefaultCodecs(); err != nil {
		t.Fatal(err)
	}
	pc, err := webrtc.NewAPI(webrtc.WithSettingEngine(se), webrtc.WithMediaEngine(media)).
		NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pc.GracefulClose() })
	for _, kind := range []webrtc.RTPCodecType{webrtc.RTPCodecTypeAudio, webrtc.RTPCodecTypeVideo} {
		dir := webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly}
		if _, err := pc.AddTransceiverFromKind(kind, dir); err != nil {
			t.Fatal(err)
		}
	}
	p := &page{t: t, texts: make(chan string, 1000), chunks: make(chan []byte, 1000)}
	p.chat, p.files = p.channel(pc, "chat"), p.channel(pc, "files")
	s := datachannel.New(datachannel.Config{Room: r, Who: who})
	var serving sync.WaitGroup
	t.Cleanup(serving.Wait)
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	connect(t, e, pc, rtc.SessionConfig{OnDataChannel: func(ch *rtc.DataChannel) {
		serving.Go(func() {
			if err := s.Serve(ctx, ch); err != nil {
				t.Errorf("serving %s: %v", ch.Label(), err)
			}
		})
	}})
	return p
}

func connect(t *testing.T, e *rtc.Endpoint, pc *webrtc.PeerConnection, cfg rtc.SessionConfig) {
	t.Helper()
	offer, err := pc.CreateOffer(nil)
	if err != nil {
		t.Fatal(err)
	}
	gathered := webrtc.GatheringCompletePromise(pc)
	if err := pc.SetLocalDescription(offer); err != nil {
		t.Fatal(err)
	}
	<-gathered
	if cfg.Offer, err = rtc.ParseOffer([]byte(pc.LocalDescription().SDP), rtc.View); err != nil {
		t.Fatal(err)
	}
	s, err := e.NewSession(cfg)
	if err != nil {
		t.Fatal(err)
	}
	answer := webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: string(s.Answer())}
	if err := pc.SetRemoteDescription(answer); err != nil {
		t.Fatal(err)
	}
}

// channel makes a channel and waits in the background until it is open.
func (p *page) channel(pc *webrtc.PeerConnection, label string) *webrtc.DataChannel {
	protocol := datachannel.Protocol
	ch, err := pc.CreateDataChannel(label, &webrtc.DataChannelInit{Protocol: &protocol})
	if err != nil {
		p.t.Fatal(err)
	}
	ch.OnOpen(func() {
		if label == "chat" {
			_ = ch.SendText(`{"type":"hello","name":"over the wire"}`) // a failure shows as no welcome
		}
	})
	ch.OnMessage(func(m webrtc.DataChannelMessage) {
		if m.IsString {
			p.texts <- string(m.Data)
		} else {
			p.chunks <- m.Data
		}
	})
	return ch
}

func (p *page) next(types ...string) fields {
	p.t.Helper()
	deadline := time.After(10 * time.Second)
	for {
		select {
		case text := <-p.texts:
			var f fields
			if err := json.Unmarshal([]byte(text), &f); err != nil {
				p.t.Fatal(err)
			}
			for _, want := range types {
				if f["type"] == want {
					return f
				}
			}
		case <-deadline:
			p.t.Fatalf("timed out waiting for %v", types)
		}
	}
}

func (p *page) send(ch *webrtc.DataChannel, v any) {
	p.t.Helper()
	data, err := json.Marshal(v)
	if err == nil {
		err = ch.SendText(string(data))
	}
	if err != nil {
		p.t.Fatal(err)
	}
}

func TestSession_OverWebRTC(t *testing.T) {
	e, err := rtc.Listen(rtc.Config{Addr: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	r, _ := newRoom(t)
	a, b := dialPeer(t, e, r, ada), dialPeer(t, e, r, wei)
	a.next("welcome")
	b.next("welcome")
	a.send(a.chat, fields{"type": "say", "ref": "1", "text": "Grüße 你好"})
	if said := b.next("say"); said["text"] != "Grüße 你好" || said["by"] != "ada" {
		t.Errorf("got %v", said)
	}
	data, digest := content(1_500_000)
	a.send(a.files, put("c1", data, digest))
	g := a.next("go")
	for at, acked := int64(0), int64(0); at < int64(len(data)); at += 65536 {
		for at+65536 > acked+g.num("window") {
			acked = a.next("ack").num("offset")
		}
		msg := binary.BigEndian.AppendUint32(nil, uint32(g.num("transfer")))
		msg = binary.BigEndian.AppendUint32(msg, uint32(at))
		if err := a.files.Send(append(msg, data[at:min(at+65536, int64(len(data)))]...)); err != nil {
			t.Fatal(err)
		}
	}
	a.next("stored")
	id := b.next("file")["id"]
	b.send(b.files, fields{"type": "get", "id": id})
	b.next("go")
	var got []byte
	for len(got) < len(data) {
		select {
		case chunk := <-b.chunks:
			got = append(got, chunk[8:]...)
			b.send(b.files, fields{"type": "ack", "id": id, "offset": len(got)})
		case <-time.After(10 * time.Second):
			t.Fatalf("timed out after %d bytes", len(got))
		}
	}
	if !bytes.Equal(got, data) {
		t.Error("the file differs")
	}
	b.next("end")
}

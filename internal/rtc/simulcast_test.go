package rtc_test

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"github.com/lectern/lectern/internal/rtc"
)

// layered collects packets by layer.
type layered struct {
	mu  sync.Mutex
	got [3][]*rtp.Packet
}

func (l *layered) add(in rtc.Inbound) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.got[in.Layer] = append(l.got[in.Layer], in.Packet)
}

func (l *layered) count(i int) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.got[i])
}

// simulcaster is a peer that publishes VP8 in three qualities.
type simulcaster struct {
	pc     *webrtc.PeerConnection
	sender *webrtc.RTPSender
	mid    func() string
	tracks []*webrtc.TrackLocalStaticRTP
	rtcp   [3]chan rtcp.Packet // by layer
}

func newSimulcaster(t *testing.T) *simulcaster {
	t.Helper()
	p := &simulcaster{pc: newPeer(t, peerOptions{})}
	for _, rid := range []string{"q", "h", "f"} {
		track, err := webrtc.NewTrackLocalStaticRTP(vp8, "video", "s", webrtc.WithRTPStreamID(rid))
		if err != nil {
			t.Fatal(err)
		}
		p.tracks = append(p.tracks, track)
	}
	tr, err := p.pc.AddTransceiverFromTrack(p.tracks[0], webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly})
	if err != nil {
		t.Fatal(err)
	}
	p.sender, p.mid = tr.Sender(), tr.Mid
	for _, track := range p.tracks[1:] {
		if err := p.sender.AddEncoding(track); err != nil {
			t.Fatal(err)
		}
	}
	for i, rid := range []string{"q", "h", "f"} {
		p.rtcp[i] = make(chan rtcp.Packet, 100)
		drain.Go(func() { // ended by closing pc
			for {
				pkts, _, err := p.sender.ReadSimulcastRTCP(rid)
				if err != nil {
					return
				}
				for _, pkt := range pkts {
					p.rtcp[i] <- pkt
				}
			}
		})
	}
	return p
}

// send writes packet n in each quality. Only the first ones are named, as
// browsers do it.
func (p *simulcaster) send(t *testing.T, n int) {
	t.Helper()
	for i, track := range p.tracks {
		pkt := &rtp.Packet{Header: rtp.Header{Version: 2, SequenceNumber: uint16(100*i + n)}, Payload: payloadOf(n, 100*(i+1))}
		for _, e := range p.sender.GetParameters().HeaderExtensions {
			value := map[string]string{"urn:ietf:params:rtp-hdrext:sdes:mid": p.mid(), "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id": track.RID()}[e.URI]
			if value != "" && n < 10 {
				if err := pkt.SetExtension(uint8(e.ID), []byte(value)); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := track.WriteRTP(pkt); err != nil {
			t.Fatal(err)
		}
	}
}

func TestPublish_Simulcast(t *testing.T) {
	e := listen(t, nil)
	p := newSimulcaster(t)
	var got layered
	s := connect(t, e, p.pc, rtc.Publish, rtc.SessionConfig{OnRTP: got.add})
	if answer := string(s.Answer()); !strings.Contains(answer, "a=simulcast:recv ") || strings.Count(answer, "a=rid:") != 3 {
		t.Fatalf("got\n%s", answer)
	}
	waitFor(t, "connection", s.Connected)
	waitFor(t, "peer's connection", func() bool { return p.pc.ConnectionState() == webrtc.PeerConnectionStateConnected })
	const n = 30
	for i := range n {
		p.send(t, i)
	}
	for l := range 3 {
		waitFor(t, "all packets of a layer", func() bool { return got.count(l) >= n })
	}
	encodings := p.sender.GetParameters().Encodings
	for l := range 3 {
		i := slices.IndexFunc(encodings, func(c webrtc.RTPEncodingParameters) bool { return uint32(c.SSRC) == s.LayerSSRC(l) })
		if i < 0 {
			t.Fatalf("layer %d: SSRC %d is none of the peer's", l, s.LayerSSRC(l))
		}
		for _, pkt := range got.got[l] {
			if pkt.SSRC != s.LayerSSRC(l) || len(pkt.Payload) != 100*(i+1) {
				t.Fatalf("layer %d: got SSRC %d with %d bytes, want %d with %d", l, pkt.SSRC, len(pkt.Payload), s.LayerSSRC(l), 100*(i+1))
			}
		}
		feedbackReaches(t, s, p, l, i, &got, n)
	}
	if st := s.Stats(); st.Unassigned != 0 || st.Discarded != 0 || st.Repairs != 3 {
		t.Errorf("got %+v", st)
	}
}

// feedbackReaches asks for a keyframe and a repair of layer l, which is the
// peer's encoding i.
func feedbackReaches(t *testing.T, s *rtc.Session, p *simulcaster, l, i int, got *layered, n int) {
	t.Helper()
	lost := uint16(100*i + 5)
	err := s.WriteRTCP([]rtcp.Packet{
		&rtcp.PictureLossIndication{SenderSSRC: s.SSRC(rtc.Video), MediaSSRC: s.LayerSSRC(l)},
		&rtcp.TransportLayerNack{SenderSSRC: s.SSRC(rtc.Video), MediaSSRC: s.LayerSSRC(l), Nacks: rtcp.NackPairsFromSequenceNumbers([]uint16{lost})},
	})
	if err != nil {
		t.Fatal(err)
	}
	deadline := time.After(patience)
	for asked := false; !asked; {
		select {
		case pkt := <-p.rtcp[i]:
			_, asked = pkt.(*rtcp.PictureLossIndication)
		case <-deadline:
			t.Fatalf("layer %d: the PLI did not reach encoding %d", l, i)
		}
	}
	waitFor(t, "the repair", func() bool { return got.count(l) > n })
	got.mu.Lock()
	defer got.mu.Unlock()
	if again := got.got[l][n]; again.SequenceNumber != lost || again.SSRC != s.LayerSSRC(l) {
		t.Errorf("layer %d: got repair %v", l, again)
	}
}

func TestView_TransportFeedback(t *testing.T) {
	e := listen(t, nil)
	pc := newPeer(t, peerOptions{})
	view(t, pc)
	pc.OnTrack(func(tr *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
		for {
			if _, _, err := tr.ReadRTP(); err != nil {
				return
			}
		}
	})
	feedback := make(chan *rtcp.TransportLayerCC, 100)
	s := connect(t, e, pc, rtc.View, rtc.SessionConfig{OnRTCP: func(pkts []rtcp.Packet, _ time.Time) {
		for _, p := range pkts {
			if f, ok := p.(*rtcp.TransportLayerCC); ok {
				feedback <- f
			}
		}
	}})
	if !s.TransportCC() || !s.CountsTransport(rtc.Video) || !s.CountsTransport(rtc.Audio) {
		t.Fatalf("transport feedback was not negotiated:\n%s", s.Answer())
	}
	waitFor(t, "connection", s.Connected)
	waitFor(t, "peer's connection", func() bool { return pc.ConnectionState() == webrtc.PeerConnectionStateConnected })
	b := e.NewBatch()
	video, audio := codecOf(t, s, "video/VP8"), codecOf(t, s, "audio/opus")
	const n = 20
	for i := range uint16(n) {
		h := rtc.Header{PayloadType: video.PayloadType, SSRC: s.SSRC(rtc.Video), SequenceNumber: i, Transport: true, TransportSeq: 65530 + i}
		if i%4 == 0 {
			h.PayloadType, h.SSRC = audio.PayloadType, s.SSRC(rtc.Audio)
		}
		b.Write(s, h, nil, payloadOf(int(i), 500))
	}
	b.Flush()
	seen := map[uint16]bool{}
	for len(seen) < n {
		f := await(t, "feedback", feedback)
		for i := range f.PacketStatusCount {
			seen[f.BaseSequenceNumber+i] = true
		}
	}
	for i := range uint16(n) {
		if !seen[65530+i] {
			t.Errorf("no word of packet %d: %v", i, seen)
		}
	}
}

// A viewer that does not count gets no extension, whatever the header says.
func TestView_WithoutTransportFeedback(t *testing.T) {
	e := listen(t, nil)
	pc := newPeer(t, peerOptions{})
	view(t, pc)
	s := connectSDP(t, e, pc, strings.ReplaceAll(makeOffer(t, pc, nil), "transport-cc", "other-cc"), rtc.View, rtc.SessionConfig{})
	if s.TransportCC() || strings.Contains(string(s.Answer()), "extmap") {
		t.Errorf("got\n%s", s.Answer())
	}
}

// Every way of sending must carry the same.
func TestView_WaysOfSending(t *testing.T) {
	for name, change := range map[string]func(*rtc.Config){
		"no segmentation": func(c *rtc.Config) { c.NoGSO = true },
		"no batches":      func(c *rtc.Config) { c.NoBatch = true },
		"all addresses":   func(c *rtc.Config) { c.NoBatch, c.Addr = true, ":0" },
	} {
		t.Run(name, func(t *testing.T) {
			e := listen(t, change)
			viewFrom(t, e, peerOptions{})
			if st := e.Stats(); st.MessagesSent != st.PacketsSent || st.PacketsDropped != 0 {
				t.Errorf("got %+v, want a message for each packet", st)
			}
		})
	}
}

package rtc_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"github.com/lectern/lectern/internal/rtc"
)

// viewer is a peer that collects what arrives on its tracks.
type viewer struct {
	pc      *webrtc.PeerConnection
	s       *rtc.Session
	tracks  chan *webrtc.TrackRemote
	packets map[string]chan *rtp.Packet // by kind
	nacks   chan rtcp.TransportLayerNack
}

func newViewer(t testing.TB, e *rtc.Endpoint, o peerOptions) *viewer {
	t.Helper()
	v := &viewer{
		pc: newPeer(t, o), tracks: make(chan *webrtc.TrackRemote, 2), nacks: make(chan rtcp.TransportLayerNack, 1000),
		packets: map[string]chan *rtp.Packet{rtc.Audio: make(chan *rtp.Packet, 10000), rtc.Video: make(chan *rtp.Packet, 10000)},
	}
	view(t, v.pc)
	v.pc.OnTrack(func(tr *webrtc.TrackRemote, r *webrtc.RTPReceiver) {
		v.tracks <- tr
		drain.Go(func() { // ended by closing pc
			for {
				if _, _, err := r.ReadRTCP(); err != nil {
					return
				}
			}
		})
		for {
			p, _, err := tr.ReadRTP()
			if err != nil {
				return
			}
			v.packets[tr.Kind().String()] <- p
		}
	})
	v.s = connect(t, e, v.pc, rtc.View, rtc.SessionConfig{OnRTCP: func(pkts []rtcp.Packet, _ time.Time) {
		for _, p := range pkts {
			if n, ok := p.(*rtcp.TransportLayerNack); ok {
				v.nacks <- *n
			}
		}
	}})
	waitFor(t, "connection", v.s.Connected)
	waitFor(t, "peer's connection", func() bool { return v.pc.ConnectionState() == webrtc.PeerConnectionStateConnected })
	return v
}

func codecOf(t testing.TB, s *rtc.Session, mime string) rtc.Codec {
	t.Helper()
	for _, kind := range []string{rtc.Audio, rtc.Video} {
		for _, c := range s.Codecs(kind) {
			if c.MimeType == mime {
				return c
			}
		}
	}
	t.Fatalf("%s was not negotiated", mime)
	panic("unreachable")
}

// payloadOf is a payload that the peer can tell the number from.
func payloadOf(i, size int) []byte {
	b := bytes.Repeat([]byte{byte(i)}, size)
	binary.BigEndian.PutUint32(b, uint32(i))
	return b
}

func viewSomething(t *testing.T, o peerOptions) (*rtc.Endpoint, *viewer) {
	t.Helper()
	e := listen(t, nil)
	return e, viewFrom(t, e, o)
}

func viewFrom(t *testing.T, e *rtc.Endpoint, o peerOptions) *viewer {
	t.Helper()
	v := newViewer(t, e, o)
	video, audio := codecOf(t, v.s, "video/VP8"), codecOf(t, v.s, "audio/opus")
	b := e.NewBatch()
	// 2000 packets in 20 bursts cross the turn of the sequence number.
	const bursts, perBurst = 50, 40 // a burst fits the buffer of the peer's socket
	n := 0
	for burst := range bursts {
		for i := range perBurst {
			size := 1100
			if i%10 == 9 {
				size = 300 // the last packet of a frame
			}
			b.Write(v.s, rtc.Header{
				PayloadType: video.PayloadType, SSRC: v.s.SSRC(rtc.Video),
				SequenceNumber: uint16(64000 + n), Timestamp: uint32(n), Marker: i%10 == 9,
			}, nil, payloadOf(n, size))
			n++
		}
		b.Write(v.s, rtc.Header{PayloadType: audio.PayloadType, SSRC: v.s.SSRC(rtc.Audio), SequenceNumber: uint16(burst)}, nil, payloadOf(burst, 80))
		b.Flush()
		waitFor(t, "the peer to keep up", func() bool { return len(v.packets[rtc.Video]) == n })
	}
	for i := range n {
		p := await(t, "a packet", v.packets[rtc.Video])
		if got := binary.BigEndian.Uint32(p.Payload); got != uint32(i) || p.SequenceNumber != uint16(64000+i) || p.PayloadType != video.PayloadType {
			t.Fatalf("got packet %d with header %v, want packet %d", got, p.Header, i)
		}
	}
	for i := range bursts {
		p := await(t, "an audio packet", v.packets[rtc.Audio])
		if got := binary.BigEndian.Uint32(p.Payload); got != uint32(i) {
			t.Fatalf("got audio packet %d, want %d", got, i)
		}
	}
	return v
}

func TestView_Segments(t *testing.T) {
	e, v := viewSomething(t, peerOptions{})
	st := e.Stats()
	if st.PacketsSent != 2050 || st.PacketsDropped != 0 {
		t.Errorf("got %+v, want 2050 packets and none dropped", st)
	}
	// Ten packets in a frame go as one message; where the kernel cannot, as ten.
	if st.MessagesSent > 400 {
		t.Errorf("got %d messages for %d packets: no segmentation", st.MessagesSent, st.PacketsSent)
	}
	if got := v.s.Stats(); got.PacketsSent != 2050 || got.TCP || !got.Remote.IsValid() {
		t.Errorf("got session stats %+v", got)
	}
}

func TestView_CM80(t *testing.T) {
	viewSomething(t, peerOptions{profiles: []dtls.SRTPProtectionProfile{dtls.SRTP_AES128_CM_HMAC_SHA1_80}})
}

func TestView_GCM256(t *testing.T) {
	viewSomething(t, peerOptions{profiles: []dtls.SRTPProtectionProfile{dtls.SRTP_AEAD_AES_256_GCM}})
}

func TestView_TCP(t *testing.T) {
	_, v := viewSomething(t, peerOptions{tcpOnly: true})
	if !v.s.Stats().TCP {
		t.Error("got UDP, want TCP")
	}
}

func TestView_RepairsByRTX(t *testing.T) {
	e := listen(t, nil)
	v := newViewer(t, e, peerOptions{})
	c := codecOf(t, v.s, "video/H264")
	if c.RTXPayloadType == 0 || v.s.RTXSSRC(rtc.Video) == 0 {
		t.Fatalf("no RTX negotiated: %+v", c)
	}
	b := e.NewBatch()
	write := func(i int) {
		b.Write(v.s, rtc.Header{PayloadType: c.PayloadType, SSRC: v.s.SSRC(rtc.Video), SequenceNumber: uint16(i), Timestamp: 1}, nil, payloadOf(i, 500))
	}
	for i := range 40 {
		if i != 20 {
			write(i)
		}
	}
	b.Flush()
	n := await(t, "a NACK", v.nacks)
	if n.MediaSSRC != v.s.SSRC(rtc.Video) || n.Nacks[0].PacketID != 20 {
		t.Fatalf("got NACK %+v, want one for packet 20", n)
	}
	b.Write(v.s, rtc.Header{PayloadType: c.RTXPayloadType, SSRC: v.s.RTXSSRC(rtc.Video), SequenceNumber: 7, Timestamp: 1}, []byte{0, 20}, payloadOf(20, 500))
	b.Flush()
	// The peer looks for repairs when media comes.
	next, repaired := 40, false
	waitFor(t, "the repaired packet", func() bool {
		write(next)
		b.Flush()
		next++
		for len(v.packets[rtc.Video]) > 0 {
			p := <-v.packets[rtc.Video]
			if got := binary.BigEndian.Uint32(p.Payload); got != uint32(p.SequenceNumber) || p.PayloadType != c.PayloadType {
				t.Fatalf("got payload %d in packet %v", got, p.Header)
			}
			repaired = repaired || p.SequenceNumber == 20
		}
		return repaired
	})
}

func TestView_AllCodecs(t *testing.T) {
	e := listen(t, nil)
	v := newViewer(t, e, peerOptions{})
	b := e.NewBatch()
	for i, mime := range []string{"video/VP8", "video/H264", "video/VP9", "video/AV1"} {
		c := codecOf(t, v.s, mime)
		b.Write(v.s, rtc.Header{PayloadType: c.PayloadType, SSRC: v.s.SSRC(rtc.Video), SequenceNumber: uint16(i)}, nil, payloadOf(i, 100))
		b.Flush()
		p := await(t, mime, v.packets[rtc.Video])
		if p.PayloadType != c.PayloadType {
			t.Errorf("%s: got payload type %d, want %d", mime, p.PayloadType, c.PayloadType)
		}
	}
}

func TestView_DropsWithoutPath(t *testing.T) {
	e := listen(t, nil)
	pc := newPeer(t, peerOptions{})
	view(t, pc)
	offer, err := rtc.ParseOffer([]byte(makeOffer(t, pc, nil)), rtc.View)
	if err != nil {
		t.Fatal(err)
	}
	s, err := e.NewSession(rtc.SessionConfig{Offer: offer})
	if err != nil {
		t.Fatal(err)
	}
	b := e.NewBatch()
	b.Write(s, rtc.Header{SSRC: s.SSRC(rtc.Video)}, nil, make([]byte, 100))
	b.Flush()
	if got := e.Stats().PacketsDropped; got != 1 {
		t.Errorf("got %d dropped, want 1", got)
	}
	if err := s.WriteRTCP([]rtcp.Packet{&rtcp.PictureLossIndication{}}); !errors.Is(err, rtc.ErrNotConnected) {
		t.Errorf("WriteRTCP: got %v, want ErrNotConnected", err)
	}
}

func TestView_RTCPBothWays(t *testing.T) {
	e := listen(t, nil)
	v := newViewer(t, e, peerOptions{})
	c := codecOf(t, v.s, "video/VP8")
	b := e.NewBatch()
	b.Write(v.s, rtc.Header{PayloadType: c.PayloadType, SSRC: v.s.SSRC(rtc.Video)}, nil, payloadOf(0, 50))
	b.Flush()
	await(t, "a packet", v.packets[rtc.Video])
	sr := &rtcp.SenderReport{SSRC: v.s.SSRC(rtc.Video), NTPTime: 1 << 40, RTPTime: 9000, PacketCount: 1, OctetCount: 50}
	if err := v.s.WriteRTCP([]rtcp.Packet{sr}); err != nil {
		t.Fatalf("WriteRTCP: %v", err)
	}
	waitFor(t, "the report in the peer's statistics", func() bool {
		for _, st := range v.pc.GetStats() {
			if r, ok := st.(webrtc.InboundRTPStreamStats); ok && r.PacketsReceived > 0 {
				return true
			}
		}
		return false
	})
}

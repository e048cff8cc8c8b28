package rtc

import (
	"encoding/binary"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/interceptor/pkg/twcc"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/srtp/v3"
)

// replayWindow is in packets: repairs come up to a second late.
const replayWindow = 1024

// inbound receives from the peer. Its lock is held during OnRTP and OnRTCP: it
// is what makes them one at a time, for media comes from the socket and,
// around a change of path, from the agent.
type inbound struct {
	s       *Session
	byPT    [128]payload
	rtxOf   map[uint32]uint32 // declared: SSRC of repairs -> SSRC of media
	started time.Time

	mu   sync.Mutex    // guards what follows
	ctx  *srtp.Context // nil: not connected, or closed
	wire rtp.Packet    // scratch

	latest [2]atomic.Uint32 // SSRC of media, by index of kind

	recMu    sync.Mutex     // guards the recorder
	recorder *twcc.Recorder // nil: no feedback
}

// payload is what a payload type stands for.
type payload struct {
	codec *Codec // nil: not negotiated
	kind  int    // index of the kind
	rtx   bool
	twcc  uint8 // id of the header extension in this m-line, 0: none
}

func kindIndex(kind string) int {
	if kind == Video {
		return 1
	}
	return 0
}

func (in *inbound) init(s *Session) {
	in.s, in.started, in.rtxOf = s, time.Now(), map[uint32]uint32{}
	if s.offer.dir != Publish {
		return
	}
	for _, sec := range s.offer.sections {
		ext := 0
		if sec.usesTWCC() {
			ext = sec.twcc
			in.recorder = twcc.NewRecorder(s.ssrc[sec.kind])
		}
		for i := range sec.codecs {
			c := &sec.codecs[i].Codec
			p := payload{codec: c, kind: kindIndex(sec.kind), twcc: uint8(ext)}
			in.byPT[c.PayloadType] = p
			if c.RTXPayloadType != 0 {
				p.rtx = true
				in.byPT[c.RTXPayloadType] = p
			}
		}
		for repair, media := range sec.rtxOf {
			in.rtxOf[repair] = media
		}
	}
}

func (in *inbound) remoteSSRC(kind string) uint32 { return in.latest[kindIndex(kind)].Load() }

func (in *inbound) layerSSRC(layer int) uint32 { return in.latest[1].Load() }

// mediaIn takes one SRTP or SRTCP packet from the peer's address. The packet is
// the caller's again after the return.
func (s *Session) mediaIn(packet []byte, arrival time.Time) {
	s.in.mu.Lock()
	defer s.in.mu.Unlock()
	if s.in.ctx == nil || !isMedia(packet) {
		return
	}
	if isRTCP(packet) {
		s.in.rtcpLocked(packet, arrival)
		return
	}
	if s.offer.dir != Publish {
		return
	}
	p, c := s.in.rtpLocked(packet, arrival)
	if p == nil {
		return
	}
	s.count.packetsReceived.Add(1)
	s.count.bytesReceived.Add(uint64(len(p.Payload)))
	if s.cfg.OnRTP != nil {
		s.cfg.OnRTP(Inbound{Packet: p, Codec: *c, Arrival: arrival})
	}
}

func (in *inbound) rtcpLocked(packet []byte, arrival time.Time) {
	plain, err := in.ctx.DecryptRTCP(nil, packet, nil)
	if err != nil {
		in.s.count.discarded.Add(1)
		return
	}
	pkts, err := rtcp.Unmarshal(plain)
	if err != nil {
		in.s.count.discarded.Add(1)
		return
	}
	if in.s.cfg.OnRTCP != nil {
		in.s.cfg.OnRTCP(pkts, arrival)
	}
}

// rtpLocked decrypts a packet and puts a repair into its place. It returns nil
// for what is of no use.
func (in *inbound) rtpLocked(packet []byte, arrival time.Time) (*rtp.Packet, *Codec) {
	// A new buffer for each packet: it goes to readers of all kinds, which keep it.
	plain, err := in.ctx.DecryptRTP(nil, packet, &in.wire.Header)
	if err == nil {
		err = in.wire.Unmarshal(plain)
	}
	if err != nil {
		in.s.count.discarded.Add(1)
		return nil, nil
	}
	pt := in.byPT[in.wire.PayloadType]
	if pt.codec == nil {
		in.s.count.discarded.Add(1)
		return nil, nil
	}
	in.record(pt, arrival)
	w := &in.wire
	p := &rtp.Packet{Payload: w.Payload, Header: rtp.Header{
		Version: 2, Marker: w.Marker, PayloadType: w.PayloadType,
		SequenceNumber: w.SequenceNumber, Timestamp: w.Timestamp, SSRC: w.SSRC,
	}}
	w.Payload = nil
	// Padding without media on the source itself is handed on: it has a sequence
	// number, and would look lost without it.
	if pt.rtx && !in.unwrap(p, pt) {
		return nil, nil
	}
	if !pt.rtx {
		in.latest[pt.kind].Store(p.SSRC)
	} else {
		in.s.count.repairs.Add(1)
	}
	return p, pt.codec
}

// unwrap turns a repair into the packet it repeats (RFC 4588, section 4). It
// returns false for padding, by which Chrome probes the bandwidth, and when it
// is not known which source is repaired.
func (in *inbound) unwrap(p *rtp.Packet, pt payload) bool {
	const osnBytes = 2
	if len(p.Payload) <= osnBytes {
		return false
	}
	media, ok := in.rtxOf[p.SSRC]
	if !ok {
		media = in.latest[pt.kind].Load()
	}
	if media == 0 {
		in.s.count.discarded.Add(1)
		return false
	}
	p.SequenceNumber = binary.BigEndian.Uint16(p.Payload)
	p.SSRC, p.PayloadType, p.Payload = media, pt.codec.PayloadType, p.Payload[osnBytes:]
	return true
}

// record notes the arrival for transport-wide feedback.
func (in *inbound) record(pt payload, arrival time.Time) {
	if pt.twcc == 0 || in.recorder == nil {
		return
	}
	ext := in.wire.GetExtension(pt.twcc)
	if len(ext) < 2 {
		return
	}
	in.recMu.Lock()
	defer in.recMu.Unlock()
	in.recorder.Record(in.wire.SSRC, binary.BigEndian.Uint16(ext), arrival.Sub(in.started).Microseconds())
}

// feedback returns what was recorded since the last call.
func (in *inbound) feedback() []rtcp.Packet {
	in.recMu.Lock()
	defer in.recMu.Unlock()
	return in.recorder.BuildFeedbackPacket()
}

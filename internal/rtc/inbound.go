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
	wire rtp.Header    // scratch

	layers layers

	latest [2]atomic.Uint32 // SSRC of media, by index of kind

	recMu    sync.Mutex     // guards the recorder
	recorder *twcc.Recorder // nil: no feedback
}

// payload is what a payload type stands for.
type payload struct {
	codec   *Codec // nil: not negotiated
	kind    int    // index of the kind
	rtx     bool
	layered bool         // there are layers to tell apart
	ext     extensionIDs // of this m-line
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
		if sec.usesTWCC() {
			in.recorder = twcc.NewRecorder(s.ssrc[sec.kind])
		}
		if sec.kind == Video {
			in.layers.init(sec)
		}
		for i := range sec.codecs {
			c := &sec.codecs[i].Codec
			ext := sec.extensionIDs()
			if c.MimeType != av1 {
				ext.descriptor = 0 // the payload tells
			}
			p := payload{codec: c, kind: kindIndex(sec.kind), ext: ext, layered: len(sec.layers) > 1}
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

func (in *inbound) layerSSRC(layer int) uint32 {
	if len(in.layers.rids) == 0 && layer == 0 {
		return in.remoteSSRC(Video)
	}
	return in.layers.ssrc(layer)
}

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
	p, ok := s.in.rtpLocked(packet, arrival)
	if !ok {
		return
	}
	s.count.packetsReceived.Add(1)
	s.count.bytesReceived.Add(uint64(len(p.Packet.Payload)))
	if s.cfg.OnRTP != nil {
		s.cfg.OnRTP(p)
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

// rtpLocked decrypts a packet and puts a repair into its place. It returns false
// for what is of no use.
func (in *inbound) rtpLocked(packet []byte, arrival time.Time) (Inbound, bool) {
	w := &in.wire
	// A new buffer for each packet: it goes to readers of all kinds, which keep it.
	plain, err := in.ctx.DecryptRTP(nil, packet, w)
	body, ok := readBody(plain)
	pt := in.byPT[w.PayloadType&0x7f]
	if err != nil || !ok || pt.codec == nil {
		in.s.count.discarded.Add(1)
		return Inbound{}, false
	}
	ext := readExtensions(body.profile, body.block, pt.ext)
	in.record(&ext, arrival)
	p := &rtp.Packet{Payload: body.payload, Header: rtp.Header{
		Version: 2, Marker: w.Marker, PayloadType: w.PayloadType,
		SequenceNumber: w.SequenceNumber, Timestamp: w.Timestamp, SSRC: w.SSRC,
	}}
	layer := 0
	if pt.layered {
		if layer = in.layers.find(p.SSRC, &ext, pt.rtx, arrival); layer < 0 && !pt.rtx {
			in.s.count.unassigned.Add(1)
			return Inbound{}, false
		}
	}
	// Padding without media on the source itself is handed on: it has a sequence
	// number, and would look lost without it.
	if pt.rtx {
		if layer, ok = in.unwrap(p, pt, layer); !ok {
			return Inbound{}, false
		}
		in.s.count.repairs.Add(1)
	} else {
		in.latest[pt.kind].Store(p.SSRC)
	}
	return Inbound{Packet: p, Codec: *pt.codec, Layer: layer, Arrival: arrival, Descriptor: ext.descriptor}, true
}

// unwrap turns a repair into the packet it repeats (RFC 4588, section 4) and
// returns the layer of this. It returns false for padding, by which Chrome
// probes the bandwidth, and when it is not known which source is repaired.
func (in *inbound) unwrap(p *rtp.Packet, pt payload, layer int) (int, bool) {
	const osnBytes = 2
	if len(p.Payload) <= osnBytes {
		return 0, false
	}
	media, ok := in.rtxOf[p.SSRC]
	switch {
	case pt.layered && layer >= 0:
		media = in.layers.ssrc(layer)
	case pt.layered:
		layer = in.layers.known(media, false)
	case !ok:
		media = in.latest[pt.kind].Load()
	}
	switch {
	case layer < 0, pt.layered && media == 0:
		in.s.count.unassigned.Add(1)
		return 0, false
	case media == 0:
		in.s.count.discarded.Add(1)
		return 0, false
	}
	p.SequenceNumber = binary.BigEndian.Uint16(p.Payload)
	p.SSRC, p.PayloadType, p.Payload = media, pt.codec.PayloadType, p.Payload[osnBytes:]
	return layer, true
}

// record notes the arrival for transport-wide feedback.
func (in *inbound) record(ext *extensions, arrival time.Time) {
	if !ext.counted || in.recorder == nil {
		return
	}
	in.recMu.Lock()
	defer in.recMu.Unlock()
	in.recorder.Record(in.wire.SSRC, ext.transport, arrival.Sub(in.started).Microseconds())
}

// feedback returns what was recorded since the last call.
func (in *inbound) feedback() []rtcp.Packet {
	in.recMu.Lock()
	defer in.recMu.Unlock()
	return in.recorder.BuildFeedbackPacket()
}

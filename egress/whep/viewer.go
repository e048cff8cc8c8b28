package whep

import (
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/pion/rtcp"

	"github.com/lectern/lectern/internal/rtc"
	"github.com/lectern/lectern/stream"
)

const (
	// resendsPerReport bounds what a viewer can make the gateway send again
	// between two reports. Chromium asks for up to 650 packets at once after a
	// pause.
	resendsPerReport = 1000

	// startAudioWithin keeps sound that is older out of the start: a burst of
	// old packets would make the viewer's jitter buffer play late for minutes.
	startAudioWithin = 200 * time.Millisecond

	cname = "lectern"
)

// viewer is what one peer gets of its stream.
type viewer struct {
	st    *stream.Stream
	log   *slog.Logger
	peer  *rtc.Session
	ready chan struct{} // closed when peer and out are set

	shard atomic.Pointer[shard]

	out     [2]output // by stream.Kind; guarded by shard.mu once connected
	resends int       // left until the next report; guarded by shard.mu

	nacked, resent, plis atomic.Uint64
}

// output is the RTP of one kind to one viewer.
type output struct {
	ssrc, rtxSSRC uint32 // 0: the viewer did not ask for this kind
	codecs        []rtc.Codec

	track     *stream.Track
	pt, rtxPT uint8
	carried   bool // the viewer can decode track

	started  bool
	skipping bool   // packets were left out; the numbering must not show it
	seqOff   uint16 // added to the stream's sequence numbers
	since    uint16 // first sequence number of the stream with this offset
	lastSeq  uint16 // last sent
	rtxSeq   uint16

	lastTS          uint32
	lastPTS         time.Duration
	packets, octets uint32 // of sender reports (RFC 3550, section 6.4.1); wrap
}

func (v *viewer) init(peer *rtc.Session) {
	v.peer = peer
	for _, kind := range []stream.Kind{stream.Audio, stream.Video} {
		o := &v.out[kind]
		o.ssrc, o.rtxSSRC = peer.SSRC(kind.String()), peer.RTXSSRC(kind.String())
		o.codecs = peer.Codecs(kind.String())
	}
	v.resends = resendsPerReport
}

// choose takes the payload types for another track. They are per codec, so that
// a publisher that changes its codec needs no renegotiation.
func (o *output) choose(t *stream.Track) (changedTo bool) {
	o.track, o.carried = t, false
	for _, c := range o.codecs {
		if c.MimeType == string(t.Codec) {
			o.pt, o.rtxPT, o.carried = c.PayloadType, c.RTXPayloadType, true
			return true
		}
	}
	return false
}

// sendLocked queues u for the viewer. The shard's lock is held.
func (v *viewer) sendLocked(b *rtc.Batch, u *stream.Unit, now time.Time) {
	o := &v.out[u.Track.Kind]
	if o.ssrc == 0 {
		return
	}
	if o.track != u.Track && !o.choose(u.Track) {
		v.log.Warn("viewer cannot decode the track", "stream", v.st.Name(), "codec", u.Track.Codec)
	}
	if !o.carried {
		o.skipping = true
		return
	}
	if (!o.started || o.skipping) && !o.begin(u, now) {
		return
	}
	seq := u.Packet.SequenceNumber + o.seqOff
	b.Write(v.peer, rtc.Header{
		PayloadType:    o.pt,
		SequenceNumber: seq,
		Timestamp:      u.Packet.Timestamp,
		SSRC:           o.ssrc,
		Marker:         u.Packet.Marker,
	}, nil, u.Packet.Payload)
	o.lastSeq = seq
	o.lastTS, o.lastPTS = u.Packet.Timestamp, u.PTS
	o.packets++
	o.octets += uint32(len(u.Packet.Payload))
}

// begin decides whether the viewer may start, or start again after packets were
// left out, with u.
func (o *output) begin(u *stream.Unit, now time.Time) bool {
	if !u.Keyframe || (u.Track.Kind == stream.Audio && now.Sub(u.Arrival) > startAudioWithin) {
		return false
	}
	if o.started {
		o.seqOff = o.lastSeq + 1 - u.Packet.SequenceNumber
	}
	o.started, o.skipping = true, false
	o.since = u.Packet.SequenceNumber
	return true
}

// resendLocked answers a NACK for seq, in the viewer's numbering, from the ring
// of the shard: as RTX (RFC 4588) where negotiated, else as it was.
func (v *viewer) resendLocked(b *rtc.Batch, kind stream.Kind, r *ring, seq uint16) {
	o := &v.out[kind]
	orig := seq - o.seqOff
	if int16(orig-o.since) < 0 || v.resends <= 0 {
		return // numbered otherwise then, or asked too much
	}
	u := r.get(orig)
	if u == nil || !o.started {
		return
	}
	pt, rtxPT := o.pt, o.rtxPT
	if u.Track != o.track {
		old := output{codecs: o.codecs}
		if !old.choose(u.Track) {
			return
		}
		pt, rtxPT = old.pt, old.rtxPT
	}
	v.resends--
	v.resent.Add(1)
	h := rtc.Header{PayloadType: pt, SequenceNumber: seq, Timestamp: u.Packet.Timestamp, SSRC: o.ssrc, Marker: u.Packet.Marker}
	if rtxPT == 0 || o.rtxSSRC == 0 {
		b.Write(v.peer, h, nil, u.Packet.Payload)
		return
	}
	h.PayloadType, h.SSRC, h.SequenceNumber = rtxPT, o.rtxSSRC, o.rtxSeq
	o.rtxSeq++
	b.Write(v.peer, h, []byte{byte(seq >> 8), byte(seq)}, u.Packet.Payload)
}

// onRTCP handles feedback of the viewer. It runs on the goroutine that reads
// the socket: the work is bounded by the size of one RTCP packet.
func (v *viewer) onRTCP(pkts []rtcp.Packet, _ time.Time) {
	<-v.ready
	for _, p := range pkts {
		switch p := p.(type) {
		case *rtcp.PictureLossIndication, *rtcp.FullIntraRequest:
			v.plis.Add(1)
			v.st.RequestKeyframe()
		case *rtcp.TransportLayerNack:
			if sh := v.shard.Load(); sh != nil {
				sh.resend(v, p)
			}
		}
	}
}

// reportLocked sends a sender report for each kind in one compound packet.
func (v *viewer) reportLocked(now time.Time) {
	v.resends = resendsPerReport
	var pkts []rtcp.Packet
	var cnames []rtcp.SourceDescriptionChunk
	at := v.st.Since(now)
	for k := range v.out {
		o := &v.out[k]
		if !o.started || at-o.lastPTS > maxReportAge {
			continue
		}
		ahead := (at - o.lastPTS).Seconds() * float64(o.track.ClockRate)
		pkts = append(pkts, &rtcp.SenderReport{
			SSRC:        o.ssrc,
			NTPTime:     ntpTime(now),
			RTPTime:     o.lastTS + uint32(int64(ahead)),
			PacketCount: o.packets,
			OctetCount:  o.octets,
		})
		cnames = append(cnames, rtcp.SourceDescriptionChunk{
			Source: o.ssrc,
			Items:  []rtcp.SourceDescriptionItem{{Type: rtcp.SDESCNAME, Text: cname}},
		})
	}
	if len(pkts) == 0 {
		return
	}
	pkts = append(pkts, &rtcp.SourceDescription{Chunks: cnames})
	if err := v.peer.WriteRTCP(pkts); err != nil {
		v.log.Debug("sender report not sent", "stream", v.st.Name(), "err", err)
	}
}

// maxReportAge is how long reports go on after the last packet of a kind.
const maxReportAge = 5 * time.Second

// ntpTime is t in the 64-bit format of RFC 5905: seconds since 1900 and a
// fraction of 32 bits.
func ntpTime(t time.Time) uint64 {
	const from1900 = 2208988800 // seconds from 1900 to 1970
	return uint64(t.Unix()+from1900)<<32 | uint64(t.Nanosecond())<<32/uint64(time.Second)
}

// Stats is what a viewer got and asked for.
type Stats struct {
	Packets, Octets [2]uint32 // by stream.Kind; of sender reports, wrap
	Resent          uint64    // packets answered to NACKs
	Nacked          uint64    // packets asked for
	PLIs            uint64
}

func (v *viewer) stats() Stats {
	st := Stats{Resent: v.resent.Load(), Nacked: v.nacked.Load(), PLIs: v.plis.Load()}
	sh := v.shard.Load()
	if sh == nil {
		return st
	}
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for k := range v.out {
		st.Packets[k], st.Octets[k] = v.out[k].packets, v.out[k].octets
	}
	return st
}

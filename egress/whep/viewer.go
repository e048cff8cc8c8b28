package whep

import (
	"log/slog"
	"math"
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

	wish atomic.Pointer[LayerChoice] // nil: automatic

	// What follows is guarded by shard.mu once connected.
	out     [2]output // by stream.Kind
	video   *video    // nil while there is nothing to choose
	resends int       // left until the next report
	repairs int       // bytes of it left, for a narrow network
	losses  losses
	loss    float64 // of the last second of reports, 0 to 1
	rtt     time.Duration

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
	since    uint16 // first sequence number of the stream with this offset, or of late
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
	v.resends, v.repairs = resendsPerReport, math.MaxInt
}

// types returns the payload types for a track.
func (o *output) types(t *stream.Track) (pt, rtxPT uint8, ok bool) {
	if t == o.track {
		return o.pt, o.rtxPT, o.carried
	}
	for _, c := range o.codecs {
		if c.MimeType == string(t.Codec) {
			return c.PayloadType, c.RTXPayloadType, true
		}
	}
	return 0, 0, false
}

// choose takes the payload types for another track. They are per codec, so that
// a publisher that changes its codec needs no renegotiation.
func (o *output) choose(t *stream.Track) (changedTo bool) {
	pt, rtxPT, ok := o.types(t)
	o.track, o.carried = t, ok
	if ok {
		o.pt, o.rtxPT = pt, rtxPT
	}
	return ok
}

// sendLocked queues u for the viewer. The shard's lock is held.
func (v *viewer) sendLocked(b *rtc.Batch, u *stream.Unit, now time.Time) {
	o := &v.out[u.Track.Kind]
	if o.ssrc == 0 {
		return
	}
	if v.video != nil && u.Track.Kind == stream.Video {
		v.video.take(b, v.shard.Load().main, u, now)
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
		Descriptor:     u.Descriptor,
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
	if a := v.video; kind == stream.Video && a != nil && !a.precedes(seq) {
		v.repairLocked(b, seq)
		return
	}
	orig := seq - o.seqOff
	if int16(orig-o.since) < 0 || v.resends <= 0 {
		return // numbered otherwise then, or asked too much
	}
	u := r.get(orig)
	if u == nil || !o.started {
		return
	}
	pt, rtxPT, ok := o.types(u.Track)
	if !ok {
		return
	}
	v.resends--
	v.resent.Add(1)
	h := rtc.Header{PayloadType: pt, SequenceNumber: seq, Timestamp: u.Packet.Timestamp, SSRC: o.ssrc, Marker: u.Packet.Marker, Descriptor: u.Descriptor}
	if rtxPT == 0 || o.rtxSSRC == 0 {
		b.Write(v.peer, h, nil, u.Packet.Payload)
		return
	}
	h.PayloadType, h.SSRC, h.SequenceNumber = rtxPT, o.rtxSSRC, o.rtxSeq
	o.rtxSeq++
	b.Write(v.peer, h, []byte{byte(seq >> 8), byte(seq)}, u.Packet.Payload)
}

// repairLocked answers a NACK for video that was chosen.
func (v *viewer) repairLocked(b *rtc.Batch, seq uint16) {
	e := v.video.get(seq)
	if e == nil || v.resends <= 0 || v.repairs <= 0 || int16(seq-v.video.pacer.next) >= 0 {
		return
	}
	now := time.Now()
	if int16(seq-v.video.fresh) < 0 && v.video.paced() && (v.video.crowded() || now.Sub(v.video.came) > repairPast) {
		return // the keyframe since makes it needless, and the network is narrow
	}
	// A repair that is still on its way is asked for again by viewers that are
	// far away, or in a hurry.
	ms := uint32(v.st.Since(now).Milliseconds())
	if e.again != 0 && ms-e.again < uint32(max(v.rtt, repairAgain).Milliseconds()) {
		return
	}
	if v.video.mayRepair(len(e.u.Packet.Payload), now) && v.video.again(b, e, now, false) {
		e.again = ms
		v.resends--
		v.repairs -= len(e.u.Packet.Payload)
		v.resent.Add(1)
	}
}

// onRTCP handles feedback of the viewer. It runs on the goroutine that reads
// the socket: the work is bounded by the size of one RTCP packet.
func (v *viewer) onRTCP(pkts []rtcp.Packet, at time.Time) {
	<-v.ready
	for _, p := range pkts {
		switch p := p.(type) {
		case *rtcp.PictureLossIndication, *rtcp.FullIntraRequest:
			v.plis.Add(1)
			v.source().RequestKeyframe()
		case *rtcp.TransportLayerNack:
			if sh := v.shard.Load(); sh != nil {
				sh.resend(v, p)
			}
		case *rtcp.TransportLayerCC:
			if sh := v.shard.Load(); sh != nil {
				sh.feedback(v, p, at)
			}
		case *rtcp.ReceiverReport:
			if sh := v.shard.Load(); sh != nil {
				sh.received(v, p.Reports, at)
			}
		}
	}
}

// source is the stream that the viewer's picture comes from.
func (v *viewer) source() *stream.Stream {
	sh := v.shard.Load()
	if sh == nil {
		return v.st
	}
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if v.video != nil && v.video.from != nil {
		return v.video.from.st
	}
	return v.st
}

// repairPast is how long after a change of layer packets from before it are
// repaired for viewers with a narrow network.
const repairPast = 500 * time.Millisecond

// repairAgain is the least time between two repairs of one packet.
const repairAgain = 15 * time.Millisecond

// repairShare is how much of a narrow network repairs may take.
const repairShare = 0.3

// reportLocked sends a sender report for each kind in one compound packet.
func (v *viewer) reportLocked(now time.Time) {
	v.resends, v.repairs = resendsPerReport, math.MaxInt
	if v.video != nil && v.video.paced() {
		v.repairs = int(repairShare * v.video.est.Rate() / 8 * reportEvery.Seconds())
	}
	var pkts []rtcp.Packet
	var cnames []rtcp.SourceDescriptionChunk
	at := v.st.Since(now)
	for k := range v.out {
		o := &v.out[k]
		o.age()
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

// age moves since along: numbers of 16 bits tell what is earlier only within half
// their range, and packets that have left the rings are of no interest. It must
// be called more often than a source can send so many packets.
func (o *output) age() {
	if last := o.lastSeq - o.seqOff; last-o.since >= videoRing {
		o.since = last - videoRing + 1
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

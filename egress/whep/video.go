package whep

import (
	"time"

	"github.com/lectern/lectern/egress/whep/bandwidth"
	"github.com/lectern/lectern/internal/rtc"
	"github.com/lectern/lectern/stream"
)

// logSize is how many packets to one viewer can be asked for again: a second and
// a half of 3 Mbit/s. A power of two.
const logSize = 512

// logged is a packet as the viewer got it.
type logged struct {
	u      *stream.Unit
	ts     uint32
	seq    uint16
	tseq   uint16 // transport-wide number of the first time
	pidOff uint16 // of the picture id, or of AV1's frame number
	tl0Off uint8
	marker bool
	again  uint32 // ms of the origin of the stream, of the last repair; 0: never
}

// video is the picture of a viewer that has something to choose: one of several
// inputs at a time, perhaps without its higher layers, as one unbroken source.
// It is guarded by shard.mu.
type video struct {
	v    *viewer
	o    *output
	kick func()

	from   *input // what is sent; nil: nothing as yet, or frozen
	target *input // what will be from its next keyframe on; nil: nothing
	asked  time.Time
	waits  time.Time // since when higher layers wait for a keyframe

	blind bool // the viewer does not take dependency descriptors

	spatial, wantSpatial   uint8
	temporal, wantTemporal uint8

	seqOff, pidOff uint16 // added to the input's
	tsOff          uint32
	tl0Off         uint8
	numbered       bool // something was sent

	inTS, outTS uint32 // of the picture under way
	keep        bool   // it is sent
	picture     bool   // there is one
	ended       bool   // the last packet sent had the marker

	log   []logged
	older bool      // the viewer may ask for what it got before there was a choice
	since uint16    // first number since then; of use while older
	fresh uint16    // first number of the present input, or in log
	came  time.Time // when that was

	chooser  chooser
	est      *bandwidth.Estimator // nil: no transport-wide feedback, or no repairs
	reports  *bandwidth.Reports
	rate     float64 // of the quality chosen, bit/s
	want     float64 // that is worth a probe, bit/s
	tseq     uint16
	switches uint64

	pacer pacer
}

// adapt gives v the means to choose. What it is sent goes on.
func (v *viewer) adapt(sh *shard) {
	o := &v.out[stream.Video]
	if o.ssrc == 0 || v.video != nil {
		return
	}
	start, reports := startRate, startReports
	if len(sh.layers) == 0 || o.started {
		// What flows already, or is all that there is, has the benefit of the doubt.
		rate := 1.2 * sh.st.Rate()
		start, reports = max(start, rate), max(reports, rate)
	}
	a := &video{
		v: v, o: o, kick: sh.poke, log: make([]logged, logSize), ended: true,
		reports: bandwidth.NewReports(reports),
		spatial: gridSize, wantSpatial: gridSize, temporal: gridSize, wantTemporal: gridSize,
	}
	a.blind = !v.peer.TakesDescriptor()
	// Without repairs there is nothing to try the network with, and an Estimator
	// would never rise.
	if v.peer.CountsTransport(rtc.Video) && o.rtxSSRC != 0 {
		a.est = bandwidth.New(start)
	}
	if o.started && !o.skipping {
		a.from, a.seqOff, a.older, a.since = sh.main, o.seqOff, true, o.lastSeq+1
		a.pacer.next, a.fresh = o.lastSeq+1, o.lastSeq+1
	}
	v.video = a
}

// take passes on what the viewer gets of an input.
func (a *video) take(b *rtc.Batch, in *input, u *stream.Unit, now time.Time) {
	if in == a.target && u.Keyframe && in.starts(u) {
		if !a.cross(in, u) {
			return
		}
		a.came = now
	}
	if in != a.from {
		return
	}
	if !a.decodes(u) {
		a.from, a.target = nil, in // until it can again
		return
	}
	if !a.picture || u.Packet.Timestamp != a.inTS {
		a.begin(u)
	}
	if !a.keep || layerOf(u.Spatial) > a.spatial {
		a.seqOff--
		return
	}
	marker := u.Packet.Marker || u.EndOfLayer && layerOf(u.Spatial) == a.spatial
	a.put(b, u, marker, now)
}

// decodes says whether the viewer can decode the track of u.
func (a *video) decodes(u *stream.Unit) bool {
	if a.o.track != u.Track && !a.o.choose(u.Track) {
		a.v.log.Warn("viewer cannot decode the track", "stream", a.v.st.Name(), "codec", u.Track.Codec)
	}
	return a.o.carried
}

// cross goes over to another input with u, the first packet of a keyframe. It
// reports false if the viewer cannot decode it.
func (a *video) cross(in *input, u *stream.Unit) bool {
	if !a.decodes(u) {
		return false
	}
	o := a.o
	if a.from != nil && a.from != in {
		a.switches++
	}
	a.from, a.target, a.picture = in, nil, false
	h := &u.Packet.Header
	if !o.started {
		o.started = true
		a.seqOff, a.tsOff = 0, 0
		a.pacer.next, a.fresh = h.SequenceNumber, h.SequenceNumber
		return true
	}
	a.seqOff = o.lastSeq + 1 - h.SequenceNumber
	if !a.ended {
		a.seqOff++ // else the beginning of a picture passed for all of it
	}
	a.fresh = h.SequenceNumber + a.seqOff
	ticks := int64(u.PTS-o.lastPTS) * int64(u.Track.ClockRate) / int64(time.Second)
	a.tsOff = o.lastTS + uint32(ticks) - h.Timestamp
	a.pidOff, a.tl0Off = 0, 0
	if last := a.get(o.lastSeq); last != nil {
		old, now := last.numbers(), numbersOf(u)
		if old.counts && now.counts {
			a.pidOff = old.picture + 1 - now.picture
		}
		if old.levels && now.levels {
			a.tl0Off = old.level + 1 - now.level
		}
	}
	return true
}

// begin decides about the picture that u begins.
func (a *video) begin(u *stream.Unit) {
	t := layerOf(u.Temporal)
	spatial := a.wantSpatial
	if a.lowestOnly() {
		spatial = 0
	}
	a.spatial, a.temporal = min(a.spatial, spatial), min(a.temporal, a.wantTemporal)
	if u.Keyframe {
		a.spatial, a.temporal = spatial, a.wantTemporal
	} else if t == a.temporal+1 && t <= a.wantTemporal && u.Switch {
		a.temporal = t
	}
	a.picture, a.inTS, a.keep = true, u.Packet.Timestamp, t <= a.temporal
	if !a.keep {
		if u.Track.Codec == stream.VP8 {
			// Decoders of VP8 wait for a picture whose number is missing; those of VP9
			// know by the layers that they need not.
			a.pidOff--
		}
		return
	}
	a.outTS = u.Packet.Timestamp + a.tsOff
	if a.numbered && int32(a.outTS-a.o.lastTS) <= 0 {
		a.outTS = a.o.lastTS + 1 // of the past: two inputs show the same moment
	}
}

// lowestOnly says whether the viewer can decode the lowest spatial layer alone:
// browsers that get no descriptors take each layer of AV1 for a picture.
func (a *video) lowestOnly() bool {
	return a.blind && a.o.track != nil && a.o.track.Codec == stream.AV1
}

// put numbers a packet and sends it, now or when the pacer says.
func (a *video) put(b *rtc.Batch, u *stream.Unit, marker bool, now time.Time) {
	o := a.o
	seq := u.Packet.SequenceNumber + a.seqOff
	e := &a.log[seq%logSize]
	a.age(seq)
	*e = logged{u: u, ts: a.outTS, seq: seq, pidOff: a.pidOff, tl0Off: a.tl0Off, marker: marker}
	a.numbered, a.ended = true, marker
	o.lastSeq, o.lastTS, o.lastPTS = seq, a.outTS, u.PTS
	a.pace(b, e, now)
}

// numbers are those of a picture that decoders look at.
type numbers struct {
	picture        uint16 // picture id, or AV1's frame number
	level          uint8  // TL0PICIDX
	counts, levels bool   // they are there
}

// numbersOf reads the numbers that the publisher gave.
func numbersOf(u *stream.Unit) (n numbers) {
	n.picture, n.counts = stream.FrameNumber(u.Descriptor)
	p := u.Packet.Payload
	if id := stream.FindPictureID(u.Track.Codec, p); id.At > 0 {
		n.picture, n.counts = readPID(id, p), true
		if n.levels = id.TL0 > 0; n.levels {
			n.level = p[id.TL0]
		}
	}
	return n
}

// numbers are those that the viewer got.
func (e *logged) numbers() numbers {
	n := numbersOf(e.u)
	n.picture += e.pidOff
	n.level += e.tl0Off
	return n
}

// age forgets what happened more than a log ago: numbers of 16 bits tell what is
// earlier only within half their range.
func (a *video) age(seq uint16) {
	if a.older && seq-a.since >= logSize {
		a.older = false
	}
	if int16(seq-a.fresh) >= logSize {
		a.fresh = seq - logSize + 1
	}
}

// precedes says whether seq is a packet from before there was a choice.
func (a *video) precedes(seq uint16) bool { return a.older && int16(seq-a.since) < 0 }

// get returns the packet that the viewer knows by seq, or nil.
func (a *video) get(seq uint16) *logged {
	e := &a.log[seq%logSize]
	if e.u == nil || e.seq != seq {
		return nil
	}
	return e
}

// header is that of the packet as media.
func (e *logged) header(pt uint8, ssrc uint32) rtc.Header {
	return rtc.Header{
		PayloadType: pt, SequenceNumber: e.seq, Timestamp: e.ts, SSRC: ssrc, Marker: e.marker,
		Descriptor: e.u.Descriptor, FrameOffset: e.pidOff,
	}
}

// emit sends a packet for the first time.
func (a *video) emit(b *rtc.Batch, e *logged, now time.Time) {
	o := a.o
	pt, _, ok := o.types(e.u.Track)
	if !ok {
		return
	}
	h := e.header(pt, o.ssrc)
	n := len(e.u.Packet.Payload)
	a.count(&h, n, now, false)
	e.tseq = h.TransportSeq
	var scratch [descriptorBytes]byte
	prefix, payload := e.renumber(scratch[:0])
	b.Write(a.v.peer, h, prefix, payload)
	o.packets++
	o.octets += uint32(n)
}

// count gives a packet its transport-wide number.
func (a *video) count(h *rtc.Header, bytes int, now time.Time, probe bool) {
	a.pacer.sent += bytes
	if a.est == nil {
		return
	}
	a.tseq++
	h.Transport, h.TransportSeq = true, a.tseq
	a.est.Sent(a.tseq, bytes, now, probe)
}

// again sends a packet once more, as RTX (RFC 4588) where negotiated. It reports
// false if it cannot.
func (a *video) again(b *rtc.Batch, e *logged, now time.Time, probe bool) bool {
	o := a.o
	pt, rtxPT, ok := o.types(e.u.Track)
	if !ok {
		return false
	}
	h := e.header(pt, o.ssrc)
	var scratch [descriptorBytes + 2]byte
	if rtxPT == 0 || o.rtxSSRC == 0 {
		// SRTP must not see two packets of one number: it is the same to the last bit.
		if probe {
			return false
		}
		h.Transport, h.TransportSeq = a.est != nil, e.tseq
		prefix, payload := e.renumber(scratch[:0])
		b.Write(a.v.peer, h, prefix, payload)
		return true
	}
	h.PayloadType, h.SSRC, h.SequenceNumber = rtxPT, o.rtxSSRC, o.rtxSeq
	o.rtxSeq++
	a.count(&h, len(e.u.Packet.Payload), now, probe)
	prefix, payload := e.renumber(append(scratch[:0], byte(e.seq>>8), byte(e.seq)))
	b.Write(a.v.peer, h, prefix, payload)
	return true
}

// descriptorBytes is more than the part of a payload descriptor that holds the
// numbers: two bytes, picture id, layer indices, TL0PICIDX.
const descriptorBytes = 8

// renumber appends the head of the payload with the viewer's numbers to prefix,
// and returns the rest of the payload.
func (e *logged) renumber(prefix []byte) (head, rest []byte) {
	p := e.u.Packet.Payload
	if e.pidOff == 0 && e.tl0Off == 0 {
		return prefix, p
	}
	id := stream.FindPictureID(e.u.Track.Codec, p)
	if id.At == 0 {
		return prefix, p
	}
	n := max(id.At+id.Len, id.TL0+1)
	at := len(prefix)
	prefix = append(prefix, p[:n]...)
	head = prefix[at:]
	pid := readPID(id, p) + e.pidOff
	if id.Len == 2 {
		head[id.At], head[id.At+1] = 0x80|byte(pid>>8), byte(pid)
	} else {
		head[id.At] = byte(pid) & 0x7f
	}
	if id.TL0 > 0 {
		head[id.TL0] += e.tl0Off
	}
	return prefix, p[n:]
}

// readPID reads a picture id of 7 or 15 bits.
func readPID(id stream.PictureID, p []byte) uint16 {
	pid := uint16(p[id.At] & 0x7f)
	if id.Len == 2 {
		pid = pid<<8 | uint16(p[id.At+1])
	}
	return pid
}

package stream

import "time"

// line is the continuous sequence of packets of one kind, across publishers. It
// maps what each publisher numbers in its own way onto one numbering.
type line struct {
	track   *Track
	started bool

	seqOff  uint16 // added to the publisher's sequence number
	tsOff   uint32 // added to the publisher's timestamp
	lastSeq uint16 // highest sent on
	lastTS  uint32
	lastPTS time.Duration

	vp8 vp8Line
}

// splice rewrites u to follow what was sent before. It reports false when u
// must not be passed on: video that does not begin with a keyframe.
func (l *line) splice(u *Unit, fresh bool) bool {
	newTrack := fresh || l.track != u.Track
	if newTrack && u.Track.Kind == Video && !u.Keyframe {
		return false
	}
	h := &u.Packet.Header
	switch {
	case !l.started:
		l.started = true
		l.seqOff, l.tsOff = 0, 0
		l.lastPTS = u.PTS
	case fresh:
		l.seqOff = l.lastSeq + 1 - h.SequenceNumber
		l.rebase(u)
	case u.Discontinuity || (l.track != nil && l.track.ClockRate != u.Track.ClockRate):
		l.rebase(u)
	}
	if newTrack || u.Discontinuity {
		u.Discontinuity = u.Discontinuity || l.track != nil
	}
	if u.Track.Codec == VP8 {
		l.vp8.splice(u.Packet.Payload, newTrack)
	}
	if u.PTS < l.lastPTS {
		u.PTS = l.lastPTS
	}
	h.SequenceNumber += l.seqOff
	h.Timestamp += l.tsOff
	if int16(h.SequenceNumber-l.lastSeq) > 0 || newTrack {
		l.lastSeq = h.SequenceNumber
	}
	l.lastTS, l.lastPTS = h.Timestamp, u.PTS
	return true
}

// rebase sets the timestamp offset so that the timestamps advance by just as
// much as PTS does. At least one tick: two access units never share a timestamp
// (a viewer that sees time stand still freezes: measured with Chromium 156).
func (l *line) rebase(u *Unit) {
	elapsed := max(u.PTS-l.lastPTS, 0)
	ticks := uint32(uint64(elapsed) * uint64(u.Track.ClockRate) / uint64(time.Second))
	l.tsOff = l.lastTS + max(ticks, 1) - u.Packet.Timestamp
}

// vp8Line keeps the picture id and TL0PICIDX of the VP8 payload descriptor (RFC
// 7741, section 4.2) continuous across publishers. Without it Chromium stalls
// in 3 of 10 reconnects.
type vp8Line struct {
	started bool
	pidOff  uint16
	tl0Off  uint8
	lastPID uint16
	lastTL0 uint8
}

// splice rewrites the descriptor at the head of payload in place. Descriptors
// too short to hold what they announce are left alone.
func (v *vp8Line) splice(payload []byte, fresh bool) {
	pidAt, pidLen, tl0At := vp8Fields(payload)
	if pidAt == 0 {
		return
	}
	mask := uint16(0x7f)
	pid := uint16(payload[pidAt] & 0x7f)
	if pidLen == 2 {
		mask = 0x7fff
		pid = pid<<8 | uint16(payload[pidAt+1])
	}
	if fresh {
		v.pidOff, v.tl0Off = 0, 0
		if v.started {
			v.pidOff = v.lastPID + 1 - pid
			if tl0At > 0 {
				v.tl0Off = v.lastTL0 + 1 - payload[tl0At]
			}
		}
		v.started = true
	}
	pid = (pid + v.pidOff) & mask
	v.lastPID = pid
	if pidLen == 2 {
		payload[pidAt] = 0x80 | byte(pid>>8)
		payload[pidAt+1] = byte(pid)
	} else {
		payload[pidAt] = byte(pid)
	}
	if tl0At > 0 {
		payload[tl0At] += v.tl0Off
		v.lastTL0 = payload[tl0At]
	}
}

// vp8Fields finds the picture id (offset and length in bytes) and TL0PICIDX in
// a VP8 payload; 0 means absent. Chromium always sends 15-bit picture ids.
func vp8Fields(p []byte) (pidAt, pidLen, tl0At int) {
	if len(p) < 3 || p[0]&0x80 == 0 {
		return 0, 0, 0
	}
	ext, i := p[1], 2
	if ext&0x80 != 0 { // I: picture id
		pidAt, pidLen = i, 1
		if p[i]&0x80 != 0 {
			pidLen = 2
		}
		i += pidLen
		if i > len(p) {
			return 0, 0, 0
		}
	}
	if ext&0x40 != 0 && i < len(p) { // L: TL0PICIDX
		tl0At = i
	}
	return pidAt, pidLen, tl0At
}

package stream

import "time"

// line is the continuous sequence of packets of one kind, across publishers. It
// maps what each publisher numbers in its own way onto one numbering.
type line struct {
	track   *Track
	layer   uint8 // of the last unit
	ended   bool  // the last unit had the marker
	started bool

	seqOff  uint16 // added to the publisher's sequence number
	tsOff   uint32 // added to the publisher's timestamp
	lastSeq uint16 // highest sent on
	lastTS  uint32
	lastPTS time.Duration

	ids    pictureIDs
	frames frameNumbers
}

// splice rewrites u to follow what was sent before. It reports false when u
// must not be passed on: video that does not begin with a keyframe.
func (l *line) splice(u *Unit, fresh bool) bool {
	newTrack := fresh || l.track != u.Track
	other := newTrack || l.layer != u.Layer
	if other && u.Track.Kind == Video && !u.Keyframe {
		return false
	}
	h := &u.Packet.Header
	switch {
	case !l.started:
		l.started = true
		l.seqOff, l.tsOff = 0, 0
		l.lastPTS = u.PTS
	case newTrack:
		// What came before the keyframe was not passed on; it must not look lost.
		l.seqOff = l.lastSeq + 1 - h.SequenceNumber
		l.rebase(u)
	case other:
		l.cross(u)
	case u.Discontinuity:
		l.rebase(u)
	}
	if newTrack || u.Discontinuity {
		u.Discontinuity = u.Discontinuity || l.track != nil
	}
	l.ids.splice(u.Track.Codec, u.Packet.Payload, other)
	if u.Descriptor != nil {
		l.frames.splice(u.Descriptor, other)
	}
	if u.PTS < l.lastPTS {
		u.PTS = l.lastPTS
	}
	h.SequenceNumber += l.seqOff
	h.Timestamp += l.tsOff
	if int16(h.SequenceNumber-l.lastSeq) > 0 || other {
		l.lastSeq = h.SequenceNumber
	}
	l.lastTS, l.lastPTS = h.Timestamp, u.PTS
	l.layer, l.ended = u.Layer, h.Marker
	return true
}

// cross goes over to another layer of the same track. If the picture before is
// not whole, one number is left out: else its beginning passed for all of it.
func (l *line) cross(u *Unit) {
	l.seqOff = l.lastSeq + 1 - u.Packet.SequenceNumber
	if !l.ended {
		l.seqOff++
	}
	// Both layers may show the same moment, or nearly so; two pictures of one PTS
	// have no order.
	u.PTS = max(u.PTS, l.lastPTS+crossStep)
	l.rebase(u)
}

// crossStep is the least time between the last picture of a layer and the first
// of the next: more than the finest step of those who store milliseconds.
const crossStep = 2 * time.Millisecond

// rebase sets the timestamp offset so that the timestamps advance by just as
// much as PTS does. At least one tick: two access units never share a timestamp
// (a viewer that sees time stand still freezes: measured with Chromium 156).
func (l *line) rebase(u *Unit) {
	elapsed := max(u.PTS-l.lastPTS, 0)
	ticks := uint32(uint64(elapsed) * uint64(u.Track.ClockRate) / uint64(time.Second))
	l.tsOff = l.lastTS + max(ticks, 1) - u.Packet.Timestamp
}

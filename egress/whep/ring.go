package whep

import (
	"time"

	"github.com/lectern/lectern/stream"
)

// Sizes of the rings, packets. Powers of two, so that 65536 is a multiple.
const (
	videoRing = 2048 // about 7 s of 2.5 Mbit/s
	audioRing = 256  // about 5 s
)

// ring holds the latest packets of one kind by sequence number. It shares them.
type ring struct {
	units   []*stream.Unit
	last    uint16
	started bool

	key   uint16 // where the newest keyframe begins
	keyed bool
	bytes int // since key
}

func (r *ring) init(size int) { r.units = make([]*stream.Unit, size) }

func (r *ring) add(u *stream.Unit) {
	seq := u.Packet.SequenceNumber
	first := r.get(r.key)
	if u.Keyframe && (!r.keyed || first == nil || first.Packet.Timestamp != u.Packet.Timestamp) {
		r.key, r.keyed, r.bytes = seq, true, 0
	}
	r.bytes += len(u.Packet.Payload)
	r.units[int(seq)%len(r.units)] = u
	r.last, r.started = seq, true
	if r.keyed && int(r.last-r.key) >= len(r.units) {
		r.keyed = false // overwritten
	}
}

// get returns the packet with sequence number seq, or nil.
func (r *ring) get(seq uint16) *stream.Unit {
	u := r.units[int(seq)%len(r.units)]
	if u == nil || u.Packet.SequenceNumber != seq {
		return nil
	}
	return u
}

// sinceKeyframe returns the packets from the newest keyframe on, in order, or
// nil if that is too long ago or too much.
func (r *ring) sinceKeyframe(now time.Time) []*stream.Unit {
	if !r.keyed || r.bytes > replayBytes {
		return nil
	}
	first := r.get(r.key)
	if first == nil || now.Sub(first.Arrival) > replayAge {
		return nil
	}
	out := make([]*stream.Unit, 0, int(r.last-r.key)+1)
	for seq := r.key; ; seq++ {
		if u := r.get(seq); u != nil {
			out = append(out, u)
		}
		if seq == r.last {
			return out
		}
	}
}

package ingest

import (
	"time"

	"github.com/lectern/lectern/stream"
	"github.com/lectern/lectern/stream/frame"
)

const (
	// A layer has stopped when it has been silent for stopAfter, or three of its
	// usual intervals up to stopMost, and another layer brought stopPictures
	// meanwhile. A still screen, or a network that holds all up, stops none.
	stopAfter    = 250 * time.Millisecond
	stopMost     = 450 * time.Millisecond
	stopPictures = 3

	// A timestamp further back than this, in ticks of 90 kHz, is no late packet
	// but another numbering.
	oldTicks = 10 * 90000
)

// flow is how the pictures of a layer come in, as they arrive: not held up by
// packets that are missing.
type flow struct {
	on    bool
	since time.Time // on since then

	started  bool
	seq      uint16    // highest
	ts       uint32    // of the newest picture
	heard    time.Time // when the newest packet of the newest picture came
	every    time.Duration
	pictures uint32
	seen     [stream.MaxLayers]uint32 // pictures of the other layers, at the newest of this one
}

// push notes a packet and says whether a picture begins with it. Packets without
// media and those sent again do not count: browsers probe their bandwidth with
// both, on layers that have stopped too.
func (f *flow) push(p Packet) bool {
	if frame.Empty(p.Format.Codec, p.Payload) {
		return false
	}
	if !f.started {
		f.started, f.every = true, 0
		f.begin(p)
		return true
	}
	ahead := int16(p.SequenceNumber - f.seq)
	ticks := int32(p.Timestamp - f.ts)
	switch {
	case ticks > 0, ticks < -oldTicks:
		gap := min(p.Arrival.Sub(f.heard), time.Second)
		if f.every == 0 {
			f.every = gap
		}
		f.every += (gap - f.every) / 8
		f.begin(p)
		return true
	case ticks == 0 && ahead > 0:
		f.seq, f.heard = p.SequenceNumber, p.Arrival
	}
	return false
}

func (f *flow) begin(p Packet) {
	f.seq, f.ts, f.heard = p.SequenceNumber, p.Timestamp, p.Arrival
	f.pictures++
}

// stopped says whether the layer has stopped, judged by a picture of another.
func (f *flow) stopped(other *input, now time.Time) bool {
	silent := now.Sub(f.heard)
	return silent > min(max(stopAfter, 3*f.every), stopMost) &&
		other.flow.pictures-f.seen[other.layer] >= stopPictures
}

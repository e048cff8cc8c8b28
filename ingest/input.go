package ingest

import (
	"sync/atomic"
	"time"

	"github.com/lectern/lectern/stream"
)

// input is what a publisher announced of one kind: its sound, its picture, or
// one layer of its picture. Its sources come one after the other, each with a
// lane. Except for the atomics it is guarded by the lock of the Publisher.
type input struct {
	p     *Publisher
	kind  stream.Kind
	layer int    // index into Config.Layers
	id    string // of the layer; "" if there are none

	pub  *stream.Publication // what it writes to; set by Start
	lane *lane               // of the present source, nil before the first packet
	area int                 // of the newest keyframe, in pixels; of layers only
	flow flow                // of layers only

	source, main *stream.Track // of the layer, and for it of the main stream

	pli  atomic.Bool // a keyframe is to be asked for
	asks atomic.Uint64
}

// newInputs returns the sound and, from index 1 on, the picture or its layers.
func newInputs(p *Publisher, layers []string) []*input {
	out := []*input{{p: p, kind: stream.Audio}}
	if len(layers) == 0 {
		return append(out, &input{p: p, kind: stream.Video})
	}
	for i, id := range layers {
		out = append(out, &input{p: p, kind: stream.Video, layer: i, id: id})
	}
	return out
}

// ask asks for a keyframe. It does not block.
func (in *input) ask() {
	in.pli.Store(true)
	in.p.wake()
}

// write takes the units of the lane.
func (in *input) write(u *stream.Unit) error {
	if in.id != "" {
		return in.p.selector.write(in, u)
	}
	return in.pub.Write(u)
}

// open returns the lane of a source, or nil if its packets must be dropped.
func (in *input) open(f *Format, ssrc uint32, arrival time.Time) *lane {
	old := in.lane
	if old != nil && old.ssrc == ssrc {
		return old
	}
	if old != nil && arrival.Sub(old.heard) < silentSource {
		return nil
	}
	p := in.p
	nack := p.cfg.NACK[in.kind]
	l := &lane{in: in, ssrc: ssrc}
	if old != nil {
		old.flush()
		p.timeline.Remove(old.clock)
		l.before, l.spliced = old.total(), true
		l.recv = NewReceiver(ReceiverConfig{NACK: nack, NextSeq: old.recv.NextSeq(), Out: l.order})
	} else {
		if in.id != "" {
			in.pli.Store(false) // a layer begins with a keyframe of itself
		}
		l.recv = NewReceiver(ReceiverConfig{NACK: nack, Out: l.order})
	}
	l.clock = p.timeline.newClock(f.ClockRate, l.write, p.sibling(in))
	in.lane = l
	in.flow.started = false
	return l
}

// sibling is the clock of another layer that flows, or nil.
func (p *Publisher) sibling(in *input) *Clock {
	for _, o := range p.inputs {
		if o != in && o.kind == in.kind && o.lane != nil && o.flow.on {
			return o.lane.clock
		}
	}
	return nil
}

// stats are the counters of all sources.
func (in *input) stats() Stats {
	l := in.lane
	if l == nil {
		return Stats{KeyframeRequests: in.asks.Load()}
	}
	s := Stats{
		ReceiverStats:    l.total(),
		SSRC:             l.ssrc,
		Jitter:           l.recv.Jitter(l.format),
		KeyframeRequests: in.asks.Load(),
	}
	if l.track != nil {
		s.Codec = l.track.Codec
	}
	return s
}

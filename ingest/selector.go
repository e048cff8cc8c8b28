package ingest

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/pion/rtp"

	"github.com/lectern/lectern/stream"
)

const (
	// upAfter is how long a better layer must have flowed before the main stream
	// goes up to it, and how long the main stream must have been there before
	// that is required.
	upAfter = time.Second

	// anyAfter is how long the keyframe of the best layer that is left is waited
	// for; then that of any other will do.
	anyAfter = 200 * time.Millisecond

	// A keyframe of the next layer waits for the end of the picture under way,
	// within these bounds.
	turnAfter   = 50 * time.Millisecond
	turnPackets = 256

	// A rate must be larger by this to be better, where sizes do not tell.
	betterRate = 1.5

	nothing = -1 // no layer is carried
)

// selector brings the best layer that flows to the main stream. It goes from one
// to the other at keyframes and between pictures only. Except for the atomic it
// is guarded by the lock of the Publisher.
type selector struct {
	p       *Publisher
	layers  []*input
	carried atomic.Int32 // index into layers, or nothing

	cur   *input        // which is carried; nil before the first keyframe
	want  *input        // to which it goes at the next keyframe, or nil
	begun time.Time     // when the main stream got its first keyframe
	left  time.Time     // when cur was found to have stopped
	track *stream.Track // of the main stream, the newest
	ts    uint32        // of the newest unit of the main stream
	ended bool          // it had the marker

	next    *input // whose keyframe waits for the end of a picture of cur
	waiting []*stream.Unit
}

func newSelector(p *Publisher, layers []*input) *selector {
	s := &selector{p: p, layers: layers}
	s.carried.Store(nothing)
	return s
}

// requestKeyframe asks the layer that is carried, by its stream, which limits
// the rate; before the first keyframe all of them. It may be called from any
// goroutine once the Publisher has started.
func (s *selector) requestKeyframe() {
	if i := s.carried.Load(); i != nothing {
		s.layers[i].pub.Stream().RequestKeyframe()
		return
	}
	for _, in := range s.layers {
		in.pub.Stream().RequestKeyframe()
	}
}

// arrived notes a packet of a layer as it came from the network.
func (s *selector) arrived(in *input, p Packet) {
	if !in.flow.push(p) {
		return
	}
	f := &in.flow
	if !f.on {
		f.on, f.since = true, p.Arrival
	}
	for _, o := range s.layers {
		f.seen[o.layer] = o.flow.pictures
		if o != in && o.flow.on && o.flow.stopped(in, p.Arrival) {
			o.flow.on = false
			if o == s.cur {
				s.left = p.Arrival
			}
			o.pub.Pause()
		}
	}
	s.choose(p.Arrival)
}

// choose decides where to go, and asks for the keyframe to go there with. It is
// called for every picture that comes: the stream limits the rate of requests.
func (s *selector) choose(now time.Time) {
	s.want = nil
	if s.cur == nil {
		return
	}
	for _, in := range s.layers {
		switch {
		case in == s.cur || !in.flow.on:
		case s.cur.flow.on && (!s.better(in, s.cur) || !s.steady(in, now)):
		case s.want == nil || s.better(in, s.want):
			s.want = in
		}
	}
	if s.want != nil && s.next == nil {
		s.want.pub.Stream().RequestKeyframe()
	}
}

// steady says whether a layer has flowed for long enough to go up to.
func (s *selector) steady(in *input, now time.Time) bool {
	return in.flow.on && now.Sub(in.flow.since) >= upAfter
}

// better says whether layer a has a larger picture than b, or else more data.
func (s *selector) better(a, b *input) bool {
	if a.area != b.area {
		return a.area > b.area
	}
	ra, rb := a.pub.Stream().Rate(), b.pub.Stream().Rate()
	switch {
	case ra > rb*betterRate:
		return true
	case rb > ra*betterRate:
		return false
	}
	return a.layer > b.layer
}

// takes says whether the main stream goes over to layer in with u, a keyframe.
func (s *selector) takes(in *input, u *stream.Unit) bool {
	switch {
	case !u.Keyframe:
		return false
	case s.cur == nil:
		return true
	case !s.cur.flow.on:
		return in == s.want || s.want == nil || u.Arrival.Sub(s.left) >= anyAfter
	}
	return s.better(in, s.cur) && (s.steady(in, u.Arrival) || u.Arrival.Sub(s.begun) < upAfter)
}

// write brings a unit of a layer to its readers, and to the main stream if it is
// of the layer that this carries.
func (s *selector) write(in *input, u *stream.Unit) error {
	if u.Width > 0 {
		in.area = int(u.Width) * int(u.Height)
	}
	var main *stream.Unit
	if in == s.cur || in == s.next || s.takes(in, u) {
		main = s.copyOf(in, u)
	}
	if err := in.pub.Write(u); err != nil {
		return err
	}
	if !in.flow.on {
		in.pub.Pause() // it was a packet that had waited
	}
	if main == nil {
		return nil
	}
	return s.feed(in, main)
}

// copied is a unit with its packet, in one piece of memory.
type copied struct {
	unit   stream.Unit
	packet rtp.Packet
}

// copyOf returns a copy of u for the main stream, which numbers in its own way.
// The payload is shared where no stream writes to it: only VP8 and VP9 have
// numbers in there, AV1 in its descriptor.
func (s *selector) copyOf(in *input, u *stream.Unit) *stream.Unit {
	c := &copied{unit: *u, packet: *u.Packet}
	c.unit.Packet = &c.packet
	c.unit.Layer = uint8(in.layer)
	c.unit.Track = s.trackOf(in, u.Track)
	if u.Track.Codec == stream.VP8 || u.Track.Codec == stream.VP9 {
		c.packet.Payload = slices.Clone(u.Packet.Payload)
	}
	c.unit.Descriptor = slices.Clone(u.Descriptor)
	return &c.unit
}

// trackOf returns the track of the main stream for one of a layer. It stays the
// same across layers, as long as they are coded alike; another track of the
// layer that is carried is another source, and so another track.
func (s *selector) trackOf(in *input, t *stream.Track) *stream.Track {
	carried := in == s.cur || in == s.next
	if carried && in.source == t {
		return in.main
	}
	alike := s.track != nil && s.track.Codec == t.Codec && s.track.ClockRate == t.ClockRate && s.track.FMTP == t.FMTP
	if carried || !alike {
		s.track = s.p.newTrack(t.Kind, in.lane.format)
	}
	in.source, in.main = t, s.track
	return s.track
}

// feed writes u, a copy that belongs to cur, to next, or to the one that becomes it.
func (s *selector) feed(in *input, u *stream.Unit) error {
	switch {
	case in == s.next:
		s.waiting = append(s.waiting, u)
		if len(s.waiting) < turnPackets && u.Arrival.Sub(s.waiting[0].Arrival) < turnAfter {
			return nil
		}
		return s.turn()
	case in == s.cur && s.next != nil && u.Packet.Timestamp != s.ts:
		return s.turn() // the picture before is over, and this one is not wanted
	case in == s.cur:
		err := s.pass(u)
		if err == nil && s.ended && s.next != nil {
			return s.turn()
		}
		return err
	case s.cur != nil && s.cur.flow.on && !s.ended:
		s.next, s.waiting = in, append(s.waiting[:0], u)
		return nil
	}
	s.carry(in, u.Arrival)
	return s.pass(u)
}

// turn goes over to the layer whose keyframe waits.
func (s *selector) turn() error {
	s.carry(s.next, s.waiting[0].Arrival)
	s.next = nil
	defer func() { clear(s.waiting) }()
	for _, u := range s.waiting {
		if err := s.pass(u); err != nil {
			return err
		}
	}
	return nil
}

// flush writes what waits.
func (s *selector) flush() {
	if s.next != nil {
		// The publication has ended or will now: its error is known then.
		_ = s.turn()
	}
}

func (s *selector) carry(in *input, now time.Time) {
	if s.cur == nil {
		s.begun = now
	}
	s.cur, s.want = in, nil
	s.carried.Store(int32(in.layer))
}

func (s *selector) pass(u *stream.Unit) error {
	s.ts, s.ended = u.Packet.Timestamp, u.Packet.Marker
	return s.p.pub.Write(u)
}

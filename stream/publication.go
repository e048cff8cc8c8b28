package stream

import (
	"fmt"
	"time"
)

// Source is what a way in hands to Publish.
type Source struct {
	// Kinds are those that the publisher announced. A reader that must know all
	// tracks before it begins waits for these.
	Kinds []Kind

	// Layers are the ids of the layers that the publisher announced; nil if it
	// sends one quality only. Publication.Layer publishes them.
	Layers []string

	// RequestKeyframe asks the publisher for a keyframe. It is called without
	// locks of the stream, from any goroutine, that of Write included, and must
	// not block, nor take a lock that is held during Write. Nil: cannot be asked.
	RequestKeyframe func()
}

// Publication is the hold of one publisher on a Stream. Write must not be
// called by two goroutines at once for the same kind of track.
type Publication struct {
	s     *Stream
	src   Source
	since time.Time
	done  chan struct{}

	// What follows is guarded by s.mu.
	fresh  [2]bool // kind has not yet written in this publication
	paused bool    // see Pause
	layers []*Publication
	err    error // why it ended
}

// Publish takes the stream for a new publisher. A publication that holds it at
// this moment ends with ErrReplaced: the caller has decided who may do that.
func (s *Stream) Publish(src Source) (*Publication, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrClosed
	}
	if s.pub != nil {
		s.pub.endLocked(ErrReplaced)
	}
	p := &Publication{s: s, src: src, since: s.now(), done: make(chan struct{}), fresh: [2]bool{true, true}}
	if s.pub == nil {
		s.since = p.since
	}
	s.pub = p
	s.gate.openLocked(src.RequestKeyframe)
	s.keepLayersLocked(src.Layers)
	s.changedLocked()
	return p, nil
}

// Kinds are those that the present publisher announced; nil without publisher.
func (s *Stream) Kinds() []Kind {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pub == nil {
		return nil
	}
	return s.pub.src.Kinds
}

// Since is when the publisher came.
func (p *Publication) Since() time.Time { return p.since }

// Stream is what the publisher holds.
func (p *Publication) Stream() *Stream { return p.s }

// Done is closed when the publication has ended; Err then tells why.
func (p *Publication) Done() <-chan struct{} { return p.done }

// Err tells why the publication ended: ErrReplaced, ErrClosed, or nil while it
// lasts.
func (p *Publication) Err() error {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	return p.err
}

// Close gives the stream back. Its readers stay and wait for the next
// publisher. It is idempotent.
func (p *Publication) Close() {
	p.s.mu.Lock()
	ends := p.err == nil
	if ends {
		p.endLocked(ErrClosed)
		p.s.changedLocked()
	}
	p.s.mu.Unlock()
	if ends {
		p.s.tellParent()
	}
}

func (p *Publication) endLocked(why error) {
	p.err = why
	close(p.done)
	if p.s.pub == p {
		p.s.pub, p.s.since = nil, p.s.now()
		p.s.gate.openLocked(nil)
	}
	p.endLayersLocked(why)
}

// Write hands u to every Reader. It never blocks: a Reader whose queue is full
// loses u and, for video, all that follows up to the next keyframe.
//
// The stream takes u, its Packet and its payload, and rewrites sequence number,
// timestamp and VP8 picture id in place so that they go on from the publisher
// before. Video before the first keyframe of a publication, of a new Track or of
// another Unit.Layer is not passed on.
// It returns ErrReplaced or ErrClosed once the publication has ended.
func (p *Publication) Write(u *Unit) error {
	s := p.s
	s.mu.Lock()
	if p.err != nil {
		s.mu.Unlock()
		return p.err
	}
	kind := u.Track.Kind
	ln := &s.lines[kind]
	if !ln.splice(u, p.fresh[kind]) {
		ask := s.gate.askLocked(s.now())
		s.mu.Unlock()
		call(ask)
		return nil
	}
	begins := p.fresh[kind] || ln.track != u.Track
	if begins {
		p.fresh[kind] = false
		ln.track = u.Track
	}
	changed := s.countLocked(u) || begins || p.paused
	if changed {
		p.paused = false
		s.changedLocked()
	}
	s.cache.add(u)
	ask := s.pushLocked(u)
	eager := s.eager
	s.mu.Unlock()
	call(ask)
	for _, r := range eager {
		r.callReady()
	}
	if changed {
		s.tellParent()
	}
	if begins {
		s.log.Info("track began", "stream", s.name, "track", u.Track.ID, "codec", string(u.Track.Codec))
	}
	return nil
}

// countLocked says whether the picture has another size now.
func (s *Stream) countLocked(u *Unit) bool {
	s.stats.Units++
	s.stats.Bytes += uint64(len(u.Packet.Payload))
	if u.Keyframe && u.Track.Kind == Video {
		s.stats.Keyframes++
		s.gate.gotLocked(u.Arrival)
	}
	s.meter.add(u.Arrival.Sub(s.origin), len(u.Packet.Payload))
	return s.meter.sized(u)
}

// pushLocked queues u at every reader and returns the keyframe request that is
// due, if any.
func (s *Stream) pushLocked(u *Unit) func() {
	var every time.Duration
	for _, r := range s.readers {
		r.push(u)
		if e := r.opts.KeyframeEvery; e > 0 && (every == 0 || e < every) {
			every = e
		}
	}
	if u.Track.Kind != Video {
		return nil
	}
	if (every > 0 && s.gate.sinceKeyframe(u.Arrival) >= every) || s.gate.unanswered(u.Arrival) {
		return s.gate.askLocked(s.now())
	}
	return nil
}

func call(f func()) {
	if f != nil {
		f()
	}
}

// String names the publication for logs.
func (p *Publication) String() string { return fmt.Sprintf("publication of %s", p.s.name) }

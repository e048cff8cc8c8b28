package room

import (
	"fmt"
	"time"

	"github.com/lectern/lectern/stream"
)

// The states in stream events.
const (
	streamLive  = "live"
	streamLost  = "lost"  // may come back
	streamEnded = "ended" // the publisher has left
)

// Hold is a publisher's hold of a slot. Its methods may be called from any
// goroutine.
type Hold struct {
	r    *Room
	id   Identity
	slot string
	s    *stream.Stream
	pub  *stream.Publication
}

// Publication is where the publisher writes. It ends with stream.ErrReplaced
// when the same person publishes from another session.
func (h *Hold) Publication() *stream.Publication { return h.pub }

// Stream is what is published.
func (h *Hold) Stream() *stream.Stream { return h.s }

// PublishOption changes how Publish takes a slot.
type PublishOption func(*publishing)

// publishing is what the options of one Publish say.
type publishing struct{ takeOver bool }

// TakeOver takes the slot from whoever holds it, if on, which needs the right to
// lead the room. It changes nothing for a slot that is free, or the person's own.
func TakeOver(on bool) PublishOption { return func(p *publishing) { p.takeOver = on } }

// Publish gives a slot to a publisher, and begins a class if none is on. The
// person who holds the slot already takes it over from the other session, and
// so does who leads the room and asks with TakeOver; the readers stay.
// Publications that lose the slot end with stream.ErrReplaced. Errors:
// ErrForbidden, ErrSlotTaken, ErrBadName, ErrTooMany, ErrClosed. The caller must
// Release.
func (r *Room) Publish(id Identity, slot string, src stream.Source, opts ...PublishOption) (*Hold, error) {
	if !id.claims().MayPublishTo(r.name, slot) {
		return nil, ErrForbidden
	}
	var how publishing
	for _, o := range opts {
		o(&how)
	}
	defer r.lockTurn()()
	if r.refused() {
		return nil, ErrClosed
	}
	r.mu.Lock()
	before := r.holds[slot]
	r.mu.Unlock()
	if err := r.mayReplace(before, id, how); err != nil {
		return nil, err
	}
	// Watchers may have used up the slots that they can make.
	s, err := r.streamOf(slot, 2*r.cfg.Limits.Slots)
	if err != nil {
		return nil, err
	}
	pub, err := s.Publish(src)
	if err != nil {
		return nil, fmt.Errorf("taking stream %s: %w", s.Name(), err)
	}
	h := &Hold{r: r, id: id, slot: slot, s: s, pub: pub}
	resumed := r.hold(h)
	r.log.Info("publisher came", "stream", slot)
	r.afterPublish(h, before != nil, resumed)
	return h, nil
}

// mayReplace says whether id may take the slot that before, if not nil, holds.
func (r *Room) mayReplace(before *Hold, id Identity, how publishing) error {
	switch {
	case before == nil || before.id.ID == id.ID:
		return nil
	case !how.takeOver:
		return ErrSlotTaken
	case !id.claims().MayLead(r.name):
		return ErrForbidden
	}
	r.log.Info("publisher taken over", "stream", before.slot)
	return nil
}

// hold enters h, and says whether an interrupted class goes on with it.
func (r *Room) hold(h *Hold) (resumed bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.holds[h.slot] = h
	delete(r.lost, h.slot)
	if r.class == nil {
		return false
	}
	resumed = r.class.interrupted
	r.class.interrupted, r.class.emptySince = false, time.Time{}
	return resumed
}

// afterPublish tells what the new publisher means for the class.
func (r *Room) afterPublish(h *Hold, takeover, resumed bool) {
	_, on := r.Class()
	switch {
	case !on:
		r.begin(OriginWHIP, h.id.ID, ClassOptions{Record: true})
		r.save()
	case resumed:
		r.announce(r.classEvent("resumed", h.id.ID, ""))
		r.recordStreams()
	default:
		r.recordStreams()
	}
	if !takeover {
		r.announce(Event{Type: TypeStream, By: h.id.ID, Slot: h.slot, State: streamLive})
	}
	r.nudge()
}

// Release gives the slot back. clean says that the publisher has left on
// purpose; else it may come back within Config.Grace. After a takeover, and the
// second time, it does nothing.
func (h *Hold) Release(clean bool) {
	r := h.r
	defer r.lockTurn()()
	h.pub.Close()
	if r.hub.draining.Load() {
		clean = false
	}
	if !r.unhold(h, clean) {
		return
	}
	state := streamLost
	if clean {
		state = streamEnded
	}
	r.log.Info("publisher went", "stream", h.slot, "clean", clean)
	r.announce(Event{Type: TypeStream, By: h.id.ID, Slot: h.slot, State: state})
	r.afterRelease(h, clean)
	r.nudge()
}

// unhold removes h and says whether it was there.
func (r *Room) unhold(h *Hold, clean bool) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.holds[h.slot] != h {
		return false
	}
	delete(r.holds, h.slot)
	r.usedAt = time.Now()
	if !clean {
		r.lost[h.slot] = r.usedAt
	}
	return true
}

// afterRelease interrupts or ends the class if nobody publishes any more.
func (r *Room) afterRelease(h *Hold, clean bool) {
	now := time.Now()
	r.mu.Lock()
	c := r.class
	if c == nil || len(r.holds) > 0 {
		r.mu.Unlock()
		return
	}
	c.interrupted, c.emptySince = true, now
	over := !now.Before(r.classEndLocked())
	r.mu.Unlock()
	why := WhyPublisherLost
	if clean {
		why = WhyPublisherLeft
	}
	if over {
		r.end(h.id.ID, why)
		return
	}
	r.announce(r.classEvent(StateInterrupted, h.id.ID, why))
	r.save()
}

// classEndLocked is when the class, which nobody publishes to, ends by itself.
func (r *Room) classEndLocked() time.Time {
	if r.class.Origin == OriginStudio {
		return r.class.emptySince.Add(r.cfg.Idle)
	}
	var last time.Time
	for _, at := range r.lost {
		if at.After(last) {
			last = at
		}
	}
	if last.IsZero() {
		return r.class.emptySince
	}
	return last.Add(r.cfg.Grace)
}

package room

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// keep watches the clock for the room until it is dropped or closed.
func (r *Room) keep() {
	defer r.close()
	timer := time.NewTimer(0)
	defer timer.Stop()
	var saved time.Time
	for {
		lec, failed := r.failed()
		select {
		case <-r.ctx.Done():
			return
		case <-failed:
			r.recordingFailed(lec)
		case <-r.wake:
		case <-timer.C:
		}
		now := time.Now()
		r.tellPeople(now)
		r.endOverdue()
		if on := r.on(); on && now.Sub(saved) >= heartbeat {
			r.beat()
			saved = now
		}
		if r.hub.drop(r) {
			return
		}
		if next := r.next(saved); next.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(time.Until(next))
		}
	}
}

// next is when the keeper has something to do; zero: when something changes.
func (r *Room) next(saved time.Time) time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	next := r.people.due()
	sooner := func(t time.Time) {
		if next.IsZero() || t.Before(next) {
			next = t
		}
	}
	if r.class != nil {
		sooner(saved.Add(heartbeat))
		if len(r.holds) == 0 {
			sooner(r.classEndLocked())
		}
	}
	if r.unusedLocked() {
		sooner(r.usedAt.Add(r.cfg.DropAfter))
	}
	return next
}

func (r *Room) on() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.class != nil
}

// unusedLocked says whether the room could be dropped.
func (r *Room) unusedLocked() bool {
	return !r.closed && r.class == nil && len(r.holds) == 0 && len(r.members) == 0 &&
		len(r.people.byID) == 0 && len(r.viewers) == 0 && len(r.players) == 0
}

// tellPeople announces who came and went.
func (r *Room) tellPeople(now time.Time) {
	r.mu.Lock()
	r.people.sweep(now)
	e, ok := r.people.announcement(now)
	r.mu.Unlock()
	if ok {
		r.announce(e)
	}
}

// endOverdue ends the class if its publishers have been away for too long.
func (r *Room) endOverdue() {
	defer r.lockTurn()()
	r.mu.Lock()
	over := r.class != nil && len(r.holds) == 0 && !time.Now().Before(r.classEndLocked())
	studio := over && r.class.Origin == OriginStudio
	r.mu.Unlock()
	switch {
	case !over, r.hub.draining.Load():
	case studio:
		r.end("", WhyIdle)
	default:
		r.end("", WhyPublisherLost)
	}
}

// beat notes that the class is on at this moment.
func (r *Room) beat() {
	defer r.lockTurn()()
	r.save()
}

// recordingFailed lets go of a recording that has stopped by itself.
func (r *Room) recordingFailed(lec *lecture) {
	defer r.lockTurn()()
	r.mu.Lock()
	running := r.lecture == lec
	r.mu.Unlock()
	if running {
		r.stopLecture(lec, recordingFailed)
	}
}

// shutdown suspends the class, completes its recording and ends the room. See
// Hub.Close.
func (r *Room) shutdown(ctx context.Context) error {
	defer r.stop(ErrClosed)
	unlock := r.lockTurn()
	r.suspend()
	r.mu.Lock()
	lec := r.lecture
	r.mu.Unlock()
	var err error
	if lec != nil {
		// The event before must be in the recording before it is closed.
		if _, _, perr := r.post(ctx, Event{
			Type: TypeRecording, State: recordingSuspended, Lecture: lec.ID(), Why: WhyRestart,
		}, "", func() { r.detach(lec) }); perr != nil {
			r.detach(lec)
		}
		if err = lec.End(ctx); err != nil {
			err = fmt.Errorf("completing recording %s: %w", lec.ID(), err)
		}
	}
	unlock()
	return errors.Join(err, r.await(ctx))
}

// suspend takes the streams from their publishers and keeps the class for a
// restart. The caller has the turn.
func (r *Room) suspend() {
	r.mu.Lock()
	holds := r.holds
	r.holds = make(map[string]*Hold)
	c := r.class
	if c != nil && !c.interrupted {
		c.interrupted, c.emptySince = true, time.Now()
	}
	r.mu.Unlock()
	for _, h := range holds {
		h.pub.Close()
	}
	if c != nil {
		r.announce(r.classEvent(StateInterrupted, "", WhyRestart))
		r.save()
	}
}

// await waits for the recordings of earlier classes.
func (r *Room) await(ctx context.Context) error {
	done := make(chan struct{})
	go func() { // ends with the recordings, at the latest after endTimeout
		r.ends.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("completing recordings: %w", context.Cause(ctx))
	}
}

// close ends what belongs to the room. It is the last act of the keeper.
func (r *Room) close() {
	r.stop(ErrClosed)
	r.gone.Wait()
	r.ends.Wait()
	r.mu.Lock()
	r.closed = true
	members, streams := r.members, r.streams
	r.members = make(map[*Member]struct{})
	r.mu.Unlock()
	for m := range members {
		m.close()
	}
	for _, s := range streams {
		s.Close()
	}
}

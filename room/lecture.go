package room

import (
	"context"
	"maps"
	"time"

	"github.com/lectern/lectern/stream"
)

// The states in recording events.
const (
	recordingOn        = "on"
	recordingOff       = "off"       // the class goes on without
	recordingSuspended = "suspended" // may go on after a restart
	recordingComplete  = "complete"
	recordingFailed    = "failed"
)

// beginLecture begins the recording of c. It returns nil without an error if
// recording is not built in. The caller has the turn.
func (r *Room) beginLecture(c *class, at time.Time) (*lecture, error) {
	if r.cfg.BeginLecture == nil {
		return nil, nil
	}
	l, err := r.cfg.BeginLecture(r.name, c.Title, at)
	if err != nil {
		r.log.Error("class is not recorded", "err", err)
		return nil, err
	}
	r.setLecture(c, l, at)
	return &lecture{Lecture: l, at: at}, nil
}

func (r *Room) setLecture(c *class, l Lecture, at time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c.LectureID, c.Recording, c.lectureAt = l.ID(), true, at
	clear(c.streams)
}

func (r *Room) tellRecording(lec *lecture, err error) {
	switch {
	case err != nil:
		r.announce(Event{Type: TypeRecording, State: recordingFailed, Why: "cannot_begin"})
	case lec != nil:
		r.announce(Event{Type: TypeRecording, State: recordingOn, Lecture: lec.ID()})
	}
}

// recordStreams adds the streams that have a publisher to the recording, each
// once. The caller has the turn.
func (r *Room) recordStreams() {
	r.mu.Lock()
	c, lec := r.class, r.lecture
	add := make(map[string]*stream.Stream)
	if lec != nil && c != nil {
		for slot := range r.holds {
			if !c.streams[slot] {
				add[slot] = r.streams[slot]
			}
		}
		for slot := range add {
			c.streams[slot] = true
		}
	}
	r.mu.Unlock()
	for slot, s := range maps.All(add) {
		if err := lec.AddStream(slot, s); err != nil {
			r.log.Error("stream is not recorded", "stream", slot, "recording", lec.ID(), "err", err)
			r.announce(Event{
				Type: TypeRecording, State: recordingFailed, Slot: slot, Lecture: lec.ID(), Why: "cannot_add_stream",
			})
		}
	}
}

// detach takes lec from the room if it is there: it gets no more events.
func (r *Room) detach(lec *lecture) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if lec == nil || r.lecture != lec {
		return
	}
	r.lecture = nil
	if r.class != nil {
		r.class.Recording = false
	}
}

// stopLecture ends the recording while the class goes on.
func (r *Room) stopLecture(lec *lecture, state string) {
	why := ""
	if err := lec.Err(); err != nil {
		r.log.Error("recording stopped", "recording", lec.ID(), "err", err)
		why = "storage"
	}
	r.announce(Event{Type: TypeRecording, State: state, Lecture: lec.ID(), Why: why})
	r.detach(lec)
	r.ends.Go(func() { r.complete(lec, state != recordingFailed) }) // as in end
}

// complete ends the recording and, with tell, tells the room.
func (r *Room) complete(lec *lecture, tell bool) {
	ctx, cancel := context.WithTimeout(r.ctx, endTimeout)
	defer cancel()
	began := time.Now()
	err := lec.End(ctx)
	if err == nil {
		err = lec.Err()
	}
	e := Event{Type: TypeRecording, State: recordingComplete, Lecture: lec.ID()}
	if err != nil {
		r.log.Error("recording is not complete", "recording", lec.ID(), "err", err)
		e.State, e.Why = recordingFailed, "storage"
	} else {
		r.log.Info("recording complete", "recording", lec.ID(), "dur_ms", time.Since(began).Milliseconds())
	}
	if tell {
		r.announce(e)
	}
}

// failed returns the channel that tells that the running recording has stopped.
func (r *Room) failed() (*lecture, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.lecture == nil {
		return nil, nil
	}
	return r.lecture, r.lecture.Failed()
}

package room

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Restore goes on with the classes that were on when the server stopped: those
// of the studio if that was within Config.Idle, those of a publisher if it was
// within Config.Grace; the publisher then has Config.Grace to come back. The
// others are ended. Call it once, before anybody publishes or joins. An error of
// one room does not keep the others from being restored.
func (h *Hub) Restore(ctx context.Context) error {
	if h.cfg.Classes == nil {
		return nil
	}
	states, err := h.cfg.Classes.LoadClasses(ctx)
	if err != nil {
		return fmt.Errorf("loading classes: %w", err)
	}
	var errs []error
	for name, state := range states {
		if err := h.restore(ctx, name, state); err != nil {
			errs = append(errs, fmt.Errorf("restoring class of room %s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

func (h *Hub) restore(ctx context.Context, name string, state json.RawMessage) error {
	r, err := h.Room(name)
	if err != nil {
		return err
	}
	var s saved
	if err := json.Unmarshal(state, &s); err != nil {
		r.forget()
		return fmt.Errorf("reading its state: %w", err)
	}
	r.resume(ctx, s)
	return nil
}

// resume goes on with the class s, or ends it.
func (r *Room) resume(ctx context.Context, s saved) {
	defer r.lockTurn()()
	now := time.Now()
	c := &class{
		Class: s.Class, record: s.Record, lectureAt: s.LectureAt,
		interrupted: true, emptySince: now, streams: make(map[string]bool),
		over: make(chan struct{}),
	}
	c.Recording = false
	r.mu.Lock()
	r.class = c
	r.lost[DefaultSlot] = now // whichever it was: the time counts
	r.mu.Unlock()
	limit := r.cfg.Grace + heartbeat
	if c.Origin == OriginStudio {
		limit = r.cfg.Idle
	}
	if now.Sub(s.Seen) > limit {
		r.end("", WhyRestart)
		return
	}
	lec, err := r.resumeLecture(ctx, c)
	r.mu.Lock()
	r.lecture = lec
	r.mu.Unlock()
	r.log.Info("class goes on after a restart", "origin", c.Origin, "recording", c.LectureID)
	r.announce(r.classEvent(StateInterrupted, "", WhyRestart))
	r.tellRecording(lec, err)
	r.save()
	r.nudge()
}

// resumeLecture goes on with the recording of c, or with a new one.
func (r *Room) resumeLecture(ctx context.Context, c *class) (*lecture, error) {
	if !c.record {
		return nil, nil
	}
	if r.cfg.ResumeLecture != nil && c.LectureID != "" {
		l, err := r.cfg.ResumeLecture(ctx, c.LectureID)
		if err == nil {
			r.setLecture(c, l, c.lectureAt)
			return &lecture{Lecture: l, at: c.lectureAt}, nil
		}
		r.log.Warn("class goes on in a new recording", "recording", c.LectureID, "err", err)
	}
	return r.beginLecture(c, time.Now())
}

package room

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"strings"
	"time"
)

// The states of a room.
const (
	StateIdle        = "idle"        // no class is on
	StateLive        = "live"        // a class is on
	StateInterrupted = "interrupted" // a class is on, and all its publishers are away
)

// What began a class.
const (
	OriginStudio = "studio" // StartClass: it lasts until EndClass or Config.Idle
	OriginWHIP   = "whip"   // Publish: it ends with its publishers
)

// Why a class ended, in events.
const (
	WhyPublisherLeft = "publisher_left"
	WhyPublisherLost = "publisher_lost" // and did not come back within Config.Grace
	WhyIdle          = "idle"           // Config.Idle
	WhyRestart       = "restart"        // of the server; too long ago when it ends the class
)

const (
	heartbeat   = 5 * time.Second // how old the time in a saved class may be
	saveTimeout = 5 * time.Second
	endTimeout  = 30 * time.Second // for completing a recording
	maxTitle    = 200              // characters
)

// Class is what happens in a room between its beginning and its end.
type Class struct {
	ID        string    `json:"id"`
	Title     string    `json:"title"`
	Origin    string    `json:"origin"` // OriginStudio or OriginWHIP
	StartedAt time.Time `json:"started_at"`
	Recording bool      `json:"recording"`  // at this moment
	LectureID string    `json:"lecture_id"` // of the recording; "" without one
}

// ClassOptions are the wishes of who starts a class.
type ClassOptions struct {
	Title  string
	Record bool
}

// class is the class that is on. It is guarded by the room, changed with the
// turn only.
type class struct {
	Class
	record      bool      // wished for
	interrupted bool      // all publishers are away, after there was one
	emptySince  time.Time // when the last publisher went; zero: one is here
	lectureAt   time.Time // t = 0 of the recording
	streams     map[string]bool
	over        chan struct{} // closed when the class ends
}

// saved is a class in the ClassStore.
type saved struct {
	Class
	Record    bool      `json:"record"`
	LectureAt time.Time `json:"lecture_at"`
	Seen      time.Time `json:"seen"` // when the class was on for certain
}

// lecture is the recording of the class that is on.
type lecture struct {
	Lecture
	at time.Time // t = 0
}

// Class returns the class that is on.
func (r *Room) Class() (Class, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.class == nil {
		return Class{}, false
	}
	return r.class.Class, true
}

// ClassOver returns a channel that is closed when the class that is on ends: for
// those who watch and would else wait for ever. It is nil without a class.
func (r *Room) ClassOver() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.class == nil {
		return nil
	}
	return r.class.over
}

// StartClass begins a class that lasts until EndClass, or makes the one that a
// publisher has begun last so long. Errors: ErrForbidden, ErrClosed, and
// ErrClassRunning with the class that is on.
func (r *Room) StartClass(by Identity, o ClassOptions) (Class, error) {
	if !by.claims().MayLead(r.name) {
		return Class{}, ErrForbidden
	}
	defer r.lockTurn()()
	if r.refused() {
		return Class{}, ErrClosed
	}
	o.Title = cleanName(o.Title, maxTitle)
	c, on := r.Class()
	switch {
	case !on:
		r.begin(OriginStudio, by.ID, o)
	case c.Origin == OriginStudio:
		return c, ErrClassRunning
	default:
		r.adopt(by.ID, o)
	}
	r.save()
	r.nudge()
	c, _ = r.Class()
	return c, nil
}

// EndClass ends the class that is on, and completes its recording in the
// background. Publishers stay. Errors: ErrForbidden, ErrNoClass.
func (r *Room) EndClass(by Identity, why string) error {
	if !by.claims().MayLead(r.name) {
		return ErrForbidden
	}
	defer r.lockTurn()()
	if _, on := r.Class(); !on {
		return ErrNoClass
	}
	r.end(by.ID, cleanName(why, maxTitle))
	return nil
}

// begin starts a class. The caller has the turn.
func (r *Room) begin(origin, by string, o ClassOptions) {
	now := time.Now()
	c := &class{
		Class:   Class{ID: strings.ToLower(rand.Text()), Title: o.Title, Origin: origin, StartedAt: now},
		record:  o.Record && !r.cfg.NoRecord,
		streams: make(map[string]bool), over: make(chan struct{}),
	}
	var lec *lecture
	var err error
	if c.record {
		lec, err = r.beginLecture(c, now)
	}
	r.mu.Lock()
	if len(r.holds) == 0 {
		c.emptySince = now
	}
	r.class, r.lecture = c, lec
	r.mu.Unlock()
	r.log.Info("class began", "origin", origin, "recording", c.LectureID)
	r.announce(r.classEvent(StateLive, by, ""))
	r.tellRecording(lec, err)
	r.recordStreams()
}

// adopt turns the class of a publisher into one of the studio.
func (r *Room) adopt(by string, o ClassOptions) {
	record := o.Record && !r.cfg.NoRecord
	r.mu.Lock()
	c, lec := r.class, r.lecture
	c.Origin, c.record = OriginStudio, record
	if o.Title != "" {
		c.Title = o.Title
	}
	state := r.stateLocked()
	r.mu.Unlock()
	r.announce(r.classEvent(state, by, ""))
	switch {
	case record && lec == nil:
		lec, err := r.beginLecture(c, time.Now())
		r.mu.Lock()
		r.lecture = lec
		r.mu.Unlock()
		r.tellRecording(lec, err)
		r.recordStreams()
	case !record && lec != nil:
		r.stopLecture(lec, recordingOff)
	}
}

// end ends the class that is on. The caller has the turn.
func (r *Room) end(by, why string) {
	e := r.classEvent("ended", by, why)
	r.mu.Lock()
	c, lec := r.class, r.lecture
	r.class = nil
	clear(r.lost)
	r.usedAt = time.Now()
	r.mu.Unlock()
	close(c.over)
	r.log.Info("class ended", "why", why, "dur_ms", time.Since(c.StartedAt).Milliseconds())
	ctx, cancel := context.WithTimeout(r.ctx, logTimeout)
	defer cancel()
	// The recording gets the end of the class, and nothing after it.
	if _, _, err := r.post(ctx, e, "", func() { r.detach(lec) }); err != nil {
		r.log.Error("event lost", "type", e.Type, "err", err)
		r.detach(lec)
	}
	r.forget()
	if lec != nil {
		r.ends.Go(func() { r.complete(lec, true) }) // ends with its timeout; awaited by shutdown
	}
	r.nudge()
}

// stateLocked is the state of the room.
func (r *Room) stateLocked() string {
	switch {
	case r.class == nil:
		return StateIdle
	case r.class.interrupted:
		return StateInterrupted
	}
	return StateLive
}

// classEvent describes the class that is on.
func (r *Room) classEvent(state, by, why string) Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.class
	return Event{
		Type: TypeClass, By: by, State: state, Why: why,
		Class: c.ID, Title: c.Title, Origin: c.Origin, Lecture: c.LectureID,
	}
}

// save keeps the class that is on, so that it can go on after a crash.
func (r *Room) save() {
	r.mu.Lock()
	c := r.class
	if c == nil || r.cfg.Classes == nil {
		r.mu.Unlock()
		return
	}
	s := saved{Class: c.Class, Record: c.record, LectureAt: c.lectureAt, Seen: time.Now()}
	r.mu.Unlock()
	state, err := json.Marshal(s)
	if err == nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(r.ctx), saveTimeout)
		defer cancel()
		err = r.cfg.Classes.SaveClass(ctx, r.name, state)
	}
	if err != nil {
		r.log.Error("class would not survive a restart", "err", err)
	}
}

// forget removes the saved class.
func (r *Room) forget() {
	if r.cfg.Classes == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.ctx), saveTimeout)
	defer cancel()
	if err := r.cfg.Classes.DeleteClass(ctx, r.name); err != nil {
		r.log.Error("class would come back after a restart", "err", err)
	}
}

package room

import (
	"context"
	"fmt"
	"time"
)

const (
	jobQueue   = 256              // events that wait for the clerk; who posts more, waits
	maxBatch   = 64               // events in one call of EventLog.Append
	logTimeout = 10 * time.Second // for one call of the EventLog
)

// job is an event on its way into the log.
type job struct {
	event Event  // without Seq and At
	key   string // see Line.Key
	then  func() // nil, or called by the clerk once the event is out or lost
	done  chan posted
}

type posted struct {
	seq uint64
	dup bool // an event with the key was there already
	err error
}

// post has the clerk append e and waits until it is kept and on its way to the
// members. It returns the seq of the event, or of the one that has the key
// already (dup).
func (r *Room) post(ctx context.Context, e Event, key string, then func()) (seq uint64, dup bool, err error) {
	j := &job{event: e, key: key, then: then, done: make(chan posted, 1)}
	if err := r.submit(ctx, j); err != nil {
		return 0, false, err
	}
	select {
	case p := <-j.done:
		return p.seq, p.dup, p.err
	case <-ctx.Done():
		return 0, false, context.Cause(ctx)
	case <-r.ctx.Done():
		return 0, false, ErrClosed
	}
}

// announce posts an event of the server without waiting until it is kept.
func (r *Room) announce(e Event) {
	ctx, cancel := context.WithTimeout(r.ctx, logTimeout)
	defer cancel()
	if err := r.submit(ctx, &job{event: e, done: make(chan posted, 1)}); err != nil {
		r.log.Error("event lost", "type", e.Type, "err", err)
	}
}

func (r *Room) submit(ctx context.Context, j *job) error {
	select {
	case r.jobs <- j:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-r.ctx.Done():
		return ErrClosed
	}
}

// clerk gives the events their numbers, one batch after the other. At the end of
// the room it keeps what was posted before.
func (r *Room) clerk() {
	for {
		select {
		case j := <-r.jobs:
			r.handle(r.collect(j))
		case <-r.ctx.Done():
			for len(r.jobs) > 0 {
				r.handle(r.collect(<-r.jobs))
			}
			return
		}
	}
}

// collect adds to first what waits behind it: a commit costs the same for one
// event as for many.
func (r *Room) collect(first *job) []*job {
	batch := []*job{first}
	for len(batch) < maxBatch {
		select {
		case j := <-r.jobs:
			batch = append(batch, j)
		default:
			return batch
		}
	}
	return batch
}

// handle keeps the events of a batch, hands them out and answers.
func (r *Room) handle(batch []*job) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.ctx), logTimeout)
	defer cancel()
	if err := r.resync(ctx); err != nil {
		r.answer(batch, nil, err)
		return
	}
	results, lines := r.number(ctx, batch)
	var err error
	if len(lines) > 0 {
		err = r.cfg.Events.Append(ctx, r.name, lines)
	}
	if err != nil {
		// Whether the events are kept is unknown: ask the log itself.
		r.log.Error("cannot keep events", "err", err)
		r.doubt = true
		if r.resync(ctx) == nil {
			err = nil
		}
		r.confirm(results, err)
	} else {
		r.deliver(lines)
	}
	r.answer(batch, results, nil)
}

// number gives every job of a batch its result and returns the new lines.
func (r *Room) number(ctx context.Context, batch []*job) ([]posted, []Line) {
	results := make([]posted, len(batch))
	lines := make([]Line, 0, len(batch))
	fresh := make(map[string]uint64)
	next := r.lastSeq() + 1
	now := time.Now()
	for i, j := range batch {
		seq, err := r.find(ctx, j.key)
		if seq == 0 && err == nil {
			seq = fresh[j.key]
		}
		if err != nil || seq > 0 {
			results[i] = posted{seq: seq, dup: true, err: err}
			continue
		}
		j.event.Seq, j.event.At = next, now.UnixMilli()
		line, err := encode(j.event)
		if err != nil {
			results[i].err = err
			continue
		}
		lines = append(lines, Line{Seq: next, At: now, JSON: line, Key: j.key, event: &j.event})
		results[i].seq = next
		if j.key != "" {
			fresh[j.key] = next
		}
		next++
	}
	return results, lines
}

// find returns the seq of the event with that key, 0 if there is none.
func (r *Room) find(ctx context.Context, key string) (uint64, error) {
	if key == "" {
		return 0, nil
	}
	r.mu.Lock()
	seq := r.history.keys[key]
	r.mu.Unlock()
	if seq > 0 {
		return seq, nil
	}
	seq, err := r.cfg.Events.Find(ctx, r.name, key)
	if err != nil {
		return 0, fmt.Errorf("looking for an event: %w", err)
	}
	return seq, nil
}

// confirm marks the results of a batch that failed: what the log kept after all
// stands.
func (r *Room) confirm(results []posted, err error) {
	last := r.lastSeq()
	for i := range results {
		p := &results[i]
		if p.err == nil && (err != nil || p.seq > last) {
			*p = posted{err: ErrNotKept}
		}
	}
}

// resync takes over what an Append that failed may have kept. Without doubt it
// does nothing.
func (r *Room) resync(ctx context.Context) error {
	if !r.doubt {
		return nil
	}
	lines, err := r.cfg.Events.Since(ctx, r.name, r.lastSeq(), maxBatch)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNotKept, err)
	}
	r.doubt = false
	r.deliver(lines)
	return nil
}

func (r *Room) lastSeq() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.history.last
}

// deliver hands kept lines to the members and to the running lecture.
func (r *Room) deliver(lines []Line) {
	r.mu.Lock()
	for _, l := range lines {
		r.history.add(l)
		r.people.see(l)
		for m := range r.members {
			m.push(l)
		}
	}
	lec := r.lecture
	r.mu.Unlock()
	if lec == nil {
		return
	}
	for _, l := range lines {
		if err := lec.Event(onTimeline(l.JSON, l.At.Sub(lec.at))); err != nil {
			r.log.Warn("event missing in recording", "recording", lec.ID(), "err", err)
		}
	}
}

func (r *Room) answer(batch []*job, results []posted, err error) {
	for i, j := range batch {
		p := posted{err: err}
		if results != nil {
			p = results[i]
		}
		if j.then != nil {
			j.then()
		}
		j.done <- p
	}
}

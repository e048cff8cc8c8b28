package room

import (
	"context"
	"fmt"
	"sync"
)

// history is the newest part of the log, for joiners.
type history struct {
	lines []Line // oldest first, no holes
	max   int
	last  uint64 // seq of the newest line, 0 without any
	keys  map[string]uint64
}

// add appends the line that follows the last.
func (h *history) add(l Line) {
	h.lines = append(h.lines, l)
	h.last = l.Seq
	if l.Key != "" {
		h.keys[l.Key] = l.Seq
	}
	// Cut rarely: a cut copies what stays. Joiners hold slices of the old array.
	if len(h.lines) < 2*h.max {
		return
	}
	drop := len(h.lines) - h.max
	for _, old := range h.lines[:drop] {
		delete(h.keys, old.Key)
	}
	h.lines = append(make([]Line, 0, 2*h.max), h.lines[drop:]...)
}

// since returns the lines above seq, at most max. from is not 0 when the caller
// misses events: it is the seq of the first that it gets.
func (h *history) since(seq uint64) (lines []Line, from uint64) {
	if seq > h.last { // of another log: what the caller knows is void
		seq, from = 0, 1
	}
	n := int(min(h.last-seq, uint64(len(h.lines)), uint64(h.max)))
	lines = h.lines[len(h.lines)-n:]
	if uint64(n) < h.last-seq || from > 0 {
		from = h.last - uint64(n) + 1
	}
	return lines[:n:n], from
}

// load reads the newest events of the room, and whose hand is up.
func (r *Room) load(ctx context.Context) error {
	r.history = history{max: r.cfg.Limits.History, keys: make(map[string]uint64)}
	last, err := r.cfg.Events.Last(ctx, r.name)
	if err != nil {
		return fmt.Errorf("reading the last event: %w", err)
	}
	if last == 0 {
		return nil
	}
	after := last - min(last, uint64(r.history.max))
	lines, err := r.cfg.Events.Since(ctx, r.name, after, r.history.max)
	if err != nil {
		return fmt.Errorf("reading past events: %w", err)
	}
	for _, l := range lines {
		r.history.add(l)
		r.people.see(l)
	}
	r.history.last = last
	// Whoever was here before is not: the log may lack that they left.
	r.people.reset = true
	return nil
}

// Events returns at most limit events with a seq above since, oldest first, from
// the log.
func (r *Room) Events(ctx context.Context, since uint64, limit int) ([]Line, error) {
	lines, err := r.cfg.Events.Since(ctx, r.name, since, limit)
	if err != nil {
		return nil, fmt.Errorf("reading events of room %s: %w", r.name, err)
	}
	return lines, nil
}

// memoryLog is the EventLog of a Hub without storage. It forgets the oldest
// events of a room beyond memoryLines.
type memoryLog struct {
	mu    sync.Mutex // guards what follows
	rooms map[string]*history
}

const memoryLines = 5000

func newMemoryLog() *memoryLog { return &memoryLog{rooms: make(map[string]*history)} }

// Append implements EventLog.
func (m *memoryLog) Append(_ context.Context, room string, lines []Line) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	h, ok := m.rooms[room]
	if !ok {
		h = &history{max: memoryLines, keys: make(map[string]uint64)}
		m.rooms[room] = h
	}
	for _, l := range lines {
		h.add(l)
	}
	return nil
}

// Find implements EventLog.
func (m *memoryLog) Find(_ context.Context, room, key string) (uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if h, ok := m.rooms[room]; ok {
		return h.keys[key], nil
	}
	return 0, nil
}

// Since implements EventLog.
func (m *memoryLog) Since(_ context.Context, room string, after uint64, limit int) ([]Line, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	h, ok := m.rooms[room]
	if !ok || after >= h.last {
		return nil, nil
	}
	lines, _ := h.since(after)
	return lines[:min(limit, len(lines))], nil
}

// Last implements EventLog.
func (m *memoryLog) Last(_ context.Context, room string) (uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if h, ok := m.rooms[room]; ok {
		return h.last, nil
	}
	return 0, nil
}

package room

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// loadTimeout bounds the reading of a room's history.
const loadTimeout = 5 * time.Second

// Hub holds all rooms. All methods may be called from any goroutine.
type Hub struct {
	cfg      Config
	draining atomic.Bool
	wg       sync.WaitGroup // the keepers of the rooms

	mu     sync.Mutex // guards what follows
	rooms  map[string]*entry
	closed bool
}

// entry is a room, or one that is being made.
type entry struct {
	ready chan struct{} // closed when what follows is set
	room  *Room
	err   error
}

// NewHub returns a Hub without rooms. Its owner calls Restore once and Close at
// the end.
func NewHub(cfg Config) *Hub {
	return &Hub{cfg: cfg.withDefaults(), rooms: make(map[string]*entry)}
}

// Room returns the room of that name, which it makes if need be. It may block
// while the history is read. Errors: ErrBadName, ErrTooMany, ErrClosed, or that
// of the EventLog.
func (h *Hub) Room(name string) (*Room, error) { return h.roomOf(name, h.cfg.Limits.Rooms) }

// RoomToPublish is Room for who begins a class. Those who wait in rooms that are
// not live may have used up the rooms that they can make, and keep nobody from
// teaching: there are as many again.
func (h *Hub) RoomToPublish(name string) (*Room, error) { return h.roomOf(name, 2*h.cfg.Limits.Rooms) }

func (h *Hub) roomOf(name string, limit int) (*Room, error) {
	if err := ValidName(name); err != nil {
		return nil, err
	}
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return nil, ErrClosed
	}
	e, ok := h.rooms[name]
	if ok {
		if e.room != nil {
			e.room.touch() // under the lock, so that it is not dropped meanwhile
		}
		h.mu.Unlock()
		<-e.ready
		return e.room, e.err
	}
	if len(h.rooms) >= limit {
		h.mu.Unlock()
		return nil, ErrTooMany
	}
	e = &entry{ready: make(chan struct{})}
	h.rooms[name] = e
	h.mu.Unlock()
	h.open(name, e)
	return e.room, e.err
}

// open makes the room of e, or removes e.
func (h *Hub) open(name string, e *entry) {
	defer close(e.ready)
	ctx, cancel := context.WithTimeout(context.Background(), loadTimeout)
	defer cancel()
	r, err := newRoom(ctx, h, name)
	h.mu.Lock()
	defer h.mu.Unlock()
	if err == nil && h.closed {
		err = ErrClosed
	}
	if err != nil {
		delete(h.rooms, name)
		e.err = fmt.Errorf("opening room %s: %w", name, err)
		return
	}
	r.gone.Go(r.clerk) // ends with r.ctx
	e.room = r
	h.wg.Go(r.keep) // ends when the room is dropped or the hub closed
}

// Lookup returns the room of that name if it is in memory.
func (h *Hub) Lookup(name string) (*Room, bool) {
	h.mu.Lock()
	e, ok := h.rooms[name]
	h.mu.Unlock()
	if !ok {
		return nil, false
	}
	<-e.ready
	return e.room, e.err == nil
}

// List returns the rooms that are in memory, by name.
func (h *Hub) List() []*Room {
	h.mu.Lock()
	entries := make([]*entry, 0, len(h.rooms))
	for _, e := range h.rooms {
		entries = append(entries, e)
	}
	h.mu.Unlock()
	rooms := make([]*Room, 0, len(entries))
	for _, e := range entries {
		if <-e.ready; e.err == nil {
			rooms = append(rooms, e.room)
		}
	}
	slices.SortFunc(rooms, func(a, b *Room) int { return strings.Compare(a.name, b.name) })
	return rooms
}

// Drain begins the shutdown: Publish, StartClass and Join are refused with
// ErrClosed from now on, and publishers that leave count as lost, so that their
// classes go on after a restart.
func (h *Hub) Drain() { h.draining.Store(true) }

// Close ends all publications, completes all recordings, and closes members and
// streams, in this order. Classes that are on stay in the ClassStore: a Restore
// in time goes on with them. It is idempotent. When ctx ends first, its error is
// returned and recordings may be incomplete.
func (h *Hub) Close(ctx context.Context) error {
	h.Drain()
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	rooms := h.List()
	errs := make([]error, len(rooms))
	var wg sync.WaitGroup
	for i, r := range rooms {
		wg.Go(func() { errs[i] = r.shutdown(ctx) })
	}
	wg.Wait()
	h.wg.Wait()
	return errors.Join(errs...)
}

// drop forgets r if it is not in use, and says whether it did.
func (h *Hub) drop(r *Room) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.unusedLocked() || time.Since(r.usedAt) < h.cfg.DropAfter {
		return false
	}
	r.closed = true
	delete(h.rooms, r.name)
	return true
}

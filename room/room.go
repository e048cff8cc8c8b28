// Package room knows who is in a class, what they may do, what was said, and
// which streams are live. It ties publishers to streams, keeps a class together
// while its publisher is away, has it recorded, and orders everything that
// happens into one numbered log of events per room.
package room

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/lectern/lectern/room/access"
	"github.com/lectern/lectern/stream"
)

// Errors by which callers decide.
var (
	ErrBadName      = errors.New("room: bad name")
	ErrClosed       = errors.New("room: closed")
	ErrTooMany      = errors.New("room: too many rooms or streams")
	ErrFull         = errors.New("room: full")
	ErrSlotTaken    = errors.New("room: somebody else publishes there")
	ErrForbidden    = errors.New("room: not allowed")
	ErrNoClass      = errors.New("room: no class is on")
	ErrClassRunning = errors.New("room: a class is on already")
	ErrBadText      = errors.New("room: text is empty or not UTF-8")
	ErrTooLong      = errors.New("room: text is too long")
	ErrBadRef       = errors.New("room: bad ref")
	ErrNotKept      = errors.New("room: the event could not be kept")
	ErrLagging      = errors.New("room: the connection lags behind")

	ErrNoFiles      = errors.New("room: file sharing is off")
	ErrBadFile      = errors.New("room: bad description of a file")
	ErrFileNotFound = errors.New("room: no such file")
	ErrFileTooLarge = errors.New("room: file too large")
	ErrQuota        = errors.New("room: no space left for files")
	ErrDigest       = errors.New("room: file differs from its digest")
	ErrBusy         = errors.New("room: too much at once")
	ErrReplaced     = errors.New("room: the upload goes on elsewhere")
)

// DefaultSlot is the slot of a stream that is named by its room alone.
const DefaultSlot = "main"

const maxName = 64 // bytes of the name of a room or a slot

// ValidName returns ErrBadName unless s can name a room or a slot: 1 to 64 of
// a-z A-Z 0-9 . _ - and no dot at the beginning.
func ValidName(s string) error {
	if s == "" || len(s) > maxName || s[0] == '.' {
		return fmt.Errorf("%w: %d characters", ErrBadName, len(s))
	}
	for i := range len(s) {
		if !nameChar(s[i]) {
			return fmt.Errorf("%w: character %q", ErrBadName, s[i])
		}
	}
	return nil
}

func nameChar(c byte) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return true
	}
	return c == '.' || c == '_' || c == '-'
}

// Identity is who does something in a room.
type Identity struct {
	ID   string // member id: the subject of the token
	Name string // to be shown; may be empty
	Role access.Role
	Room string // room name, or access.AnyRoom
	Slot string // the only one to publish to; "": any

	// Anonymous says that there is no credential: the room is open.
	Anonymous bool
}

// claims are what the identity may do.
func (id Identity) claims() access.Claims {
	return access.Claims{Subject: id.ID, Name: id.Name, Room: id.Room, Role: id.Role, Slot: id.Slot}
}

// Room is the place of a class. All methods may be called from any goroutine.
//
// Two goroutines belong to it: the clerk numbers and keeps the events, the
// keeper watches the clock. Both end when the room is dropped or the hub closed.
type Room struct {
	hub  *Hub
	name string
	cfg  Config
	log  *slog.Logger

	ctx  context.Context // of the room's own lifetime
	stop context.CancelCauseFunc
	wake chan struct{}  // capacity 1: something that the keeper looks at has changed
	jobs chan *job      // for the clerk; bounded, who posts waits
	gone sync.WaitGroup // the clerk
	ends sync.WaitGroup // recordings that are being completed

	limiter *rate.Limiter
	doubt   bool // of the clerk: the log may hold more than history

	// turn is held while the class or a publisher changes, which takes I/O.
	turn chan struct{}

	mu      sync.Mutex // guards what follows; no I/O and no callbacks under it
	closed  bool
	usedAt  time.Time
	streams map[string]*stream.Stream // by slot
	holds   map[string]*Hold          // by slot
	lost    map[string]time.Time      // when the slot's publisher was lost
	class   *class
	lecture *lecture
	history history
	people  roster
	members map[*Member]struct{}
	viewers map[string]int // by slot
	players map[playerKey]int
}

type playerKey struct{ slot, kind string }

func newRoom(ctx context.Context, h *Hub, name string) (*Room, error) {
	r := &Room{
		hub: h, name: name, cfg: h.cfg, log: h.cfg.Log.With("room", name),
		wake:    make(chan struct{}, 1),
		jobs:    make(chan *job, jobQueue),
		turn:    make(chan struct{}, 1),
		limiter: rate.NewLimiter(rate.Limit(h.cfg.Limits.RoomRate), h.cfg.Limits.RoomBurst),
		usedAt:  time.Now(),
		streams: make(map[string]*stream.Stream),
		holds:   make(map[string]*Hold),
		lost:    make(map[string]time.Time),
		people:  newRoster(),
		members: make(map[*Member]struct{}),
		viewers: make(map[string]int),
		players: make(map[playerKey]int),
	}
	if err := r.load(ctx); err != nil {
		return nil, err
	}
	r.ctx, r.stop = context.WithCancelCause(context.Background())
	return r, nil
}

// Name is the name of the room.
func (r *Room) Name() string { return r.name }

// Limits are the bounds of the room.
func (r *Room) Limits() Limits { return r.cfg.Limits }

// Stream returns the stream of a slot, which it makes if need be. The stream
// lives as long as the room. Errors: ErrBadName, ErrTooMany, ErrClosed.
func (r *Room) Stream(slot string) (*stream.Stream, error) {
	return r.streamOf(slot, r.cfg.Limits.Slots)
}

func (r *Room) streamOf(slot string, limit int) (*stream.Stream, error) {
	if err := ValidName(slot); err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, ErrClosed
	}
	if s, ok := r.streams[slot]; ok {
		return s, nil
	}
	if len(r.streams) >= limit {
		return nil, ErrTooMany
	}
	s := stream.New(stream.Config{Name: r.name + "/" + slot, Log: r.cfg.Log})
	r.streams[slot] = s
	return s, nil
}

// LookupStream returns the stream of a slot that has had a publisher or a
// watcher.
func (r *Room) LookupStream(slot string) (*stream.Stream, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s, ok := r.streams[slot]
	return s, ok
}

// touch keeps the room in memory for a while.
func (r *Room) touch() {
	r.mu.Lock()
	r.usedAt = time.Now()
	r.mu.Unlock()
}

// lockTurn waits for the turn; the returned function gives it back.
func (r *Room) lockTurn() (unlock func()) {
	r.turn <- struct{}{}
	return func() { <-r.turn }
}

// refused says whether nothing new may begin in the room.
func (r *Room) refused() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.closed || r.hub.draining.Load()
}

// nudge lets the keeper look at the clock again.
func (r *Room) nudge() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

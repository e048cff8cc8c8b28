package api

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lectern/lectern/room/access"
)

// way names a direction of signalling as it stands in addresses and logs.
type way string

const (
	wayWHIP way = "whip"
	wayWHEP way = "whep"
)

// Reasons with which the API ends sessions.
var (
	errDeleted  = errors.New("api: session deleted")
	errExpiry   = errors.New("api: token expired")
	errShutdown = errors.New("api: server shutting down")
)

// peer is what the sessions of both ways have in common.
type peer interface {
	Answer() []byte
	ETag() string
	PatchTrickle(frag []byte) error
	Restart(frag []byte) (answer []byte, etag string, err error)
	Close(reason error) error
	Done() <-chan struct{}
	Err() error
}

// session is one peer with its address.
type session struct {
	id    string // unguessable: knowing it is half of the right to use it
	way   way
	room  string
	slot  string
	owner access.Claims
	peer  peer
	began time.Time

	restarting sync.Mutex // one PATCH at a time: If-Match is checked and applied as one
	deleted    atomic.Bool
	ended      chan struct{} // closed when nothing of it is left
}

// path is the address of the session: the Location of its 201.
func (s *session) path() string {
	return "/" + string(s.way) + "/" + s.room + "/session/" + s.id
}

// mayUse says whether cl may act on the session: whoever still has the right
// that made it, as the same person; and who moderates the room.
func (s *session) mayUse(cl access.Claims) bool {
	if cl.MayModerate(s.room) {
		return true
	}
	if cl.Subject != s.owner.Subject {
		return false
	}
	if s.way == wayWHIP {
		return cl.MayPublish(s.room)
	}
	return cl.MayWatch(s.room)
}

// place is what the bound on sessions counts by.
type place struct {
	way  way
	room string
}

// registry keeps the sessions that live. Safe for concurrent use.
type registry struct {
	log        *slog.Logger
	now        func() time.Time
	perRoom    int
	watchers   sync.WaitGroup
	mu         sync.Mutex // guards what follows
	byID       map[string]*session
	places     map[place]int // sessions made or being made
	stopped    bool
	everJoined map[way]uint64
}

func newRegistry(perRoom int, log *slog.Logger, now func() time.Time) *registry {
	return &registry{
		log: log, now: now, perRoom: perRoom,
		byID:       make(map[string]*session),
		places:     make(map[place]int),
		everJoined: make(map[way]uint64),
	}
}

// errStopping is the answer to a session that comes too late.
func errStopping() *apiError {
	return failLater(http.StatusServiceUnavailable, "shutting_down",
		"The server is restarting. Come back in a moment.", 3*time.Second)
}

// reserve takes one of the places of a room before the costly part of making a
// session begins. Give it back with add or release.
func (r *registry) reserve(w way, room string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopped {
		return errStopping()
	}
	p := place{w, room}
	if r.places[p] >= r.perRoom {
		return failLater(http.StatusServiceUnavailable, "room_full",
			"The room holds as many sessions as it may.", 10*time.Second)
	}
	r.places[p]++
	return nil
}

func (r *registry) release(w way, room string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.releaseLocked(place{w, room})
}

func (r *registry) releaseLocked(p place) {
	if r.places[p]--; r.places[p] <= 0 {
		delete(r.places, p)
	}
}

// add enters a session whose place was reserved and gives it its address. It
// watches the session until its end, takes it out then and calls onEnd, whose
// argument says whether it was deleted by its owner. The expiry of the owner's
// token ends the session.
func (r *registry) add(s *session, onEnd func(deleted bool)) error {
	s.id = rand.Text() // 130 random bits
	s.began = r.now()
	s.ended = make(chan struct{})
	r.mu.Lock()
	if r.stopped {
		r.mu.Unlock()
		return errStopping()
	}
	r.byID[s.id] = s
	r.everJoined[s.way]++
	r.watchers.Add(1)
	r.mu.Unlock()
	r.log.Info("session began", slog.String("way", string(s.way)), slog.String("room", s.room),
		slog.String("stream", s.slot), slog.String("session", s.name()))
	go r.watch(s, onEnd) // ends with the peer, which EndPublishers and EndViewers close
	return nil
}

// name is what logs call the session: enough to tell it from others, too little
// to address it.
func (s *session) name() string { return s.id[:8] }

func (r *registry) watch(s *session, onEnd func(deleted bool)) {
	defer r.watchers.Done()
	var expiry *time.Timer
	if !s.owner.Expires.IsZero() {
		expiry = time.AfterFunc(s.owner.Expires.Sub(r.now()), func() {
			_ = s.peer.Close(errExpiry) // the reason shows as Err
		})
	}
	<-s.peer.Done()
	if expiry != nil {
		expiry.Stop()
	}
	// Out of the registry first: whoever sees the room without its publisher
	// finds the session gone as well.
	r.mu.Lock()
	delete(r.byID, s.id)
	r.releaseLocked(place{s.way, s.room})
	r.mu.Unlock()
	onEnd(s.deleted.Load())
	why := "lost"
	if err := s.peer.Err(); err != nil {
		why = err.Error()
	}
	r.log.Info("session ended", slog.String("way", string(s.way)), slog.String("room", s.room),
		slog.String("stream", s.slot), slog.String("session", s.name()),
		slog.Int64("dur_ms", r.now().Sub(s.began).Milliseconds()), slog.String("reason", why))
	close(s.ended)
}

// find returns the session at an address.
func (r *registry) find(w way, room, id string) (*session, error) {
	r.mu.Lock()
	s := r.byID[id]
	r.mu.Unlock()
	if s == nil || s.way != w || s.room != room {
		return nil, fail(http.StatusNotFound, "no_such_session", "There is no such session, or it has ended.")
	}
	return s, nil
}

// remove ends a session for good and returns when nothing of it is left.
func (r *registry) remove(ctx context.Context, s *session) error {
	s.deleted.Store(true)
	r.mu.Lock()
	delete(r.byID, s.id) // a second DELETE finds nothing, even while this one works
	r.mu.Unlock()
	err := s.peer.Close(errDeleted)
	select {
	case <-s.ended:
	case <-ctx.Done():
	}
	return err
}

// stop refuses new sessions from now on.
func (r *registry) stop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stopped = true
}

// accepting says whether stop has not been called.
func (r *registry) accepting() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.stopped
}

// all returns the sessions of one way.
func (r *registry) all(w way) []*session {
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []*session
	for _, s := range r.byID {
		if s.way == w {
			list = append(list, s)
		}
	}
	return list
}

// endAll closes the sessions of one way and waits for their end or that of ctx.
func (r *registry) endAll(ctx context.Context, w way) error {
	all := r.all(w)
	// At once rather than one by one: a peer that is gone may take its time to
	// be told so.
	var closing sync.WaitGroup
	for _, s := range all {
		closing.Go(func() { _ = s.peer.Close(errShutdown) /* the reason shows as Err */ })
	}
	closing.Wait()
	for _, s := range all {
		select {
		case <-s.ended:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// wait returns when no session is watched any more.
func (r *registry) wait() { r.watchers.Wait() }

// count is how many sessions of a way live in all rooms, and have lived since
// the start.
func (r *registry) count(w way) (live int, ever uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.byID {
		if s.way == w {
			live++
		}
	}
	return live, r.everJoined[w]
}

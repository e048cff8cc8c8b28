package api

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
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

// Reasons with which the API ends sessions. Those of the authority come beside
// them: see endReason.
var (
	errDeleted  = errors.New("api: session deleted")
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

// address is where a session is found, and whose it is.
type address struct {
	id    string // unguessable: knowing it is half of the right to use it
	way   way
	room  string
	slot  string
	owner access.Claims
	// byURL says that the address alone gives the right to use the session: it
	// was made without an Authorization, as in open rooms, or by clients that
	// carry the token in the address (RFC 9725, section 4.7.1).
	byURL bool
}

// path is the address of the session: the Location of its 201.
func (a *address) path() string {
	return "/" + string(a.way) + "/" + a.room + "/session/" + a.id
}

// name is what logs call the session: enough to tell it from others, too little
// to address it.
func (a *address) name() string { return a.id[:8] }

// mayUse says whether cl may act on the session: whoever still has the right
// that made it, as the same person; and who leads the room.
func (a *address) mayUse(cl access.Claims) bool {
	if cl.MayLead(a.room) {
		return true
	}
	if cl.Subject != a.owner.Subject && !a.owner.Anonymous {
		return false
	}
	if a.way == wayWHIP {
		return cl.MayPublishTo(a.room, a.slot)
	}
	return cl.MayWatch(a.room)
}

// session is one peer with its address.
type session struct {
	address
	client netip.Addr // that made it
	peer   peer
	began  time.Time

	restarting sync.Mutex // one PATCH at a time: If-Match is checked and applied as one
	deleted    atomic.Bool
	ended      chan struct{} // closed when nothing of it is left

	watched *watched     // of viewers; nil for publishers
	events  eventStreams // of viewers
}

// place is what the bounds on sessions count by.
type place struct {
	way    way
	room   string
	client netip.Addr
}

func (s *session) place() place { return place{s.way, s.room, s.client} }

// seat is a place whoever takes it.
type seat struct {
	way  way
	room string
}

// registry keeps the sessions that live, and remembers for a while how the
// others ended. Safe for concurrent use.
type registry struct {
	log      *slog.Logger
	now      func() time.Time
	perRoom  int
	addrs    *places // by the address of the client
	rights   rights
	watchers sync.WaitGroup

	mu         sync.Mutex // guards what follows
	byID       map[string]*session
	seats      map[seat]int // sessions made or being made
	past       graveyard
	stopped    bool
	everJoined map[way]uint64
}

// rights tells when a right has ended, as access.Authority does.
type rights interface {
	Watch(c access.Claims, ended func(reason error)) (stop func())
}

func newRegistry(perRoom int, addrs *places, r rights, log *slog.Logger, now func() time.Time) *registry {
	return &registry{
		log: log, now: now, perRoom: perRoom, addrs: addrs, rights: r,
		byID:       make(map[string]*session),
		seats:      make(map[seat]int),
		past:       newGraveyard(),
		everJoined: make(map[way]uint64),
	}
}

// errStopping is the answer to a session that comes too late.
func errStopping() *apiError {
	return failLater(http.StatusServiceUnavailable, "shutting_down",
		"The server is restarting. Come back in a moment.", 3*time.Second)
}

// reserve takes a place before the costly part of making a session begins. Give
// it back with add or release.
func (r *registry) reserve(p place) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopped {
		return errStopping()
	}
	at := seat{p.way, p.room}
	if r.seats[at] >= r.perRoom {
		return failLater(http.StatusServiceUnavailable, "room_full",
			"The room holds as many sessions as it may.", later)
	}
	if !r.addrs.take(p.client) {
		return failLater(http.StatusTooManyRequests, "busy", "There are as many sessions from this address as there may be.", later)
	}
	r.seats[at]++
	return nil
}

func (r *registry) release(p place) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.releaseLocked(p)
}

func (r *registry) releaseLocked(p place) {
	r.addrs.give(p.client)
	at := seat{p.way, p.room}
	if r.seats[at]--; r.seats[at] <= 0 {
		delete(r.seats, at)
	}
}

// newID makes the unguessable part of an address: 130 random bits.
func newID() string { return rand.Text() }

// add enters a session whose place was reserved. It watches the session until
// its end, takes it out then and calls onEnd, whose argument says whether it was
// deleted by its owner. The end of the owner's right ends the session.
func (r *registry) add(s *session, onEnd func(deleted bool)) error {
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

func (r *registry) watch(s *session, onEnd func(deleted bool)) {
	defer r.watchers.Done()
	lost := make(chan error, 1)
	stop := r.rights.Watch(s.owner.Within(s.room), func(reason error) { lost <- reason })
	defer stop()
	select {
	case reason := <-lost:
		_ = s.peer.Close(reason) // the reason shows as Err
		<-s.peer.Done()
	case <-s.peer.Done():
	}
	// Out of the registry first: whoever sees the room without its publisher
	// finds the session gone as well.
	why := s.peer.Err()
	r.mu.Lock()
	delete(r.byID, s.id)
	r.past.bury(s, why, r.now())
	r.releaseLocked(s.place())
	r.mu.Unlock()
	onEnd(s.deleted.Load())
	reason, _ := endReason(why)
	r.log.Info("session ended", slog.String("way", string(s.way)), slog.String("room", s.room),
		slog.String("stream", s.slot), slog.String("session", s.name()),
		slog.Int64("dur_ms", r.now().Sub(s.began).Milliseconds()),
		slog.String("reason", reason), slog.Any("err", why))
	close(s.ended)
}

// find returns the session at an address, alive or, as ended, its remains. Both
// are nil if there never was one, or too long ago.
func (r *registry) find(w way, room, id string) (alive *session, ended *remains) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s := r.byID[id]; s != nil && s.way == w && s.room == room {
		why := s.peer.Err()
		if why == nil {
			return s, nil
		}
		// It is about to go. The peer may know already, and ask for the reason
		// before watch has come to it.
		r.past.bury(s, why, r.now())
	}
	if e := r.past.find(id, r.now()); e != nil && e.way == w && e.room == room {
		return nil, e
	}
	return nil, nil
}

// remove ends a session for good and returns when nothing of it is left.
func (r *registry) remove(ctx context.Context, s *session) error {
	s.deleted.Store(true)
	r.mu.Lock()
	delete(r.byID, s.id) // a second DELETE finds nothing, even while this one works
	r.past.bury(s, errDeleted, r.now())
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

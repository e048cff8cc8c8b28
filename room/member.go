package room

import (
	"context"
	"sync"
	"time"
)

// JoinOptions are what a client says when it enters.
type JoinOptions struct {
	Since uint64 // last seq that it has seen; 0: none
	Name  string // replaces the name of the identity
	Lang  string // BCP 47, as told
}

// Welcome is what a connection learns at its Join: the state of the room as of
// Seq. The events after JoinOptions.Since follow from Member.Next.
type Welcome struct {
	You    Person
	People []Person // at most 200, teachers and raised hands first
	Total  int      // people in the room
	Seq    uint64   // of the newest event
	From   uint64   // not 0: events before this one are not sent
	Room   Snapshot
}

// Member is one connection of one person. Its methods may be called from any
// goroutine; Next and Take by one at a time.
type Member struct {
	r      *Room
	id     Identity
	person *person
	notify chan struct{} // capacity 1

	mu      sync.Mutex // guards what follows; taken with or without that of the room
	backlog []Line     // shared with the history: read-only
	queue   []Line
	lagging bool // the queue was full; nothing is queued until Rejoin
	told    bool // lagging has been returned
	closed  bool
}

// Join adds a connection of id to the room. Errors: ErrForbidden for players,
// ErrFull, ErrClosed. The caller must Leave.
func (r *Room) Join(id Identity, o JoinOptions) (*Member, Welcome, error) {
	if id.ID == "" || !id.claims().MayWatch(r.name) {
		return nil, Welcome{}, ErrForbidden
	}
	if r.refused() {
		return nil, Welcome{}, ErrClosed
	}
	m := &Member{r: r, notify: make(chan struct{}, 1)}
	r.mu.Lock()
	if r.closed || len(r.members) >= r.cfg.Limits.Connections {
		closed := r.closed
		r.mu.Unlock()
		if closed {
			return nil, Welcome{}, ErrClosed
		}
		return nil, Welcome{}, ErrFull
	}
	r.enterLocked(m, id, o)
	r.members[m] = struct{}{}
	w := r.welcomeLocked(m, o.Since)
	r.mu.Unlock()
	w.Room = r.Snapshot()
	r.nudge()
	return m, w, nil
}

// Rejoin is Join for a connection that lags or that says anew who it is: events
// go on after o.Since. Errors: *RateError, ErrClosed.
func (m *Member) Rejoin(o JoinOptions) (Welcome, error) {
	r := m.r
	if err := m.allow(); err != nil {
		return Welcome{}, err
	}
	r.mu.Lock()
	if _, ok := r.members[m]; !ok {
		r.mu.Unlock()
		return Welcome{}, ErrClosed
	}
	r.people.leave(m.person, r.cfg.LeaveDelay)
	r.enterLocked(m, m.id, o)
	w := r.welcomeLocked(m, o.Since)
	r.mu.Unlock()
	w.Room = r.Snapshot()
	r.nudge()
	return w, nil
}

func (r *Room) enterLocked(m *Member, id Identity, o JoinOptions) {
	if name := cleanName(o.Name, r.cfg.Limits.NameChars); name != "" {
		id.Name = name
	}
	id.Name = cleanName(id.Name, r.cfg.Limits.NameChars)
	m.id = id
	m.person = r.people.enter(Person{
		ID: id.ID, Name: id.Name, Role: string(id.Role), Lang: cleanName(o.Lang, maxLang),
	}, r.cfg.Limits)
}

const maxLang = 35 // characters of a language tag (RFC 5646, section 4.4.1)

// welcomeLocked gives m its past and describes the present.
func (r *Room) welcomeLocked(m *Member, since uint64) Welcome {
	w := Welcome{
		You:    m.person.Person,
		People: r.people.list(),
		Total:  len(r.people.byID),
		Seq:    r.history.last,
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.backlog, w.From = r.history.since(since)
	m.queue, m.lagging, m.told = nil, false, false
	m.wakeLocked()
	return w
}

// push queues l. A full queue is emptied: the connection lags and must Rejoin.
func (m *Member) push(l Line) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.lagging || m.closed {
		return
	}
	if len(m.queue) >= m.r.cfg.Limits.Queue {
		m.queue, m.backlog, m.lagging = nil, nil, true
	} else {
		m.queue = append(m.queue, l)
	}
	m.wakeLocked()
}

func (m *Member) wakeLocked() {
	select {
	case m.notify <- struct{}{}:
	default:
	}
}

// Ready returns a channel that has a value when Take may have something.
func (m *Member) Ready() <-chan struct{} { return m.notify }

// Take returns the next event without waiting; ok is false if there is none.
// Once the queue was full it returns ErrLagging, a single time, and then nothing
// until Rejoin. After Leave, or when the room is closed, it returns ErrClosed.
func (m *Member) Take() (l Line, ok bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case len(m.backlog) > 0:
		l, m.backlog = m.backlog[0], m.backlog[1:]
		return l, true, nil
	case len(m.queue) > 0:
		l, m.queue = m.queue[0], m.queue[1:]
		return l, true, nil
	case m.lagging && !m.told:
		m.told = true
		return Line{}, false, ErrLagging
	case m.closed:
		return Line{}, false, ErrClosed
	}
	return Line{}, false, nil
}

// Next waits for the next event. Errors: those of Take, or the cause of ctx.
func (m *Member) Next(ctx context.Context) (Line, error) {
	for {
		l, ok, err := m.Take()
		if ok || err != nil {
			return l, err
		}
		select {
		case <-m.notify:
		case <-ctx.Done():
			return Line{}, context.Cause(ctx)
		}
	}
}

// Identity is who the member is, with the name that is shown.
func (m *Member) Identity() Identity {
	m.r.mu.Lock()
	defer m.r.mu.Unlock()
	return m.id
}

// Leave ends the connection. The person stays in the roster for
// Config.LeaveDelay, or as long as another connection is open. It is idempotent.
func (m *Member) Leave() {
	r := m.r
	r.mu.Lock()
	if _, ok := r.members[m]; ok {
		delete(r.members, m)
		r.people.leave(m.person, r.cfg.LeaveDelay)
		r.usedAt = time.Now()
	}
	r.mu.Unlock()
	m.close()
	r.nudge()
}

func (m *Member) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	m.wakeLocked()
}

// Poke makes Ready have a value although Take was not asked to the end.
func (m *Member) Poke() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.wakeLocked()
}

package storage

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// Event is one event of a room, as the room numbered it.
type Event struct {
	Seq     uint64 // per room, from 1
	At      time.Time
	Payload []byte // JSON, kept as it is
	// Key is unique in the room if not empty: the member and its reference, so
	// that a request repeated after a reconnect is applied once.
	Key string
}

// AppendEvent keeps e. When it returns nil the event survives the end of the
// process. It returns ErrDuplicate if the room has an event with e.Key, and
// ErrSeqTaken if it has one with e.Seq. Events that are appended at the same
// time by several goroutines share a commit.
func (s *Store) AppendEvent(ctx context.Context, room string, e Event) error {
	if err := s.cat.log.append(ctx, room, e); err != nil {
		return fmt.Errorf("appending event %d of room %s: %w", e.Seq, room, err)
	}
	return nil
}

// EventsSince returns the events of the room with a number above since, oldest
// first, at most limit.
func (s *Store) EventsSince(ctx context.Context, room string, since uint64, limit int) ([]Event, error) {
	const q = `SELECT seq, at_ms, payload, coalesce(dedupe, '') FROM events
		WHERE room = ? AND seq > ? ORDER BY seq LIMIT ?`
	rows, err := s.cat.read.QueryContext(ctx, q, room, int64(since), limit)
	if err != nil {
		return nil, fmt.Errorf("reading events of room %s: %w", room, err)
	}
	defer rows.Close() // read only
	var es []Event
	for rows.Next() {
		e, err := scanEvent(rows)
		if err != nil {
			return nil, fmt.Errorf("reading events of room %s: %w", room, err)
		}
		es = append(es, e)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("reading events of room %s: %w", room, err)
	}
	return es, nil
}

// EventByKey returns the event that was appended with key, or ErrNotFound.
func (s *Store) EventByKey(ctx context.Context, room, key string) (Event, error) {
	const q = `SELECT seq, at_ms, payload, coalesce(dedupe, '') FROM events WHERE room = ? AND dedupe = ?`
	e, err := scanEvent(s.cat.read.QueryRowContext(ctx, q, room, key))
	if errors.Is(err, sql.ErrNoRows) {
		err = ErrNotFound
	}
	if err != nil {
		return Event{}, fmt.Errorf("reading event of room %s by key: %w", room, err)
	}
	return e, nil
}

// LastSeq returns the highest number in the room, 0 if it has no events.
func (s *Store) LastSeq(ctx context.Context, room string) (uint64, error) {
	var n int64
	err := s.cat.read.QueryRowContext(ctx, `SELECT coalesce(max(seq), 0) FROM events WHERE room = ?`, room).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("reading last event of room %s: %w", room, err)
	}
	return uint64(n), nil
}

func scanEvent(row interface{ Scan(...any) error }) (Event, error) {
	var (
		e    Event
		n    int64
		atMS int64
	)
	if err := row.Scan(&n, &atMS, &e.Payload, &e.Key); err != nil {
		return Event{}, err
	}
	e.Seq, e.At = uint64(n), time.UnixMilli(atMS).UTC()
	return e, nil
}

// eventLog commits events in groups: a commit costs the same for one as for 64.
type eventLog struct {
	db   *sql.DB
	reqs chan *eventReq
	done chan struct{}

	mu     sync.RWMutex // guards closed, and reqs against a send after close
	closed bool
}

type eventReq struct {
	room string
	e    Event
	err  error
	done chan struct{}
}

// maxGroup bounds the events of a commit, and those that wait for one. A caller
// beyond them waits.
const maxGroup = 64

func newEventLog(db *sql.DB) *eventLog {
	l := &eventLog{db: db, reqs: make(chan *eventReq, maxGroup), done: make(chan struct{})}
	go l.run() // ended by close
	return l
}

func (l *eventLog) append(ctx context.Context, room string, e Event) error {
	r := &eventReq{room: room, e: e, done: make(chan struct{})}
	l.mu.RLock()
	if l.closed {
		l.mu.RUnlock()
		return sql.ErrConnDone
	}
	select {
	case l.reqs <- r:
		l.mu.RUnlock()
	case <-ctx.Done():
		l.mu.RUnlock()
		return context.Cause(ctx)
	}
	// Not given up at the end of ctx: whether the event is kept must be known.
	<-r.done
	return r.err
}

func (l *eventLog) close() {
	l.mu.Lock()
	if !l.closed {
		l.closed = true
		close(l.reqs)
	}
	l.mu.Unlock()
	<-l.done
}

func (l *eventLog) run() {
	defer close(l.done)
	for r := range l.reqs {
		group := []*eventReq{r}
	collect:
		for len(group) < maxGroup {
			select {
			case r, ok := <-l.reqs:
				if !ok {
					break collect
				}
				group = append(group, r)
			default:
				break collect
			}
		}
		l.commit(group)
		for _, r := range group {
			close(r.done)
		}
	}
}

// commitTimeout ends a commit that hangs, so that Close does.
const commitTimeout = 30 * time.Second

func (l *eventLog) commit(group []*eventReq) {
	ctx, cancel := context.WithTimeout(context.Background(), commitTimeout)
	defer cancel()
	err := l.insert(ctx, group)
	for _, r := range group {
		if err != nil && r.err == nil {
			r.err = err
		}
	}
}

// insert sets the error of each event that cannot be kept; the others go into
// one transaction. SQLite undoes only the statement that breaks a constraint.
func (l *eventLog) insert(ctx context.Context, group []*eventReq) error {
	tx, err := l.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // does nothing after Commit
	const q = `INSERT INTO events (room, seq, at_ms, dedupe, payload) VALUES (?, ?, ?, nullif(?, ''), ?)`
	for _, r := range group {
		_, err := tx.ExecContext(ctx, q, r.room, int64(r.e.Seq), r.e.At.UnixMilli(), r.e.Key, r.e.Payload)
		switch {
		case err == nil:
		case isConstraint(err):
			r.err = conflict(ctx, tx, r)
		default:
			return err
		}
	}
	return tx.Commit()
}

// conflict tells which of the two constraints the event breaks.
func conflict(ctx context.Context, tx *sql.Tx, r *eventReq) error {
	var one int
	err := tx.QueryRowContext(ctx, `SELECT 1 FROM events WHERE room = ? AND dedupe = nullif(?, '')`,
		r.room, r.e.Key).Scan(&one)
	switch {
	case err == nil:
		return ErrDuplicate
	case errors.Is(err, sql.ErrNoRows):
		return ErrSeqTaken
	default:
		return err
	}
}

func isConstraint(err error) bool {
	var e *sqlite.Error
	return errors.As(err, &e) && e.Code()&0xff == sqlite3.SQLITE_CONSTRAINT
}

package room

import (
	"context"
	"fmt"
	"time"

	"github.com/lectern/lectern/room/access"
)

const maxRef = 128 // bytes

// RateError says that a member, or all of a room, asks for too much.
type RateError struct {
	RetryAfter time.Duration
}

// Error implements error.
func (e *RateError) Error() string {
	return fmt.Sprintf("room: too many requests, retry after %v", e.RetryAfter.Round(time.Millisecond))
}

// Say adds text to what was said in the room, and returns the seq of the event
// once that is kept. A request with the same non-empty ref is applied once per
// person, over reconnects and restarts. Errors: ErrChatClosed, ErrBadText,
// ErrTooLong, ErrBadRef, *RateError, ErrNotKept, ErrClosed, or the cause of ctx.
func (m *Member) Say(ctx context.Context, ref, text string) (seq uint64, err error) {
	text, err = cleanText(text, m.r.cfg.Limits.TextBytes)
	if err != nil {
		return 0, err
	}
	id := m.Identity()
	if id.Role == access.Student && !m.r.policy().Chat {
		return 0, ErrChatClosed
	}
	return m.request(ctx, ref, Event{
		Type: TypeSay, By: id.ID, From: id.Name, Role: string(id.Role), Text: text,
	})
}

// RaiseHand puts a hand up or down: the member's own, or with who the hand of
// that person, which only those who moderate may take down. ref and errors are
// those of Say; ErrForbidden.
func (m *Member) RaiseHand(ctx context.Context, ref string, up bool, who string) (seq uint64, err error) {
	id := m.Identity()
	if who == id.ID {
		who = ""
	}
	if who != "" && (up || !id.claims().MayModerate(m.r.name) || !m.r.has(who)) {
		return 0, ErrForbidden
	}
	return m.request(ctx, ref, Event{Type: TypeHand, By: id.ID, From: id.Name, Up: &up, Who: who})
}

// request posts an event that a member asks for.
func (m *Member) request(ctx context.Context, ref string, e Event) (uint64, error) {
	if len(ref) > maxRef {
		return 0, ErrBadRef
	}
	key := ""
	if ref != "" {
		key = refKey(e.By, ref)
		if seq := m.r.known(key); seq > 0 {
			return seq, nil
		}
	}
	if err := m.allow(); err != nil {
		return 0, err
	}
	seq, _, err := m.r.post(ctx, e, key, nil)
	return seq, err
}

// refKey tells apart what members call their requests. The length keeps "a" + "b/c"
// from being "a/b" + "c".
func refKey(id, ref string) string { return fmt.Sprintf("ref/%d/%s/%s", len(id), id, ref) }

func (r *Room) known(key string) uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.history.keys[key]
}

// allow takes one request from the allowances of the person and of the room.
func (m *Member) allow() error {
	m.r.mu.Lock()
	limiter := m.person.limiter
	m.r.mu.Unlock()
	now := time.Now()
	own := limiter.ReserveN(now, 1)
	if d := own.DelayFrom(now); d > 0 {
		own.CancelAt(now)
		return &RateError{RetryAfter: d}
	}
	all := m.r.limiter.ReserveN(now, 1)
	if d := all.DelayFrom(now); d > 0 {
		all.CancelAt(now)
		own.CancelAt(now)
		return &RateError{RetryAfter: d}
	}
	return nil
}

func (r *Room) has(member string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, ok := r.people.byID[member]
	return ok
}

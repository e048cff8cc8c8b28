package access

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

// maxRevoked bounds the tokens that are revoked and would still live.
const maxRevoked = 100_000

// Revoke takes back what id names: a token, an invitation with all tokens that
// came from it, or a stored key, which is then gone. Sessions that were opened
// with it end within a second. A revoked token is remembered up to until, when it
// would have ended by itself; zero, or later than any token lives: for MaxLife.
// Errors: ErrNotFound for an id that there cannot be, ErrTooMany, or that of the
// Ledger.
func (a *Authority) Revoke(ctx context.Context, id string, until time.Time) error {
	if id == "" || len(id) > maxID {
		return ErrNotFound
	}
	leave, err := a.takeTurn(ctx)
	if err != nil {
		return err
	}
	defer leave()
	a.mu.Lock()
	_, isKey := a.keys[id]
	g, isGrant := a.grants[id]
	a.mu.Unlock()
	switch {
	case isKey:
		err = a.dropKey(ctx, id)
	case isGrant:
		changed := g.Invitation
		changed.Revoked = true
		err = a.keepGrant(ctx, &grant{Invitation: changed, Hash: g.Hash})
	default:
		err = a.revokeToken(ctx, id, until)
	}
	if err != nil {
		return fmt.Errorf("revoking: %w", err)
	}
	a.recheck()
	return nil
}

func (a *Authority) revokeToken(ctx context.Context, id string, until time.Time) error {
	now := time.Now()
	last := now.Add(MaxLife + time.Minute)
	if until.IsZero() || until.After(last) {
		until = last
	}
	if !until.After(now) {
		return nil // it has ended by itself
	}
	a.mu.Lock()
	a.forgetRevokedLocked(now)
	_, known := a.revoked[id]
	full := len(a.revoked) >= maxRevoked && !known
	a.mu.Unlock()
	if full {
		return ErrTooMany
	}
	if err := a.put(ctx, Record{Kind: kindRevoked, ID: id, Expires: until}, struct{}{}); err != nil {
		return err
	}
	a.mu.Lock()
	a.revoked[id] = until
	a.mu.Unlock()
	return nil
}

// heirs stands between the ids of Claims.Grant, the oldest first.
const heirs = "-"

// Heritage is the Grant of the tokens that are made with a credential, so that
// they end with it: a token that was stolen cannot outlive its revocation by
// having made another, nor by that having made a third. Those of an invitation end
// with the invitation. What is passed on too often is too long for a token: see
// IssueToken, ErrBadClaims.
func (a *Authority) Heritage(by Claims) string {
	a.mu.Lock()
	_, invited := a.grants[by.Grant]
	a.mu.Unlock()
	switch {
	case by.Grant == "":
		return by.ID
	case invited:
		return by.Grant
	}
	return by.Grant + heirs + by.ID
}

func (a *Authority) revokedLocked(id string, now time.Time) bool {
	until, ok := a.revoked[id]
	return ok && id != "" && now.Before(until)
}

// forgetRevokedLocked drops what has ended by itself. The Ledger drops it too.
func (a *Authority) forgetRevokedLocked(now time.Time) {
	if len(a.revoked) < maxRevoked/100 {
		return
	}
	for id, until := range a.revoked {
		if !now.Before(until) {
			delete(a.revoked, id)
		}
	}
}

// takeTurn waits for the turn to change what is kept.
func (a *Authority) takeTurn(ctx context.Context) (leave func(), err error) {
	select {
	case a.turn <- struct{}{}:
		return func() { <-a.turn }, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("waiting to change grants: %w", context.Cause(ctx))
	}
}

// put keeps a record with data as its content. The caller has the turn.
func (a *Authority) put(ctx context.Context, r Record, data any) error {
	a.mu.Lock()
	l := a.ledger
	a.mu.Unlock()
	if l == nil {
		return nil
	}
	var err error
	if r.Data, err = json.Marshal(data); err != nil {
		return fmt.Errorf("encoding a grant: %w", err)
	}
	if err := l.Put(ctx, r); err != nil {
		return fmt.Errorf("keeping a grant: %w", err)
	}
	return nil
}

// drop forgets a record. The caller has the turn.
func (a *Authority) drop(ctx context.Context, kind, id string) error {
	a.mu.Lock()
	l := a.ledger
	a.mu.Unlock()
	if l == nil {
		return nil
	}
	if err := l.Delete(ctx, kind, id); err != nil {
		return fmt.Errorf("forgetting a grant: %w", err)
	}
	return nil
}

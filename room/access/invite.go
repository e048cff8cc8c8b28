package access

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"time"
)

const (
	maxInvitations     = 50_000
	maxRoomInvitations = 1000

	// defaultInvitation is how long an invitation holds that says nothing of it.
	defaultInvitation = 7 * 24 * time.Hour

	// remember is how long an invitation that is over can still be told from one
	// that never was.
	remember = 7 * 24 * time.Hour
)

// Invitation lets people into a room by a link. Whoever redeems it gets a token
// of their own.
type Invitation struct {
	ID        string    `json:"id"`
	Room      string    `json:"room"`
	Name      string    `json:"name,omitempty"` // of the invitation, or of the one whom it is for
	Role      Role      `json:"role"`
	NotBefore time.Time `json:"not_before,omitzero"` // zero: at once
	Expires   time.Time `json:"expires"`
	Uses      int       `json:"uses,omitempty"` // 0: as many as come
	Used      int       `json:"used,omitempty"`
	Created   time.Time `json:"created"`
	By        string    `json:"by,omitempty"` // subject of who made it
	Revoked   bool      `json:"revoked,omitempty"`
}

// grant is an invitation as it is kept. It is not changed, but replaced.
type grant struct {
	Invitation
	Hash []byte `json:"hash"` // SHA-256 of the code
}

// Invite makes an invitation of inv, whose ID, Created, Used and Revoked it sets;
// an invitation without end holds for a week. The code, which is kept as a hash
// only, is returned this once. Errors: ErrBadClaims, ErrTooMany, or that of the
// Ledger.
func (a *Authority) Invite(ctx context.Context, inv Invitation) (Invitation, string, error) {
	now := time.Now()
	inv.ID, inv.Created, inv.Used, inv.Revoked = newID(), now.UTC().Truncate(time.Second), 0, false
	if inv.Expires.IsZero() {
		inv.Expires = now.Add(defaultInvitation)
		if inv.NotBefore.After(now) {
			inv.Expires = inv.NotBefore.Add(defaultInvitation)
		}
	}
	inv.Expires = inv.Expires.UTC().Truncate(time.Second)
	if err := checkInvitation(inv, now); err != nil {
		return Invitation{}, "", err
	}
	code := rand.Text()
	sum := sha256.Sum256([]byte(code))
	leave, err := a.takeTurn(ctx)
	if err != nil {
		return Invitation{}, "", err
	}
	defer leave()
	if err := a.roomForInvitation(ctx, inv.Room, now); err != nil {
		return Invitation{}, "", err
	}
	if err := a.keepGrant(ctx, &grant{Invitation: inv, Hash: sum[:]}); err != nil {
		return Invitation{}, "", err
	}
	return inv, code, nil
}

func checkInvitation(inv Invitation, now time.Time) error {
	switch {
	case inv.Role == Admin || inv.Role == Ingest:
		return fmt.Errorf("%w: nobody is invited as %s", ErrBadClaims, inv.Role)
	case inv.Room == AnyRoom:
		return fmt.Errorf("%w: an invitation is to one room", ErrBadClaims)
	case inv.Uses < 0:
		return fmt.Errorf("%w: %d uses", ErrBadClaims, inv.Uses)
	case !inv.Expires.After(now) || !inv.Expires.After(inv.NotBefore) || inv.Expires.Sub(now) > MaxLife:
		return fmt.Errorf("%w: end of the invitation", ErrBadClaims)
	}
	return check(Claims{Subject: cmp.Or(inv.By, adminSubject), Name: inv.Name, Room: inv.Room, Role: inv.Role})
}

// roomForInvitation forgets invitations that are long over and says whether
// there is room for another. The caller has the turn.
func (a *Authority) roomForInvitation(ctx context.Context, room string, now time.Time) error {
	var over []*grant
	inRoom, all := 0, 0
	a.mu.Lock()
	for _, g := range a.grants {
		switch {
		case now.After(g.Expires.Add(remember)):
			over = append(over, g)
			continue
		case g.Room == room:
			inRoom++
		}
		all++
	}
	a.mu.Unlock()
	if inRoom >= maxRoomInvitations || all >= maxInvitations {
		return ErrTooMany
	}
	for _, g := range over {
		if err := a.drop(ctx, kindInvitation, g.ID); err != nil {
			return err
		}
		a.mu.Lock()
		delete(a.grants, g.ID)
		delete(a.codes, [sha256.Size]byte(g.Hash))
		a.mu.Unlock()
	}
	return nil
}

// keepGrant keeps a new state of an invitation. The caller has the turn.
func (a *Authority) keepGrant(ctx context.Context, g *grant) error {
	r := Record{Kind: kindInvitation, ID: g.ID, Room: g.Room, Expires: g.Expires.Add(remember)}
	if err := a.put(ctx, r, g); err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.grants[g.ID] = g
	a.codes[[sha256.Size]byte(g.Hash)] = g.ID
	return nil
}

// Redeem gives whoever has the code of an invitation a token, which ends with the
// invitation. An empty name is that of the invitation. Errors: ErrNotFound,
// ErrRevoked, ErrExpired, ErrNotYet, ErrUsedUp, ErrRoomClosed, ErrBadClaims, or
// that of the Ledger.
func (a *Authority) Redeem(ctx context.Context, code, name string) (string, Claims, error) {
	if len(code) > maxCredential {
		return "", Claims{}, ErrNotFound
	}
	sum := codeHash(code)
	if len(name) > maxName {
		return "", Claims{}, fmt.Errorf("%w: name of %d bytes", ErrBadClaims, len(name))
	}
	if _, err := a.redeemable(sum, time.Now()); err != nil {
		return "", Claims{}, err // without waiting for the turn
	}
	leave, err := a.takeTurn(ctx)
	if err != nil {
		return "", Claims{}, err
	}
	defer leave()
	now := time.Now()
	g, err := a.redeemable(sum, now)
	if err != nil {
		return "", Claims{}, err
	}
	if name == "" {
		name = g.Name
	}
	c := Claims{Name: name, Room: g.Room, Role: g.Role, Grant: g.ID}
	token, c, err := a.IssueToken(c, time.Time{}, g.Expires.Sub(now).Truncate(time.Second)+1)
	if err != nil {
		return "", Claims{}, err
	}
	changed := *g
	changed.Used++
	if err := a.keepGrant(ctx, &changed); err != nil {
		return "", Claims{}, err
	}
	return token, c, nil
}

// EarlyError is ErrNotYet of an invitation: it says when its time comes.
type EarlyError struct {
	From time.Time
}

// Error implements error.
func (e *EarlyError) Error() string {
	return ErrNotYet.Error() + ": good from " + e.From.Format(time.RFC3339)
}

// Is makes errors.Is find ErrNotYet.
func (e *EarlyError) Is(target error) bool { return target == ErrNotYet }

// redeemable returns the invitation of a code if it holds now. The lookup is by
// hash: how long it takes tells nothing of a code.
func (a *Authority) redeemable(sum [sha256.Size]byte, now time.Time) (*grant, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	g := a.grants[a.codes[sum]]
	switch {
	case g == nil:
		return nil, ErrNotFound
	case g.Revoked:
		return nil, ErrRevoked
	case !now.Before(g.Expires):
		return nil, ErrExpired
	case now.Before(g.NotBefore):
		return nil, &EarlyError{From: g.NotBefore}
	case g.Uses > 0 && g.Used >= g.Uses:
		return nil, ErrUsedUp
	}
	guest := Claims{Role: g.Role}.guest()
	if guest && a.modeLocked(g.Room) == Closed {
		return nil, ErrRoomClosed
	}
	return g, nil
}

// Invitations returns the invitations to a room, also those that are over, the
// newest first.
func (a *Authority) Invitations(room string) []Invitation {
	a.mu.Lock()
	defer a.mu.Unlock()
	var list []Invitation
	for _, g := range a.grants {
		if g.Room == room {
			list = append(list, g.Invitation)
		}
	}
	slices.SortFunc(list, func(x, y Invitation) int { return newestFirst(x.Created, y.Created, x.ID, y.ID) })
	return list
}

// newestFirst orders what was made at two times, of one time by id.
func newestFirst(a, b time.Time, idA, idB string) int {
	return cmp.Or(b.Compare(a), strings.Compare(idA, idB))
}

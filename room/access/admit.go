package access

import (
	"context"
	"net/netip"
	"strings"
	"time"
)

// Attempt is somebody at the door.
type Attempt struct {
	Credential string // token, key or password; "": none
	User       string // that came with a password; "": none
	Room       string // where to; "": nowhere in particular
	Way        string // "http", "whip", "whep", "rtsp", "rtmp"
	Remote     netip.Addr
}

// Admit says who is at the door. It is the way in for every transport, and takes
// the key of the administrator, tokens of ours, stored keys, user and password of
// players, tokens of the issuers and whatever the hook of Trust takes, and nobody
// at all if the room is open. Whether the Claims give the right to do a thing is
// asked of them afterwards.
//
// Errors: ErrMissing, ErrInvalid, ErrExpired, ErrNotYet, ErrRevoked,
// ErrRoomClosed, ErrUnavailable, or the cause of ctx. With ErrExpired, ErrNotYet,
// ErrRevoked and ErrRoomClosed the claims tell who it is, but give no right.
func (a *Authority) Admit(ctx context.Context, at Attempt) (Claims, error) {
	c, err := a.identify(ctx, at)
	if err != nil {
		return c, err
	}
	return c, a.standing(c, at.Room, time.Now())
}

// identify finds out whose credential it is.
func (a *Authority) identify(ctx context.Context, at Attempt) (Claims, error) {
	cred := at.Credential
	switch {
	case cred == "" && at.User == "":
		return a.anonymous(at.Room)
	case cred == "" || len(cred) > maxCredential || len(at.User) > maxCredential || manyLines(cred):
		return Claims{}, ErrInvalid
	case a.isAdminKey(cred):
		return Claims{Subject: adminSubject, Room: AnyRoom, Role: Admin}, nil
	case strings.HasPrefix(cred, keyPrefix):
		return a.byKey(cred)
	case strings.HasPrefix(at.User, playerPrefix):
		return a.byPlayer(at.User, cred, at.Room)
	}
	iss, isToken := peekIssuer(cred)
	if isToken && iss == issuer {
		return a.verifyOwn(cred)
	}
	a.mu.Lock()
	out := a.outside
	a.mu.Unlock()
	if out == nil {
		return Claims{}, ErrInvalid
	}
	return out.identify(ctx, at, iss, isToken)
}

// anonymous is who comes without a credential.
func (a *Authority) anonymous(room string) (Claims, error) {
	if room == "" || a.Rules(room).Mode != Public {
		return Claims{}, ErrMissing
	}
	return Claims{Subject: AnonymousSubject, Room: room, Role: Student, Anonymous: true}, nil
}

// standing says what has become of a credential since it was given: nil,
// ErrRevoked, ErrExpired or, if room is shut to its bearer, ErrRoomClosed. With
// "" it is the room of the claims that counts.
func (a *Authority) standing(c Claims, room string, now time.Time) error {
	if room == "" {
		room = c.Room
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.standingLocked(c, room, now)
}

func (a *Authority) standingLocked(c Claims, room string, now time.Time) error {
	if a.revokedLocked(c.ID, now) {
		return ErrRevoked
	}
	for id := range strings.SplitSeq(c.Grant, heirs) {
		if g := a.grants[id]; a.revokedLocked(id, now) || g != nil && g.Revoked {
			return ErrRevoked
		}
	}
	if !c.Expires.IsZero() && !now.Before(c.Expires) {
		return ErrExpired
	}
	if !c.guest() || !c.in(room) {
		return nil
	}
	mode := a.modeLocked(room)
	if mode == Closed || c.Anonymous && mode != Public {
		return ErrRoomClosed
	}
	return nil
}

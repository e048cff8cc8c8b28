// Package access says who may do what: it lets people into rooms by tokens,
// invitations, passcodes, stored keys, tokens of other systems and a hook, keeps
// the key of the administrator, and tells when a right has ended.
//
// A token is a JWT (RFC 7519) signed with HS256 and a random key of this
// installation. It binds one person to one room (or to all of them) and to one
// role. Whether the person may do a thing is asked of its Claims.
//
// Authority.Admit is the way in for every transport. What may be taken back
// (revocations, invitations, stored keys, the rules of rooms) is in memory and,
// after UseLedger, kept.
package access

import (
	"errors"
	"time"
)

// Errors by which callers decide.
var (
	// ErrMissing says that there is no credential, and that the room is not open
	// to those without.
	ErrMissing = errors.New("access: no credential")
	// ErrInvalid says that a credential is not good: malformed, forged, unknown,
	// or refused by the hook.
	ErrInvalid = errors.New("access: invalid credential")
	// ErrExpired says that a token, a key or an invitation was good and its time
	// is over.
	ErrExpired = errors.New("access: expired")
	// ErrNotYet says that a token or an invitation will be good later.
	ErrNotYet = errors.New("access: not valid yet")
	// ErrRevoked says that a token, a key or an invitation was taken back.
	ErrRevoked = errors.New("access: revoked")
	// ErrRoomClosed says that the room is closed to people of this role.
	ErrRoomClosed = errors.New("access: room closed")
	// ErrUnavailable says that whoever decides over the credential, the hook or
	// a key set, does not answer.
	ErrUnavailable = errors.New("access: authority does not answer")
	// ErrBadClaims says that a token, invitation, key or rule was asked for that
	// cannot be.
	ErrBadClaims = errors.New("access: bad claims")
	// ErrUsedUp says that an invitation has no uses left.
	ErrUsedUp = errors.New("access: invitation used up")
	// ErrWrongPasscode says that the passcode is not that of the room.
	ErrWrongPasscode = errors.New("access: wrong passcode")
	// ErrNotFound says that there is no such invitation, key or token.
	ErrNotFound = errors.New("access: not found")
	// ErrTooMany says that no more of a kind can be kept, or done at once.
	ErrTooMany = errors.New("access: too many")
)

// Role is what a person is in a room.
type Role string

// The roles.
const (
	Admin     Role = "admin"     // everything, in every room
	Teacher   Role = "teacher"   // leads classes, publishes, watches, plays, moderates
	Assistant Role = "assistant" // publishes, watches, plays, moderates
	Student   Role = "student"   // watches, and talks and shares files as the room allows
	Player    Role = "player"    // reads over RTMP and RTSP, nothing else
	Ingest    Role = "ingest"    // an encoder: publishes, nothing else
)

// Valid says whether r is one of the roles.
func (r Role) Valid() bool {
	switch r {
	case Admin, Teacher, Assistant, Student, Player, Ingest:
		return true
	}
	return false
}

// AnyRoom as the room of Claims stands for every room.
const AnyRoom = "*"

// AnonymousSubject is the subject of all who enter an open room without a
// credential. No token can have it.
const AnonymousSubject = "anonymous"

// Claims are what a verified credential says of its bearer.
type Claims struct {
	Subject string // stable id of the person; member id in rooms
	Name    string // to be shown; may be empty
	Room    string // room name, or AnyRoom
	Role    Role
	Expires time.Time // zero: never

	// NotBefore is when a token begins to be valid; zero: when it was issued.
	NotBefore time.Time

	// ID is that of the credential, by which it is revoked: the jti of a token,
	// the id of a stored key. "" for the key of the administrator and for those
	// without a credential.
	ID string
	// Grant is what the token came from and ends with: the id of an invitation, or
	// the ids of the tokens that it was made with, see Authority.Heritage; "": none.
	Grant string
	// Slot is the only stream that the bearer may publish to; "": any.
	Slot string
	// Anonymous says that there is no credential: the room is open.
	Anonymous bool
}

// in says whether the claims reach room.
func (c Claims) in(room string) bool {
	return room != "" && (c.Role == Admin || c.Room == AnyRoom || c.Room == room)
}

// is says whether the claims reach room with one of roles, or with all rights.
func (c Claims) is(room string, roles ...Role) bool {
	if !c.in(room) {
		return false
	}
	if c.Role == Admin {
		return true
	}
	for _, r := range roles {
		if c.Role == r {
			return true
		}
	}
	return false
}

// MayPublish says whether the bearer may send audio and video to a stream of
// room; to which, MayPublishTo knows.
func (c Claims) MayPublish(room string) bool {
	return c.is(room, Teacher, Assistant, Ingest)
}

// MayPublishTo says whether the bearer may send audio and video to that stream
// of room.
func (c Claims) MayPublishTo(room, slot string) bool {
	return c.MayPublish(room) && (c.Slot == "" || c.Slot == slot)
}

// MayWatch says whether the bearer may be in room: watch it in a browser, talk,
// and share and fetch files, as far as the rules of the room let students.
func (c Claims) MayWatch(room string) bool {
	return c.is(room, Teacher, Assistant, Student)
}

// MayPlay says whether the bearer may read room over RTMP or RTSP.
func (c Claims) MayPlay(room string) bool {
	return c.is(room, Teacher, Assistant, Player) || c.Anonymous && c.in(room)
}

// MayModerate says whether the bearer may end what others do in the chat of
// room: take down their hands, delete their files.
func (c Claims) MayModerate(room string) bool {
	return c.is(room, Teacher, Assistant)
}

// MayLead says whether the bearer may start and end classes in room, take over a
// stream, invite, make keys, open and close the room, and delete its lectures.
func (c Claims) MayLead(room string) bool {
	return c.is(room, Teacher)
}

// MayAdmin says whether the bearer may do what concerns the whole installation.
func (c Claims) MayAdmin() bool { return c.Role == Admin }

// Within returns the claims of somebody who uses them in one room only: those of
// every room become those of that one. Watch then also minds that room's closing.
func (c Claims) Within(room string) Claims {
	if c.in(room) {
		c.Room = room
	}
	return c
}

// guest says whether the bearer is one of those whom closing a room shuts out.
func (c Claims) guest() bool {
	return c.Anonymous || c.Role == Student || c.Role == Player
}

// Package access says who may do what: it issues and verifies the tokens that
// rooms are entered with, and keeps the key of the administrator.
//
// A token is a JWT (RFC 7519) signed with HS256 and a random key of this
// installation. It binds one person to one room (or to all of them) and to one
// role. Whether the person may do a thing is asked of its Claims.
package access

import (
	"errors"
	"time"
)

// Errors by which callers decide.
var (
	// ErrInvalid says that a credential is not one of ours: malformed, forged,
	// not valid yet, or of an unknown role.
	ErrInvalid = errors.New("access: invalid credential")
	// ErrExpired says that a token was ours and its time is over.
	ErrExpired = errors.New("access: token expired")
	// ErrBadClaims says that Issue was asked for a token that cannot be.
	ErrBadClaims = errors.New("access: bad claims")
)

// Role is what a person is in a room.
type Role string

// The roles.
const (
	Admin   Role = "admin"   // everything, in every room
	Teacher Role = "teacher" // publishes, watches, plays and moderates in its room
	Student Role = "student" // watches, talks and shares files in its room
	Player  Role = "player"  // reads over RTMP and RTSP in its room, nothing else
)

// Valid says whether r is one of the four roles.
func (r Role) Valid() bool {
	switch r {
	case Admin, Teacher, Student, Player:
		return true
	}
	return false
}

// AnyRoom as the room of Claims stands for every room.
const AnyRoom = "*"

// Claims are what a verified credential says of its bearer.
type Claims struct {
	Subject string // stable id of the person; member id in rooms
	Name    string // to be shown; may be empty
	Room    string // room name, or AnyRoom
	Role    Role
	Expires time.Time // zero: never (the key of the administrator)
}

// in says whether the claims reach room.
func (c Claims) in(room string) bool {
	return room != "" && (c.Role == Admin || c.Room == AnyRoom || c.Room == room)
}

// MayPublish says whether the bearer may send audio and video to room.
func (c Claims) MayPublish(room string) bool {
	return c.in(room) && (c.Role == Admin || c.Role == Teacher)
}

// MayWatch says whether the bearer may be in room: watch it in a browser, talk,
// and share and fetch files.
func (c Claims) MayWatch(room string) bool {
	return c.in(room) && (c.Role == Admin || c.Role == Teacher || c.Role == Student)
}

// MayPlay says whether the bearer may read room over RTMP or RTSP.
func (c Claims) MayPlay(room string) bool {
	return c.in(room) && (c.Role == Admin || c.Role == Teacher || c.Role == Player)
}

// MayModerate says whether the bearer may start and end classes in room, invite
// to it, and delete its lectures.
func (c Claims) MayModerate(room string) bool {
	return c.in(room) && (c.Role == Admin || c.Role == Teacher)
}

// MayAdmin says whether the bearer may do what concerns the whole installation.
func (c Claims) MayAdmin() bool { return c.Role == Admin }

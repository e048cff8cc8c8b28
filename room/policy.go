package room

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"

	"github.com/lectern/lectern/room/access"
)

// Errors of what a room has closed to its students.
var (
	ErrChatClosed  = errors.New("room: chat is closed to students")
	ErrFilesClosed = errors.New("room: files are closed to students")
)

// Policy is what the students of a room may do besides watching. Others are not
// bound by it.
type Policy struct {
	Chat  bool // say something
	Files bool // share files; fetching them needs no leave
}

// policy is what holds in the room now.
func (r *Room) policy() Policy {
	if r.cfg.Policy == nil {
		return Policy{Chat: true, Files: true}
	}
	return r.cfg.Policy(r.name)
}

// Bounds of the secret of a page, in bytes.
const (
	MinPageKey = 16
	MaxPageKey = 128
)

// Page returns who a page is whose token many people share: an invitation is one
// token for a class, and each page has a secret that tells it apart. The member
// id is then the subject, ~ and 16 hexadecimal digits derived from key. Who is
// not a student, or has no key, is who the token says.
func (id Identity) Page(key string) Identity {
	if key == "" || id.Role != access.Student {
		return id
	}
	sum := sha256.Sum256([]byte(id.ID + "\n" + key))
	id.ID += "~" + hex.EncodeToString(sum[:8])
	return id
}

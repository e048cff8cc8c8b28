// Package room knows who is in a class, what they may do, what was said, and
// which streams are live. It ties publishers to streams, keeps a class together
// while its publisher is away, has it recorded, and orders everything that
// happens into one numbered log of events per room.
package room

import (
	"errors"
	"fmt"

	"github.com/lectern/lectern/room/access"
)

// Errors by which callers decide.
var (
	ErrBadName      = errors.New("room: bad name")
	ErrClosed       = errors.New("room: closed")
	ErrTooMany      = errors.New("room: too many rooms or streams")
	ErrFull         = errors.New("room: full")
	ErrSlotTaken    = errors.New("room: somebody else publishes there")
	ErrForbidden    = errors.New("room: not allowed")
	ErrNoClass      = errors.New("room: no class is on")
	ErrClassRunning = errors.New("room: a class is on already")
	ErrBadText      = errors.New("room: text is empty or not UTF-8")
	ErrTooLong      = errors.New("room: text is too long")
	ErrBadRef       = errors.New("room: bad ref")
	ErrLagging      = errors.New("room: the connection lags behind")

	ErrNoFiles      = errors.New("room: file sharing is off")
	ErrBadFile      = errors.New("room: bad description of a file")
	ErrFileNotFound = errors.New("room: no such file")
	ErrFileTooLarge = errors.New("room: file too large")
	ErrQuota        = errors.New("room: no space left for files")
	ErrDigest       = errors.New("room: file differs from its digest")
	ErrFileConflict = errors.New("room: another file has that id")
	ErrReplaced     = errors.New("room: the upload goes on elsewhere")
)

// DefaultSlot is the slot of a stream that is named by its room alone.
const DefaultSlot = "main"

const maxName = 64 // bytes of the name of a room or a slot

// ValidName returns ErrBadName unless s can name a room or a slot: 1 to 64 of
// a-z A-Z 0-9 . _ - and no dot at the beginning.
func ValidName(s string) error {
	if s == "" || len(s) > maxName || s[0] == '.' {
		return fmt.Errorf("%w: %d characters", ErrBadName, len(s))
	}
	for i := range len(s) {
		if !nameChar(s[i]) {
			return fmt.Errorf("%w: character %q", ErrBadName, s[i])
		}
	}
	return nil
}

func nameChar(c byte) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return true
	}
	return c == '.' || c == '_' || c == '-'
}

// Identity is who does something in a room.
type Identity struct {
	ID   string // member id: the subject of the token
	Name string // to be shown; may be empty
	Role access.Role
	Room string // room name, or access.AnyRoom
}

// moderates says whether the identity may lead classes.
func (id Identity) moderates() bool {
	return id.Role == access.Teacher || id.Role == access.Admin
}

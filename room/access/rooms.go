package access

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"time"
)

// Mode says how people come into a room.
type Mode string

// The modes. With each, those who bear a credential for the room come in by it,
// but for students and players when the room is closed.
const (
	Public     Mode = "open"     // anybody may watch and play
	ByLink     Mode = "link"     // with a token or an invitation only; the default
	ByPasscode Mode = "passcode" // who knows the passcode may watch
	Closed     Mode = "closed"   // teachers, assistants and encoders only
)

func (m Mode) valid() bool {
	switch m {
	case Public, ByLink, ByPasscode, Closed:
		return true
	}
	return false
}

const (
	// maxRooms bounds the rooms whose rules differ from the default.
	maxRooms = 20_000

	// defaultEntry is how long the token of who enters a room lives.
	defaultEntry = 12 * time.Hour
)

// RoomRules are what holds for those who enter a room.
type RoomRules struct {
	Mode        Mode
	PasscodeSet bool
	Chat        bool // students may write
	Files       bool // students may share files
}

// RulesChange changes what is not nil. An empty passcode takes it away.
type RulesChange struct {
	Mode        *Mode
	Passcode    *string
	Chat, Files *bool
}

// roomRecord is what is kept of a room. It is not changed, but replaced.
type roomRecord struct {
	Mode     Mode      `json:"mode,omitempty"`
	NoChat   bool      `json:"no_chat,omitempty"`
	NoFiles  bool      `json:"no_files,omitempty"`
	Passcode *passcode `json:"passcode,omitempty"`
}

func (r *roomRecord) rules() RoomRules {
	if r == nil {
		return RoomRules{Mode: ByLink, Chat: true, Files: true}
	}
	rules := RoomRules{Mode: r.Mode, PasscodeSet: r.Passcode != nil, Chat: !r.NoChat, Files: !r.NoFiles}
	if rules.Mode == "" {
		rules.Mode = ByLink
	}
	return rules
}

// Rules returns the rules of a room: by link, with chat and files, unless they
// were changed. It does not block.
func (a *Authority) Rules(room string) RoomRules {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.rooms[room].rules()
}

func (a *Authority) modeLocked(room string) Mode { return a.rooms[room].rules().Mode }

// SetRules changes the rules of a room and returns the new ones. Those who are in
// by a right that this ends are told to go; see Watch. Errors: ErrBadClaims for
// an unknown mode, a passcode that is too short or too long, or the mode of
// passcode without one; ErrTooMany; or that of the Ledger.
func (a *Authority) SetRules(ctx context.Context, room string, change RulesChange) (RoomRules, error) {
	if room == "" || room == AnyRoom || len(room) > maxRoom {
		return RoomRules{}, fmt.Errorf("%w: room of %d bytes", ErrBadClaims, len(room))
	}
	var pass *passcode
	if p := change.Passcode; p != nil && *p != "" {
		var err error
		if pass, err = a.newPasscode(ctx, *p); err != nil {
			return RoomRules{}, err
		}
	}
	leave, err := a.takeTurn(ctx)
	if err != nil {
		return RoomRules{}, err
	}
	defer leave()
	a.mu.Lock()
	old, known := a.rooms[room]
	full := !known && len(a.rooms) >= maxRooms
	a.mu.Unlock()
	if full {
		return RoomRules{}, ErrTooMany
	}
	next, err := old.with(change, pass)
	if err != nil {
		return RoomRules{}, err
	}
	if next.rules() == (*roomRecord)(nil).rules() {
		err = a.drop(ctx, kindRoom, room)
	} else {
		err = a.put(ctx, Record{Kind: kindRoom, ID: room, Room: room}, next)
	}
	if err != nil {
		return RoomRules{}, err
	}
	a.mu.Lock()
	if next.rules() == (*roomRecord)(nil).rules() {
		delete(a.rooms, room)
	} else {
		a.rooms[room] = next
	}
	a.mu.Unlock()
	a.recheck()
	return next.rules(), nil
}

// with returns r changed; pass is the new passcode, if change has one.
func (r *roomRecord) with(change RulesChange, pass *passcode) (*roomRecord, error) {
	var next roomRecord
	if r != nil {
		next = *r
	}
	if change.Passcode != nil {
		next.Passcode = pass
	}
	if m := change.Mode; m != nil {
		if !m.valid() {
			return nil, fmt.Errorf("%w: unknown mode", ErrBadClaims)
		}
		next.Mode = *m
	}
	if next.Mode == ByPasscode && next.Passcode == nil {
		return nil, fmt.Errorf("%w: no passcode", ErrBadClaims)
	}
	if change.Chat != nil {
		next.NoChat = !*change.Chat
	}
	if change.Files != nil {
		next.NoFiles = !*change.Files
	}
	return &next, nil
}

// Enter lets somebody without credential into an open room, or into one with a
// passcode who knows it, as a student with a token of their own for ttl (0:
// 12 h). Errors: ErrRoomClosed; ErrMissing when the room is entered by link only;
// ErrWrongPasscode; ErrTooMany when too many are at the door; ErrBadClaims.
func (a *Authority) Enter(ctx context.Context, room, name, passcode string, ttl time.Duration) (string, Claims, error) {
	a.mu.Lock()
	r := a.rooms[room]
	a.mu.Unlock()
	switch r.rules().Mode {
	case Public:
	case ByPasscode:
		if err := a.checkPasscode(ctx, r.Passcode, passcode); err != nil {
			return "", Claims{}, err
		}
	case Closed:
		return "", Claims{}, ErrRoomClosed
	default:
		return "", Claims{}, ErrMissing
	}
	if ttl == 0 {
		ttl = defaultEntry
	}
	return a.IssueToken(Claims{Name: name, Room: room, Role: Student}, time.Time{}, ttl)
}

// equal compares secrets in a time that does not tell where they differ, nor
// how long they are.
func equal(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return sameBytes(x[:], y[:])
}

// sameBytes compares hashes in a time that does not tell where they differ.
func sameBytes(a, b []byte) bool { return subtle.ConstantTimeCompare(a, b) == 1 }

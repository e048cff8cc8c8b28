package access

import (
	"encoding/base32"
	"strings"
)

// markLen is how much of the id of a token says which room it is for.
const markLen = 3

// tokenID returns a new id of a token for room. Tokens are not stored, and yet
// who leads a room may revoke those of that room, by id: so the id ends with a
// mark of its room, which nobody can compute without the key of this
// installation.
func (a *Authority) tokenID(room string) string {
	id := newID()[:idLen-markLen]
	return id + a.roomMark(id, room)
}

func (a *Authority) roomMark(id, room string) string {
	return strings.ToLower(base32.StdEncoding.EncodeToString(a.mac("token", id, room)))[:markLen]
}

// IssuedFor says whether id may be that of a token that was issued for room
// here, and not for another. It is no secret, and gives no right but to revoke.
func (a *Authority) IssuedFor(id, room string) bool {
	return len(id) == idLen && equal(id[idLen-markLen:], a.roomMark(id[:idLen-markLen], room))
}

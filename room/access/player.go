package access

import (
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// A player login is a user and a password short enough for
// rtsp://user:password@host. The user tells all that a player token does:
//
//	p.{expires}.{not before}.{id}.{grant}.{room}
//
// times in seconds since 1970 to the base 36; the room is r and the name, h and
// a hash of a name that is too long, or a for any. The password is a MAC of the
// user under the key of this installation, so that nothing is stored.
const (
	playerPrefix = "p."
	maxLogin     = 64 // bytes of user and of password
	base36       = 36
	playerName   = "player:" // and the id: the subject of who logs in so
)

// PlayerLogin returns user and password for players that cannot take a token,
// for the room of c until c expires; they are revoked with c. It returns
// ErrBadClaims unless c may play and expires.
func (a *Authority) PlayerLogin(c Claims) (user, password string, err error) {
	if c.Role != Player || c.Expires.IsZero() || c.ID == "" || c.Room == "" {
		return "", "", fmt.Errorf("%w: not those of a player token", ErrBadClaims)
	}
	room := "r" + c.Room
	if c.Room == AnyRoom {
		room = "a"
	}
	begins := ""
	if !c.NotBefore.IsZero() {
		begins = strconv.FormatInt(c.NotBefore.Unix(), base36)
	}
	parts := []string{"p", strconv.FormatInt(c.Expires.Unix(), base36), begins, c.ID, c.Grant, room}
	if user = strings.Join(parts, "."); len(user) > maxLogin {
		parts[len(parts)-1] = a.roomTag(c.Room)
		user = strings.Join(parts, ".")
	}
	if len(user) > maxLogin || strings.Contains(c.ID+c.Grant, ".") {
		return "", "", fmt.Errorf("%w: user of %d bytes", ErrBadClaims, len(user))
	}
	return user, a.playerPassword(user), nil
}

// roomTag stands for a room whose name is too long. It is a MAC: somebody who
// teaches in one room must not find the name of another with the same tag.
func (a *Authority) roomTag(room string) string {
	return "h" + hex.EncodeToString(a.mac("room", room)[:8])
}

func (a *Authority) playerPassword(user string) string {
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(a.mac("player", user)[:16]))
}

// byPlayer says who logs in. Errors: ErrInvalid, ErrExpired, ErrNotYet.
func (a *Authority) byPlayer(user, password, room string) (Claims, error) {
	if len(user) > maxLogin || !equal(password, a.playerPassword(user)) {
		return Claims{}, ErrInvalid
	}
	return a.playerClaims(user, room)
}

// playerClaims reads a user whose password was right, or that is not trusted yet.
func (a *Authority) playerClaims(user, room string) (Claims, error) {
	parts := strings.SplitN(user, ".", 6)
	if len(parts) != 6 || parts[0] != "p" {
		return Claims{}, ErrInvalid
	}
	expires, err := strconv.ParseInt(parts[1], base36, 64)
	if err != nil {
		return Claims{}, ErrInvalid
	}
	c := Claims{Subject: playerName + parts[3], Role: Player, Expires: time.Unix(expires, 0), ID: parts[3], Grant: parts[4]}
	switch name := parts[5]; {
	case name == "a":
		c.Room = AnyRoom
	case strings.HasPrefix(name, "r"):
		c.Room = name[1:]
	case room != "" && equal(name, a.roomTag(room)):
		c.Room = room
	default:
		return Claims{}, ErrInvalid
	}
	if check(c) != nil {
		return Claims{}, ErrInvalid
	}
	now := time.Now()
	if !now.Before(c.Expires) {
		return c, ErrExpired
	}
	if parts[2] != "" {
		from, err := strconv.ParseInt(parts[2], base36, 64)
		if err != nil {
			return Claims{}, ErrInvalid
		}
		if now.Before(time.Unix(from, 0)) {
			return c, ErrNotYet
		}
	}
	return c, nil
}

// DigestHA1 returns the hash by which Digest authentication (RFC 7616, section
// 3.4.2) is verified, of a player login or of a stored key, whose user is its id.
// algorithm is "MD5" or "SHA-256". ok is false for any other user or algorithm.
// Once the digest was found right, ByUser tells who it is.
func (a *Authority) DigestHA1(user, realm, algorithm string) (ha1 string, ok bool) {
	password, ok := a.passwordOf(user)
	if !ok {
		return "", false
	}
	text := []byte(user + ":" + realm + ":" + password)
	switch algorithm {
	case "MD5":
		sum := md5.Sum(text)
		return hex.EncodeToString(sum[:]), true
	case "SHA-256":
		sum := sha256.Sum256(text)
		return hex.EncodeToString(sum[:]), true
	}
	return "", false
}

// passwordOf computes the password of a user again.
func (a *Authority) passwordOf(user string) (string, bool) {
	if len(user) > maxLogin {
		return "", false
	}
	if strings.HasPrefix(user, playerPrefix) {
		return a.playerPassword(user), true
	}
	a.mu.Lock()
	k := a.keys[user]
	a.mu.Unlock()
	if k == nil {
		return "", false
	}
	secret := a.secretOf(user)
	sum := sha256.Sum256([]byte(secret))
	return secret, sameBytes(sum[:], k.Hash)
}

// ByUser is Admit for somebody who has proved by Digest to know the password of
// at.User; at.Credential is not looked at. Errors are those of Admit.
func (a *Authority) ByUser(_ context.Context, at Attempt) (Claims, error) {
	c, err := a.byUser(at)
	if err != nil {
		return c, err
	}
	return c, a.standing(c, at.Room, time.Now())
}

func (a *Authority) byUser(at Attempt) (Claims, error) {
	if len(at.User) > maxLogin {
		return Claims{}, ErrInvalid
	}
	if strings.HasPrefix(at.User, playerPrefix) {
		return a.playerClaims(at.User, at.Room)
	}
	a.mu.Lock()
	k := a.keys[at.User]
	a.mu.Unlock()
	if k == nil {
		return Claims{}, ErrInvalid
	}
	return a.useKey(k)
}

package access

import (
	"encoding/json"
	"path"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/golang-jwt/jwt/v5"
)

// maxValues bounds the values of a claim that are looked at.
const maxValues = 1000

// read makes Claims of those of a verified token, for somebody who wants into
// room. ID and Subject are as the token says, perhaps empty. Room is the one that
// is wanted if the token is good for it; else the first that it is good for, or
// "" if there is none: then it gives no right. Errors: ErrInvalid.
func (i *Issuer) read(claims jwt.MapClaims, room string, now time.Time) (Claims, error) {
	expires, err := claims.GetExpirationTime()
	if err != nil || expires == nil {
		return Claims{}, ErrInvalid
	}
	began := now
	if issued, err := claims.GetIssuedAt(); err == nil && issued != nil && issued.Before(now) {
		began = issued.Time
	}
	if expires.Sub(began) > i.MaxLife {
		return Claims{}, ErrInvalid
	}
	role := i.roleOf(values(find(claims, i.Claims.Role)))
	if role == "" {
		return Claims{}, ErrInvalid
	}
	c := Claims{Role: role, Expires: expires.Add(leeway)}
	c.Room = i.roomOf(values(find(claims, i.Claims.Room)), room)
	c.Subject = first(values(find(claims, i.Claims.Subject)))
	c.Name = shown(first(values(find(claims, i.Claims.Name))))
	c.ID = first(values(find(claims, "jti")))
	return c, nil
}

// roleOf is the strongest role that the values stand for, "" for none.
func (i *Issuer) roleOf(said []string) Role {
	var roles []Role
	for _, value := range said {
		role := i.Roles[value]
		if len(i.Roles) == 0 && Role(value) != Admin {
			role = Role(value) // an administrator must be mapped on purpose
		}
		roles = append(roles, role)
	}
	for _, role := range []Role{Admin, Teacher, Assistant, Ingest, Student, Player} {
		if slices.Contains(roles, role) {
			return role
		}
	}
	return i.DefaultRole
}

// roomOf is the room of the Claims, given what the token says and what is wanted.
func (i *Issuer) roomOf(said []string, wanted string) string {
	every := i.Claims.Room == AnyRoom
	var rooms []string
	for _, value := range said {
		if value == AnyRoom {
			every = true
		} else if room, ok := i.plainRoom(value); ok && i.speaksFor(room) {
			rooms = append(rooms, room)
		}
	}
	switch {
	case every && wanted != "" && i.speaksFor(wanted):
		return wanted
	case every && len(i.Rooms) == 0:
		return AnyRoom
	case slices.Contains(rooms, wanted):
		return wanted
	}
	return first(rooms)
}

// plainRoom takes the name of a room out of a value of the room claim.
func (i *Issuer) plainRoom(value string) (room string, ok bool) {
	room = value
	if i.RoomPattern != "" {
		before, after, _ := strings.Cut(i.RoomPattern, roomMark)
		if len(value) < len(before)+len(after) {
			return "", false
		}
		if room, ok = strings.CutPrefix(value, before); !ok {
			return "", false
		}
		if room, ok = strings.CutSuffix(room, after); !ok {
			return "", false
		}
	}
	return room, room != "" && room != AnyRoom && len(room) <= maxRoom
}

// speaksFor says whether the issuer may let people into room.
func (i *Issuer) speaksFor(room string) bool {
	if len(i.Rooms) == 0 {
		return true
	}
	return slices.ContainsFunc(i.Rooms, func(glob string) bool {
		ok, err := path.Match(glob, room) // err: checked at the start
		return ok && err == nil
	})
}

// find returns what is at a path, of which each dot may go down into an object
// or be part of a name; nil for nothing.
func find(claims map[string]any, at string) any {
	if v, ok := claims[at]; ok {
		return v
	}
	for n := range len(at) {
		if at[n] != '.' {
			continue
		}
		below, ok := claims[at[:n]].(map[string]any)
		if !ok {
			continue
		}
		if v := find(below, at[n+1:]); v != nil {
			return v
		}
	}
	return nil
}

// values are the texts and numbers of a claim, which may be a list of them.
func values(v any) []string {
	switch v := v.(type) {
	case string:
		return []string{v}
	case json.Number:
		return []string{v.String()}
	case []any:
		var all []string
		for _, one := range v[:min(len(v), maxValues)] {
			if _, list := one.([]any); !list {
				all = append(all, values(one)...)
			}
		}
		return all
	}
	return nil
}

func first(all []string) string {
	if len(all) == 0 {
		return ""
	}
	return all[0]
}

// shown makes a name from outside fit to be shown: one line of valid UTF-8 that
// is not too long.
func shown(name string) string {
	name = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(name, ""))
	if len(name) > maxName {
		name = strings.ToValidUTF8(name[:maxName], "")
	}
	return strings.TrimSpace(name)
}

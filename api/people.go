package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/lectern/lectern/room"
	"github.com/lectern/lectern/room/access"
)

const maxJSON = 64 << 10 // bytes of a request body

// readJSON reads a JSON object into v. Fields that nobody knows are refused: a
// misspelt one would silently not count. An empty body is an empty object if
// optional.
func readJSON(c *gin.Context, v any, optional bool) error {
	if optional && c.Request.ContentLength == 0 {
		return nil
	}
	body, err := readBody(c, typeJSON, maxJSON)
	if err != nil {
		return err
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return badJSON(err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return badJSON(err)
	}
	return nil
}

func badJSON(cause error) error {
	return &apiError{
		status: http.StatusBadRequest, code: "bad_json", cause: cause,
		detail: "The body is not the JSON object that is wanted here.",
	}
}

// identity is who the token says that its bearer is.
func identity(cl access.Claims) room.Identity {
	return room.Identity{
		ID: cl.Subject, Name: cl.Name, Role: cl.Role, Room: cl.Room, Slot: cl.Slot, Anonymous: cl.Anonymous,
	}
}

// meView is what a token says of its bearer.
type meView struct {
	Role    access.Role `json:"role"`
	Room    string      `json:"room"` // "*": every room
	Name    string      `json:"name"`
	Subject string      `json:"subject"`
	ID      string      `json:"id,omitempty"`   // of the credential, by which it is revoked
	Slot    string      `json:"slot,omitempty"` // the only stream that it may publish
	Expires *time.Time  `json:"expires"`        // null: never
}

// me answers what the token says.
func (s *Server) me(c *gin.Context) error {
	cl, err := s.claims(c)
	if err != nil {
		return err
	}
	c.JSON(http.StatusOK, meView{
		Role: cl.Role, Room: cl.Room, Name: cl.Name, Subject: cl.Subject, ID: cl.ID, Slot: cl.Slot,
		Expires: orNull(cl.Expires),
	})
	return nil
}

// orNull makes null of a time that is none.
func orNull(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// maxNameRunes bounds the name in a token.
const maxNameRunes = 64

// cleanName makes a name fit to be shown: one line, no control characters.
func cleanName(name string) string {
	name = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(name, ""))
	name = strings.Join(strings.Fields(name), " ")
	if r := []rune(name); len(r) > maxNameRunes {
		name = string(r[:maxNameRunes])
	}
	return name
}

package api

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/lectern/lectern/internal/sender"
	"github.com/lectern/lectern/room"
	"github.com/lectern/lectern/room/access"
)

// enterTTL is how long somebody who came in without an invitation may stay: a
// school day.
const enterTTL = 12 * time.Hour

// doorView is what everybody may know of a room before they are in it.
type doorView struct {
	Room  string      `json:"room"`
	Mode  access.Mode `json:"mode"`
	Live  bool        `json:"live"`            // a class is on; false if the room is closed
	Title string      `json:"title,omitempty"` // of the class, if the room is open
	Now   time.Time   `json:"now"`
}

// door answers to somebody who stands before a room without a token. Every
// valid name has a door, so that it tells nothing of which rooms there are.
func (s *Server) door(c *gin.Context) error {
	name := c.Param("room")
	if err := room.ValidName(name); err != nil {
		return err
	}
	v := doorView{Room: name, Mode: s.cfg.Authority.Rules(name).Mode, Now: s.now()}
	r, found := s.cfg.Hub.Lookup(name)
	if found && v.Mode != access.Closed {
		class, on := r.Class()
		v.Live = on
		if v.Mode == access.Public {
			v.Title = class.Title
		}
	}
	c.JSON(http.StatusOK, v)
	return nil
}

// comeIn gives somebody without an invitation a token of a student: to an open
// room, or by the passcode.
func (s *Server) comeIn(c *gin.Context) error {
	name := c.Param("room")
	if err := room.ValidName(name); err != nil {
		return err
	}
	var req struct {
		Name     string `json:"name"`
		Passcode string `json:"passcode"`
	}
	if err := readJSON(c, &req, false); err != nil {
		return err
	}
	who := cleanName(req.Name)
	mode := s.cfg.Authority.Rules(name).Mode
	switch {
	case mode == access.Closed:
		return errRoomClosed()
	case mode == access.ByLink:
		return errLinkNeeded()
	case who == "":
		return fail(http.StatusBadRequest, "name_needed", "A name of 1 to 64 characters is needed.")
	}
	token, cl, err := s.admitGuest(c, name, who, req.Passcode, mode)
	switch {
	case errors.Is(err, access.ErrWrongPasscode):
		return fail(http.StatusForbidden, "wrong_passcode", "The passcode is wrong.")
	case errors.Is(err, access.ErrRoomClosed):
		return errRoomClosed()
	case errors.Is(err, access.ErrMissing):
		return errLinkNeeded()
	case err != nil:
		return fmt.Errorf("entering room: %w", err)
	}
	v, err := s.grant(c, token, cl)
	if err != nil {
		return err
	}
	c.JSON(http.StatusCreated, v)
	return nil
}

// admitGuest asks the authority for a token, as often as passcodes may be tried.
func (s *Server) admitGuest(c *gin.Context, name, who, passcode string, mode access.Mode) (string, access.Claims, error) {
	ctx := c.Request.Context()
	if mode != access.ByPasscode {
		return s.cfg.Authority.Enter(ctx, name, who, "", enterTTL)
	}
	addr := sender.Of(remoteAddr(c)).String()
	if !s.passcodes.take(ctx, addr, name) {
		return "", access.Claims{}, failLater(http.StatusTooManyRequests, "rate_limited",
			"Too many wrong passcodes. Wait a moment.", passcodeWait)
	}
	token, cl, err := s.cfg.Authority.Enter(ctx, name, who, cleanPasscode(passcode), enterTTL)
	s.passcodes.settle(addr, name, !errors.Is(err, access.ErrWrongPasscode))
	return token, cl, err
}

func errRoomClosed() *apiError {
	return fail(http.StatusForbidden, "room_closed", "The room is closed at the moment.")
}

func errLinkNeeded() *apiError {
	return fail(http.StatusForbidden, "link_needed", "This room is entered by an invitation link.")
}

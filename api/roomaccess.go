package api

import (
	"fmt"
	"net/http"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/gin-gonic/gin"

	"github.com/lectern/lectern/room/access"
)

// Bounds of a passcode, in characters.
const (
	minPasscode = 4
	maxPasscode = 128
)

// accessView is who may come into a room, and what students may do in it.
type accessView struct {
	Mode        access.Mode `json:"mode"`
	PasscodeSet bool        `json:"passcode_set"`
	Chat        bool        `json:"chat"`
	Files       bool        `json:"files"`
}

func viewRules(r access.RoomRules) accessView {
	return accessView{Mode: r.Mode, PasscodeSet: r.PasscodeSet, Chat: r.Chat, Files: r.Files}
}

// getAccess answers with the rules of a room.
func (s *Server) getAccess(c *gin.Context) error {
	name, err := s.roomFor(c, mayLead)
	if err != nil {
		return err
	}
	c.JSON(http.StatusOK, viewRules(s.cfg.Authority.Rules(name)))
	return nil
}

// putAccess changes the rules that the body names and leaves the others.
func (s *Server) putAccess(c *gin.Context) error {
	name, err := s.roomFor(c, mayLead)
	if err != nil {
		return err
	}
	var req struct {
		Mode     *access.Mode `json:"mode"`
		Passcode *string      `json:"passcode"` // "" takes it away
		Chat     *bool        `json:"chat"`
		Files    *bool        `json:"files"`
	}
	if err := readJSON(c, &req, false); err != nil {
		return err
	}
	change := access.RulesChange{Mode: req.Mode, Passcode: req.Passcode, Chat: req.Chat, Files: req.Files}
	if err := checkRules(s.cfg.Authority.Rules(name), &change); err != nil {
		return err
	}
	rules, err := s.cfg.Authority.SetRules(c.Request.Context(), name, change)
	if err != nil {
		return fmt.Errorf("changing rules of room: %w", err)
	}
	c.JSON(http.StatusOK, viewRules(rules))
	return nil
}

// checkRules refuses a change that makes no sense, and cleans its passcode.
func checkRules(now access.RoomRules, change *access.RulesChange) error {
	mode, set := now.Mode, now.PasscodeSet
	if change.Mode != nil {
		mode = *change.Mode
	}
	switch mode {
	case access.Public, access.ByLink, access.ByPasscode, access.Closed:
	default:
		return fail(http.StatusBadRequest, "bad_mode", "mode must be open, link, passcode or closed.")
	}
	if change.Passcode != nil {
		code := cleanPasscode(*change.Passcode)
		change.Passcode = &code
		set = code != ""
		if set && !goodPasscode(code) {
			return fail(http.StatusBadRequest, "bad_passcode", "A passcode has 4 to 128 characters in one line.")
		}
	}
	if mode == access.ByPasscode && !set {
		return fail(http.StatusUnprocessableEntity, "passcode_needed", "A room entered by passcode needs one.")
	}
	return nil
}

// cleanPasscode takes off what copying adds.
func cleanPasscode(code string) string { return strings.TrimSpace(code) }

func goodPasscode(code string) bool {
	n := utf8.RuneCountInString(code)
	return n >= minPasscode && n <= maxPasscode && utf8.ValidString(code) && strings.IndexFunc(code, unicode.IsControl) < 0
}

package api

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/lectern/lectern/room/access"
)

// Bounds of invitations.
const (
	invitationTTL = 30 * 24 * time.Hour // if the request names no end
	maxUses       = 100_000
)

// invitationRequest asks for an invitation.
type invitationRequest struct {
	Role access.Role `json:"role"`
	Name string      `json:"name"` // "": who redeems it says one
	Uses int         `json:"uses"` // 0: any number
	span
}

// invitationView is an invitation in lists. The code is not among what is
// known: the server keeps its hash.
type invitationView struct {
	ID        string      `json:"id"`
	Room      string      `json:"room"`
	Role      access.Role `json:"role"`
	Name      string      `json:"name"`
	State     string      `json:"state"`
	NotBefore *time.Time  `json:"not_before"`
	Expires   *time.Time  `json:"expires"`
	Uses      int         `json:"uses"` // 0: any number
	Used      int         `json:"used"`
	Created   time.Time   `json:"created"`
	By        string      `json:"by"` // subject of who made it
	Revoked   bool        `json:"revoked"`
}

// newInvitationView is the only answer that tells the code.
type newInvitationView struct {
	invitationView
	Code string `json:"code"`
	Link string `json:"link,omitempty"`
}

func (s *Server) viewInvitation(i access.Invitation) invitationView {
	return invitationView{
		ID: i.ID, Room: i.Room, Role: i.Role, Name: i.Name, State: invitationState(i, s.now()),
		NotBefore: orNull(i.NotBefore), Expires: orNull(i.Expires),
		Uses: i.Uses, Used: i.Used, Created: i.Created, By: i.By, Revoked: i.Revoked,
	}
}

// invitationState is what would become of somebody who redeemed it now.
func invitationState(i access.Invitation, now time.Time) string {
	switch {
	case i.Revoked:
		return "revoked"
	case !i.Expires.IsZero() && !now.Before(i.Expires):
		return "expired"
	case i.Uses > 0 && i.Used >= i.Uses:
		return "used_up"
	case now.Before(i.NotBefore):
		return "waiting"
	}
	return "valid"
}

// invite makes an invitation to a room.
func (s *Server) invite(c *gin.Context) error {
	name, by, err := s.enterRoom(c, mayLead)
	if err != nil {
		return err
	}
	var req invitationRequest
	if err := readJSON(c, &req, false); err != nil {
		return err
	}
	switch req.Role {
	case access.Student, access.Player, access.Assistant, access.Teacher:
	default:
		return errBadRole()
	}
	if req.Uses < 0 || req.Uses > maxUses {
		return fail(http.StatusBadRequest, "bad_uses", "uses must be between 0 (any number) and 100000.")
	}
	from, until, err := req.bounds(s.now(), invitationTTL)
	if err != nil {
		return err
	}
	inv, code, err := s.cfg.Authority.Invite(c.Request.Context(), access.Invitation{
		Room: name, Name: cleanName(req.Name), Role: req.Role, NotBefore: from, Expires: until,
		Uses: req.Uses, By: by.Subject,
	})
	if err != nil {
		return fmt.Errorf("making invitation: %w", err)
	}
	c.Header("Location", "/api/rooms/"+name+"/invitations/"+inv.ID)
	c.JSON(http.StatusCreated, newInvitationView{
		invitationView: s.viewInvitation(inv), Code: code,
		Link: invitationLink(s.baseURL(c), inv.Role, name, code),
	})
	return nil
}

// listInvitations answers with the invitations to a room, newest first.
func (s *Server) listInvitations(c *gin.Context) error {
	name, err := s.roomFor(c, mayLead)
	if err != nil {
		return err
	}
	list := []invitationView{}
	for _, i := range s.cfg.Authority.Invitations(name) {
		list = append(list, s.viewInvitation(i))
	}
	c.JSON(http.StatusOK, gin.H{"invitations": list})
	return nil
}

// revokeInvitation ends an invitation, the tokens that came from it and the
// sessions that they opened.
func (s *Server) revokeInvitation(c *gin.Context) error {
	name, err := s.roomFor(c, mayLead)
	if err != nil {
		return err
	}
	id := c.Param("id")
	all := s.cfg.Authority.Invitations(name)
	at := slices.IndexFunc(all, func(i access.Invitation) bool { return i.ID == id })
	if at < 0 {
		return fail(http.StatusNotFound, "not_found", sayNotHere) // or one of another room
	}
	if err := s.cfg.Authority.Revoke(c.Request.Context(), id, s.until(all[at].Expires)); err != nil {
		return fmt.Errorf("revoking invitation: %w", err)
	}
	c.Status(http.StatusNoContent)
	return nil
}

// until is how long a revocation must be remembered of what ends at expires.
func (s *Server) until(expires time.Time) time.Time {
	if expires.IsZero() {
		return s.now().Add(maxTTL)
	}
	return expires
}

// redeem makes a token of the code of an invitation. It is public: the code is
// the right.
func (s *Server) redeem(c *gin.Context) error {
	var req struct {
		Code string `json:"code"`
		Name string `json:"name"`
	}
	if err := readJSON(c, &req, false); err != nil {
		return err
	}
	addr := remoteAddr(c)
	if wait := s.guesses.waitWith(addr, req.Code); wait > 0 && !s.cfg.Authority.Invited(req.Code) {
		return failLater(http.StatusTooManyRequests, "rate_limited", "Too many wrong codes from this address.", wait)
	}
	token, cl, err := s.cfg.Authority.Redeem(c.Request.Context(), req.Code, cleanName(req.Name))
	if err != nil {
		if errors.Is(err, access.ErrNotFound) || errors.Is(err, access.ErrInvalid) {
			s.guesses.failed(addr)
		}
		return redeemError(err)
	}
	s.guesses.passed(req.Code)
	v, err := s.grant(c, token, cl)
	if err != nil {
		return err
	}
	c.JSON(http.StatusCreated, v)
	return nil
}

// redeemError tells what is wrong with a code.
func redeemError(err error) error {
	var early *access.EarlyError
	if errors.As(err, &early) {
		e := fail(http.StatusForbidden, "not_yet", "The invitation is not valid yet.")
		e.notBefore, e.cause = early.From, err
		return e
	}
	for _, k := range []known{
		{access.ErrNotFound, fail(http.StatusNotFound, "no_such_invitation", "There is no such invitation.")},
		{access.ErrInvalid, fail(http.StatusNotFound, "no_such_invitation", "There is no such invitation.")},
		{access.ErrRevoked, fail(http.StatusGone, "revoked", "The invitation has been taken back.")},
		{access.ErrExpired, fail(http.StatusGone, "invitation_expired", "The invitation has expired.")},
		{access.ErrUsedUp, fail(http.StatusGone, "used_up", "The invitation has been used as often as it may be.")},
	} {
		if errors.Is(err, k.err) {
			k.answer.cause = err
			return k.answer
		}
	}
	return fmt.Errorf("redeeming invitation: %w", err)
}

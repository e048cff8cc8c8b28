package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/lectern/lectern/room"
	"github.com/lectern/lectern/room/access"
)

// Bounds of how long something that was granted is good.
const (
	defaultTTL = 12 * time.Hour
	minTTL     = time.Second
	maxTTL     = access.MaxLife
)

// ttl is a time to live in JSON: seconds as a number, or as "90m".
type ttl time.Duration

// UnmarshalJSON implements json.Unmarshaler.
func (t *ttl) UnmarshalJSON(b []byte) error {
	var text string
	if err := json.Unmarshal(b, &text); err == nil {
		d, err := time.ParseDuration(text)
		*t = ttl(d)
		return err
	}
	var seconds float64
	if err := json.Unmarshal(b, &seconds); err != nil {
		return err
	}
	if seconds > maxTTL.Seconds() || seconds < 0 {
		seconds = -1 // out of bounds, and safe to convert
	}
	*t = ttl(seconds * float64(time.Second))
	return nil
}

// span is when something granted begins and ends, as requests tell it.
type span struct {
	NotBefore *time.Time `json:"not_before"` // RFC 3339; missing: now
	Expires   *time.Time `json:"expires"`    // RFC 3339
	TTL       *ttl       `json:"ttl"`        // instead: from the beginning on
}

// bounds reads a span. from is zero if it has begun; without an end it lasts for
// def, and if that is 0, until is zero: for ever.
func (p span) bounds(now time.Time, def time.Duration) (from, until time.Time, err error) {
	bad := fail(http.StatusBadRequest, "bad_ttl",
		"Give ttl (seconds, or text as 90m) or expires, not both. The end must come after the beginning, and within 366 days.")
	begin := now
	if p.NotBefore != nil && p.NotBefore.After(now) {
		from, begin = *p.NotBefore, *p.NotBefore
	}
	switch {
	case p.TTL != nil && p.Expires != nil:
		return from, until, bad
	case p.TTL != nil && (time.Duration(*p.TTL) < minTTL || time.Duration(*p.TTL) > maxTTL):
		return from, until, bad
	case p.TTL != nil:
		until = begin.Add(time.Duration(*p.TTL))
	case p.Expires != nil:
		until = *p.Expires
	case def == 0 && begin.Sub(now) < maxTTL:
		return from, time.Time{}, nil
	default:
		until = begin.Add(def)
	}
	if until.Sub(begin) < minTTL || until.Sub(now) > maxTTL {
		return from, until, bad
	}
	return from, until, nil
}

// tokenRequest asks for a token.
type tokenRequest struct {
	Room string      `json:"room"`
	Role access.Role `json:"role"`
	Name string      `json:"name"`
	Slot string      `json:"slot"` // of role ingest: the only stream; "": any
	span
}

// grantView is a token that somebody gets.
type grantView struct {
	Token     string      `json:"token"`
	ID        string      `json:"id"` // revokes it
	NotBefore *time.Time  `json:"not_before,omitempty"`
	Expires   time.Time   `json:"expires"`
	Subject   string      `json:"subject"`
	Role      access.Role `json:"role"`
	Room      string      `json:"room"`
	Name      string      `json:"name"`
	playerView
}

// playerView is how a player uses its token.
type playerView struct {
	User     string     `json:"user,omitempty"`
	Password string     `json:"password,omitempty"`
	Legacy   *legacyURL `json:"legacy,omitempty"`
	Login    string     `json:"rtsp_login,omitempty"` // the same with user and password
}

// tokenView is a token that is to be handed on.
type tokenView struct {
	grantView
	Link    string       `json:"link"` // to hand to a person, or to a player
	Encoder *encoderView `json:"encoder,omitempty"`
}

// issueToken makes a token: the administrator any, who leads a room those of
// that room.
func (s *Server) issueToken(c *gin.Context) error {
	by, err := s.claims(c)
	if err != nil {
		return err
	}
	var req tokenRequest
	if err := readJSON(c, &req, false); err != nil {
		return err
	}
	if err := checkGrant(req.Room, req.Role, req.Slot); err != nil {
		return err
	}
	if !mayGrant(by, req.Room, req.Role) {
		return fail(http.StatusForbidden, "forbidden", "This token does not give the right to make that one.")
	}
	now := s.now()
	from, until, err := req.bounds(now, defaultTTL)
	if err != nil {
		return err
	}
	cl := access.Claims{
		Name: cleanName(req.Name), Room: req.Room, Role: req.Role, Slot: req.Slot, Grant: s.cfg.Authority.Heritage(by),
	}
	begin := now
	if !from.IsZero() {
		begin = from
	}
	if until, err = notBeyond(by, begin, until); err != nil {
		return err
	}
	token, issued, err := s.cfg.Authority.IssueToken(cl, from, until.Sub(begin))
	if err != nil {
		return fmt.Errorf("making token: %w", err)
	}
	v := tokenView{}
	if v.grantView, err = s.grant(c, token, issued); err != nil {
		return err
	}
	v.NotBefore = orNull(from)
	v.Link, _ = s.link(c, issued, token)
	if issued.Role == access.Ingest && issued.Room != access.AnyRoom {
		v.Encoder = encoder(s.baseURL(c), issued.Room, issued.Slot, token)
	}
	c.JSON(http.StatusCreated, v)
	return nil
}

// notBeyond bounds the end of a token by that of the credential that makes it: a
// right that ends tonight does not make one that lasts a year.
func notBeyond(by access.Claims, begin, until time.Time) (time.Time, error) {
	last := by.Expires.Add(-time.Second) // whole seconds are made of it, upwards
	if by.Expires.IsZero() || !until.After(last) {
		return until, nil
	}
	if begin.Add(minTTL).After(last) {
		return until, fail(http.StatusBadRequest, "bad_ttl", "This token ends before that one would begin.")
	}
	return last, nil
}

// checkGrant refuses what no token can hold.
func checkGrant(roomName string, role access.Role, slot string) error {
	if roomName != access.AnyRoom {
		if err := room.ValidName(roomName); err != nil {
			return err
		}
	}
	if !role.Valid() {
		return errBadRole()
	}
	if slot == "" {
		return nil
	}
	if role != access.Ingest {
		return fail(http.StatusBadRequest, "bad_claims", "Only the role ingest is bound to a slot.")
	}
	return room.ValidName(slot)
}

func errBadRole() *apiError {
	return fail(http.StatusBadRequest, "bad_role", "There is no such role here.")
}

// mayGrant says whether by may give a role in a room to others. Nobody gives
// more than they have: who leads one room gives no more than to lead that room.
func mayGrant(by access.Claims, roomName string, role access.Role) bool {
	if by.MayAdmin() {
		return true
	}
	return roomName != access.AnyRoom && role != access.Admin && by.MayLead(roomName)
}

// grant describes a new token to who gets it.
func (s *Server) grant(c *gin.Context, token string, cl access.Claims) (grantView, error) {
	v := grantView{
		Token: token, ID: cl.ID, Expires: cl.Expires, Subject: cl.Subject, Role: cl.Role, Room: cl.Room, Name: cl.Name,
	}
	if cl.Role != access.Player || cl.Room == access.AnyRoom {
		return v, nil
	}
	_, legacy := s.link(c, cl, token)
	v.Legacy = legacy
	user, password, err := s.cfg.Authority.PlayerLogin(cl)
	if errors.Is(err, access.ErrBadClaims) {
		return v, nil // ids of another system that are too long for a login
	}
	if err != nil {
		return v, fmt.Errorf("making login of player: %w", err)
	}
	v.User, v.Password = user, password
	v.Login = withLogin(s.legacyURLs(c, cl.Room, defaultSlot).RTSP, user, password)
	return v, nil
}

// revokeToken ends a token and the sessions that it opened: the administrator
// any, everybody the own one, and who leads a room those made for that room
// here.
func (s *Server) revokeToken(c *gin.Context) error {
	by, err := s.claims(c)
	if err != nil {
		return err
	}
	id := c.Param("id")
	own := by.ID != "" && by.ID == id
	leads := by.Room != access.AnyRoom && by.MayLead(by.Room) && s.cfg.Authority.IssuedFor(id, by.Room)
	if !own && !leads && !by.MayAdmin() {
		return fail(http.StatusForbidden, "forbidden", "This token does not give the right to revoke that one.")
	}
	// Nothing made here lives longer, and what is over needs no revocation.
	if err := s.cfg.Authority.Revoke(c.Request.Context(), id, s.now().Add(maxTTL)); err != nil {
		return fmt.Errorf("revoking token: %w", err)
	}
	c.Status(http.StatusNoContent)
	return nil
}

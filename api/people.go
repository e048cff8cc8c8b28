package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/lectern/lectern/room"
	"github.com/lectern/lectern/room/access"
)

// Bounds of tokens.
const (
	maxJSON    = 64 << 10 // bytes of a request body
	defaultTTL = 12 * time.Hour
	minTTL     = time.Second
	maxTTL     = 366 * 24 * time.Hour
)

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
	return room.Identity{ID: cl.Subject, Name: cl.Name, Role: cl.Role, Room: cl.Room}
}

// meView is what a token says of its bearer.
type meView struct {
	Role    access.Role `json:"role"`
	Room    string      `json:"room"` // "*": every room
	Name    string      `json:"name"`
	Subject string      `json:"subject"`
	Expires *time.Time  `json:"expires"` // null: never
}

// me answers what the token says.
func (s *Server) me(c *gin.Context) error {
	cl, err := s.claims(c)
	if err != nil {
		return err
	}
	v := meView{Role: cl.Role, Room: cl.Room, Name: cl.Name, Subject: cl.Subject}
	if !cl.Expires.IsZero() {
		v.Expires = &cl.Expires
	}
	c.JSON(http.StatusOK, v)
	return nil
}

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

// tokenRequest asks for a token.
type tokenRequest struct {
	Room string      `json:"room"`
	Role access.Role `json:"role"`
	TTL  ttl         `json:"ttl"`
	Name string      `json:"name"`
}

// tokenView is a new token.
type tokenView struct {
	Token   string     `json:"token"`
	Expires time.Time  `json:"expires"`
	Subject string     `json:"subject"`
	Link    string     `json:"link"`             // to hand to a person, or to a player
	Legacy  *legacyURL `json:"legacy,omitempty"` // for players
}

// legacyURL are the addresses that a player opens.
type legacyURL struct {
	RTMP string `json:"rtmp,omitempty"`
	RTSP string `json:"rtsp,omitempty"`
}

// issueToken makes a token: the administrator any, a teacher those of the own
// room.
func (s *Server) issueToken(c *gin.Context) error {
	by, err := s.claims(c)
	if err != nil {
		return err
	}
	req := tokenRequest{TTL: ttl(defaultTTL)}
	if err := readJSON(c, &req, false); err != nil {
		return err
	}
	if req.Room != access.AnyRoom {
		if err := room.ValidName(req.Room); err != nil {
			return err
		}
	}
	if !mayInvite(by, req) {
		return fail(http.StatusForbidden, "forbidden", "This token does not give the right to make that one.")
	}
	if d := time.Duration(req.TTL); d < minTTL || d > maxTTL {
		return fail(http.StatusBadRequest, "bad_ttl", "ttl must be between 1 second and 366 days: seconds, or text as 90m.")
	}
	return s.sendToken(c, access.Claims{Name: cleanName(req.Name), Room: req.Room, Role: req.Role}, time.Duration(req.TTL))
}

// mayInvite says whether by may make the token that req asks for.
func mayInvite(by access.Claims, req tokenRequest) bool {
	if by.MayAdmin() {
		return true
	}
	return req.Room != access.AnyRoom && req.Role != access.Admin && by.MayModerate(req.Room)
}

// sendToken answers with a new token.
func (s *Server) sendToken(c *gin.Context, cl access.Claims, d time.Duration) error {
	token, err := s.cfg.Authority.Issue(cl, d)
	if err != nil {
		return err
	}
	issued, err := s.cfg.Authority.Verify(token)
	if err != nil {
		return err
	}
	v := tokenView{Token: token, Expires: issued.Expires, Subject: issued.Subject}
	v.Link, v.Legacy = s.link(c, cl, token)
	c.JSON(http.StatusCreated, v)
	return nil
}

// link is the address to hand out with a token. In pages it stands behind #,
// where no server and no log sees it; players can only put it into the query.
func (s *Server) link(c *gin.Context, cl access.Claims, token string) (string, *legacyURL) {
	base := s.baseURL(c)
	switch {
	case cl.Role == access.Player && cl.Room != access.AnyRoom:
		l := s.legacyURLs(c, cl.Room, defaultSlot)
		for _, u := range []*string{&l.RTMP, &l.RTSP} {
			if *u != "" {
				*u += "?token=" + url.QueryEscape(token)
			}
		}
		if l.RTSP != "" {
			return l.RTSP, l
		}
		return l.RTMP, l
	case cl.Room == access.AnyRoom:
		return base + "/#token=" + token, nil
	case cl.Role == access.Student:
		return base + "/r/" + cl.Room + "#token=" + token, nil
	default:
		return base + "/studio/" + cl.Room + "#token=" + token, nil
	}
}

// legacyURLs are the addresses of a stream for players.
func (s *Server) legacyURLs(c *gin.Context, roomName, slot string) *legacyURL {
	path := roomName
	if slot != defaultSlot {
		path += "/" + slot
	}
	host := hostOf(s.baseURL(c))
	l := &legacyURL{}
	if s.cfg.RTMPPort > 0 {
		l.RTMP = "rtmp://" + joinPort(host, s.cfg.RTMPPort, 1935) + "/live/" + path
	}
	if s.cfg.RTSPPort > 0 {
		l.RTSP = "rtsp://" + joinPort(host, s.cfg.RTSPPort, 554) + "/" + path
	}
	return l
}

// hostOf is the host of a URL without port, an IPv6 address in brackets.
func hostOf(base string) string {
	u, err := url.Parse(base)
	if err != nil || u.Hostname() == "" {
		return "localhost"
	}
	if h := u.Hostname(); strings.Contains(h, ":") {
		return "[" + h + "]"
	} else {
		return h
	}
}

// joinPort leaves out a port that clients assume.
func joinPort(host string, port, assumed int) string {
	if port == assumed {
		return host
	}
	return host + ":" + strconv.Itoa(port)
}

// baseURL is the address at which this request reached us, or the configured one.
func (s *Server) baseURL(c *gin.Context) string {
	if s.cfg.PublicURL != "" {
		return s.cfg.PublicURL
	}
	scheme := "http"
	if c.Request.TLS != nil || len(s.cfg.Proxies) > 0 && strings.EqualFold(c.GetHeader("X-Forwarded-Proto"), "https") {
		scheme = "https"
	}
	host := c.Request.Host
	if u, err := url.Parse(scheme + "://" + host); err != nil || u.Host != host || host == "" {
		return scheme + "://localhost" // a Host that is none
	}
	return scheme + "://" + host
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

package api

import (
	"errors"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/lectern/lectern/room/access"
)

// Codes of a 401, which tell apart what the client should do about it.
const (
	codeNoToken = "unauthorised"  // send one
	codeInvalid = "invalid_token" // this one was never good
	codeExpired = "token_expired" // ask for a new one
	codeRevoked = "token_revoked" // somebody took it back
	codeNotYet  = "token_not_yet" // come back later
	codeNoRight = "forbidden"     // of a 403: a good token for something else
	realm       = `Bearer realm="lectern"`
	invalid     = realm + `, error="invalid_token"`
)

// authorityRetry is when to ask again an authority that does not answer.
const authorityRetry = 5 * time.Second

// challenge is the WWW-Authenticate of a 401 or 403 (RFC 6750, section 3): an
// error only when a credential was presented.
func challenge(code string) string {
	switch code {
	case codeInvalid:
		return invalid
	case codeExpired:
		return invalid + `, error_description="expired"`
	case codeRevoked:
		return invalid + `, error_description="revoked"`
	case codeNotYet:
		return invalid + `, error_description="not valid yet"`
	case codeNoRight:
		return realm + `, error="insufficient_scope"`
	default:
		return realm
	}
}

// credential is what the request presents: Authorization, or the token
// parameter for clients that can set no header (a video element, a player).
func credential(c *gin.Context) string {
	if cred, ok := bearer(c.GetHeader("Authorization")); ok {
		return cred
	}
	return c.Query("token")
}

// viaHTTP is the way of requests that are not signalling.
const viaHTTP way = "http"

// claims says who the request comes from. In an open room that may be somebody
// without a credential: see access.Claims.Anonymous.
func (s *Server) claims(c *gin.Context) (access.Claims, error) {
	return s.admit(c, c.Param("room"), viaHTTP)
}

// admit asks the authority about the credential of the request.
func (s *Server) admit(c *gin.Context, room string, via way) (access.Claims, error) {
	cred, addr := credential(c), remoteAddr(c)
	if cred != "" {
		if wait := s.guesses.waitWith(addr, cred); wait > 0 && !s.cfg.Authority.Genuine("", cred) {
			return access.Claims{}, failLater(http.StatusTooManyRequests, "rate_limited",
				"Too many wrong tokens from this address.", wait)
		}
	}
	cl, err := s.cfg.Authority.Admit(c.Request.Context(), access.Attempt{
		Credential: cred, Room: room, Way: string(via), Remote: addr,
	})
	if errors.Is(err, access.ErrInvalid) {
		// Only these are counted as guesses: a class of pages whose invitation
		// ran out must not lock out the teacher behind the same address.
		s.guesses.failed(addr)
	} else if err == nil && cred != "" {
		s.guesses.passed(cred)
	}
	if err == nil {
		admitted(c, cl, room)
	}
	return cl, authError(err)
}

// authError is the answer to a refused credential.
func authError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, access.ErrMissing):
		return fail(http.StatusUnauthorized, codeNoToken, "A token is needed.")
	case errors.Is(err, access.ErrInvalid):
		return fail(http.StatusUnauthorized, codeInvalid, "The token is not valid.")
	case errors.Is(err, access.ErrExpired):
		return fail(http.StatusUnauthorized, codeExpired, "The token has expired.")
	case errors.Is(err, access.ErrRevoked):
		return fail(http.StatusUnauthorized, codeRevoked, "The token was taken back.")
	case errors.Is(err, access.ErrNotYet):
		return fail(http.StatusUnauthorized, codeNotYet, "The token is not valid yet.")
	case errors.Is(err, access.ErrRoomClosed):
		return fail(http.StatusForbidden, "room_closed", "The room is closed.")
	case errors.Is(err, access.ErrUnavailable):
		return failLater(http.StatusServiceUnavailable, "authority_unavailable",
			"Whoever decides over this token does not answer.", authorityRetry)
	}
	return err
}

// right is a question to claims.
type right func(access.Claims) bool

// authorise verifies the credential and asks for a right: 401 without a valid
// credential, 403 without the right.
func (s *Server) authorise(c *gin.Context, may right) (access.Claims, error) {
	cl, err := s.claims(c)
	if err != nil {
		return cl, err
	}
	return cl, permit(cl, may)
}

// permit says whether cl has a right. Who came without a credential is asked for
// one: it might give the right.
func permit(cl access.Claims, may right) error {
	switch {
	case may(cl):
		return nil
	case cl.Anonymous:
		return fail(http.StatusUnauthorized, codeNoToken, "A token is needed for that.")
	}
	return fail(http.StatusForbidden, codeNoRight, sayForbidden)
}

func mayWatch(room string) right {
	return func(cl access.Claims) bool { return cl.MayWatch(room) }
}

func mayModerate(room string) right {
	return func(cl access.Claims) bool { return cl.MayModerate(room) }
}

func mayLead(room string) right {
	return func(cl access.Claims) bool { return cl.MayLead(room) }
}

func mayAdmin(cl access.Claims) bool { return cl.MayAdmin() }

// fromThisMachine says whether the TCP connection itself comes from a loopback
// address and no proxy stands between: what a proxy forwards is not local.
func fromThisMachine(r *http.Request) bool {
	if r.Header.Get("X-Forwarded-For") != "" || r.Header.Get("Forwarded") != "" {
		return false
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return false
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}

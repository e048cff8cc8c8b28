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
)

// challenge is the WWW-Authenticate of a 401 (RFC 6750, section 3): an error
// only when a credential was presented.
func challenge(code string) string {
	switch code {
	case codeInvalid:
		return `Bearer realm="lectern", error="invalid_token"`
	case codeExpired:
		return `Bearer realm="lectern", error="invalid_token", error_description="expired"`
	default:
		return `Bearer realm="lectern"`
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

// claims verifies the credential of the request.
func (s *Server) claims(c *gin.Context) (access.Claims, error) {
	cred := credential(c)
	if cred == "" {
		return access.Claims{}, fail(http.StatusUnauthorized, codeNoToken, "A token is needed.")
	}
	addr := remoteAddr(c)
	if s.guesses.spent(addr) {
		return access.Claims{}, failLater(http.StatusTooManyRequests, "rate_limited",
			"Too many wrong tokens from this address.", time.Second)
	}
	cl, err := s.cfg.Authority.Verify(cred)
	switch {
	case err == nil:
		return cl, nil
	case errors.Is(err, access.ErrExpired):
		// Not counted as a guess: a class of pages whose invitation ran out
		// must not lock out the teacher behind the same address.
		return cl, fail(http.StatusUnauthorized, codeExpired, "The token has expired.")
	default:
		s.guesses.allow(addr)
		return cl, fail(http.StatusUnauthorized, codeInvalid, "The token is not valid.")
	}
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
	if !may(cl) {
		return cl, fail(http.StatusForbidden, "forbidden", "This token does not give the right to do that.")
	}
	return cl, nil
}

func mayWatch(room string) right {
	return func(cl access.Claims) bool { return cl.MayWatch(room) }
}

func mayPublish(room string) right {
	return func(cl access.Claims) bool { return cl.MayPublish(room) }
}

func mayModerate(room string) right {
	return func(cl access.Claims) bool { return cl.MayModerate(room) }
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

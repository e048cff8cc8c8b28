package api

import (
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"
)

// options answers OPTIONS on a resource that takes bodies of one type: by POST
// if it is in allow, else by PATCH. The headers that a browser's preflight asks
// for are set before (see crossOrigin). It discloses nothing about sessions.
func options(media, allow string) handler {
	return func(c *gin.Context) error {
		h := c.Writer.Header()
		accept := "Accept-Patch"
		if strings.Contains(allow, http.MethodPost) {
			accept = "Accept-Post"
		}
		if media != "" {
			h.Set(accept, media)
		}
		h.Set("Allow", allow)
		h.Set("Content-Length", "0")
		c.Status(http.StatusOK)
		return nil
	}
}

// optionsOf answers OPTIONS on the address that takes offers. Who may make a
// session there also gets the STUN and TURN servers, for clients that must know
// them before they make an offer (RFC 9725, section 4.6).
func (s *Server) optionsOf(e *endpoint) handler {
	describe := options(typeSDP, "GET, HEAD, OPTIONS, POST")
	return func(c *gin.Context) error {
		roomName, slot, err := names(c)
		if err != nil {
			return err
		}
		if s.cfg.ICEServers != nil && wantsServers(c.Request) && s.mayOpen(c, e, roomName, slot) {
			s.linkServers(c, newID()[:8])
		}
		return describe(c)
	}
}

// mayOpen says whether the request comes from somebody who may make a session.
// No is no error: an OPTIONS without credentials is answered too.
func (s *Server) mayOpen(c *gin.Context, e *endpoint, roomName, slot string) bool {
	if credential(c) != "" && !s.signalling.allow(remoteAddr(c)) {
		return false
	}
	cl, err := s.admit(c, roomName, e.way)
	return err == nil && e.may(roomName, slot)(cl)
}

// wantsServers says whether an OPTIONS is more than a plain preflight, which the
// browser sends by itself and reads no Link of.
func wantsServers(r *http.Request) bool {
	if r.Header.Get("Access-Control-Request-Method") == "" {
		return true
	}
	for name := range strings.SplitSeq(r.Header.Get("Access-Control-Request-Headers"), ",") {
		if strings.EqualFold(strings.TrimSpace(name), "Link") {
			return true
		}
	}
	return false
}

package api

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
)

// maxURI bounds the address of a request, in bytes. The longest of ours holds a
// foreign token of 4 KiB.
const maxURI = 8 << 10

// gate turns away what cannot be meant well before anything is done for it.
func (s *Server) gate(c *gin.Context) {
	r := c.Request
	if r.ProtoMajor == 1 && len(r.TransferEncoding) > 0 {
		// A chunked body beside a Content-Length may be an attempt to smuggle a
		// second request past a proxy. net/http hides the Content-Length then;
		// closing after the answer is due for it (RFC 9112, section 6.3) and
		// costs the few others nothing.
		c.Header("Connection", "close")
	}
	if len(r.RequestURI) > maxURI {
		s.writeError(c, fail(http.StatusRequestURITooLong, "uri_too_long", "The address is too long."))
		return
	}
	if a := arrived(c); a.host != "" && !goodHost(a.host) {
		s.writeError(c, fail(http.StatusBadRequest, "bad_host", "The request names a host that there cannot be."))
		return
	}
	if wait := s.requests.admit(remoteAddr(c), credential(c)); wait > 0 {
		s.writeError(c, tooManyRequests(wait))
		return
	}
	c.Next()
}

// tooManyRequests tells a sender to come again later.
func tooManyRequests(wait time.Duration) *apiError {
	return failLater(http.StatusTooManyRequests, "rate_limited", "Too many requests from this address or with this token.", wait)
}

// toHTTPS sends those who came over plain HTTP to HTTPS, if it is on and the
// operator wants so. Pages are gone from here for good (308); signalling and
// the API move by 307, which keeps method and body, and is what WHIP asks for
// (RFC 9725, section 4.4). What machines ask of this very port stays, and so do
// preflights, which browsers do not let be redirected.
func (s *Server) toHTTPS(c *gin.Context) {
	r, a := c.Request, arrived(c)
	if s.cfg.HTTPSPort == 0 || a.https || a.proxied || r.Method == http.MethodOptions || forMachines(r.URL.Path) {
		c.Next()
		return
	}
	base := s.cfg.PublicURL
	if !strings.HasPrefix(base, "https://") {
		if a.host == "" {
			c.Next() // HTTP/1.0: nothing to send it to
			return
		}
		base = "https://" + joinPort(hostname(a.host), s.cfg.HTTPSPort, 443)
	}
	status := http.StatusPermanentRedirect
	if isProgrammatic(r.URL.Path) || (r.Method != http.MethodGet && r.Method != http.MethodHead) {
		status = http.StatusTemporaryRedirect
	}
	h := c.Writer.Header()
	h.Set("Location", base+target(r))
	// Not to be kept: HTTPS may be switched off again.
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Length", strconv.Itoa(0))
	c.AbortWithStatus(status)
}

// target is path and query of a request as they may stand behind a host. A
// request line can hold a target without a path, which must not become part of
// the host.
func target(r *http.Request) string {
	path := r.URL.EscapedPath()
	if !strings.HasPrefix(path, "/") {
		path = "/"
	}
	if r.URL.RawQuery != "" {
		path += "?" + r.URL.RawQuery
	}
	return path
}

// forMachines says whether path is asked for by supervisors of this port.
func forMachines(path string) bool {
	return path == "/healthz" || path == "/readyz" || path == "/metrics"
}

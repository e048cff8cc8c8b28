package api

import (
	"crypto/rand"
	"log/slog"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strings"

	"github.com/gin-gonic/gin"
)

const requestKey = "lectern.request"

// identify gives each request a name for the log. A name that a client brings
// along is not taken over: it could forge lines.
func identify(c *gin.Context) {
	id := rand.Text()[:12]
	c.Set(requestKey, id)
	c.Header("X-Request-Id", id)
	c.Next()
}

func requestID(c *gin.Context) string { return c.GetString(requestKey) }

// logRequests writes one line per request. The route stands in for the path,
// because session paths and queries hold secrets. Polling reads go to Debug.
func (s *Server) logRequests(c *gin.Context) {
	start := s.now()
	c.Next()
	status := c.Writer.Status()
	level := slog.LevelInfo
	if c.Request.Method == http.MethodGet || c.Request.Method == http.MethodHead || c.Request.Method == http.MethodOptions {
		level = slog.LevelDebug
	}
	route := c.FullPath()
	if route == "" {
		route = "(none)"
	}
	elapsed := s.now().Sub(start)
	s.metrics.request(c.Request.Method, route, status, elapsed)
	s.log.LogAttrs(c.Request.Context(), level, "request",
		slog.String("request", requestID(c)),
		slog.String("method", c.Request.Method),
		slog.String("route", route),
		slog.String("room", c.Param("room")),
		slog.Int("status", status),
		slog.Int64("dur_ms", elapsed.Milliseconds()),
		slog.Int("bytes", max(0, c.Writer.Size())),
		slog.String("remote", remoteAddr(c).String()))
}

// recoverPanics turns a panic into a 500 and a log entry. The server lives on.
func (s *Server) recoverPanics(c *gin.Context) {
	defer func() {
		v := recover()
		if v == nil {
			return
		}
		if v == http.ErrAbortHandler { //nolint:errorlint // a sentinel of net/http, compared as net/http does
			panic(v)
		}
		s.log.Error("handler panicked", slog.String("request", requestID(c)),
			slog.String("route", c.FullPath()), slog.Any("err", v), slog.String("stack", string(debug.Stack())))
		if c.Writer.Written() {
			panic(http.ErrAbortHandler)
		}
		s.writeError(c, &apiError{
			status: http.StatusInternalServerError, code: "internal",
			detail: "Internal error. The log of the server knows more.",
		})
	}()
	c.Next()
}

// contentPolicy is the Content-Security-Policy of everything served: scripts
// and styles from files of ours only, media from object URLs as players make
// them.
const contentPolicy = "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; " +
	"media-src 'self' blob:; worker-src 'self' blob:; connect-src 'self'; font-src 'self'; object-src 'none'; " +
	"base-uri 'none'; form-action 'self'; frame-ancestors 'self'"

// secure sets the headers that keep browsers from doing more than we mean.
func secure(c *gin.Context) {
	h := c.Writer.Header()
	h.Set("Content-Security-Policy", contentPolicy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "SAMEORIGIN")
	h.Set("Referrer-Policy", "no-referrer") // addresses of sessions and files stay here
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(self), microphone=(self), display-capture=(self), geolocation=()")
	if isProgrammatic(c.Request.URL.Path) {
		h.Set("Cache-Control", "no-store")
	}
	c.Next()
}

// isProgrammatic says whether path belongs to programs rather than pages.
func isProgrammatic(path string) bool {
	for _, p := range []string{"/api", "/whip", "/whep", "/healthz", "/readyz", "/metrics"} {
		if path == p || strings.HasPrefix(path, p+"/") {
			return true
		}
	}
	return false
}

// What pages of other origins may read and send (the CORS protocol of the Fetch
// standard).
const (
	exposedHeaders = "Location, Link, ETag, Accept-Patch, Accept-Post, Accept-Ranges, Allow, Content-Disposition, " +
		"Content-Range, Preference-Applied, Retry-After, WWW-Authenticate, X-Request-Id"
	allowedMethods = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
	allowedHeaders = "Authorization, Content-Type, If-Match, If-None-Match, Last-Event-ID, Lectern-Key, Link, Prefer, Range"
	corsMaxAge     = "7200" // seconds; browsers cut it to what they like
)

// crossOrigin lets pages of other origins use the API. It gives no leave for
// credentials: a token travels in Authorization, which no page sends by accident.
func (s *Server) crossOrigin(c *gin.Context) {
	if !isProgrammatic(c.Request.URL.Path) {
		c.Next()
		return
	}
	h := c.Writer.Header()
	origin := c.GetHeader("Origin")
	switch {
	case s.anyOrigin:
		origin = "*"
	default:
		h.Add("Vary", "Origin")
		if !s.origins[strings.ToLower(origin)] {
			c.Next() // the browser refuses for us
			return
		}
	}
	h.Set("Access-Control-Allow-Origin", origin)
	h.Set("Access-Control-Expose-Headers", exposedHeaders)
	if c.Request.Method != http.MethodOptions {
		c.Next()
		return
	}
	h.Set("Access-Control-Allow-Methods", allowedMethods)
	h.Set("Access-Control-Allow-Headers", allowedHeaders)
	h.Set("Access-Control-Max-Age", corsMaxAge)
	preflight := c.GetHeader("Access-Control-Request-Method") != ""
	if preflight && strings.HasPrefix(c.Request.URL.Path, "/api/") {
		c.AbortWithStatus(http.StatusNoContent)
		return
	}
	c.Next()
}

// remoteAddr is the address of the client: of the peer of the connection, or
// what a trusted proxy says it is. 0.0.0.0 stands for one that has none.
func remoteAddr(c *gin.Context) netip.Addr { return arrived(c).addr }

// rateLimit refuses an address, or a token, that changes things faster than l
// allows.
func (s *Server) rateLimit(l *limiter) gin.HandlerFunc {
	return func(c *gin.Context) {
		if wait := l.admit(remoteAddr(c), credential(c)); wait > 0 {
			s.writeError(c, tooManyRequests(wait))
			return
		}
		c.Next()
	}
}

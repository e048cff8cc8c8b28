// Package api is the HTTP side of the gateway: signalling by WHIP and WHEP, the
// API of rooms, lectures, files and tokens, the pages, health and metrics. Here
// alone are gin and status codes; errors of the lower floors become answers in
// one function, classify. docs/API.md lists the addresses.
package api

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/lectern/lectern/egress/transcode"
	"github.com/lectern/lectern/egress/whep"
	"github.com/lectern/lectern/internal/rtc"
	"github.com/lectern/lectern/room"
	"github.com/lectern/lectern/room/access"
	"github.com/lectern/lectern/storage"
	"github.com/lectern/lectern/storage/playback"
)

// DefaultMaxSessions is the bound on WHIP and on WHEP sessions of one room.
const DefaultMaxSessions = 1000

// Config is what a Server is made of. Hub, Authority, Store, Endpoint and WHEP
// are needed; the caller closes them, after the Server.
type Config struct {
	Hub       *room.Hub
	Authority *access.Authority
	Store     *storage.Store
	WHEP      *whep.Server
	Endpoint  *rtc.Endpoint
	Renderer  *transcode.Pool   // for metrics and reasons; nil: no ffmpeg
	Playback  *playback.Library // nil: one on Store, with the ffmpeg in PATH
	Pages     fs.FS             // the front end, rooted at index.html; nil: no pages

	Version   string
	PublicURL string // as https://class.example.org; "": taken from each request
	RTSPPort  int    // 0: off
	RTMPPort  int    // 0: off
	Recording bool   // whether classes can be recorded

	FileLimit int64 // bytes of one shared file, for the information of pages
	RoomQuota int64 // bytes of all files of a room

	// MaxSessions bounds the WHIP sessions of a room, and its WHEP sessions. 0:
	// DefaultMaxSessions.
	MaxSessions int
	// Origins are those whose pages may use the API, as
	// https://portal.example.org. Empty: all. No leave for cookies is given.
	Origins []string
	// Proxies are networks of reverse proxies whose X-Forwarded-For, -Proto and
	// -Host are believed. Empty: none.
	Proxies []netip.Prefix
	// HTTPSPort is where requests over plain HTTP are sent, unless PublicURL is
	// an https address, which goes first. 0: they are answered as they come.
	HTTPSPort int
	// Plain wraps the handler of plain HTTP, for challenges of a certificate
	// authority. Nil: nothing.
	Plain func(http.Handler) http.Handler
	// MaxConns bounds the connections of all listeners together,
	// MaxConnsPerAddr those from one address (IPv6: one /64; proxies have no
	// such bound), MaxSessionsPerAddr the sessions from one. 0: 8192, 4096, 2000.
	MaxConns, MaxConnsPerAddr, MaxSessionsPerAddr int
	// ICEServers are the STUN and TURN servers for a session, with credentials
	// of its own; called for each POST, must not block. Nil: none.
	ICEServers func(ICERequest) []ICEServer
	// Ready tells why the gateway cannot serve yet; nil function or nil error:
	// it can.
	Ready func(context.Context) error

	Log *slog.Logger     // nil: discarded
	Now func() time.Time // nil: time.Now
}

// Server is the HTTP side. Its methods may be called from any goroutine.
type Server struct {
	cfg       Config
	log       *slog.Logger
	now       func() time.Time
	engine    *gin.Engine
	sessions  *registry
	metrics   *metrics
	anyOrigin bool
	origins   map[string]bool // lower case

	signalling *limiter // requests that make or change sessions
	changes    *limiter // other requests that change something
	requests   *limiter // all
	guesses    *failures
	passcodes  *throttle
	addrs      *places // sessions by address
	conns      *connections
	probes     *probes
}

// New returns a Server. The caller must Close it.
func New(cfg Config) (*Server, error) {
	if cfg.Hub == nil || cfg.Authority == nil || cfg.Store == nil || cfg.Endpoint == nil || cfg.WHEP == nil {
		return nil, errors.New("api: incomplete configuration")
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.MaxSessions <= 0 {
		cfg.MaxSessions = DefaultMaxSessions
	}
	if cfg.Pages == nil {
		cfg.Pages = noPages{}
	}
	if cfg.Playback == nil {
		cfg.Playback = playback.New(playback.Config{Store: cfg.Store, Log: cfg.Log})
	}
	cfg.PublicURL = strings.TrimSuffix(cfg.PublicURL, "/")
	s := &Server{
		cfg: cfg, log: cfg.Log, now: cfg.Now,
		anyOrigin:  len(cfg.Origins) == 0,
		origins:    make(map[string]bool),
		signalling: newLimiter(signallingRate, signallingBurst, cfg.Now),
		changes:    newLimiter(changesRate, changesBurst, cfg.Now),
		requests:   newLimiter(requestRate, requestBurst, cfg.Now),
		guesses:    newFailures(cfg.Now),
		passcodes:  newThrottle(cfg.Now),
		addrs:      newPlaces(orElse(cfg.MaxSessionsPerAddr, maxSessionsPerAddr)),
		probes:     newProbes(),
	}
	s.sessions = newRegistry(cfg.MaxSessions, s.addrs, cfg.Authority, cfg.Log, cfg.Now)
	s.conns = newConnections(orElse(cfg.MaxConns, maxConns), orElse(cfg.MaxConnsPerAddr, maxConnsPerAddr), s.trusted)
	for _, o := range cfg.Origins {
		s.origins[strings.ToLower(strings.TrimSuffix(o, "/"))] = true
	}
	s.metrics = newMetrics(s)
	engine, err := s.routes()
	if err != nil {
		return nil, err
	}
	s.engine = engine
	return s, nil
}

// orElse is n, or otherwise if n is not set.
func orElse(n, otherwise int) int {
	if n <= 0 {
		return otherwise
	}
	return n
}

// noPages is the front end of a server without one.
type noPages struct{}

// Open finds nothing.
func (noPages) Open(name string) (fs.File, error) {
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}

// handler is a request handler that returns its error to one place.
type handler func(c *gin.Context) error

// handle makes gin's form of a handler.
func (s *Server) handle(h handler) gin.HandlerFunc {
	return func(c *gin.Context) {
		if err := h(c); err != nil {
			s.writeError(c, err)
		}
	}
}

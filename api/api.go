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
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/lectern/lectern/egress/transcode"
	"github.com/lectern/lectern/egress/whep"
	"github.com/lectern/lectern/internal/rtc"
	"github.com/lectern/lectern/room"
	"github.com/lectern/lectern/room/access"
	"github.com/lectern/lectern/storage"
)

// DefaultMaxSessions is the bound on WHIP and on WHEP sessions of one room.
const DefaultMaxSessions = 1000

// Config is what a Server is made of. Hub, Authority, Store, Playback, WHIP and
// WHEP are needed; the caller closes them, after the Server.
type Config struct {
	Hub       *room.Hub
	Authority *access.Authority
	Store     *storage.Store
	// PLAYBACK
	// WHIP
	WHEP     *whep.Server
	Endpoint *rtc.Endpoint   // for metrics; may be nil
	Renderer *transcode.Pool // for metrics and reasons; nil: no ffmpeg
	Pages    fs.FS           // the front end, rooted at index.html; nil: no pages

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
	// Proxies are addresses or networks of reverse proxies whose
	// X-Forwarded-For is believed. Empty: none.
	Proxies []string
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
	guesses    *limiter // wrong credentials
}

// New returns a Server. The caller must Close it.
func New(cfg Config) (*Server, error) {
	if cfg.Hub == nil || cfg.Authority == nil || cfg.Store == nil || cfg.WHEP == nil {
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
	cfg.PublicURL = strings.TrimSuffix(cfg.PublicURL, "/")
	s := &Server{
		cfg: cfg, log: cfg.Log, now: cfg.Now,
		sessions:   newRegistry(cfg.MaxSessions, cfg.Log, cfg.Now),
		anyOrigin:  len(cfg.Origins) == 0,
		origins:    make(map[string]bool),
		signalling: newLimiter(signallingRate, signallingBurst, cfg.Now),
		changes:    newLimiter(changesRate, changesBurst, cfg.Now),
		guesses:    newLimiter(guessRate, guessBurst, cfg.Now),
	}
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

// knownErrors lists the errors of lower floors that clients may be told.
func knownErrors() []known {
	answer := func(status int, code, detail string) apiError { return *fail(status, code, detail) }
	return []known{
		{room.ErrBadName, answer(http.StatusBadRequest, "bad_name", "That is no name of a room or stream.")},
		{room.ErrSlotTaken, answer(http.StatusConflict, "slot_taken", "Somebody else is publishing this stream.")},
		{room.ErrClassRunning, answer(http.StatusConflict, "class_running", "A class is on already.")},
		{room.ErrNoClass, answer(http.StatusConflict, "no_class", "No class is on.")},
		{room.ErrForbidden, answer(http.StatusForbidden, "forbidden", "This token does not give the right to do that.")},
		{room.ErrFull, *failLater(http.StatusServiceUnavailable, "room_full", "The room holds as many people as it may.", 10*time.Second)},
		{room.ErrTooMany, *failLater(http.StatusServiceUnavailable, "too_many", "There are as many rooms or streams as there may be.", 30*time.Second)},
		{room.ErrClosed, *failLater(http.StatusServiceUnavailable, "shutting_down", "The server is restarting. Come back in a moment.", 3*time.Second)},
		{rtc.ErrClosed, *failLater(http.StatusServiceUnavailable, "shutting_down", "The server is restarting. Come back in a moment.", 3*time.Second)},
		{room.ErrTooLong, answer(http.StatusBadRequest, "too_long", "The text is too long.")},
		{room.ErrFileNotFound, answer(http.StatusNotFound, "not_found", "There is no such file.")},
		{access.ErrBadClaims, answer(http.StatusBadRequest, "bad_claims", "There can be no such token.")},
		{storage.ErrNotFound, answer(http.StatusNotFound, "not_found", "There is no such thing here.")},
		{storage.ErrBadName, answer(http.StatusNotFound, "not_found", "There is no such thing here.")},
		{storage.ErrLive, answer(http.StatusConflict, "recording_live", "The lecture is still being recorded.")},
		{storage.ErrTooLarge, answer(http.StatusRequestEntityTooLarge, "file_too_large", "The file is too large.")},
		{storage.ErrQuota, answer(http.StatusInsufficientStorage, "quota", "The room has no space left for files.")},
		{storage.ErrDiskFull, answer(http.StatusInsufficientStorage, "disk_full", "The server has no space left.")},
		{storage.ErrTooMany, *failLater(http.StatusTooManyRequests, "too_many_uploads", "Too many uploads are open in this room.", 5*time.Second)},
		{storage.ErrDigest, answer(http.StatusUnprocessableEntity, "digest_mismatch", "The file differs from its digest. Nothing was kept.")},
		{storage.ErrIncomplete, answer(http.StatusBadRequest, "incomplete_body", "The body did not arrive in whole. Send it again to go on.")},
		{storage.ErrOffset, answer(http.StatusConflict, "superseded", "The upload goes on elsewhere.")},
		{storage.ErrSuperseded, answer(http.StatusConflict, "superseded", "The upload goes on elsewhere.")},
		{storage.ErrBadHead, answer(http.StatusBadRequest, "bad_file", "Name, size or digest of the file is missing or malformed.")},
	}
}

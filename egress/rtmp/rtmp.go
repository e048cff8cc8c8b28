// Package rtmp lets legacy players watch over RTMP:
//
//	rtmp://host:1935/live/{room}[/{slot}]?token=...
//
// or, for a user and a password, ?user=...&pass=..., or user:password@host from
// players that pass it on.
//
// A player gets the rendition of the stream in H.264 and AAC. All players of a
// stream share one feed, which makes the FLV tags once; each has but a place in
// it. One that lags goes on at the newest keyframe, one that takes nothing at
// all is cut off.
package rtmp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lectern/lectern/egress/transcode"
	"github.com/lectern/lectern/internal/rtmp"
	"github.com/lectern/lectern/stream"
)

// Errors that a Directory returns.
var (
	// ErrNotFound says that there is no such room or slot.
	ErrNotFound = errors.New("rtmp: no such stream")
	// ErrUnauthorized says that the credential is missing or not valid.
	ErrUnauthorized = errors.New("rtmp: unauthorized")
	// ErrForbidden says that the credential does not allow this.
	ErrForbidden = errors.New("rtmp: forbidden")
	// ErrUnavailable says that it may be possible later.
	ErrUnavailable = errors.New("rtmp: unavailable")
)

// Refusal is an error of a Directory with words for the player.
type Refusal struct {
	Err  error // one of the above
	Text string
}

// Error implements error.
func (r *Refusal) Error() string { return r.Err.Error() + ": " + r.Text }

// Unwrap returns the kind of the refusal.
func (r *Refusal) Unwrap() error { return r.Err }

// ErrClosed says that the Server was closed.
var ErrClosed = rtmp.ErrClosed

// DefaultSlot is the slot of a URL that names none.
const DefaultSlot = "main"

// application is the first part of all paths.
const application = "live"

// Target is what a player asks for. All but Remote is its word, unchecked.
type Target struct {
	Room, Slot string
	Credential string // token, key or password; may be empty
	User       string // that came with a password; may be empty
	Remote     netip.AddrPort
}

// Playable is what a player may watch.
type Playable struct {
	Stream  *stream.Stream
	Release func()          // called once when the player is gone; may be nil
	Done    <-chan struct{} // closed when the player must go; may be nil

	// Watch has ended called when this player must go, and why, until stop is
	// called. It may be nil.
	Watch func(ended func(reason error)) (stop func())
}

// Directory knows what there is to watch, and who may.
type Directory interface {
	// Open must not block for long. It returns ErrNotFound, ErrUnauthorized,
	// ErrForbidden or ErrUnavailable, as Refusal or not.
	Open(ctx context.Context, t Target) (Playable, error)
}

// Config configures a Server. Directory and Transcode are needed.
type Config struct {
	Directory Directory
	Transcode *transcode.Pool

	// MaxConns bounds the connections; 0 means rtmp.DefaultMaxConns.
	MaxConns int

	// WriteTimeout is how long a player may take nothing before it is cut off.
	// 0 means 10 s.
	WriteTimeout time.Duration

	Log *slog.Logger // nil: slog.DiscardHandler
}

// Server serves RTMP players. All methods may be called from any goroutine.
type Server struct {
	cfg Config
	log *slog.Logger
	srv *rtmp.Server

	players atomic.Int64
	skips   atomic.Uint64

	mu    sync.Mutex // guards what follows
	feeds map[*stream.Stream]*feed
}

// Stats is a snapshot of the counters of a Server.
type Stats struct {
	Conns   int    // connections, those that do not play yet included
	Players int    // that play now
	Feeds   int    // streams that are played now
	Skips   uint64 // times that a player lagged and went on at a keyframe
}

// NewServer returns a Server. The caller must Close it.
func NewServer(cfg Config) *Server {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{cfg: cfg, log: cfg.Log, feeds: make(map[*stream.Stream]*feed)}
	s.srv = rtmp.NewServer(rtmp.Config{
		Handler: s, MaxConns: cfg.MaxConns, WriteTimeout: cfg.WriteTimeout, Log: cfg.Log,
	})
	return s
}

// Serve accepts players on l, which it closes, until Close. It then returns
// ErrClosed. It must be called once only.
func (s *Server) Serve(l net.Listener) error { return s.srv.Serve(l) }

// Close ends the listener and all players and waits for them. It is idempotent.
func (s *Server) Close() error { return s.srv.Close() }

// Stats returns the counters.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Stats{
		Conns: s.srv.Conns(), Players: int(s.players.Load()), Feeds: len(s.feeds), Skips: s.skips.Load(),
	}
}

// OnPlay implements rtmp.Handler.
func (s *Server) OnPlay(ctx context.Context, r rtmp.Request) (rtmp.Source, error) {
	t, err := target(r)
	if err != nil {
		return nil, err
	}
	src, err := s.open(ctx, t)
	if err != nil {
		s.log.Info("rtmp player refused", "room", t.Room, "stream", t.Slot, "remote", t.Remote.String(), "err", err)
	}
	return src, err
}

// target finds room, slot and credential in a request.
func target(r rtmp.Request) (Target, error) {
	t := Target{Slot: DefaultSlot, Credential: r.Query.Get("token"), Remote: r.Remote}
	if t.Credential == "" {
		t.User, t.Credential = credentials(r)
	}
	switch {
	case len(r.Path) < 2 || len(r.Path) > 3 || r.Path[0] != application:
		return t, fmt.Errorf("%w: path", rtmp.ErrNotFound)
	case len(r.Path) == 3:
		t.Slot = r.Path[2]
	}
	t.Room = r.Path[1]
	return t, nil
}

// credentials are user and password. A password without user may be a token, and
// so may be a user without password, for players with but one field.
func credentials(r rtmp.Request) (user, password string) {
	user, password = r.Query.Get("user"), r.Query.Get("pass")
	if user == "" && password == "" {
		user, password = r.User, r.Password
	}
	if password == "" {
		return "", user
	}
	return user, password
}

// open makes the source for one player.
func (s *Server) open(ctx context.Context, t Target) (rtmp.Source, error) {
	p, err := s.cfg.Directory.Open(ctx, t)
	if err != nil {
		return nil, refusal(err)
	}
	release := func() {
		if p.Release != nil {
			p.Release()
		}
	}
	if err := s.playable(p.Stream); err != nil {
		release()
		return nil, err
	}
	r, err := s.cfg.Transcode.Acquire(ctx, p.Stream)
	if err != nil {
		release()
		return nil, fmt.Errorf("acquiring rendition: %w", encoderBusy(err))
	}
	f, err := s.feed(r.Stream())
	if err != nil {
		r.Release()
		release()
		return nil, fmt.Errorf("%w: %w", rtmp.ErrNotFound, err)
	}
	s.players.Add(1)
	pl := newPlayer(f, p.Done)
	unmind := func() {}
	if p.Watch != nil {
		unmind = p.Watch(pl.end)
	}
	log := s.log.With("room", t.Room, "stream", t.Slot, "remote", t.Remote.String())
	log.Info("rtmp player came")
	began := time.Now()
	pl.onClose = func() {
		unmind()
		s.release(f)
		r.Release()
		release()
		s.players.Add(-1)
		s.skips.Add(pl.skips)
		log.Info("rtmp player went", "dur_ms", time.Since(began).Milliseconds(), "bytes", pl.bytes, "skips", pl.skips, "why", pl.why())
	}
	return pl, nil
}

// playable says at once what would otherwise show as a player that waits: a
// stream without publisher, or one that cannot be rendered without an encoder.
func (s *Server) playable(src *stream.Stream) error {
	if !src.Live() {
		return fmt.Errorf("%w: not live", rtmp.ErrNotFound)
	}
	missing := s.cfg.Transcode.Available()
	tracks := src.Tracks()
	if missing == nil || len(tracks) == 0 {
		return nil
	}
	for _, t := range tracks {
		if t.Codec == stream.H264 || t.Codec == stream.AAC {
			return nil
		}
	}
	return &rtmp.Refusal{
		Err: missing, Text: "players of RTMP need ffmpeg on the server for what the publisher sends, and it is missing",
	}
}

// refusal says to players what a Directory says.
func refusal(err error) error {
	kind := rtmp.ErrDenied
	switch {
	case errors.Is(err, ErrNotFound):
		kind = rtmp.ErrNotFound
	case errors.Is(err, ErrUnavailable):
		kind = ErrUnavailable
	}
	if r := new(Refusal); errors.As(err, &r) {
		return &rtmp.Refusal{Err: fmt.Errorf("%w: %w", kind, r.Err), Text: r.Text}
	}
	return fmt.Errorf("%w: %w", kind, err)
}

// encoderBusy says to players why there is no rendition.
func encoderBusy(err error) error {
	if errors.Is(err, transcode.ErrBusy) {
		return &rtmp.Refusal{Err: err, Text: "all encoders of the server are busy"}
	}
	return err
}

// feed returns the feed of a rendition and counts its user.
func (s *Server) feed(rendition *stream.Stream) (*feed, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.feeds[rendition]
	if f == nil {
		var err error
		if f, err = newFeed(rendition, s.log); err != nil {
			return nil, err
		}
		s.feeds[rendition] = f
	}
	f.users++
	return f, nil
}

// release gives one use of f back, and ends f with the last.
func (s *Server) release(f *feed) {
	s.mu.Lock()
	f.users--
	last := f.users == 0
	if last {
		delete(s.feeds, f.src)
	}
	s.mu.Unlock()
	if last {
		f.close()
	}
}

// Package rtsp lets legacy players watch a stream over RTSP (RFC 2326):
// rtsp://host/{room} and rtsp://host/{room}/{slot}.
//
// A player gets the publisher's own packets where it can decode them (H.264,
// VP8, Opus) and a rendition (H.264 with AAC) where players commonly cannot
// (VP9, AV1), or where its URL asks for one:
//
//	?video=original            the publisher's codecs, whatever they are
//	?video=h264                H.264; encoded if the publisher sends another codec
//	?audio=aac                 AAC instead of Opus
//	?video=h264&audio=aac      both
//
// The credential is ?token=, or user and password by Basic or Digest (MD5 or
// SHA-256). Digest needs a user whose password the server can find out, see
// Config.DigestHA1; by Basic the password may be a token, of any user.
//
// All players of one stream and one choice of codecs share a feed: one reader
// of the stream, one packet marshalled for all. A player begins with a keyframe.
package rtsp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/auth"

	"github.com/lectern/lectern/stream"
)

// Errors with which a Directory refuses. Others count as a fault of the server.
var (
	// ErrUnauthorized says that the credential is missing, wrong or expired.
	ErrUnauthorized = errors.New("rtsp: unauthorized")
	// ErrForbidden says that the credential is good but gives no right to play.
	ErrForbidden = errors.New("rtsp: forbidden")
	// ErrNotFound says that there is no such room or stream.
	ErrNotFound = errors.New("rtsp: not found")
	// ErrUnsupported says that the stream cannot be given in a form that players
	// know, and why: ask an operator.
	ErrUnsupported = errors.New("rtsp: unsupported")
	// ErrUnavailable says that it may be possible later.
	ErrUnavailable = errors.New("rtsp: unavailable")
)

// Refusal is an error with words for the player, ASCII and on one line.
type Refusal struct {
	Err  error // one of the above
	Text string
}

// Error implements error.
func (r *Refusal) Error() string { return r.Err.Error() + ": " + r.Text }

// Unwrap returns the kind of the refusal.
func (r *Refusal) Unwrap() error { return r.Err }

// Errors by which the server ends or refuses a session of its own accord.
var (
	errNotLive      = errors.New("rtsp: not live")
	errBadQuery     = errors.New("rtsp: unknown choice of codecs")
	errNoRendition  = errors.New("rtsp: no rendition")
	errClosing      = errors.New("rtsp: server is closing")
	errTracks       = errors.New("rtsp: the publisher's tracks changed")
	errSlow         = errors.New("rtsp: player reads too slowly")
	errOver         = errors.New("rtsp: the class is over")
	errUnused       = errors.New("rtsp: no player left")
	errUnknownCodec = errors.New("rtsp: codec cannot be described")
)

// Request is what a player asks for.
type Request struct {
	Room, Slot string // Slot is never empty
	Credential string // token or password; "" when the player gave none
	User       string // that came with a password, or by Digest; "" without
	Proven     bool   // by Digest: User knows its password; Credential is ""
	Remote     netip.Addr
}

// Playable is a stream that the player may play.
type Playable struct {
	Stream *stream.Stream

	// Join counts a player until leave is called, once. It may be nil.
	Join func() (leave func())

	// Done is closed when the players must go. It may be nil.
	Done <-chan struct{}

	// Watch has ended called when this player must go, and why, until stop is
	// called. It may be nil.
	Watch func(ended func(reason error)) (stop func())
}

// Directory finds streams for players. Open is called by many goroutines at
// once, for each DESCRIBE and for the first SETUP of a session. It fails with
// ErrUnauthorized, ErrForbidden, ErrNotFound or ErrUnavailable, as Refusal or not.
type Directory interface {
	Open(ctx context.Context, req Request) (Playable, error)
}

// Want names a rendition.
type Want int

// The renditions.
const (
	AudioOnly Want = iota + 1 // the publisher's H.264, AAC instead of Opus
	Full                      // H.264 and AAC, both encoded
)

// Render makes (or shares) a rendition of src until release is called. The PTS
// of its units are on the timeline of src. It fails with ErrUnsupported or
// ErrUnavailable, as Refusal or not.
type Render func(ctx context.Context, src *stream.Stream, want Want) (rendition *stream.Stream, release func(), err error)

// Config configures a Server. Addr and Directory must be set.
type Config struct {
	// Addr is the TCP address to listen at, "host:port". Port 0 picks one.
	Addr string

	// UDP is the address for RTP over UDP, "host:port" with an even port; RTCP
	// uses the port after it. Port 0 picks a free pair. "" offers TCP only.
	UDP string

	Directory Directory
	Render    Render // nil: no renditions

	// DigestHA1 returns the hash of user, realm and password (RFC 7616, section
	// 3.4.2); algorithm is "MD5" or "SHA-256". Nil: Digest is not offered.
	DigestHA1 func(user, realm, algorithm string) (ha1 string, ok bool)

	Log *slog.Logger // nil: slog.DiscardHandler

	// MaxConnections bounds the TCP connections; more are closed at once, or
	// take the place of one that does not play, of a sender that has more.
	// Default 256.
	MaxConnections int

	// ReadyTimeout bounds how long DESCRIBE waits for the tracks of a live
	// stream, or for its rendition to begin. Default 5 s.
	ReadyTimeout time.Duration

	// Linger is how long a feed stays without players, so that a player that
	// reconnects finds it (and its encoder) still running. Default 5 s.
	Linger time.Duration

	// MaxDrops is how many packets a player may lose because it reads too
	// slowly; then it is cut, for its picture is broken. Default 64.
	MaxDrops int
}

func (c *Config) setDefaults() {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.MaxConnections <= 0 {
		c.MaxConnections = 256
	}
	if c.ReadyTimeout <= 0 {
		c.ReadyTimeout = 5 * time.Second
	}
	if c.Linger <= 0 {
		c.Linger = 5 * time.Second
	}
	if c.MaxDrops <= 0 {
		c.MaxDrops = 64
	}
}

// Bounds of the outgoing side.
const (
	// writeQueue is how many packets wait for one player: about two seconds of
	// 720p. It must be a power of two and hold the prelude of a joiner.
	writeQueue = 1024

	// maxPacket is the largest RTP packet with its header: what is left of an
	// Ethernet frame after IP and UDP.
	maxPacket = 1472

	writeTimeout = 10 * time.Second
)

// Server serves players until Close. All methods may be called from any
// goroutine.
type Server struct {
	cfg   Config
	log   *slog.Logger
	lib   *gortsplib.Server
	ln    *listener
	udp   *udpPair
	feeds *feeds

	ctx    context.Context // of the server's life; ended by Close
	cancel context.CancelCauseFunc

	stats counters
}

type counters struct {
	players, cut, dropped, tooBig atomic.Int64
	slow                          limited // how often slow players are logged
}

// Stats is a snapshot of the counters of a Server.
type Stats struct {
	Players     int64 // sessions that are set up now
	Feeds       int64 // streams read now, renditions included
	Connections int64 // TCP connections now
	Cut         int64 // players cut because they read too slowly
	Dropped     int64 // packets that slow players lost
	TooBig      int64 // packets that did not fit the MTU
}

// Listen opens the sockets and serves.
func Listen(cfg Config) (*Server, error) {
	cfg.setDefaults()
	if cfg.Directory == nil {
		return nil, errors.New("rtsp: no directory")
	}
	ln, err := listen(cfg.Addr, cfg.MaxConnections, cfg.Log)
	if err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, log: cfg.Log, ln: ln}
	s.ctx, s.cancel = context.WithCancelCause(context.Background())
	s.feeds = newFeeds(s)
	s.lib = &gortsplib.Server{
		Handler:        &handler{s: s},
		RTSPAddress:    ln.Addr().String(),
		Listen:         ln.hand,
		WriteTimeout:   writeTimeout,
		WriteQueueSize: writeQueue,
		MaxPacketSize:  maxPacket,
		AuthMethods:    []auth.VerifyMethod{auth.VerifyMethodBasic},
		// The library writes the fraction of the NTP timestamp in nanoseconds,
		// not in units of 2^-32 s (RFC 3550, section 4): up to 0.77 s wrong,
		// and differently for sound and picture. Feeds send their own reports.
		DisableRTCPSenderReports: true,
	}
	if cfg.UDP != "" {
		if s.udp, err = listenPair(cfg.UDP); err != nil {
			return nil, errors.Join(err, ln.Close())
		}
		s.lib.UDPRTPAddress, s.lib.UDPRTCPAddress = s.udp.addresses()
		s.lib.ListenPacket = s.udp.hand
	}
	if err := s.lib.Start(); err != nil {
		s.udp.close()
		return nil, errors.Join(fmt.Errorf("start rtsp server: %w", err), ln.Close())
	}
	return s, nil
}

// Addr is the TCP address in use.
func (s *Server) Addr() netip.AddrPort { return s.ln.addrPort() }

// UDPPort is the port of RTP over UDP, 0 without UDP.
func (s *Server) UDPPort() uint16 { return s.udp.port() }

// Stats returns the counters.
func (s *Server) Stats() Stats {
	return Stats{
		Players:     s.stats.players.Load(),
		Feeds:       s.feeds.count(),
		Connections: int64(s.ln.open()),
		Cut:         s.stats.cut.Load(),
		Dropped:     s.stats.dropped.Load(),
		TooBig:      s.stats.tooBig.Load(),
	}
}

// Close says goodbye to the players, ends their sessions and releases the
// ports. It returns after all goroutines have ended. It is idempotent.
func (s *Server) Close() error {
	s.cancel(errClosing)
	s.feeds.close() // before the library: players get their RTCP BYE
	s.lib.Close()
	return nil
}

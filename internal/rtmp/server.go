package rtmp

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	rtmplib "github.com/yutopp/go-rtmp"
)

// Defaults of Config.
const (
	DefaultMaxConns     = 256
	DefaultSetupTimeout = 10 * time.Second
	DefaultWriteTimeout = 10 * time.Second
)

// Config configures a Server.
type Config struct {
	Handler Handler

	// MaxConns bounds the connections; more are closed at once, or take the
	// place of one that does not play, of a sender that has more. 0 means
	// DefaultMaxConns.
	MaxConns int

	// SetupTimeout is how long a peer may take from its connection to its play
	// command. 0 means DefaultSetupTimeout.
	SetupTimeout time.Duration

	// WriteTimeout is how long a player may refuse to take anything before it
	// is cut off. 0 means DefaultWriteTimeout.
	WriteTimeout time.Duration

	Log *slog.Logger // nil: slog.DiscardHandler
}

// Server serves RTMP players. All methods may be called from any goroutine.
type Server struct {
	cfg Config
	log *slog.Logger
	lib *rtmplib.Server
	wg  sync.WaitGroup // connections
	end chan struct{}  // closed by Close

	mu     sync.Mutex   // guards what follows
	l      net.Listener // of Serve
	conns  map[*conn]struct{}
	closed bool
}

// NewServer returns a Server. The caller must Close it.
func NewServer(cfg Config) *Server {
	if cfg.MaxConns <= 0 {
		cfg.MaxConns = DefaultMaxConns
	}
	if cfg.SetupTimeout <= 0 {
		cfg.SetupTimeout = DefaultSetupTimeout
	}
	if cfg.WriteTimeout <= 0 {
		cfg.WriteTimeout = DefaultWriteTimeout
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{cfg: cfg, log: cfg.Log, conns: make(map[*conn]struct{}), end: make(chan struct{})}
	s.lib = rtmplib.NewServer(&rtmplib.ServerConfig{OnConnect: s.adopt})
	return s
}

// Serve accepts connections on l, which it closes, until Close. It then returns
// ErrClosed. It must be called once only.
func (s *Server) Serve(l net.Listener) error {
	s.mu.Lock()
	s.l = l
	closed := s.closed
	s.mu.Unlock()
	if closed {
		_ = l.Close() // nobody was served
		return ErrClosed
	}
	if err := s.lib.Serve(&listener{Listener: l, s: s}); err != nil && !errors.Is(err, rtmplib.ErrClosed) {
		_ = l.Close() // it never got to serve
		return err
	}
	return ErrClosed
}

// Close ends the listener and all connections and waits for them. It is
// idempotent.
func (s *Server) Close() error {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.end)
	}
	conns := make([]*conn, 0, len(s.conns))
	for c := range s.conns {
		conns = append(conns, c)
	}
	l := s.l
	s.mu.Unlock()
	err := s.lib.Close()
	if l != nil {
		_ = l.Close() // the library may not have had it yet
	}
	for _, c := range conns {
		c.abort()
	}
	s.wg.Wait()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// Conns is the number of connections.
func (s *Server) Conns() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// admit makes a conn of nc, or closes it and returns nil.
func (s *Server) admit(nc net.Conn) *conn {
	c := newConn(s, nc)
	s.mu.Lock()
	full := len(s.conns) >= s.cfg.MaxConns && !s.makeRoomLocked(c.from)
	if s.closed || full {
		s.mu.Unlock()
		c.cancel(errGone)
		_ = nc.Close() // nothing was said yet
		if full {
			s.log.Warn("too many rtmp connections", "remote", nc.RemoteAddr().String())
		}
		return nil
	}
	s.conns[c] = struct{}{}
	s.wg.Add(1) // undone by forget
	s.mu.Unlock()
	return c
}

// makeRoomLocked ends a connection, if that is fair. Those who only hold a
// connection keep out nobody from elsewhere: the sender with most connections
// that do not play loses its oldest one, if that is more than the newcomer's
// sender would have.
func (s *Server) makeRoomLocked(newcomer netip.Addr) bool {
	idle := make(map[netip.Addr]int)
	oldest := make(map[netip.Addr]*conn)
	for c := range s.conns {
		if c.playing.Load() {
			continue
		}
		idle[c.from]++
		if o := oldest[c.from]; o == nil || c.since.Before(o.since) {
			oldest[c.from] = c
		}
	}
	most := newcomer
	for from, n := range idle {
		if n > idle[most]+1 || most != newcomer && n > idle[most] {
			most = from
		}
	}
	if most == newcomer {
		return false
	}
	delete(s.conns, oldest[most]) // it still counts for Close, until it has ended
	oldest[most].abort()
	return true
}

func (s *Server) forget(c *conn) {
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
	s.wg.Done()
}

// adopt hands a connection to the library.
func (s *Server) adopt(nc net.Conn) (io.ReadWriteCloser, *rtmplib.ConnConfig) {
	c := nc.(*conn) // listener gives out nothing else
	return c, c.libConfig()
}

// listener gives the library connections of ours. The library tries again and
// again when Accept fails, so Accept only fails when the Server has ended.
type listener struct {
	net.Listener
	s *Server
}

func (l *listener) Accept() (net.Conn, error) {
	const pause = 50 * time.Millisecond // out of file descriptors, say
	for {
		nc, err := l.Listener.Accept()
		switch {
		case err == nil:
			if c := l.s.admit(nc); c != nil {
				return c, nil
			}
			continue
		case errors.Is(err, net.ErrClosed):
			<-l.s.end
			return nil, err
		}
		l.s.log.Warn("accepting rtmp connection", "err", err)
		select {
		case <-time.After(pause):
		case <-l.s.end:
			return nil, err
		}
	}
}

package rtmp

import (
	"errors"
	"io"
	"log/slog"
	"net"
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

	// MaxConns bounds the connections; more are closed at once. 0 means
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
	s.mu.Lock()
	full := len(s.conns) >= s.cfg.MaxConns
	if s.closed || full {
		s.mu.Unlock()
		_ = nc.Close() // nothing was said yet
		if full {
			s.log.Warn("too many rtmp connections", "remote", nc.RemoteAddr().String())
		}
		return nil
	}
	c := newConn(s, nc)
	s.conns[c] = struct{}{}
	s.wg.Add(1) // undone by forget
	s.mu.Unlock()
	return c
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

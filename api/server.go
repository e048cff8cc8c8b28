package api

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// Time limits of a connection. Against a client that sends one byte a minute:
// the header and a small body must be there in time. Handlers that move large
// bodies move their own deadline with each piece (see moving.go).
const (
	headerTimeout  = 10 * time.Second
	bodyTimeout    = 30 * time.Second
	answerTimeout  = 60 * time.Second
	idleTimeout    = time.Minute
	maxHeaderBytes = 32 << 10

	// shutdownTimeout is for answers under way. Browsers open connections ahead on
	// which they never ask; the server waits for those as well, 5 s by itself, which
	// is all that the owner gives it.
	shutdownTimeout = 3 * time.Second
)

// Limits of an HTTP/2 connection. Its header frames have no time-out of their
// own: what sends half a header and then nothing counts as idle.
const (
	h2Streams     = 128              // at once; Chromium opens up to 100
	h2PingAfter   = 30 * time.Second // of silence
	h2PingTimeout = 15 * time.Second
	h2WriteStuck  = 30 * time.Second // nothing can be written for so long: gone
)

// Handler is the whole API and the pages as one handler.
func (s *Server) Handler() http.Handler { return s.engine }

// Serve answers requests on l until ctx ends or l fails. It may be called for
// several listeners at once. When ctx ends, requests under way get 5 s to
// finish, then their connections are cut; Serve returns nil after that. Above
// the bounds of Config on connections, which count for all listeners together,
// new ones are closed at once. It closes l.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	return s.run(ctx, s.httpServer(nil), s.conns.listen(l))
}

// ServeTLS is Serve over TLS, by HTTP/2 and HTTP/1.1. A handshake has 10 s.
func (s *Server) ServeTLS(ctx context.Context, l net.Listener, cfg *tls.Config) error {
	return s.run(ctx, s.httpServer(cfg), s.conns.listen(l))
}

// httpServer is a server with its limits; over TLS if cfg is not nil.
func (s *Server) httpServer(cfg *tls.Config) *http.Server {
	var h http.Handler = s.engine
	if cfg == nil && s.cfg.Plain != nil {
		h = s.cfg.Plain(h)
	}
	return &http.Server{
		Handler:           h,
		TLSConfig:         cfg,
		ReadHeaderTimeout: headerTimeout, // of the TLS handshake as well
		ReadTimeout:       bodyTimeout,
		WriteTimeout:      answerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: h2Streams, SendPingTimeout: h2PingAfter,
			PingTimeout: h2PingTimeout, WriteByteTimeout: h2WriteStuck,
		},
		// Port scanners and closed tabs: of interest when looking for trouble only.
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
}

func (s *Server) run(ctx context.Context, hs *http.Server, l net.Listener) error {
	served := make(chan error, 1)
	go func() { // ended by Shutdown or Close below
		if hs.TLSConfig != nil {
			served <- hs.ServeTLS(l, "", "")
			return
		}
		served <- hs.Serve(l)
	}()
	select {
	case err := <-served:
		_ = hs.Close() // the listener is gone: cut what is left
		return fmt.Errorf("serving http on %s: %w", l.Addr(), err)
	case <-ctx.Done():
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	if err := hs.Shutdown(end); err != nil {
		if err = hs.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			return fmt.Errorf("closing http on %s: %w", l.Addr(), err)
		}
	}
	<-served
	return nil
}

// StopNew is the first step of a shutdown: from now on new sessions get 503
// with Retry-After, and /readyz says not ready. Everything else goes on.
func (s *Server) StopNew() { s.sessions.stop() }

// EndPublishers closes the WHIP sessions and returns when they have ended or
// ctx has. The classes are not ended: after a restart they go on.
func (s *Server) EndPublishers(ctx context.Context) error {
	return s.sessions.endAll(ctx, wayWHIP)
}

// EndViewers closes the WHEP sessions and returns when they have ended or ctx
// has. Close the recordings before this.
func (s *Server) EndViewers(ctx context.Context) error {
	return s.sessions.endAll(ctx, wayWHEP)
}

// Close ends all sessions and returns after them. It is idempotent.
func (s *Server) Close() error {
	s.sessions.stop()
	err := errors.Join(
		s.sessions.endAll(context.Background(), wayWHIP),
		s.sessions.endAll(context.Background(), wayWHEP),
	)
	s.sessions.wait()
	s.probes.close()
	return err
}

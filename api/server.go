package api

import (
	"context"
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
	headerTimeout   = 10 * time.Second
	bodyTimeout     = 30 * time.Second
	answerTimeout   = 60 * time.Second
	idleTimeout     = 2 * time.Minute
	shutdownTimeout = 5 * time.Second
	maxHeaderBytes  = 32 << 10
	maxConns        = 8192 // of one listener
)

// Handler is the whole API and the pages as one handler.
func (s *Server) Handler() http.Handler { return s.engine }

// Serve answers requests on l until ctx ends or l fails. It may be called for
// several listeners at once. When ctx ends, requests under way get 5 s to
// finish, then their connections are cut; Serve returns nil after that. Above
// 8192 connections, new ones of a listener are closed at once. It closes l.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	return s.run(ctx, s.httpServer(), boundConns(l, maxConns))
}

func (s *Server) httpServer() *http.Server {
	return &http.Server{
		Handler:           s.engine,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       bodyTimeout,
		WriteTimeout:      answerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		// Port scanners and closed tabs: of interest when looking for trouble only.
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
}

func (s *Server) run(ctx context.Context, hs *http.Server, l net.Listener) error {
	served := make(chan error, 1)
	go func() { served <- hs.Serve(l) }() // ended by Shutdown or Close below
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
	return err
}

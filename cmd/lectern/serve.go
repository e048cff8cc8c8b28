package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/lectern/lectern/config"
)

type serveCmd struct {
	Config string `help:"Configuration file (see config/lectern.yaml)." type:"existingfile" placeholder:"FILE"`
	Data   string `help:"Data directory (lectern-data)." placeholder:"DIR"`
	HTTP   string `help:"Address of pages, signalling and API (:8080)." placeholder:"ADDR" name:"http"`
	HTTPS  string `help:"HTTPS beside it: off, self_signed, files or acme." placeholder:"MODE" name:"https"`
	TLS    string `help:"Address of HTTPS (:8443)." placeholder:"ADDR" name:"https-addr"`
	WebRTC string `help:"UDP and TCP address of media (:8189)." placeholder:"ADDR" name:"webrtc"`
	Public string `help:"Public addresses or names to offer for media, with commas between them." placeholder:"HOSTS" name:"public-ip"`
	// Pointers: empty means off, which is not the same as not given.
	RTSP *string `help:"Address for RTSP players (:8554); empty: off." placeholder:"ADDR" name:"rtsp"`
	RTMP *string `help:"Address for RTMP players (:1935); empty: off." placeholder:"ADDR" name:"rtmp"`
}

// flags are the settings that the command line gives, by configuration key.
func (c serveCmd) flags() map[string]any {
	flags := map[string]any{}
	for key, v := range map[string]string{
		"data.dir": c.Data, "http.addr": c.HTTP, "tls.mode": c.HTTPS, "tls.addr": c.TLS, "webrtc.addr": c.WebRTC, "webrtc.hosts": c.Public,
	} {
		if v != "" {
			flags[key] = v
		}
	}
	for key, v := range map[string]*string{"rtsp.addr": c.RTSP, "rtmp.addr": c.RTMP} {
		if v != nil {
			flags[key] = *v
		}
	}
	return flags
}

// Run runs the gateway until ctx ends, then shuts down in order.
func (c serveCmd) Run(ctx context.Context, io std) error {
	cfg, err := config.Load(c.Config, io.environ, c.flags())
	if err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	log, err := newLogger(io.err, cfg.Log)
	if err != nil {
		return err
	}
	for _, name := range config.UnknownVariables(io.environ) {
		log.Warn("variable names no setting", "variable", name)
	}
	if err := os.MkdirAll(cfg.Data.Dir, 0o700); err != nil {
		return fmt.Errorf("make data directory: %w", err)
	}
	g, err := open(ctx, cfg, log)
	if err != nil {
		return err
	}
	g.greet(io.out)
	return g.serve(ctx)
}

func newLogger(w io.Writer, cfg config.Log) (*slog.Logger, error) {
	level, err := cfg.SlogLevel()
	if err != nil {
		return nil, err
	}
	opts := &slog.HandlerOptions{Level: level}
	if cfg.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, opts)), nil
	}
	return slog.New(slog.NewTextHandler(w, opts)), nil
}

// serve answers until ctx ends or a part fails, then closes all parts.
func (g *gateway) serve(ctx context.Context) error {
	httpCtx, stopHTTP := context.WithCancel(context.Background())
	defer stopHTTP()
	failed := make(chan error, 1)
	go func() { failed <- g.serveHTTP(httpCtx) }() // ended by stopHTTP in close
	var err error
	select {
	case <-ctx.Done():
		g.log.Info("shutting down")
	case err = <-failed:
		failed <- nil
	}
	end, cancel := context.WithTimeout(context.Background(), g.cfg.ShutdownTimeout)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- g.close(end, stopHTTP, failed) }() // bounded by end
	select {
	case cerr := <-done:
		return errors.Join(err, cerr)
	case <-end.Done():
		return errors.Join(err, fmt.Errorf("not shut down within %s; the next start recovers", g.cfg.ShutdownTimeout))
	}
}

// close ends the parts. The order is part of the design; each step says why.
func (g *gateway) close(ctx context.Context, stopHTTP func(), served <-chan error) error {
	began := time.Now()
	var errs []error
	step := func(name string, f func(ctx context.Context) error) {
		ctx, cancel := context.WithTimeout(ctx, shutdownStep)
		defer cancel()
		if err := f(ctx); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
		}
	}
	// Nobody new: 503 with Retry-After, and a class that loses its publisher
	// now is not ended but taken up by the next start.
	g.api.StopNew()
	g.hub.Drain()
	// Nothing more comes in, so that what is recorded is whole.
	step("end publishers", g.api.EndPublishers)
	// Recordings are closed and synced before anything else may fail or hang.
	step("close rooms", g.hub.Close)
	g.authority.Close() // it notes in the storage when keys were used
	step("close storage", func(context.Context) error { return g.store.Close() })
	// Now those who watch: players, then viewers and the pages' connections.
	step("close players", func(context.Context) error { return errors.Join(g.closePlayers()...) })
	g.renditions.Close()
	step("end viewers", g.api.EndViewers)
	g.whep.Close()
	stopHTTP()
	step("close http", func(ctx context.Context) error {
		select {
		case err := <-served:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	step("close certificate", func(context.Context) error { return g.closeHTTPS() })
	step("close api", func(context.Context) error { return g.api.Close() })
	step("close media port", func(context.Context) error { return g.closeMedia() })
	step("remove run file", func(context.Context) error { return removeRunFile(g.cfg.Data.Dir) })
	g.log.Info("shut down", "dur_ms", time.Since(began).Milliseconds())
	return errors.Join(errs...)
}

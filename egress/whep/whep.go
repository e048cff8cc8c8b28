// Package whep is the way out to browsers: viewers that came by WHEP.
//
// Viewers of one stream are served by a few shards, each a goroutine with one
// Reader. A shard takes a burst of packets and goes through its viewers one by
// one, so that consecutive packets for one address leave in one message. There
// is one ring of packets per shard for retransmission and for joiners, whatever
// the number of viewers; it shares the packets and owns none.
package whep

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/lectern/lectern/internal/rtc"
	"github.com/lectern/lectern/stream"
)

// ErrClosed says that the server is shutting down.
var ErrClosed = errors.New("whep: closed")

// reportEvery is how often viewers get sender reports. They keep sound and
// picture together (RFC 3550, section 6.4.1).
const reportEvery = time.Second

// Config configures a Server.
type Config struct {
	Endpoint *rtc.Endpoint
	Log      *slog.Logger // nil: slog.DiscardHandler
}

// Server serves viewers. Its methods may be called from any goroutine.
type Server struct {
	endpoint *rtc.Endpoint
	log      *slog.Logger
	stop     chan struct{}
	reports  sync.WaitGroup
	inline   budget

	mu      sync.Mutex // guards what follows
	fanouts map[*stream.Stream]*fanout
	closed  bool
}

// New returns a Server and starts its reports. Close ends it.
func New(cfg Config) *Server {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{
		endpoint: cfg.Endpoint,
		log:      cfg.Log,
		stop:     make(chan struct{}),
		fanouts:  make(map[*stream.Stream]*fanout),
	}
	s.reports.Go(s.report) // ended by Close
	return s
}

// Open answers offer with a viewer session of st. The viewer may come before
// the publisher: the picture starts by itself. onData gets the data channels
// that the viewer opens; nil refuses them.
func (s *Server) Open(offer *rtc.Offer, st *stream.Stream, onData func(*rtc.DataChannel)) (*Session, error) {
	v := &viewer{st: st, log: s.log, ready: make(chan struct{})}
	sess := &Session{server: s, v: v}
	cfg := rtc.SessionConfig{
		Offer:         offer,
		Log:           s.log,
		OnRTCP:        v.onRTCP,
		OnDataChannel: onData,
		OnConnected:   func() { s.join(sess) },
		OnClosed:      func(error) { s.leave(sess) },
	}
	peer, err := s.endpoint.NewSession(cfg)
	if err != nil {
		return nil, fmt.Errorf("open viewer session: %w", err)
	}
	sess.Session, sess.line = peer, offer.Line(rtc.Video)
	v.init(peer)
	close(v.ready)
	return sess, nil
}

// join puts a connected viewer into the fan-out of its stream.
func (s *Server) join(sess *Session) {
	<-sess.v.ready
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || sess.gone {
		return
	}
	f := s.fanouts[sess.v.st]
	if f == nil {
		f = &fanout{st: sess.v.st, endpoint: s.endpoint, log: s.log, budget: &s.inline}
		s.fanouts[sess.v.st] = f
	}
	if err := f.add(sess.v); err != nil {
		s.log.Warn("viewer not served", "stream", sess.v.st.Name(), "err", err)
	}
}

// leave takes a viewer out again; the last one ends the fan-out.
func (s *Server) leave(sess *Session) {
	<-sess.v.ready
	s.mu.Lock()
	sess.gone = true
	f := s.fanouts[sess.v.st]
	var idle *shard
	if f != nil {
		idle = f.remove(sess.v)
		if len(f.shards) == 0 {
			delete(s.fanouts, f.st)
		}
	}
	s.mu.Unlock()
	if idle != nil {
		idle.close()
	}
}

// Viewers counts the connected viewers of st.
func (s *Server) Viewers(st *stream.Stream) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.fanouts[st]
	if f == nil {
		return 0
	}
	return f.count()
}

// Close ends the fan-out. The sessions themselves end with the endpoint.
func (s *Server) Close() {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return
	}
	s.closed = true
	var shards []*shard
	for _, f := range s.fanouts {
		shards = append(shards, f.shards...)
	}
	clear(s.fanouts)
	s.mu.Unlock()
	close(s.stop)
	s.reports.Wait()
	for _, sh := range shards {
		sh.close()
	}
}

// report sends sender reports to every viewer.
func (s *Server) report() {
	t := time.NewTicker(reportEvery)
	defer t.Stop()
	for {
		select {
		case <-s.stop:
			return
		case now := <-t.C:
			for _, sh := range s.allShards() {
				sh.report(now)
			}
		}
	}
}

func (s *Server) allShards() []*shard {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []*shard
	for _, f := range s.fanouts {
		out = append(out, f.shards...)
	}
	return out
}

// Session is one viewer. It is an rtc.Session, so that signalling treats
// viewers and publishers alike.
type Session struct {
	*rtc.Session
	server *Server
	v      *viewer
	line   int  // index of the video m-line; -1: none
	gone   bool // guarded by server.mu
}

// Stats tells what the viewer got.
func (s *Session) Stats() Stats { return s.v.stats(time.Now()) }

package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/lectern/lectern/internal/rtc"
	"github.com/lectern/lectern/internal/sender"
)

// Bounds of tests. A browser tries some five paths, two at a time.
const (
	probeLife     = 20 * time.Second
	probeKept     = time.Minute // for the question how it went
	maxProbes     = 64
	maxProbesFrom = 12  // of one address
	maxProbesKept = 512 // those that are over included
	maxEcho       = 1024
	maxEchoes     = 1000 // messages of one test
)

var errProbeOver = errors.New("api: test is over")

// probes are the tests that run or were run lately. Safe for concurrent use.
type probes struct {
	mu     sync.Mutex // guards what follows
	byID   map[string]*probe
	from   map[netip.Addr]int // that run
	active int
	closed bool
	wg     sync.WaitGroup // of the echoes
}

func newProbes() *probes {
	return &probes{byID: make(map[string]*probe), from: make(map[netip.Addr]int)}
}

// probe is one test.
type probe struct {
	id      string
	client  netip.Addr
	session *rtc.Session
	life    *time.Timer
	kept    *time.Timer
	done    chan struct{} // closed when it no longer counts
	unmind  func()        // ends the watch over the right to it; nil before

	mu        sync.Mutex // guards what follows
	connected bool
	ended     bool
	echoing   bool
	path      *pathTold
}

// watcher has ended called when the right to a test has ended, until stop.
type watcher func(ended func(reason error)) (stop func())

// open makes a session for a test.
func (ps *probes) open(e *rtc.Endpoint, offer *rtc.Offer, paths rtc.Paths, client netip.Addr, watch watcher) (*probe, error) {
	p := &probe{id: newID(), client: sender.Of(client), done: make(chan struct{})}
	if err := ps.reserve(p); err != nil {
		return nil, err
	}
	opened := make(chan struct{}) // the callbacks use p.session
	defer close(opened)
	s, err := e.NewSession(rtc.SessionConfig{
		Offer: offer, Paths: paths,
		OnDataChannel: func(ch *rtc.DataChannel) { ps.serve(p, ch) },
		OnConnected:   func() { <-opened; p.note(true) },
		OnClosed:      func(error) { <-opened; p.note(false); ps.release(p) },
	})
	if err != nil {
		ps.release(p)
		if errors.Is(err, rtc.ErrNoPath) {
			return nil, fail(http.StatusConflict, "path_off", "This server does not offer that path.")
		}
		return nil, fmt.Errorf("opening a test: %w", err)
	}
	p.session = s
	p.life = time.AfterFunc(probeLife, func() { s.End(errProbeOver) })
	p.unmind = watch(s.End)
	ps.enter(p)
	return p, nil
}

// reserve counts a test, which release gives back.
func (ps *probes) reserve(p *probe) error {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	switch {
	case ps.closed:
		return errStopping()
	case ps.from[p.client] >= maxProbesFrom:
		return failLater(http.StatusTooManyRequests, "busy", "As many tests run from this address as may.", later)
	case ps.active >= maxProbes || len(ps.byID) >= maxProbesKept:
		return failLater(http.StatusServiceUnavailable, "too_many", "As many tests run as may.", later)
	}
	ps.active++
	ps.from[p.client]++
	return nil
}

func (ps *probes) release(p *probe) {
	if p.unmind != nil {
		p.unmind()
	}
	ps.mu.Lock()
	defer ps.mu.Unlock()
	ps.active--
	if ps.from[p.client]--; ps.from[p.client] <= 0 {
		delete(ps.from, p.client)
	}
	close(p.done)
}

// enter makes p known until it is forgotten.
func (ps *probes) enter(p *probe) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	ps.byID[p.id] = p
	p.kept = time.AfterFunc(probeKept, func() {
		ps.mu.Lock()
		defer ps.mu.Unlock()
		delete(ps.byID, p.id)
	})
	if ps.closed {
		p.session.End(errShutdown)
	}
}

func (ps *probes) find(id string) (*probe, bool) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	p, ok := ps.byID[id]
	return p, ok
}

// remove ends and forgets p, and returns when its place is free or ctx ends.
func (ps *probes) remove(ctx context.Context, p *probe) {
	ps.mu.Lock()
	delete(ps.byID, p.id)
	ps.mu.Unlock()
	p.kept.Stop()
	p.life.Stop()
	p.session.End(errDeleted)
	select {
	case <-p.done:
	case <-ctx.Done():
	}
}

// serve echoes the first channel of a test; others are closed.
func (ps *probes) serve(p *probe, ch *rtc.DataChannel) {
	p.mu.Lock()
	first := !p.echoing
	p.echoing = true
	p.mu.Unlock()
	if !first {
		_ = ch.Close() // nothing depends on it
		return
	}
	ps.wg.Go(func() { // ends with the session
		echo(ch)
		_ = ch.Close() // it may be closed already
	})
}

// echo sends back what comes, within bounds.
func echo(ch *rtc.DataChannel) {
	buf := make([]byte, maxEcho)
	for range maxEchoes {
		n, text, err := ch.ReadMessage(buf)
		if err != nil {
			return
		}
		write := ch.WriteBinary
		if text {
			write = ch.WriteText
		}
		if write(buf[:n]) != nil {
			return // the peer does not take what it asked for
		}
	}
}

// note keeps how the test stands, for the session forgets its path at the end.
func (p *probe) note(connected bool) {
	path, ok := p.session.Path()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.connected = p.connected || connected
	p.ended = !connected
	if ok {
		p.path = &pathTold{Network: path.Network, Remote: path.Remote.String(), Type: path.Type}
	}
}

func (p *probe) view() probeView {
	offered, received := p.session.Candidates()
	if path, ok := p.session.Path(); ok {
		p.mu.Lock()
		p.path = &pathTold{Network: path.Network, Remote: path.Remote.String(), Type: path.Type}
		p.mu.Unlock()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	v := probeView{State: "connecting", Offered: orEmpty(offered), Received: orEmpty(received), Path: p.path}
	var n note
	switch {
	case p.connected:
		v.State = "connected"
		n = note{"connected", "The path stands."}
		if p.path != nil {
			n.Text = fmt.Sprintf("Media would come from %s (%s) over %s.", p.path.Remote, p.path.Type, p.path.Network)
		}
	case p.ended && len(received) == 0:
		n = note{"nothing_received", "The client named no address of its own, and none of those offered was called."}
	case p.ended:
		n = note{"no_pair", "None of the client's addresses and of those offered reach each other."}
	default:
		n = note{"checking", "No path stands yet."}
	}
	if p.ended {
		v.State = "ended"
	}
	v.Notes, v.Words = []note{n}, []string{n.Text}
	return v
}

func orEmpty(words []string) []string {
	if words == nil {
		return []string{}
	}
	return words
}

// close ends all tests and returns after them.
func (ps *probes) close() {
	ps.mu.Lock()
	ps.closed = true
	all := make([]*probe, 0, len(ps.byID))
	for _, p := range ps.byID {
		all = append(all, p)
	}
	clear(ps.byID)
	ps.mu.Unlock()
	for _, p := range all {
		p.kept.Stop()
		p.life.Stop()
		_ = p.session.Close(errShutdown) // always nil
	}
	ps.wg.Wait()
}

// Package netsim is a poor network in one process: a UDP relay that stands
// between a peer and the media port of a gateway, and loses, delays, holds back,
// doubles and throttles packets as it is told. With one seed and the same
// packets it makes the same decisions. Tests and benchmarks use it; it needs no
// rights and no kernel modules.
//
// A [Relay] is the network of one peer. [Relay.Handler] makes the peer use it.
package netsim

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"
)

const (
	// maxFlows bounds the addresses that are relayed for at once: a peer has one
	// per candidate. Packets of others are dropped.
	maxFlows = 64
	// datagramBytes is more than any packet of media has.
	datagramBytes = 2048
	// socketBytes holds what comes while nobody reads.
	socketBytes = 2 << 20
)

// Link says what one direction does to packets. The zero value passes all of
// them at once.
type Link struct {
	// Loss is the part of packets that are lost, 0 to 1.
	Loss float64
	// Burst is how many packets are lost in a row, on average; up to 1: each is
	// lost for itself. Loss stays what it is.
	Burst float64
	// Delay is what each packet takes at least, Jitter what is added at most,
	// evenly spread. Jitter keeps the order of packets.
	Delay, Jitter time.Duration
	// Reorder is the part of packets that are held back by ReorderBy (default
	// 10 ms), so that later ones overtake them.
	Reorder   float64
	ReorderBy time.Duration
	// Duplicate is the part of packets that come twice.
	Duplicate float64
	// Rate is the bandwidth in bits per second, headers of IP and UDP not
	// counted; 0: without bound. Queue is how many bytes wait for it at most,
	// what comes beyond is dropped; default 100 ms of Rate, at least 12000.
	Rate  int
	Queue int
}

// Config says between whom a relay stands.
type Config struct {
	// Addr is where the peer sends to; default "127.0.0.1:0".
	Addr string
	// Target is the media port of the gateway.
	Target netip.AddrPort
	// Up is the way to the target, Down the way back.
	Up, Down Link
	// Seed of the decisions.
	Seed uint64
	// Log gets what no caller can get as an error. Default: none.
	Log *slog.Logger
}

// Stats is what one direction has done.
type Stats struct {
	Packets, Bytes uint64 // that came in
	Passed         uint64 // that went out, doubles included
	PassedBytes    uint64
	Lost           uint64 // by Loss
	Overflowed     uint64 // by Rate and Queue
	Reordered      uint64
	Duplicated     uint64
	Refused        uint64 // by bounds of the relay or by the system
}

// Relay is a poor network. Its methods may be called from any goroutine.
type Relay struct {
	target netip.AddrPort
	log    *slog.Logger
	near   *net.UDPConn // the peer's side
	up     *pipe
	down   *pipe
	wait   sync.WaitGroup

	mu     sync.Mutex // guards what follows
	flows  map[netip.AddrPort]*flow
	closed bool
}

// flow is one address of the peer; it has a socket of its own so that the
// gateway tells it from others.
type flow struct {
	peer netip.AddrPort
	far  *net.UDPConn
}

// Listen opens a relay. Its goroutines end with Close.
func Listen(cfg Config) (*Relay, error) {
	if cfg.Addr == "" {
		cfg.Addr = "127.0.0.1:0"
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	addr, err := net.ResolveUDPAddr("udp", cfg.Addr)
	if err != nil {
		return nil, fmt.Errorf("resolving the relay's address %q: %w", cfg.Addr, err)
	}
	near, err := net.ListenUDP("udp", addr)
	if err != nil {
		return nil, fmt.Errorf("listening as relay: %w", err)
	}
	// The kernel grants what it grants; a small buffer is a worse network.
	_ = near.SetReadBuffer(socketBytes)
	_ = near.SetWriteBuffer(socketBytes)
	r := &Relay{
		target: cfg.Target, log: cfg.Log, near: near, flows: make(map[netip.AddrPort]*flow),
		up: newPipe(cfg.Up, cfg.Seed), down: newPipe(cfg.Down, cfg.Seed+1),
	}
	r.wait.Go(r.up.run)   // ended by Close
	r.wait.Go(r.down.run) // ended by Close
	r.wait.Go(r.readNear) // ended by Close, by the end of near
	return r, nil
}

// Addr is where the peer sends to.
func (r *Relay) Addr() netip.AddrPort { return local(r.near) }

// SetUp changes the way to the target, from now on. Packets on their way keep
// their time, those that wait for bandwidth too.
func (r *Relay) SetUp(l Link) { r.up.set(l) }

// SetDown changes the way back.
func (r *Relay) SetDown(l Link) { r.down.set(l) }

// Stats returns what both directions have done so far.
func (r *Relay) Stats() (up, down Stats) { return r.up.stats(), r.down.stats() }

// Close ends the relay and waits for its goroutines. Packets on their way are
// dropped.
func (r *Relay) Close() error {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		r.wait.Wait()
		return nil
	}
	r.closed = true
	err := r.near.Close()
	for _, f := range r.flows {
		err = errors.Join(err, f.far.Close())
	}
	r.mu.Unlock()
	r.up.close()
	r.down.close()
	r.wait.Wait()
	return err
}

func (r *Relay) readNear() {
	buf := make([]byte, datagramBytes)
	for {
		n, from, err := r.near.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // an ICMP message about a peer that is gone
		}
		f := r.flow(from)
		if f == nil {
			r.up.refuse()
			continue
		}
		r.up.push(time.Now(), buf[:n], func(b []byte) error {
			_, err := f.far.Write(b)
			return err
		})
	}
}

// flow finds or makes the flow of a peer's address; nil if there are too many.
func (r *Relay) flow(peer netip.AddrPort) *flow {
	r.mu.Lock()
	defer r.mu.Unlock()
	if f := r.flows[peer]; f != nil || r.closed || len(r.flows) >= maxFlows {
		return f
	}
	far, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(r.target))
	if err != nil {
		r.log.Warn("relay has no socket", "err", err)
		return nil
	}
	_ = far.SetReadBuffer(socketBytes)
	f := &flow{peer: peer, far: far}
	r.flows[peer] = f
	r.wait.Go(func() { r.readFar(f) }) // ended by Close, by the end of far
	return f
}

func (r *Relay) readFar(f *flow) {
	buf := make([]byte, datagramBytes)
	for {
		n, err := f.far.Read(buf)
		if errors.Is(err, net.ErrClosed) || errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			continue // an ICMP message: the gateway is gone, and may come back
		}
		r.down.push(time.Now(), buf[:n], func(b []byte) error {
			_, err := r.near.WriteToUDPAddrPort(b, f.peer)
			return err
		})
	}
}

func local(c *net.UDPConn) netip.AddrPort {
	a, ok := c.LocalAddr().(*net.UDPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	p := a.AddrPort()
	return netip.AddrPortFrom(p.Addr().Unmap(), p.Port())
}

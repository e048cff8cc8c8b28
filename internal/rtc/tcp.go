package rtc

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/pion/stun/v3"

	"github.com/lectern/lectern/internal/sender"
)

const (
	// tcpFirstFrame bounds how long a stranger may hold a connection without
	// naming a session. Browsers send a check as soon as they are connected.
	tcpFirstFrame = 5 * time.Second
	// Strangers, in all and of one address: a school behind one address sends
	// hundreds within seconds, but each is a stranger for a moment only. Beyond,
	// the oldest of all goes, and the newest of one address.
	maxTCPStrangers       = 1024
	maxTCPStrangersOfAddr = 256
	// A peer has a connection for each pair of addresses, and new ones after a
	// restart.
	maxTCPOfSession = 32
	// tcpIdle: ICE checks a connection in use every few seconds.
	tcpIdle         = 60 * time.Second
	tcpWriteTimeout = 10 * time.Second
	tcpLastWrite    = time.Second // for what is queued when a peer is closed
	maxTCPPeers     = 4096
	tcpFrames       = 64 // waiting for the agent, per session
	maxTCPFrame     = 8 << 10
	// tcpMediaLimit is what may wait for a slow peer: 1.5 s at 2.5 Mbit/s.
	// Beyond, packets are dropped; the peer asks for a keyframe.
	tcpMediaLimit = 512 << 10
	// tcpControlLimit leaves room for checks and DTLS behind waiting media.
	tcpControlLimit = tcpMediaLimit + 64<<10
)

// tcpMux is the passive side of ICE-TCP (RFC 6544): it accepts connections,
// learns from the first check of each which session it is for, and gives agents
// their packets. It has no use for the local address: the socket is one.
type tcpMux struct {
	listener *net.TCPListener
	log      *slog.Logger
	wg       sync.WaitGroup
	done     chan struct{}
	first    time.Duration // see tcpFirstFrame

	mu        sync.Mutex // guards what follows
	conns     map[tcpKey]*tcpConn
	peers     map[netip.AddrPort]*tcpPeer
	strangers map[*tcpPeer]time.Time // since when
	closed    bool
}

type tcpKey struct {
	ufrag string
	ipv6  bool
}

func newTCPMux(l *net.TCPListener, log *slog.Logger, first time.Duration) *tcpMux {
	m := &tcpMux{
		listener: l, log: log, first: first, done: make(chan struct{}),
		conns: map[tcpKey]*tcpConn{}, peers: map[netip.AddrPort]*tcpPeer{}, strangers: map[*tcpPeer]time.Time{},
	}
	m.wg.Go(m.accept) // ended by Close
	return m
}

func (m *tcpMux) accept() {
	for {
		c, err := m.listener.Accept()
		if err == nil {
			m.admit(c)
			continue
		}
		if errors.Is(err, net.ErrClosed) {
			return
		}
		// Out of descriptors, most likely.
		select {
		case <-m.done:
			return
		case <-time.After(10 * readPause):
		}
	}
}

// admit starts to serve a connection, or closes it: too many, or the mux closed.
func (m *tcpMux) admit(c net.Conn) {
	p := newTCPPeer(m, c)
	m.mu.Lock()
	ok := !m.closed && len(m.peers) < maxTCPPeers && p.addr.IsValid() && m.roomForLocked(p)
	if ok {
		m.peers[p.addr], m.strangers[p] = p, time.Now()
		m.wg.Go(p.read)  // both ended by p.close
		m.wg.Go(p.write) //
	}
	m.mu.Unlock()
	if !ok {
		_ = c.Close() // nothing was written
	}
}

// roomForLocked says whether one more stranger may stay. Looking through all of
// them is cheap beside accepting a connection.
func (m *tcpMux) roomForLocked(p *tcpPeer) bool {
	var oldest *tcpPeer
	alike := 0
	for other, since := range m.strangers {
		if sender.Of(other.addr.Addr()) == sender.Of(p.addr.Addr()) {
			alike++
		}
		if oldest == nil || since.Before(m.strangers[oldest]) {
			oldest = other
		}
	}
	if alike >= maxTCPStrangersOfAddr {
		return false
	}
	if len(m.strangers) >= maxTCPStrangers {
		delete(m.strangers, oldest)
		oldest.close()
	}
	return true
}

// introduce enters p, which has named a session; false if that has too many
// connections already.
func (m *tcpMux) introduce(p *tcpPeer, to *tcpConn) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := 0
	for _, other := range m.peers {
		if other != p && other.owner() == to.owner && !other.isClosing() {
			n++
		}
	}
	if n >= maxTCPOfSession {
		return false
	}
	delete(m.strangers, p)
	p.home.Store(to)
	return true
}

func (m *tcpMux) forget(p *tcpPeer) {
	m.mu.Lock()
	delete(m.peers, p.addr)
	delete(m.strangers, p)
	m.mu.Unlock()
	if s := p.owner(); s != nil {
		s.tcpLost(p)
	}
}

// latest returns the open connection of s that a packet came from last, nil if
// there is none.
func (m *tcpMux) latest(s *Session) *tcpPeer {
	m.mu.Lock()
	defer m.mu.Unlock()
	var best *tcpPeer
	for _, p := range m.peers {
		if p.owner() == s && !p.isClosing() && (best == nil || p.heard.Load() > best.heard.Load()) {
			best = p
		}
	}
	return best
}

// release closes the connections of s.
func (m *tcpMux) release(s *Session) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range m.peers {
		if p.owner() == s {
			p.close()
		}
	}
}

// peer returns the open connection from addr, nil if there is none.
func (m *tcpMux) peer(addr netip.AddrPort) *tcpPeer {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.peers[addr]
}

// agentTCPMux is the mux as one agent sees it. It implements ice.TCPMux.
type agentTCPMux struct {
	*tcpMux
	s *Session
}

// GetConnByUfrag implements ice.TCPMux.
func (m agentTCPMux) GetConnByUfrag(ufrag string, isIPv6 bool, local net.IP) (net.PacketConn, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, net.ErrClosed
	}
	key := tcpKey{ufrag, isIPv6}
	if m.conns[key] != nil {
		return nil, errors.New("rtc: ICE-TCP for one user fragment twice")
	}
	c := &tcpConn{
		mux: m.tcpMux, owner: m.s, key: key, frames: make(chan tcpFrame, tcpFrames), done: make(chan struct{}),
		local: &net.TCPAddr{IP: local, Port: int(addrPortOf(m.listener.Addr()).Port())},
	}
	m.conns[key] = c
	return c, nil
}

// RemoveConnByUfrag implements ice.TCPMux.
func (m *tcpMux) RemoveConnByUfrag(ufrag string) {
	for _, ipv6 := range []bool{false, true} {
		m.mu.Lock()
		c := m.conns[tcpKey{ufrag, ipv6}]
		m.mu.Unlock()
		if c != nil {
			_ = c.Close() // always nil
		}
	}
}

// connFor returns what the check in frame is meant for, nil if that is not known.
func (m *tcpMux) connFor(frame []byte, from netip.Addr) *tcpConn {
	if !stun.IsMessage(frame) {
		return nil
	}
	msg := &stun.Message{Raw: append([]byte(nil), frame...)}
	if msg.Decode() != nil || msg.Type.Method != stun.MethodBinding {
		return nil
	}
	user, err := msg.Get(stun.AttrUsername)
	if err != nil {
		return nil
	}
	ufrag, _, _ := strings.Cut(string(user), ":")
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.conns[tcpKey{ufrag, from.Is6()}]
}

// Close closes the listener and all connections, and waits for their goroutines.
func (m *tcpMux) Close() error {
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return nil
	}
	m.closed = true
	peers := make([]*tcpPeer, 0, len(m.peers))
	for _, p := range m.peers {
		peers = append(peers, p)
	}
	m.mu.Unlock()
	close(m.done)
	err := m.listener.Close()
	for _, p := range peers {
		p.close()
	}
	m.wg.Wait()
	if err != nil {
		return fmt.Errorf("closing the ICE-TCP listener: %w", err)
	}
	return nil
}

// tcpConn is what one agent sees: packets from all connections of its session.
// It implements net.PacketConn.
type tcpConn struct {
	mux    *tcpMux
	owner  *Session
	key    tcpKey
	local  net.Addr
	frames chan tcpFrame
	done   chan struct{}
	once   sync.Once
}

type tcpFrame struct {
	from netip.AddrPort
	data []byte
}

// ReadFrom waits for the next packet.
func (c *tcpConn) ReadFrom(b []byte) (int, net.Addr, error) {
	select {
	case f := <-c.frames:
		return copy(b, f.data), net.TCPAddrFromAddrPort(f.from), nil
	case <-c.done:
		return 0, nil, net.ErrClosed
	}
}

// WriteTo queues b for the connection from a. It does not block.
func (c *tcpConn) WriteTo(b []byte, a net.Addr) (int, error) {
	p := c.mux.peer(addrPortOf(a))
	if p == nil || !p.queue(b, tcpControlLimit) {
		return 0, fmt.Errorf("rtc: writing to %s: connection closed or full", a)
	}
	p.kick()
	return len(b), nil
}

// Close forgets the user fragment. The connections stay with the session: media
// goes on while ICE restarts.
func (c *tcpConn) Close() error {
	c.once.Do(func() {
		close(c.done)
		c.mux.mu.Lock()
		defer c.mux.mu.Unlock()
		if c.mux.conns[c.key] == c {
			delete(c.mux.conns, c.key)
		}
	})
	return nil
}

// LocalAddr returns the address the agent asked for.
func (c *tcpConn) LocalAddr() net.Addr { return c.local }

// SetDeadline does nothing: Close ends a ReadFrom, and WriteTo does not block.
func (c *tcpConn) SetDeadline(time.Time) error { return nil }

// SetReadDeadline does nothing.
func (c *tcpConn) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline does nothing.
func (c *tcpConn) SetWriteDeadline(time.Time) error { return nil }

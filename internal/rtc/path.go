package rtc

import (
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/pion/ice/v4"
)

// path is where a session's packets go: the remote side of the selected pair. It
// is replaced as a whole when ICE selects another.
type path struct {
	addr   netip.AddrPort
	udp    *net.UDPAddr // nil with ICE-TCP
	tcp    *tcpPeer     // nil with UDP
	single atomic.Bool  // segmentation is refused on this path
}

// selected is called by the agent, one at a time, when it has chosen a pair.
func (s *Session) selected(remote ice.Candidate) {
	ip, err := netip.ParseAddr(remote.Address())
	if err != nil {
		return
	}
	p := &path{addr: netip.AddrPortFrom(ip.Unmap(), uint16(remote.Port()))}
	if remote.NetworkType().IsTCP() {
		if s.e.tcp == nil {
			return
		}
		if p.tcp = s.e.tcp.peer(p.addr); p.tcp == nil {
			return // gone already: the agent will notice too
		}
	} else {
		p.udp = net.UDPAddrFromAddrPort(p.addr)
	}
	s.usePath(p)
}

func (s *Session) usePath(p *path) {
	s.pathMu.Lock()
	defer s.pathMu.Unlock()
	if s.pathClosed {
		return
	}
	old := s.path.Load()
	if old != nil && old.addr == p.addr && old.tcp == p.tcp {
		return
	}
	if p.tcp != nil {
		p.tcp.session.Store(s)
		s.e.udp.bind(s, netip.AddrPort{})
	} else {
		s.e.udp.bind(s, p.addr)
	}
	s.path.Store(p)
	if old == nil {
		close(s.hasPath)
	}
	if old != nil && old.tcp != nil && old.tcp != p.tcp {
		old.tcp.leave(s)
	}
}

// closePath forgets the way to the peer, for good.
func (s *Session) closePath() {
	s.pathMu.Lock()
	defer s.pathMu.Unlock()
	s.pathClosed = true
	s.e.udp.bind(s, netip.AddrPort{})
	if p := s.path.Swap(nil); p != nil && p.tcp != nil {
		p.tcp.leave(s)
	}
}

// transmit sends one packet at once, RTCP or DTLS. It does not block. What
// cannot be sent is dropped: both protocols repeat what matters.
func (s *Session) transmit(b []byte) {
	p := s.path.Load()
	switch {
	case p == nil:
	case p.tcp != nil:
		if p.tcp.queue(b, tcpControlLimit) {
			p.tcp.kick()
		}
	default:
		_, _ = s.e.udp.WriteToAddrPort(b, p.addr) // see above
	}
}

// iceConn is the agent's connection as DTLS sees it: without media, which goes
// to the session, and on the session's path, which outlives the pause of an ICE
// restart.
type iceConn struct {
	*ice.Conn
	s             *Session
	local, remote net.Addr
}

// Read returns the next packet that is not media.
func (c *iceConn) Read(b []byte) (int, error) {
	for {
		n, err := c.Conn.Read(b)
		if err != nil || !isMedia(b[:n]) {
			return n, err
		}
		c.s.mediaIn(b[:n], time.Now())
	}
}

// Write sends b. It reports an error only once the agent is closed: DTLS and
// SCTP end at an error, but repeat what is lost.
func (c *iceConn) Write(b []byte) (int, error) {
	if c.s.path.Load() != nil {
		c.s.transmit(b)
		return len(b), nil
	}
	_, err := c.Conn.Write(b)
	if err != nil && c.s.ctx.Err() != nil {
		return 0, err
	}
	return len(b), nil
}

// LocalAddr returns the address at the start; that of the agent may be nil.
func (c *iceConn) LocalAddr() net.Addr { return c.local }

// RemoteAddr returns the address at the start.
func (c *iceConn) RemoteAddr() net.Addr { return c.remote }

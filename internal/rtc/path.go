package rtc

import (
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/stun/v3"
)

// path is where a session's packets go: the remote side of the selected pair. It
// is replaced as a whole when ICE selects another.
type path struct {
	addr   netip.AddrPort
	local  netip.AddrPort
	udp    *net.UDPAddr // nil with ICE-TCP
	tcp    *tcpPeer     // nil with UDP
	remote ice.Candidate
	single atomic.Bool // segmentation is refused on this path
}

// selected is called by the agent, one at a time, when it has chosen a pair.
func (s *Session) selected(local, remote ice.Candidate) {
	s.setDeadline(nil)
	addr, ok := addrOfCandidate(remote)
	if !ok {
		return
	}
	p := &path{addr: addr, remote: remote}
	p.local, _ = addrOfCandidate(local)
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

func addrOfCandidate(c ice.Candidate) (netip.AddrPort, bool) {
	ip, err := netip.ParseAddr(c.Address())
	return netip.AddrPortFrom(ip.Unmap(), uint16(c.Port())), err == nil
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
	// An old connection stays open: the peer may still send there.
	if p.tcp != nil {
		s.e.udp.bind(s, netip.AddrPort{})
	} else {
		s.e.udp.bind(s, p.addr)
	}
	s.path.Store(p)
	if old == nil {
		close(s.hasPath)
	}
}

// nominated is called by the agent for each check of the peer, and returns true
// to select its pair. The agent itself follows a nomination only to a pair of
// higher priority. Browsers nominate what works best: when they leave a network
// or close a connection, the agent would stay with a dead pair until consent is
// lost. The pair must have answered a check of ours, lest media be led astray.
func (s *Session) nominated(m *stun.Message, _, remote ice.Candidate, pair *ice.CandidatePair) bool {
	p := s.path.Load()
	if p == nil || p.remote == remote || !m.Contains(stun.AttrUseCandidate) {
		return false
	}
	if !s.e.cfg.ICELite && pair.ResponsesReceived() == 0 {
		return false
	}
	return p.tcp != nil && p.tcp.isClosing() || time.Since(p.remote.LastReceived()) > s.e.cfg.ConsentTimeout/3
}

// tcpLost moves from a closed connection to the one heard of last, if there is
// any, until the peer nominates another pair.
func (s *Session) tcpLost(lost *tcpPeer) {
	p := s.path.Load()
	if p == nil || p.tcp != lost {
		return
	}
	if next := s.e.tcp.latest(s); next != nil {
		s.usePath(&path{addr: next.addr, local: p.local, tcp: next, remote: p.remote})
	}
}

// closePath forgets the way to the peer, for good.
func (s *Session) closePath() {
	s.pathMu.Lock()
	defer s.pathMu.Unlock()
	s.pathClosed = true
	s.e.udp.bind(s, netip.AddrPort{})
	s.path.Store(nil)
	if s.e.tcp != nil {
		s.e.tcp.release(s)
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

package peer

import (
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const (
	thinBufferBytes = 4 << 20
	// thinPause is how long a thin viewer leaves its socket alone. Nobody is
	// woken meanwhile, and no wake-up is charged to the sender.
	thinPause = 5 * time.Millisecond
)

// Counts is what has come to a viewer with a socket of its own.
type Counts struct {
	Packets uint64 // of RTP, repairs included
	Bytes   uint64 // whole UDP payloads of these
}

// thinSocket is the one UDP socket of a viewer: pion's mux with one user. Once
// it is thin, it counts media, keeps them to itself, and looks for them now and
// then only, so that hundreds fit on the machine of the gateway.
type thinSocket struct {
	local          *net.UDPAddr
	packets, bytes atomic.Uint64
	thin           atomic.Bool

	mu     sync.RWMutex // guards what follows
	conn   *net.UDPConn // until it is thin
	file   *os.File     // the same socket after, out of reach of the runtime's poller
	fd     int
	closed bool
}

func newThinSocket(bind netip.Addr) (*thinSocket, error) {
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(bind, 0)))
	if err != nil {
		return nil, err
	}
	_ = conn.SetReadBuffer(thinBufferBytes) // the kernel grants what it grants
	local, _ := conn.LocalAddr().(*net.UDPAddr)
	return &thinSocket{local: local, conn: conn}, nil
}

// GetConn implements pion's UDPMux.
func (s *thinSocket) GetConn(string, net.Addr) (net.PacketConn, error) { return s, nil }

// RemoveConnByUfrag implements pion's UDPMux.
func (s *thinSocket) RemoveConnByUfrag(string) {}

// GetListenAddresses implements pion's UDPMux.
func (s *thinSocket) GetListenAddresses() []net.Addr { return []net.Addr{s.local} }

// ReadFrom implements net.PacketConn. It is called by one goroutine of pion.
func (s *thinSocket) ReadFrom(p []byte) (int, net.Addr, error) {
	for {
		n, from, err := s.read(p)
		if err != nil {
			return 0, nil, err
		}
		if n >= 12 && p[0]>>6 == 2 && (p[1] < 192 || p[1] > 223) { // RFC 7983, RFC 5761
			s.packets.Add(1)
			s.bytes.Add(uint64(n))
			if s.thin.Load() {
				continue
			}
		}
		return n, from, nil
	}
}

func (s *thinSocket) read(p []byte) (int, net.Addr, error) {
	s.mu.RLock()
	conn, fd := s.conn, s.fd
	s.mu.RUnlock()
	if conn != nil {
		n, from, err := conn.ReadFromUDPAddrPort(p)
		if s.thin.Load() {
			if err := s.slim(); err != nil {
				return 0, nil, err
			}
		}
		return n, net.UDPAddrFromAddrPort(from), err
	}
	for {
		s.mu.RLock() // the descriptor must not be another's meanwhile
		if s.closed {
			s.mu.RUnlock()
			return 0, nil, net.ErrClosed
		}
		n, from, err := unix.Recvfrom(fd, p, unix.MSG_DONTWAIT)
		s.mu.RUnlock()
		if err == nil {
			return n, udpAddr(from), nil
		}
		if err != unix.EAGAIN && err != unix.EINTR {
			return 0, nil, err
		}
		time.Sleep(thinPause)
	}
}

// slim takes the socket away from the runtime's poller.
func (s *thinSocket) slim() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.conn == nil {
		return nil
	}
	f, err := s.conn.File()
	if err != nil {
		return err
	}
	s.file, s.fd = f, int(f.Fd())
	err = s.conn.Close()
	s.conn = nil
	return err
}

func udpAddr(sa unix.Sockaddr) net.Addr {
	switch a := sa.(type) {
	case *unix.SockaddrInet4:
		return &net.UDPAddr{IP: a.Addr[:], Port: a.Port}
	case *unix.SockaddrInet6:
		return &net.UDPAddr{IP: a.Addr[:], Port: a.Port}
	}
	return &net.UDPAddr{}
}

// WriteTo implements net.PacketConn.
func (s *thinSocket) WriteTo(p []byte, to net.Addr) (int, error) {
	u, ok := to.(*net.UDPAddr)
	if !ok {
		return 0, net.InvalidAddrError("not of UDP")
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return 0, net.ErrClosed
	}
	if s.conn != nil {
		return s.conn.WriteToUDP(p, u)
	}
	var sa unix.Sockaddr = &unix.SockaddrInet6{Port: u.Port, Addr: [16]byte(u.IP.To16())}
	if v4 := u.IP.To4(); v4 != nil && s.local.IP.To4() != nil {
		sa = &unix.SockaddrInet4{Port: u.Port, Addr: [4]byte(v4)}
	}
	return len(p), unix.Sendto(s.fd, p, unix.MSG_DONTWAIT, sa)
}

// Close implements net.PacketConn.
func (s *thinSocket) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	if s.conn != nil {
		return s.conn.Close()
	}
	return s.file.Close()
}

// LocalAddr implements net.PacketConn.
func (s *thinSocket) LocalAddr() net.Addr { return s.local }

// SetDeadline does nothing, like its two sisters: Close ends what waits.
func (s *thinSocket) SetDeadline(time.Time) error { return nil }

// SetReadDeadline does nothing.
func (s *thinSocket) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline does nothing.
func (s *thinSocket) SetWriteDeadline(time.Time) error { return nil }

package rtc

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/ipv4"
)

const (
	datagramMax = 2048 // bytes; RTP, DTLS and STUN stay below the 1500 of Ethernet
	// readPause keeps a socket whose reads fail from eating the processor.
	readPause = 10 * time.Millisecond
)

// socket is the UDP socket. Media of known addresses is taken out on the way, the
// rest goes to pion's mux, which believes to read from a plain connection.
//
// It is read packet by packet: most wake-ups find one or two, for which a call
// for many (recvmmsg) costs more than it saves, and it would allocate addresses.
type socket struct {
	net.PacketConn // the UDP connection, for what is not defined here
	conn           *net.UDPConn
	batch          *ipv4.PacketConn // serves IPv6 as well: its batches only carry addresses
	local          netip.AddrPort
	count          *counters

	closing   chan struct{}
	closeOnce sync.Once
	done      chan struct{} // closed when reading has ended
	doneOnce  sync.Once

	buf []byte // of the reading goroutine alone

	mu     sync.Mutex // serialises writers of byAddr
	byAddr atomic.Pointer[map[netip.AddrPort]*Session]
}

func newSocket(e *Endpoint, conn *net.UDPConn) *socket {
	s := &socket{
		PacketConn: conn, conn: conn, batch: ipv4.NewPacketConn(conn), local: addrPortOf(conn.LocalAddr()), count: &e.count,
		closing: make(chan struct{}), done: make(chan struct{}), buf: make([]byte, datagramMax),
	}
	s.byAddr.Store(&map[netip.AddrPort]*Session{})
	return s
}

// ReadFromAddrPort returns the next packet that is not media of a known peer. It
// is called by the mux, from one goroutine.
func (s *socket) ReadFromAddrPort(b []byte) (int, netip.AddrPort, error) {
	for {
		packet, from, err := s.read()
		if err != nil {
			s.doneOnce.Do(func() { close(s.done) })
			return 0, netip.AddrPort{}, err
		}
		if isMedia(packet) {
			if peer := (*s.byAddr.Load())[from]; peer != nil {
				peer.mediaIn(packet, time.Now())
				continue
			}
		}
		return copy(b, packet), from, nil
	}
}

// read reads the next packet. It returns an error only when the socket is
// closed: any other would end the mux, and all peers with it.
func (s *socket) read() ([]byte, netip.AddrPort, error) {
	for {
		n, from, err := s.conn.ReadFromUDPAddrPort(s.buf)
		if err == nil {
			s.count.received.Add(1)
			return s.buf[:n], netip.AddrPortFrom(from.Addr().Unmap(), from.Port()), nil
		}
		select {
		case <-s.closing:
			return nil, netip.AddrPort{}, net.ErrClosed
		default:
		}
		if errors.Is(err, net.ErrClosed) {
			return nil, netip.AddrPort{}, net.ErrClosed
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			select {
			case <-s.closing:
				return nil, netip.AddrPort{}, net.ErrClosed
			case <-time.After(readPause):
			}
		}
	}
}

// isMedia tells SRTP and SRTCP from STUN and DTLS (RFC 7983, section 7).
func isMedia(b []byte) bool { return len(b) >= 12 && b[0] >= 128 && b[0] <= 191 }

// isRTCP tells SRTCP from SRTP (RFC 5761, section 4).
func isRTCP(b []byte) bool { return b[1] >= 192 && b[1] <= 223 }

// WriteToAddrPort sends one packet at once.
func (s *socket) WriteToAddrPort(b []byte, to netip.AddrPort) (int, error) {
	return s.conn.WriteToUDPAddrPort(b, to)
}

// SetDeadline does nothing, like its two sisters: the mux uses deadlines to
// break off a write of one peer, which would hit those of all others. Writes to
// UDP do not block for long.
func (s *socket) SetDeadline(time.Time) error { return nil }

// SetReadDeadline does nothing.
func (s *socket) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline does nothing.
func (s *socket) SetWriteDeadline(time.Time) error { return nil }

// Close implements net.PacketConn.
func (s *socket) Close() error { return s.close() }

func (s *socket) close() error {
	var err error
	s.closeOnce.Do(func() {
		close(s.closing)
		err = s.conn.Close()
	})
	return err
}

// bind makes peer the one that media from addr belongs to, and from nowhere
// else. The zero addr only unbinds.
func (s *socket) bind(peer *Session, addr netip.AddrPort) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := *s.byAddr.Load()
	next := make(map[netip.AddrPort]*Session, len(old)+1)
	for a, p := range old {
		if p != peer {
			next[a] = p
		}
	}
	if addr.IsValid() {
		next[addr] = peer
	}
	s.byAddr.Store(&next)
}

package turn

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/lectern/lectern/internal/sender"
)

// Time limits of a connection, against those who take places without using
// them.
const (
	handshakeTimeout = 10 * time.Second
	strangerTimeout  = 20 * time.Second // without an allocation, whatever is said
	messageTimeout   = 10 * time.Second // for the rest of a message
	refreshTimeout   = maxLifetime + time.Minute
	writeTimeout     = 10 * time.Second

	// streamBuffer is little, so that a client with a slow line gets packets
	// late by a moment only; the rest is lost, as it would be by UDP.
	streamBuffer = 256 << 10
)

// listener takes connections of TCP or TLS.
type listener struct {
	*net.TCPListener
	s         *Server
	transport string      // "tcp" or "tls"
	tls       *tls.Config // nil: none
	max       int

	mu      sync.Mutex // guards what follows
	conns   map[net.Conn]netip.Addr
	clients map[netip.Addr]int
	closed  bool
}

func (s *Server) listen(transport, addr string, conf *tls.Config) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("listening for TURN over %s: %w", transport, err)
	}
	tcp, ok := l.(*net.TCPListener)
	if !ok {
		return errors.Join(fmt.Errorf("listening for TURN: %T is no TCP listener", l), l.Close())
	}
	ln := &listener{
		TCPListener: tcp, s: s, transport: transport, tls: conf, max: s.cfg.MaxAllocations,
		conns: map[net.Conn]netip.Addr{}, clients: map[netip.Addr]int{},
	}
	s.listeners = append(s.listeners, ln)
	s.wg.Go(ln.accept) // ended by Close
	return nil
}

func (l *listener) accept() {
	for {
		conn, err := l.AcceptTCP()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // no file descriptors left: those who go give some back
			select {
			case <-l.s.stop:
				return
			case <-time.After(100 * time.Millisecond):
			}
			continue
		}
		if !l.enter(conn) {
			_ = conn.Close() // refused; nothing was said
			continue
		}
		_ = conn.SetWriteBuffer(streamBuffer) // the default works too
		l.s.wg.Go(func() { l.serve(conn) })   // ended by Close and by the time limits
	}
}

// enter counts a connection, which leave gives back.
func (l *listener) enter(conn *net.TCPConn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	from := sender.Of(addrPort(conn.RemoteAddr()).Addr())
	if l.closed || len(l.conns) >= l.max || l.clients[from] >= l.s.cfg.MaxPerAddress {
		return false
	}
	l.conns[conn] = from
	l.clients[from]++
	return true
}

func (l *listener) leave(conn net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if from, ok := l.conns[conn]; ok {
		delete(l.conns, conn)
		drop(l.clients, from)
	}
	_ = conn.Close() // nothing is lost
}

func (l *listener) open() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.conns)
}

// Close ends the listener and its connections; it does not wait for them.
func (l *listener) Close() error {
	l.mu.Lock()
	l.closed = true
	for conn := range l.conns {
		_ = conn.Close() // nothing is lost
	}
	l.mu.Unlock()
	return l.TCPListener.Close()
}

// serve runs one connection until it ends.
func (l *listener) serve(tcp *net.TCPConn) {
	defer l.leave(tcp)
	d := &streamDesk{conn: tcp, src: addrPort(tcp.RemoteAddr()), end: make(chan struct{}), used: time.Now()}
	if l.tls != nil {
		conn := tls.Server(tcp, l.tls)
		if conn.SetDeadline(time.Now().Add(handshakeTimeout)) != nil || conn.Handshake() != nil {
			return // strangers do all sorts of things
		}
		d.conn = conn
	}
	if err := l.s.serve(&d.desk, d); err != nil {
		l.s.log.Error("turn connection not served", "err", err)
		return
	}
	<-d.end
}

// streamDesk is one connection as the library sees it: each read is a message.
type streamDesk struct {
	desk
	conn net.Conn
	src  netip.AddrPort
	end  chan struct{} // closed when a read has failed
	used time.Time     // when there last was an allocation; at first the beginning
	buf  [maxMessage]byte
}

// ReadFrom returns the next message that is to be answered.
func (d *streamDesk) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, err := d.readMessage()
		if err != nil {
			_ = d.conn.Close() // so that a write that waits ends as well
			close(d.end)
			return 0, nil, err
		}
		if d.admit(d.buf[:n], d.src) {
			return copy(b, d.buf[:n]), d.conn.RemoteAddr(), nil
		}
	}
}

func (d *streamDesk) readMessage() (int, error) {
	until := d.used.Add(strangerTimeout)
	if d.relay(d.src) != nil {
		d.used = time.Now()
		until = d.used.Add(refreshTimeout)
	}
	if err := d.conn.SetReadDeadline(until); err != nil {
		return 0, err
	}
	if _, err := io.ReadFull(d.conn, d.buf[:1]); err != nil {
		return 0, err
	}
	if err := d.conn.SetReadDeadline(time.Now().Add(messageTimeout)); err != nil {
		return 0, err
	}
	if _, err := io.ReadFull(d.conn, d.buf[1:dataHeader]); err != nil {
		return 0, err
	}
	n, ok := frameSize(d.buf[:dataHeader])
	if !ok {
		return 0, errNotTURN
	}
	_, err := io.ReadFull(d.conn, d.buf[dataHeader:n])
	return n, err
}

var errNotTURN = errors.New("turn: not a TURN message")

// WriteTo sends to the client. One that does not read is cut off.
func (d *streamDesk) WriteTo(b []byte, _ net.Addr) (int, error) {
	if err := d.conn.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return 0, err
	}
	n, err := d.conn.Write(d.outgoing(b))
	if err != nil {
		_ = d.conn.Close() // half a message may be out: nothing can follow
	}
	return n, err
}

// Close does nothing: the connection is the listener's.
func (d *streamDesk) Close() error { return nil }

// LocalAddr implements net.PacketConn.
func (d *streamDesk) LocalAddr() net.Addr { return d.conn.LocalAddr() }

// SetDeadline implements net.PacketConn.
func (d *streamDesk) SetDeadline(t time.Time) error { return d.conn.SetDeadline(t) }

// SetReadDeadline implements net.PacketConn.
func (d *streamDesk) SetReadDeadline(t time.Time) error { return d.conn.SetReadDeadline(t) }

// SetWriteDeadline implements net.PacketConn.
func (d *streamDesk) SetWriteDeadline(t time.Time) error { return d.conn.SetWriteDeadline(t) }

package rtc

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// tcpPeer is one accepted connection. Packets are framed with their length (RFC
// 4571). It has a goroutine that reads and one that writes all that is queued at
// once.
type tcpPeer struct {
	mux   *tcpMux
	conn  net.Conn
	addr  netip.AddrPort
	home  atomic.Pointer[tcpConn] // whom packets are for; nil before the first check
	heard atomic.Int64            // when a packet came last, Unix time in ns

	wake      chan struct{}
	closing   chan struct{}
	closeOnce sync.Once

	mu      sync.Mutex // guards what follows
	pending []byte     // framed
}

func newTCPPeer(m *tcpMux, c net.Conn) *tcpPeer {
	return &tcpPeer{mux: m, conn: c, addr: addrPortOf(c.RemoteAddr()), wake: make(chan struct{}, 1), closing: make(chan struct{})}
}

// queue puts a packet behind those that wait, and returns false if more than
// limit bytes would wait, or the connection closes. It does not block; kick
// sets the writer going.
func (p *tcpPeer) queue(packet []byte, limit int) bool {
	if p.isClosing() {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(packet) > 0xffff || len(p.pending)+2+len(packet) > limit {
		return false
	}
	p.pending = binary.BigEndian.AppendUint16(p.pending, uint16(len(packet)))
	p.pending = append(p.pending, packet...)
	return true
}

func (p *tcpPeer) kick() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// close makes the writer send what is queued and close the connection, and with
// that ends the reader. It does not wait.
func (p *tcpPeer) close() {
	p.closeOnce.Do(func() { close(p.closing) })
}

func (p *tcpPeer) isClosing() bool {
	select {
	case <-p.closing:
		return true
	default:
		return false
	}
}

// owner is the session that the peer has named, nil before that.
func (p *tcpPeer) owner() *Session {
	if home := p.home.Load(); home != nil {
		return home.owner
	}
	return nil
}

func (p *tcpPeer) write() {
	defer p.mux.forget(p)
	defer func() { _ = p.conn.Close() }() // a write error has been seen before
	var spare []byte
	for {
		last := false
		timeout := tcpWriteTimeout
		select {
		case <-p.wake:
		case <-p.closing:
			last, timeout = true, tcpLastWrite
		}
		p.mu.Lock()
		out := p.pending
		p.pending = spare[:0]
		p.mu.Unlock()
		if len(out) > 0 {
			_ = p.conn.SetWriteDeadline(time.Now().Add(timeout)) // fails if closed, as does the write
			if _, err := p.conn.Write(out); err != nil {
				p.close()
				return
			}
		}
		if last {
			return
		}
		spare = out
	}
}

func (p *tcpPeer) read() {
	defer p.close()
	r := bufio.NewReaderSize(p.conn, maxTCPFrame)
	buf := make([]byte, maxTCPFrame)
	timeout := p.mux.first
	for {
		if err := p.conn.SetReadDeadline(time.Now().Add(timeout)); err != nil {
			return
		}
		n, err := readFrame(r, buf)
		now := time.Now()
		p.heard.Store(now.UnixNano())
		if err != nil || !p.deliver(buf[:n], now) {
			return
		}
		timeout = tcpIdle
	}
}

// readFrame reads one packet (RFC 4571, section 2).
func readFrame(r io.Reader, buf []byte) (int, error) {
	var head [2]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, err
	}
	n := int(binary.BigEndian.Uint16(head[:]))
	if n > len(buf) {
		return 0, io.ErrShortBuffer
	}
	return io.ReadFull(r, buf[:n])
}

// deliver hands on a packet; false ends the connection. A full agent makes the
// peer wait, which TCP is there for.
func (p *tcpPeer) deliver(frame []byte, arrival time.Time) bool {
	home := p.home.Load()
	if isMedia(frame) {
		// Not only on the selected path: Chrome sends on the one it likes best.
		if home == nil {
			return false // a stranger has to name a session first
		}
		home.owner.mediaIn(frame, arrival)
		return true
	}
	if home == nil || home.isClosed() {
		// A new connection, or one that goes on after an ICE restart.
		next := p.mux.connFor(frame, p.addr.Addr())
		if next == nil {
			return home != nil && home.owner.ctx.Err() == nil
		}
		if !p.mux.introduce(p, next) {
			return false
		}
		home = next
	}
	select {
	case home.frames <- tcpFrame{p.addr, append([]byte(nil), frame...)}:
	case <-home.done:
	case <-p.closing:
		return false
	}
	return true
}

func (c *tcpConn) isClosed() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

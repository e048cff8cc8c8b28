package turn

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

var errNoHome = errors.New("turn: the media port has no address of that kind")

const (
	// relayBuffer holds a burst of a keyframe while the client's connection is
	// busy.
	relayBuffer = 512 << 10
	// askedKept is how many checks of ICE may be under way at once.
	askedKept = 32
)

// relay is the socket of an allocation, connected to the media port. Clients
// may know that port by more names than one (a LAN and a public address): a
// packet to any of them goes there, and what comes back is given the name that
// was asked for: an answer to a check, that of the check; all else, the latest.
type relay struct {
	s      *Server
	user   string
	client netip.AddrPort
	conn   *net.UDPConn
	home   netip.AddrPort
	born   time.Time

	up, down *rate.Limiter // bytes, to the media port and to the client
	heard    atomic.Int64  // when the media port last sent, Unix ns
	closing  atomic.Bool   // it is about to be closed from outside
	closed   sync.Once
	gone     chan struct{} // closed by Close

	mu    sync.Mutex // guards what follows
	ends  time.Time  // unless refreshed
	name  netip.AddrPort
	asked [askedKept]check
	next  int
}

// check is a request that the client has sent to a name.
type check struct {
	id   [12]byte
	name netip.AddrPort
}

// newRelay opens a socket on this machine that is connected to the media port.
func (s *Server) newRelay(network, user string, client netip.AddrPort, lifetime time.Duration) (*relay, error) {
	v6 := network == "udp6"
	var errs []error
	for _, home := range s.cfg.Home() {
		home = unmap(home)
		if !usable(home) || home.Addr().Is6() != v6 {
			continue
		}
		// Binding fails unless the address is this machine's own.
		conn, err := net.DialUDP(network, net.UDPAddrFromAddrPort(netip.AddrPortFrom(home.Addr(), 0)), net.UDPAddrFromAddrPort(home))
		if err != nil {
			errs = append(errs, err)
			continue
		}
		_ = conn.SetReadBuffer(relayBuffer)
		_ = conn.SetWriteBuffer(relayBuffer)
		now := time.Now()
		r := &relay{
			s: s, user: user, client: client, conn: conn, home: home, born: now, ends: now.Add(lifetime),
			up: newRate(s.cfg.MaxRate), down: newRate(s.cfg.MaxRate), gone: make(chan struct{}),
		}
		r.heard.Store(now.UnixNano())
		if err := s.book.enter(r); err != nil {
			return nil, errors.Join(err, conn.Close())
		}
		s.wg.Add(1) // of the goroutine that the library now starts; done when its read fails
		return r, nil
	}
	return nil, fmt.Errorf("%w: %w", errNoHome, errors.Join(errs...))
}

// ReadFrom returns the next packet of the media port and the name under which
// the client knows it. It returns an error only once the relay is closed.
func (r *relay) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, err := r.conn.Read(b)
		if errors.Is(err, net.ErrClosed) {
			r.s.wg.Done()
			return 0, nil, err
		}
		if err != nil {
			continue // refused: the media port was not open when we sent
		}
		now := time.Now()
		r.heard.Store(now.UnixNano())
		if !r.down.AllowN(now, n) {
			r.s.count.throttled.Add(1)
			continue
		}
		r.s.count.down.Add(uint64(n))
		return n, net.UDPAddrFromAddrPort(r.nameOf(b[:n])), nil
	}
}

// WriteTo sends a packet to the media port if that is whom addr names; all else
// is dropped, as a network would.
func (r *relay) WriteTo(b []byte, addr net.Addr) (int, error) {
	name := addrPort(addr)
	if !r.s.isTarget(name) {
		r.s.count.refused.Add(1)
		return len(b), nil
	}
	if !r.up.AllowN(time.Now(), len(b)) {
		r.s.count.throttled.Add(1)
		return len(b), nil
	}
	r.remember(b, name)
	r.s.count.up.Add(uint64(len(b)))
	if _, err := r.conn.Write(b); errors.Is(err, net.ErrClosed) {
		return 0, err
	}
	return len(b), nil
}

// checkID is the transaction of a STUN request or answer.
func checkID(b []byte) (id [12]byte, class int, ok bool) {
	if len(b) < stunHeader || b[0]&0xc0 != 0 || binary.BigEndian.Uint32(b[4:]) != magicCookie {
		return id, 0, false
	}
	t := int(binary.BigEndian.Uint16(b))
	return [12]byte(b[8:]), t>>4&1 | t>>7&2, true
}

func (r *relay) remember(b []byte, name netip.AddrPort) {
	id, class, ok := checkID(b)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.name = name
	if ok && class == classRequest {
		r.asked[r.next] = check{id, name}
		r.next = (r.next + 1) % askedKept
	}
}

func (r *relay) nameOf(b []byte) netip.AddrPort {
	id, class, ok := checkID(b)
	r.mu.Lock()
	defer r.mu.Unlock()
	if ok && class > classIndication {
		for _, c := range r.asked {
			if c.id == id && c.name.IsValid() {
				return c.name
			}
		}
	}
	if r.name.IsValid() {
		return r.name
	}
	return r.home
}

// refreshed moves the end of the allocation.
func (r *relay) refreshed(lifetime time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ends = time.Now().Add(lifetime)
}

// endMargin is how long before and after its end an allocation takes no new
// permissions: the library would set up one part of it while it takes down
// another.
const endMargin = time.Second

// ending says whether the allocation is near its end.
func (r *relay) ending(now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.closing.Load() || now.After(r.ends.Add(-endMargin))
}

// over says whether the allocation has outlived its bounds.
func (r *relay) over(now time.Time) bool {
	return now.Sub(r.born) > r.s.cfg.AllocationLife || now.Sub(time.Unix(0, r.heard.Load())) > r.s.cfg.IdleTimeout
}

// LocalAddr returns the relayed address.
func (r *relay) LocalAddr() net.Addr { return r.conn.LocalAddr() }

// SetDeadline implements net.PacketConn.
func (r *relay) SetDeadline(t time.Time) error { return r.conn.SetDeadline(t) }

// SetReadDeadline implements net.PacketConn.
func (r *relay) SetReadDeadline(t time.Time) error { return r.conn.SetReadDeadline(t) }

// SetWriteDeadline implements net.PacketConn.
func (r *relay) SetWriteDeadline(t time.Time) error { return r.conn.SetWriteDeadline(t) }

// Close ends the relay. It always returns nil: the library gives up closing
// others at an error.
func (r *relay) Close() error {
	r.closed.Do(func() {
		r.s.book.leave(r)
		_ = r.conn.Close() // nothing is lost
		close(r.gone)
	})
	return nil
}

// sweep ends allocations that have outlived their bounds. First they are marked
// (see endMargin), then closed; the library takes them down when it notices.
func (s *Server) sweep() {
	tick := time.NewTicker(max(endMargin, min(15*time.Second, s.cfg.IdleTimeout/4)))
	defer tick.Stop()
	for {
		select {
		case <-s.stop:
			return
		case now := <-tick.C:
			for _, r := range s.book.all() {
				if r.closing.Load() {
					_ = r.Close() // always nil
				} else if r.over(now) {
					r.closing.Store(true)
				}
			}
		}
	}
}

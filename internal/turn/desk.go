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

	"github.com/pion/logging"
	"github.com/pion/turn/v5"
)

var errNoTCP = errors.New("turn: relayed TCP is not offered")

// desk is where the library meets us. It serves one socket: the one of UDP, or
// one connection. Its callbacks run on the goroutine that reads the socket,
// between two reads, so that each knows which message it is about.
type desk struct {
	s   *Server
	now message     // being served; belongs to the reading goroutine
	who string      // its user; belongs to the reading goroutine
	no  atomic.Bool // the peer that it asks for was refused

	mu     sync.Mutex // guards what follows
	relays map[netip.AddrPort]*relay
}

// serve gives conn to the library, which reads it on a goroutine of its own
// until a read fails. read must be called then.
func (s *Server) serve(d *desk, conn net.PacketConn) error {
	d.s, d.relays = s, map[netip.AddrPort]*relay{}
	_, err := turn.NewServer(turn.ServerConfig{
		PacketConnConfigs: []turn.PacketConnConfig{{
			PacketConn:            conn,
			RelayAddressGenerator: d,
			PermissionHandler:     func(_ net.Addr, ip net.IP) bool { return d.permit(ip) },
		}},
		Realm: s.cfg.Realm, AuthHandler: d.key, QuotaHandler: d.quota,
		EventHandler:  turn.EventHandler{OnAuth: d.authenticated},
		LoggerFactory: quiet{}, InboundMTU: maxMessage + 1,
	})
	if err != nil {
		return fmt.Errorf("serving TURN: %w", err)
	}
	return nil
}

// admit says whether a message is to be answered at all.
func (d *desk) admit(b []byte, src netip.AddrPort) bool {
	m, ok := parse(b)
	if !ok {
		return false
	}
	m.src = src
	// Those with an allocation are bounded by it in bytes.
	if d.relay(src) == nil && (m.data || m.class == classIndication || !d.s.strangers.allow(src.Addr(), time.Now())) {
		d.s.count.throttled.Add(1)
		return false
	}
	d.now = m
	d.no.Store(false)
	return true
}

// outgoing mends what the library says to a channel to somebody who is not
// ours: that is forbidden (403; RFC 8656, section 12.2), while 401 would have
// the client try other credentials. Such an answer is not signed.
func (d *desk) outgoing(b []byte) []byte {
	const channelBindError, errorCode = 0x0119, 0x0009
	if len(b) < stunHeader+8 || binary.BigEndian.Uint16(b) != channelBindError || !d.no.Load() ||
		binary.BigEndian.Uint16(b[stunHeader:]) != errorCode {
		return b
	}
	b[stunHeader+6], b[stunHeader+7] = 4, 3
	return b
}

// relay is the allocation of a client, nil if it has none.
func (d *desk) relay(src netip.AddrPort) *relay {
	d.mu.Lock()
	defer d.mu.Unlock()
	r := d.relays[src]
	if r != nil {
		select {
		case <-r.gone:
			delete(d.relays, src)
			return nil
		default:
		}
	}
	return r
}

// key is the library's question for the key of a user. The password is checked
// with it afterwards.
func (d *desk) key(ra *turn.RequestAttributes) (userID string, key []byte, ok bool) {
	who, expires, ok := readUser(ra.Username)
	if !ok || ra.Realm != d.s.cfg.Realm {
		return "", nil, false
	}
	now, r := time.Now(), d.relay(d.now.src)
	switch d.now.method {
	case methodAllocate:
		if now.After(expires) {
			return "", nil, false
		}
	case methodCreatePermission, methodChannelBind:
		if r == nil || r.ending(now) {
			return "", nil, false
		}
	default: // whoever has an allocation may refresh it after the credentials' end
		if r == nil || r.closing.Load() {
			return "", nil, false
		}
	}
	d.who = who
	return who, turn.GenerateAuthKey(ra.Username, ra.Realm, d.s.password(ra.Username)), true
}

// authenticated is told that the password fits.
func (d *desk) authenticated(_, _ net.Addr, _, _, _, _ string, verdict bool) {
	if r := d.relay(d.now.src); verdict && d.now.method == methodRefresh && r != nil && r.user == d.who {
		r.refreshed(d.now.lifetime)
	}
}

func (d *desk) quota(user, _ string, _ net.Addr) bool {
	ok := d.s.book.room(user, d.now.src.Addr())
	if !ok {
		d.s.count.throttled.Add(1)
	}
	return ok
}

func (d *desk) permit(ip net.IP) bool {
	ok := d.s.isTargetIP(ip)
	if !ok {
		d.s.count.refused.Add(1)
		d.no.Store(true)
	}
	return ok
}

// Validate implements turn.RelayAddressGenerator.
func (*desk) Validate() error { return nil }

// AllocatePacketConn opens the relay of the message being served. A port that
// the client would choose, or a pair of ports, is not offered.
func (d *desk) AllocatePacketConn(c turn.AllocateListenerConfig) (net.PacketConn, net.Addr, error) {
	if c.UserID == "" || c.RequestedPort != 0 || d.now.method != methodAllocate {
		return nil, nil, errNoHome
	}
	r, err := d.s.newRelay(c.Network, c.UserID, d.now.src, d.now.lifetime)
	if err != nil {
		if !errors.Is(err, errQuota) {
			d.s.log.Debug("relay not opened", "err", err)
		}
		return nil, nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for src, old := range d.relays { // as many as there are allocations
		select {
		case <-old.gone:
			delete(d.relays, src)
		default:
		}
	}
	d.relays[d.now.src] = r
	return r, r.LocalAddr(), nil
}

// AllocateListener implements turn.RelayAddressGenerator.
func (*desk) AllocateListener(turn.AllocateListenerConfig) (net.Listener, net.Addr, error) {
	return nil, nil, errNoTCP
}

// AllocateConn implements turn.RelayAddressGenerator.
func (*desk) AllocateConn(turn.AllocateConnConfig) (net.Conn, error) { return nil, errNoTCP }

// udpDesk is the UDP socket as the library sees it.
type udpDesk struct {
	desk
	conn *net.UDPConn
}

func (s *Server) serveUDP(conn *net.UDPConn) error {
	d := &udpDesk{conn: conn}
	s.wg.Add(1) // done when ReadFrom fails
	if err := s.serve(&d.desk, d); err != nil {
		s.wg.Done()
		return err
	}
	return nil
}

// ReadFrom returns the next message that is to be answered.
func (d *udpDesk) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, src, err := d.conn.ReadFromUDPAddrPort(b)
		if errors.Is(err, net.ErrClosed) {
			d.s.wg.Done()
			return 0, nil, err
		}
		if err == nil && d.admit(b[:n], unmap(src)) {
			return n, net.UDPAddrFromAddrPort(src), nil
		}
	}
}

// WriteTo sends to a client.
func (d *udpDesk) WriteTo(b []byte, addr net.Addr) (int, error) {
	return d.conn.WriteTo(d.outgoing(b), addr)
}

// Close does nothing: the socket is the server's.
func (d *udpDesk) Close() error { return nil }

// LocalAddr implements net.PacketConn.
func (d *udpDesk) LocalAddr() net.Addr { return d.conn.LocalAddr() }

// SetDeadline implements net.PacketConn.
func (d *udpDesk) SetDeadline(t time.Time) error { return d.conn.SetDeadline(t) }

// SetReadDeadline implements net.PacketConn.
func (d *udpDesk) SetReadDeadline(t time.Time) error { return d.conn.SetReadDeadline(t) }

// SetWriteDeadline implements net.PacketConn.
func (d *udpDesk) SetWriteDeadline(t time.Time) error { return d.conn.SetWriteDeadline(t) }

// quiet keeps the library silent: whatever it says, any stranger can cause, and
// some of it names users.
type quiet struct{}

// NewLogger implements logging.LoggerFactory.
func (quiet) NewLogger(string) logging.LeveledLogger { return quiet{} }

// Trace and the rest implement logging.LeveledLogger.
func (quiet) Trace(string)          {}
func (quiet) Tracef(string, ...any) {}
func (quiet) Debug(string)          {}
func (quiet) Debugf(string, ...any) {}
func (quiet) Info(string)           {}
func (quiet) Infof(string, ...any)  {}
func (quiet) Warn(string)           {}
func (quiet) Warnf(string, ...any)  {}
func (quiet) Error(string)          {}
func (quiet) Errorf(string, ...any) {}

package rtsp

import (
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lectern/lectern/internal/sender"
)

// Deadlines of a TCP connection that does not play. While it plays, writes have
// a deadline, and sessions over UDP time out without keepalives.
const (
	firstRequest = 10 * time.Second
	idleTimeout  = 75 * time.Second // keepalives come each 30 s at most players
	acceptRetry  = 100 * time.Millisecond
)

// listener bounds the number of connections and survives errors of accept that
// pass, such as a process out of file descriptors: the library ends for good on
// the first error.
type listener struct {
	net.Listener
	log  *slog.Logger
	max  int
	full limited
	done chan struct{}
	once sync.Once

	mu    sync.Mutex // guards what follows
	conns map[*conn]struct{}
}

func listen(addr string, maxConns int, log *slog.Logger) (*listener, error) {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen for rtsp: %w", err)
	}
	return &listener{Listener: ln, log: log, max: maxConns, done: make(chan struct{}), conns: make(map[*conn]struct{})}, nil
}

// hand gives the open listener to the library.
func (l *listener) hand(string, string) (net.Listener, error) { return l, nil }

func (l *listener) addrPort() netip.AddrPort {
	return l.Addr().(*net.TCPAddr).AddrPort()
}

// Close closes the listener, not its connections.
func (l *listener) Close() error {
	l.once.Do(func() { close(l.done) })
	return l.Listener.Close()
}

// Accept waits for the next connection within the bound.
func (l *listener) Accept() (net.Conn, error) {
	for {
		nc, err := l.Listener.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return nil, err
			}
			if n, ok := l.full.allow(time.Now()); ok {
				l.log.Error("accept of rtsp connections fails", "err", err, "times", n)
			}
			select {
			case <-time.After(acceptRetry):
			case <-l.done:
			}
			continue
		}
		if c := l.enter(nc); c != nil {
			return c, nil
		}
		_ = nc.Close() // refused; nothing was said
		if n, ok := l.full.allow(time.Now()); ok {
			l.log.Warn("too many rtsp connections", "times", n)
		}
	}
}

// enter makes a conn of nc, or returns nil if there is no place. Those who only
// hold a connection keep out nobody from elsewhere: where all places are taken,
// the sender with most connections that do not play loses its oldest one, if
// that is more than the newcomer's sender would have.
func (l *listener) enter(nc net.Conn) *conn {
	c := &conn{Conn: nc, l: l, nonce: rand.Text(), since: time.Now()}
	if a, ok := nc.RemoteAddr().(*net.TCPAddr); ok {
		c.from = sender.Of(a.AddrPort().Addr())
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.conns) >= l.max {
		v := l.victimLocked(c.from)
		if v == nil {
			return nil
		}
		delete(l.conns, v)
		_ = v.Conn.Close() // its Read tells the library
	}
	l.conns[c] = struct{}{}
	return c
}

func (l *listener) victimLocked(newcomer netip.Addr) *conn {
	idle := make(map[netip.Addr]int)
	oldest := make(map[netip.Addr]*conn)
	for c := range l.conns {
		if c.playing.Load() {
			continue
		}
		idle[c.from]++
		if o := oldest[c.from]; o == nil || c.since.Before(o.since) {
			oldest[c.from] = c
		}
	}
	most := newcomer
	for from, n := range idle {
		if n > idle[most]+1 || most != newcomer && n > idle[most] {
			most = from
		}
	}
	if most == newcomer {
		return nil
	}
	return oldest[most]
}

// open is the number of connections.
func (l *listener) open() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.conns)
}

// conn puts a deadline on every read while its player does not play.
type conn struct {
	net.Conn
	l       *listener
	nonce   string // of Digest; a replay would have to come on this connection
	from    netip.Addr
	since   time.Time
	once    sync.Once
	began   atomic.Bool
	playing atomic.Bool
	wrong   atomic.Bool // has been given a wrong credential
	publish atomic.Bool // the request is one of a publisher
}

// Read reads with the deadline of the connection's state.
func (c *conn) Read(p []byte) (int, error) {
	if err := c.arm(); err != nil {
		return 0, err
	}
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.began.Store(true)
	}
	return n, err
}

func (c *conn) arm() error {
	switch {
	case c.playing.Load():
		return c.Conn.SetReadDeadline(time.Time{})
	case c.began.Load():
		return c.Conn.SetReadDeadline(time.Now().Add(idleTimeout))
	}
	return c.Conn.SetReadDeadline(time.Now().Add(firstRequest))
}

// SetReadDeadline is ignored: the library would only take deadlines away.
func (c *conn) SetReadDeadline(time.Time) error { return nil }

// setPlaying changes the deadline, also of a Read that waits.
func (c *conn) setPlaying(playing bool) {
	c.playing.Store(playing)
	_ = c.arm() // a dead connection shows at its next Read
}

// Close closes the connection. It is idempotent.
func (c *conn) Close() error {
	c.once.Do(func() {
		c.l.mu.Lock()
		delete(c.l.conns, c)
		c.l.mu.Unlock()
	})
	return c.Conn.Close()
}

// udpPair holds the sockets for RTP (even port) and RTCP (the next one) until
// the library takes them. The nil pair stands for no UDP.
type udpPair struct {
	rtp, rtcp *net.UDPConn
}

const pairTries = 128

// listenPair opens the pair at addr; with port 0, any free pair.
func listenPair(addr string) (*udpPair, error) {
	a, err := net.ResolveUDPAddr("udp", addr)
	if err != nil {
		return nil, fmt.Errorf("resolve rtsp udp address: %w", err)
	}
	if a.Port != 0 {
		return openPair(a)
	}
	for range pairTries {
		probe, err := net.ListenUDP("udp", a)
		if err != nil {
			return nil, fmt.Errorf("listen for rtp: %w", err)
		}
		port := probe.LocalAddr().(*net.UDPAddr).Port &^ 1
		if err := probe.Close(); err != nil {
			return nil, fmt.Errorf("close rtp probe: %w", err)
		}
		if p, err := openPair(&net.UDPAddr{IP: a.IP, Zone: a.Zone, Port: port}); err == nil {
			return p, nil
		}
	}
	return nil, errors.New("rtsp: no free pair of udp ports")
}

func openPair(a *net.UDPAddr) (*udpPair, error) {
	if a.Port%2 != 0 {
		return nil, fmt.Errorf("rtsp: udp port %d is not even", a.Port)
	}
	rtpConn, err := net.ListenUDP("udp", a)
	if err != nil {
		return nil, fmt.Errorf("listen for rtp: %w", err)
	}
	rtcpConn, err := net.ListenUDP("udp", &net.UDPAddr{IP: a.IP, Zone: a.Zone, Port: a.Port + 1})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("listen for rtcp: %w", err), rtpConn.Close())
	}
	return &udpPair{rtp: rtpConn, rtcp: rtcpConn}, nil
}

func (p *udpPair) addresses() (rtpAddr, rtcpAddr string) {
	return p.rtp.LocalAddr().String(), p.rtcp.LocalAddr().String()
}

// hand gives the open sockets to the library.
func (p *udpPair) hand(_, address string) (net.PacketConn, error) {
	if _, rtcpAddr := p.addresses(); address == rtcpAddr {
		return p.rtcp, nil
	}
	return p.rtp, nil
}

func (p *udpPair) port() uint16 {
	if p == nil {
		return 0
	}
	return uint16(p.rtp.LocalAddr().(*net.UDPAddr).Port)
}

func (p *udpPair) close() {
	if p != nil {
		_ = p.rtp.Close()
		_ = p.rtcp.Close()
	}
}

// limited lets one event per logEvery through and counts the others.
type limited struct {
	mu    sync.Mutex // guards what follows
	last  time.Time
	count int
}

const logEvery = 10 * time.Second

// allow counts an event, and reports whether to log it and how many came since.
func (l *limited) allow(now time.Time) (int, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.count++
	if now.Sub(l.last) < logEvery {
		return 0, false
	}
	n := l.count
	l.last, l.count = now, 0
	return n, true
}

package api

import (
	"net"
	"net/netip"
	"sync"
)

// Bounds of the connections of a Server, unless it is told others. Browsers
// open up to six each over HTTP/1.1, and a campus may sit behind one address.
const (
	maxConns        = 8192
	maxConnsPerAddr = 4096
)

// connections counts the open connections of all listeners, in all and by
// address. Safe for concurrent use.
type connections struct {
	bound  int
	exempt func(netip.Addr) bool // from the bound per address: reverse proxies
	addrs  *places

	mu   sync.Mutex // guards what follows
	open int
}

func newConnections(bound, perAddr int, exempt func(netip.Addr) bool) *connections {
	return &connections{bound: bound, exempt: exempt, addrs: newPlaces(perAddr)}
}

// enter counts a connection of addr, and returns how to take it back; ok is
// false when there is no room.
func (b *connections) enter(addr netip.Addr) (leave func(), ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.open >= b.bound {
		return nil, false
	}
	counted := !b.exempt(addr)
	if counted && !b.addrs.take(addr) {
		return nil, false
	}
	b.open++
	return sync.OnceFunc(func() {
		b.mu.Lock()
		b.open--
		b.mu.Unlock()
		if counted {
			b.addrs.give(addr)
		}
	}), true
}

// listen bounds the connections of l.
func (b *connections) listen(l net.Listener) net.Listener {
	return &boundedListener{Listener: l, all: b}
}

// boundedListener closes connections above a bound at once: a refusal tells a
// client more than a queue that does not move.
type boundedListener struct {
	net.Listener
	all *connections
}

// Accept waits for the next connection within the bound.
func (l *boundedListener) Accept() (net.Conn, error) {
	for {
		nc, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		leave, ok := l.all.enter(peerAddr(nc.RemoteAddr().String()))
		if !ok {
			_ = nc.Close() // refused; nothing was said
			continue
		}
		return &boundedConn{Conn: nc, leave: leave}, nil
	}
}

// boundedConn gives its place back when it is closed.
type boundedConn struct {
	net.Conn
	leave func()
}

// Close closes the connection.
func (c *boundedConn) Close() error {
	c.leave()
	return c.Conn.Close()
}

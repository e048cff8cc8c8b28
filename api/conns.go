package api

import (
	"net"
	"sync"
	"sync/atomic"
)

// boundedListener closes connections above a bound at once: a refusal tells a
// client more than a queue that does not move.
type boundedListener struct {
	net.Listener
	bound int64
	open  atomic.Int64
}

func boundConns(l net.Listener, bound int64) *boundedListener {
	return &boundedListener{Listener: l, bound: bound}
}

// Accept waits for the next connection within the bound.
func (l *boundedListener) Accept() (net.Conn, error) {
	for {
		nc, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if l.open.Add(1) > l.bound {
			l.open.Add(-1)
			_ = nc.Close() // refused; nothing was said
			continue
		}
		return &boundedConn{Conn: nc, leave: sync.OnceFunc(func() { l.open.Add(-1) })}, nil
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

package rtc

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/pion/ice/v4"
)

const (
	// socketBufferBytes holds what comes or goes while the other side is not
	// scheduled: 4 MiB are 100 ms of 300 Mbit/s.
	socketBufferBytes = 4 << 20
	// portTries: with an ephemeral port the number is chosen by UDP and may be
	// taken on TCP.
	portTries = 16
)

// Endpoint is the socket that all peers share. Its methods may be called from
// any goroutine.
type Endpoint struct {
	cfg     Config
	log     *slog.Logger
	cert    tls.Certificate
	certSum string // fingerprint for the answer
	hosts   *hosts
	names   *names

	udp *socket
	mux *ice.UDPMuxDefault
	tcp *tcpMux // nil: disabled

	count  counters
	noGSO  bool        // each packet is a message of its own
	warned atomic.Bool // of refused segmentation: said once

	mu       sync.Mutex // guards what follows
	sessions map[*Session]struct{}
	closed   bool
}

// counters are those of EndpointStats.
type counters struct {
	packets, bytes, messages, dropped, received atomic.Uint64
}

// Listen opens the UDP socket, on IPv4 and IPv6 where the host has both, and the
// listener of ICE-TCP.
func Listen(cfg Config) (*Endpoint, error) {
	cfg = cfg.withDefaults()
	addr, err := net.ResolveUDPAddr("udp", cfg.Addr)
	if err != nil {
		return nil, fmt.Errorf("resolving WebRTC address %q: %w", cfg.Addr, err)
	}
	e := &Endpoint{cfg: cfg, log: cfg.Log, sessions: map[*Session]struct{}{}}
	if e.cert, e.certSum, err = newCertificate(); err != nil {
		return nil, fmt.Errorf("making a DTLS certificate: %w", err)
	}
	conn, listener, err := listenBoth(addr, cfg.DisableTCP)
	if err != nil {
		return nil, err
	}
	// What the kernel grants is not an error: the defaults work, for fewer peers.
	_ = conn.SetReadBuffer(socketBufferBytes)
	_ = conn.SetWriteBuffer(socketBufferBytes)
	e.names = newNames(cfg.Hosts, e.log) // ended by Close
	e.hosts = newHosts(conn.LocalAddr(), cfg, e.names)
	e.udp = newSocket(e, conn)
	e.probeSending(conn)
	quiet := logFactory{e.log}
	// Reads the socket on its own goroutine, which Close ends.
	e.mux = ice.NewUDPMuxDefault(ice.UDPMuxParams{UDPConn: e.udp, Logger: quiet.NewLogger("udp"), Net: emptyNet()})
	if listener != nil {
		e.tcp = newTCPMux(listener, e.log, tcpFirstFrame)
	}
	return e, nil
}

// listenBoth opens UDP and, unless it is not wanted, TCP on one port number.
func listenBoth(addr *net.UDPAddr, noTCP bool) (*net.UDPConn, *net.TCPListener, error) {
	for try := 1; ; try++ {
		conn, err := net.ListenUDP("udp", addr)
		if err != nil {
			return nil, nil, fmt.Errorf("listening for WebRTC: %w", err)
		}
		if noTCP {
			return conn, nil, nil
		}
		got := netip.MustParseAddrPort(conn.LocalAddr().String())
		l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: addr.IP, Port: int(got.Port()), Zone: addr.Zone})
		if err == nil {
			return conn, l, nil
		}
		_ = conn.Close() // nothing was sent
		if addr.Port != 0 || try == portTries {
			return nil, nil, fmt.Errorf("listening for ICE-TCP: %w", err)
		}
	}
}

// Addr returns the address of the UDP socket.
func (e *Endpoint) Addr() netip.AddrPort { return e.udp.local }

// Hosts returns the addresses that answers offer now, in their order.
func (e *Endpoint) Hosts() []netip.Addr {
	v, err := e.hosts.view()
	if err != nil {
		e.log.Warn("network interfaces not read", "err", err)
		return nil
	}
	return slices.Clone(v.all)
}

// TCP says whether ICE-TCP is offered.
func (e *Endpoint) TCP() bool { return e.tcp != nil }

// Stats returns the counters.
func (e *Endpoint) Stats() EndpointStats {
	e.mu.Lock()
	n := len(e.sessions)
	e.mu.Unlock()
	return EndpointStats{
		Sessions:        n,
		PacketsSent:     e.count.packets.Load(),
		BytesSent:       e.count.bytes.Load(),
		MessagesSent:    e.count.messages.Load(),
		PacketsDropped:  e.count.dropped.Load(),
		PacketsReceived: e.count.received.Load(),
	}
}

// Close ends all sessions, waits for them, and closes the sockets. It must not
// be called from a callback.
func (e *Endpoint) Close() error {
	e.mu.Lock()
	e.closed = true
	open := make([]*Session, 0, len(e.sessions))
	for s := range e.sessions {
		open = append(open, s)
	}
	e.mu.Unlock()
	for _, s := range open {
		s.End(ErrClosed)
	}
	for _, s := range open {
		<-s.Done()
	}
	e.names.close()
	err := e.udp.close()
	// Before the mux is closed: one that is does not read again, and done would
	// never be, if a packet came at this moment.
	<-e.udp.done
	if muxErr := e.mux.Close(); muxErr != nil {
		err = errors.Join(err, muxErr)
	}
	if e.tcp != nil {
		err = errors.Join(err, e.tcp.Close())
	}
	return err
}

// add enters a session; false if the endpoint is closed.
func (e *Endpoint) add(s *Session) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return false
	}
	e.sessions[s] = struct{}{}
	return true
}

func (e *Endpoint) remove(s *Session) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.sessions, s)
}

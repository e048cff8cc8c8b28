// Package turn is a STUN and TURN server (RFC 8489, RFC 8656) for people whose
// network lets nothing else through, on UDP, TCP and TLS. It relays to one
// place, the media port of this gateway, and to nothing else.
//
// That does not hang on a check alone. The socket of each allocation is
// connected to the media port, on an address of this machine: the kernel sends
// from it nowhere else and lets nothing else in. Addresses that a client names
// are compared with Config.Targets besides, before permission is given and for
// each packet. So no relayed packet leaves the machine, relay ports need no
// hole in a firewall, and a server behind a 1:1 NAT relays without a way out
// and back in through its own public address.
//
// Above the library stand bounds that it does not have: on strangers' requests,
// connections, allocations and bytes, and on the life of each.
package turn

import (
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// ErrNoTargets: the configuration does not say what to relay to.
var ErrNoTargets = errors.New("turn: no targets")

// Config says how a Server listens and what it grants. Targets is required.
type Config struct {
	// UDP, TCP and TLS are the addresses, as ":3478". "": not there.
	UDP, TCP, TLS string
	// TLSConfig has the certificate. Without it TLS is off.
	TLSConfig *tls.Config
	// Realm is part of every refusal. Short is good. Default "lectern".
	Realm string
	// Secret is what credentials are made of. Default: random, so that a restart
	// ends all credentials.
	Secret []byte

	// Targets returns the addresses and the port under which clients know the
	// media port, public ones included. Nothing else is relayed to.
	Targets func() []netip.AddrPort
	// Home returns where the media port can be reached from this machine; the
	// first address of a family that can be bound is used. Default: Targets.
	Home func() []netip.AddrPort

	// CredentialLife is how long credentials are good for making an allocation.
	// Default 10 min.
	CredentialLife time.Duration
	// AllocationLife bounds an allocation, however often it is refreshed.
	// Default 12 h.
	AllocationLife time.Duration
	// IdleTimeout ends an allocation that the media port has sent nothing to for
	// so long: its session is over. Default 2 min.
	IdleTimeout time.Duration
	// MaxAllocations bounds the allocations in all (default 4096), MaxPerAddress
	// those of one client address (2048: a campus may be one), MaxPerUser those
	// of one user of credentials (16: a browser makes one for each of its
	// networks and each of our transports, and as many again to restart).
	MaxAllocations, MaxPerAddress, MaxPerUser int
	// MaxRate bounds an allocation in bytes per second, each way. Default 2 MB/s.
	MaxRate int
	// Log gets the few lines that no caller can get as an error. Default: none.
	Log *slog.Logger
}

// What strangers may do per address: those without an allocation. A school
// behind one address comes back at once when its switch reboots.
const (
	strangerRate  = 200 // requests per second
	strangerBurst = 4000
	socketBuffer  = 4 << 20 // bytes of the UDP socket
)

func (c Config) withDefaults() Config {
	set := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	set(&c.CredentialLife, 10*time.Minute)
	set(&c.AllocationLife, 12*time.Hour)
	set(&c.IdleTimeout, 2*time.Minute)
	bound := func(n *int, v int) {
		if *n <= 0 {
			*n = v
		}
	}
	bound(&c.MaxAllocations, 4096)
	bound(&c.MaxPerAddress, 2048)
	bound(&c.MaxPerUser, 16)
	bound(&c.MaxRate, 2<<20)
	if c.Realm == "" {
		c.Realm = "lectern"
	}
	if len(c.Secret) == 0 {
		c.Secret = []byte(rand.Text() + rand.Text())
	}
	if c.Home == nil {
		c.Home = c.Targets
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

// Server listens. Its methods may be called from any goroutine.
type Server struct {
	cfg       Config
	log       *slog.Logger
	strangers *strangers
	book      book
	count     counters

	udp       *net.UDPConn // nil: off
	listeners []*listener
	stop      chan struct{}
	once      sync.Once
	wg        sync.WaitGroup // of every goroutine, the library's too

	targetsMu sync.Mutex // guards what follows
	targets   []netip.AddrPort
	targetsAt time.Time
}

// counters are those of Stats.
type counters struct {
	up, down, refused, throttled atomic.Uint64
}

// Stats are counters since Listen.
type Stats struct {
	Allocations int    // now
	Connections int    // TCP and TLS, now
	BytesUp     uint64 // relayed to the media port
	BytesDown   uint64 // relayed to clients
	Refused     uint64 // packets to places that are not ours
	Throttled   uint64 // requests and packets above a bound
}

// Listen opens the sockets and answers until Close. After an error none is
// open.
func Listen(cfg Config) (*Server, error) {
	if cfg.Targets == nil {
		return nil, ErrNoTargets
	}
	cfg = cfg.withDefaults()
	s := &Server{
		cfg: cfg, log: cfg.Log, stop: make(chan struct{}),
		strangers: newStrangers(strangerRate, strangerBurst),
	}
	s.book.init(cfg)
	if err := s.open(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	s.wg.Go(s.sweep) // ended by Close
	return s, nil
}

func (s *Server) open() error {
	if s.cfg.UDP != "" {
		addr, err := net.ResolveUDPAddr("udp", s.cfg.UDP)
		if err != nil {
			return fmt.Errorf("resolving TURN address %q: %w", s.cfg.UDP, err)
		}
		if s.udp, err = net.ListenUDP("udp", addr); err != nil {
			return fmt.Errorf("listening for TURN over UDP: %w", err)
		}
		// What the kernel grants is not an error: the defaults work, for fewer.
		_ = s.udp.SetReadBuffer(socketBuffer)
		_ = s.udp.SetWriteBuffer(socketBuffer)
		if err := s.serveUDP(s.udp); err != nil {
			return err
		}
	}
	if s.cfg.TCP != "" {
		if err := s.listen("tcp", s.cfg.TCP, nil); err != nil {
			return err
		}
	}
	if s.cfg.TLS != "" && s.cfg.TLSConfig != nil {
		// Without protocols of its own the server takes whatever a client offers
		// by ALPN (RFC 7443), or nothing.
		conf := s.cfg.TLSConfig.Clone()
		conf.NextProtos = nil
		return s.listen("tls", s.cfg.TLS, conf)
	}
	return nil
}

// Addr returns the address that it listens at for a transport, "udp", "tcp" or
// "tls"; an invalid one if it does not.
func (s *Server) Addr(transport string) netip.AddrPort {
	if transport == "udp" && s.udp != nil {
		return addrPort(s.udp.LocalAddr())
	}
	for _, l := range s.listeners {
		if l.transport == transport {
			return addrPort(l.Addr())
		}
	}
	return netip.AddrPort{}
}

// Stats returns the counters.
func (s *Server) Stats() Stats {
	st := Stats{
		Allocations: s.book.allocations(), BytesUp: s.count.up.Load(), BytesDown: s.count.down.Load(),
		Refused: s.count.refused.Load(), Throttled: s.count.throttled.Load(),
	}
	for _, l := range s.listeners {
		st.Connections += l.open()
	}
	return st
}

// Close ends all allocations and connections and returns after their
// goroutines. It is idempotent.
func (s *Server) Close() error {
	var errs []error
	s.once.Do(func() {
		close(s.stop)
		if s.udp != nil {
			errs = append(errs, s.udp.Close())
		}
		for _, l := range s.listeners {
			errs = append(errs, l.Close())
		}
	})
	s.wg.Wait()
	return errors.Join(errs...)
}

// targetsFresh is how long a look at the targets is good for: it is asked for
// with each packet.
const targetsFresh = time.Second

// isTarget says whether a is the media port. An IPv4 address in IPv6 form is
// the IPv4 address; one with a zone, or that means any machine or many, is none.
func (s *Server) isTarget(a netip.AddrPort) bool {
	return usable(a) && slices.Contains(s.freshTargets(), unmap(a))
}

// isTargetIP says whether ip is an address of the media port.
func (s *Server) isTargetIP(ip net.IP) bool {
	addr, ok := netip.AddrFromSlice(ip)
	addr = addr.Unmap()
	return ok && slices.ContainsFunc(s.freshTargets(), func(t netip.AddrPort) bool { return t.Addr() == addr })
}

func (s *Server) freshTargets() []netip.AddrPort {
	s.targetsMu.Lock()
	defer s.targetsMu.Unlock()
	if now := time.Now(); s.targets == nil || now.Sub(s.targetsAt) >= targetsFresh {
		s.targetsAt, s.targets = now, []netip.AddrPort{}
		for _, t := range s.cfg.Targets() {
			if usable(t) {
				s.targets = append(s.targets, unmap(t))
			}
		}
	}
	return s.targets
}

// usable says whether a names one machine and one port. 0.0.0.0 would reach
// this machine by another name.
func usable(a netip.AddrPort) bool {
	ip := a.Addr()
	return a.IsValid() && a.Port() != 0 && ip.Zone() == "" && !ip.Unmap().IsUnspecified() && !ip.Unmap().IsMulticast() &&
		ip.Unmap() != netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

func unmap(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }

// addrPort converts UDP and TCP addresses; IPv4 comes out as IPv4.
func addrPort(a net.Addr) netip.AddrPort {
	switch a := a.(type) {
	case *net.UDPAddr:
		return unmap(a.AddrPort())
	case *net.TCPAddr:
		return unmap(a.AddrPort())
	}
	return netip.AddrPort{}
}

// newRate is a bound of bytes per second with a second's burst.
func newRate(bytes int) *rate.Limiter { return rate.NewLimiter(rate.Limit(bytes), bytes) }

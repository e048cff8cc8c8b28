package turn

import (
	"errors"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/lectern/lectern/internal/sender"
)

var errQuota = errors.New("turn: quota reached")

// book counts the allocations. Safe for concurrent use.
type book struct {
	max, perAddress, perUser int

	mu      sync.Mutex // guards what follows
	relays  map[*relay]struct{}
	users   map[string]int
	clients map[netip.Addr]int
}

func (b *book) init(cfg Config) {
	b.max, b.perAddress, b.perUser = cfg.MaxAllocations, cfg.MaxPerAddress, cfg.MaxPerUser
	b.relays, b.users, b.clients = map[*relay]struct{}{}, map[string]int{}, map[netip.Addr]int{}
}

// room says whether one more allocation fits.
func (b *book) room(user string, client netip.Addr) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.roomLocked(user, client)
}

func (b *book) roomLocked(user string, client netip.Addr) bool {
	return len(b.relays) < b.max && b.users[user] < b.perUser && b.clients[sender.Of(client)] < b.perAddress
}

// enter counts r, which leave gives back.
func (b *book) enter(r *relay) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	client := r.client.Addr()
	if !b.roomLocked(r.user, client) {
		return errQuota
	}
	b.relays[r] = struct{}{}
	b.users[r.user]++
	b.clients[sender.Of(client)]++
	return nil
}

func (b *book) leave(r *relay) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, ok := b.relays[r]; !ok {
		return
	}
	delete(b.relays, r)
	drop(b.users, r.user)
	drop(b.clients, sender.Of(r.client.Addr()))
}

func drop[K comparable](m map[K]int, key K) {
	if m[key]--; m[key] <= 0 {
		delete(m, key)
	}
}

func (b *book) allocations() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.relays)
}

// all returns the relays.
func (b *book) all() []*relay {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := make([]*relay, 0, len(b.relays))
	for r := range b.relays {
		out = append(out, r)
	}
	return out
}

// maxSenders bounds the memory of strangers. Above it the idle ones go, and if
// none is idle all go: forgetting is better than growing.
const maxSenders = 8192

// strangers keeps a token bucket per address. Safe for concurrent use.
type strangers struct {
	rate  rate.Limit
	burst int

	mu      sync.Mutex // guards what follows
	senders map[netip.Addr]*rate.Limiter
}

func newStrangers(perSecond float64, burst int) *strangers {
	return &strangers{rate: rate.Limit(perSecond), burst: burst, senders: map[netip.Addr]*rate.Limiter{}}
}

// allow takes one token of addr.
func (s *strangers) allow(addr netip.Addr, now time.Time) bool {
	addr = sender.Of(addr)
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.senders[addr]
	if l == nil {
		if len(s.senders) >= maxSenders {
			s.shrinkLocked(now)
		}
		l = rate.NewLimiter(s.rate, s.burst)
		s.senders[addr] = l
	}
	return l.AllowN(now, 1)
}

func (s *strangers) shrinkLocked(now time.Time) {
	for a, l := range s.senders {
		if l.TokensAt(now) >= float64(s.burst) {
			delete(s.senders, a)
		}
	}
	if len(s.senders) >= maxSenders {
		clear(s.senders)
	}
}

package main

import (
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Wrong credentials of players per address. A school may sit behind one, with
// players whose password has just changed: the burst allows for that.
const (
	guessRate  = 1 // per second
	guessBurst = 30

	// maxGuessers bounds the memory. Above it those go who have not guessed for
	// long, and if there are none all go: forgetting is better than growing.
	maxGuessers = 8192
)

// guesses counts wrong credentials by address. Safe for concurrent use.
type guesses struct {
	mu   sync.Mutex // guards what follows
	from map[netip.Addr]*rate.Limiter
}

// spent says whether addr has guessed too often of late.
func (g *guesses) spent(addr netip.Addr) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	l := g.from[guesser(addr)]
	return l != nil && l.Tokens() < 1
}

// count notes a wrong credential.
func (g *guesses) count(addr netip.Addr) {
	g.mu.Lock()
	defer g.mu.Unlock()
	l := g.from[guesser(addr)]
	if l == nil {
		if len(g.from) >= maxGuessers {
			g.shrinkLocked()
		}
		if g.from == nil {
			g.from = make(map[netip.Addr]*rate.Limiter)
		}
		l = rate.NewLimiter(guessRate, guessBurst)
		g.from[guesser(addr)] = l
	}
	l.AllowN(time.Now(), 1)
}

func (g *guesses) shrinkLocked() {
	for addr, l := range g.from {
		if l.Tokens() >= guessBurst {
			delete(g.from, addr)
		}
	}
	if len(g.from) >= maxGuessers {
		clear(g.from)
	}
}

// guesser is what counts as one guesser: an IPv4 address, or the /64 that a host
// of IPv6 commands.
func guesser(addr netip.Addr) netip.Addr {
	addr = addr.Unmap().WithZone("")
	if addr.Is6() {
		if p, err := addr.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return addr
}

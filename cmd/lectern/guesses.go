package main

import (
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/lectern/lectern/internal/sender"
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
	l := g.from[sender.Of(addr)]
	return l != nil && l.Tokens() < 1
}

// count notes a wrong credential.
func (g *guesses) count(addr netip.Addr) {
	g.mu.Lock()
	defer g.mu.Unlock()
	l := g.from[sender.Of(addr)]
	if l == nil {
		if len(g.from) >= maxGuessers {
			g.shrinkLocked()
		}
		if g.from == nil {
			g.from = make(map[netip.Addr]*rate.Limiter)
		}
		l = rate.NewLimiter(guessRate, guessBurst)
		g.from[sender.Of(addr)] = l
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

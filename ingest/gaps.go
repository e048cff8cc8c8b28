package ingest

import (
	"slices"
	"time"
)

const (
	// A packet is asked for when two later ones came, or after nackDelay: before
	// that it may just be out of order.
	nackAfter = 2
	nackDelay = 15 * time.Millisecond
	maxNACKs  = 14 // per packet

	// So many rounds are as quick as can be; those after are spared a network that
	// may be full: one request each, and not within slowRetry.
	quickRounds = 3
	slowRetry   = 50 * time.Millisecond

	// A repair that does not come within a round trip, and little more, is asked
	// for again, within these. Earlier would be in vain: browsers send nothing twice
	// within a round trip.
	minRetry, maxRetry = 20 * time.Millisecond, 350 * time.Millisecond

	// The request itself may be lost, or come just before the publisher sends
	// anything again: it is repeated so much later where a round trip is long.
	repeatAfter = 8 * time.Millisecond
	longRetry   = 30 * time.Millisecond

	// A packet is in doubt so long after it was first asked for: time for three
	// rounds within the first two bounds, else for two or one up to the last.
	minHold, maxHold, farHold = 100 * time.Millisecond, 300 * time.Millisecond, 400 * time.Millisecond

	// Then a whole keyframe behind it will do. Until there is one, a publisher that
	// is known to repair gets so much time in all: the pictures in between cannot
	// be shown without the packet anyway, and it comes sooner than a keyframe.
	lastHold = 1200 * time.Millisecond

	// Without repairs only packets out of order are waited for.
	orderHold = 60 * time.Millisecond

	maxVain   = 8                      // then the publisher seems to repair nothing
	firstRTT  = 100 * time.Millisecond // assumed until a repair has come
	goneLimit = 64                     // given up, but remembered to learn the round trip
)

// gap is a packet that is missing.
type gap struct {
	ext   int64
	since time.Time // when it was missed
	asked time.Time // for the first time
	again time.Time // for the last time
	round time.Time // when the present round began

	tries  int // in all
	rounds int
}

// gaps are the packets that are missing, in order.
type gaps struct {
	nack bool
	list []gap
	gone []gap
	rtt  time.Duration // of repairs, smoothed
	dev  time.Duration // its mean deviation

	known bool  // a repair has come
	vain  int   // packets that were asked for in vain before one was repaired
	doubt int64 // the newest packet that came in doubt since Receiver.Doubtful; 0: none
}

func newGaps(nack bool) gaps { return gaps{nack: nack, rtt: firstRTT, dev: firstRTT / 16} }

func (g *gaps) add(ext int64, now time.Time) {
	g.list = append(g.list, gap{ext: ext, since: now})
}

func (g *gaps) clear() { g.list = g.list[:0] }

// fill notes that ext has come. It reports true if that is a repair.
func (g *gaps) fill(ext int64, now time.Time) bool {
	i := find(g.list, ext)
	if i < 0 {
		return false
	}
	found := g.list[i]
	g.list = slices.Delete(g.list, i, i+1)
	g.learn(found, now)
	return found.tries > 0
}

// late notes that ext has come although it was given up; false if it was not.
func (g *gaps) late(ext int64, now time.Time) bool {
	i := find(g.gone, ext)
	if i < 0 {
		return false
	}
	g.learn(g.gone[i], now)
	g.gone = slices.Delete(g.gone, i, i+1)
	return true
}

// learn takes the time of a repair. Which request it answers is only known for
// sure if there was just one round; but one that comes soon after a request
// answers an earlier one, and the round trip is longer than was thought.
func (g *gaps) learn(f gap, now time.Time) {
	took := min(now.Sub(f.asked), farHold)
	if f.rounds == 0 || f.rounds > 1 && now.Sub(f.round) > g.rtt*3/4 {
		return
	}
	if !g.known {
		g.vain = 0
		g.known, g.rtt, g.dev = true, took, took/16
		return
	}
	off := took - g.rtt
	g.rtt += off / 4
	g.dev += (max(off, -off) - g.dev) / 4
}

func (g *gaps) giveUp(ext int64) {
	i := find(g.list, ext)
	if i < 0 {
		return
	}
	if !g.known && g.list[i].tries > 0 {
		g.vain++
	}
	if len(g.gone) == goneLimit {
		g.gone = slices.Delete(g.gone, 0, 1)
	}
	g.gone = append(g.gone, g.list[i])
	g.list = slices.Delete(g.list, i, i+1)
}

// find returns the index of ext, or -1. Both lists are sorted.
func find(list []gap, ext int64) int {
	i, ok := slices.BinarySearchFunc(list, ext, func(f gap, ext int64) int {
		switch {
		case f.ext < ext:
			return -1
		case f.ext > ext:
			return 1
		}
		return 0
	})
	if !ok {
		return -1
	}
	return i
}

// vainRounds is how many rounds must be in vain before a keyframe is asked for:
// keyframes cost sharpness, and one round in ten or twenty is in vain where both
// ways lose packets.
func (g *gaps) vainRounds() int {
	if g.known {
		return 2
	}
	return 1
}

// expired says whether ext is missing and no longer waited for: at all, or, with
// rescue, where a keyframe can take its place.
func (g *gaps) expired(ext int64, now time.Time, rescue bool) bool {
	i := find(g.list, ext)
	if i < 0 {
		return true // never noted as missing: nothing to wait for
	}
	f := g.list[i]
	if !g.nack {
		return now.Sub(f.since) >= orderHold
	}
	hold := g.hold()
	if !rescue {
		hold = g.last(hold)
	}
	if f.tries == 0 {
		return now.Sub(f.since) >= nackDelay+hold
	}
	return now.Sub(f.asked) >= hold
}

// retry is how long a repair is waited for before it is asked for again.
func (g *gaps) retry() time.Duration {
	const margin = 6 * time.Millisecond
	return min(max(g.rtt+max(g.dev, margin), minRetry), maxRetry)
}

// last is how long a packet is waited for that no keyframe can take the place of.
func (g *gaps) last(hold time.Duration) time.Duration {
	if g.known {
		return lastHold
	}
	return hold
}

// hold is how long a packet is waited for before it is in doubt.
func (g *gaps) hold() time.Duration {
	if g.vain >= maxVain {
		return minHold
	}
	slack := 10*time.Millisecond + 2*g.dev
	retry := g.retry()
	if two := retry + g.rtt + slack; two > maxHold {
		return min(two, farHold)
	}
	return min(max(2*retry+g.rtt+slack, minHold), maxHold)
}

// next is how long after now the first of the things is due that time alone
// brings: to ask, to ask again, to give up; at most most.
func (g *gaps) next(now time.Time, most time.Duration) time.Duration {
	if len(g.list) == 0 {
		return most
	}
	retry, hold := g.retry(), g.hold()
	last := g.last(hold)
	for i := range g.list {
		f := &g.list[i]
		var at time.Duration
		switch since := now.Sub(f.since); {
		case !g.nack:
			at = orderHold - since
		case f.tries == 0:
			at = nackDelay - since
		default:
			asked := now.Sub(f.asked)
			at = last - asked
			if asked < hold {
				at = hold - asked
			}
			if f.tries < maxNACKs {
				at = min(at, f.due(retry).Sub(now))
			}
		}
		most = min(most, at)
	}
	return most
}

// due is when f is to be asked for again.
func (f *gap) due(retry time.Duration) time.Time {
	if f.rounds > quickRounds {
		return f.round.Add(max(retry, slowRetry))
	}
	if f.again.Equal(f.round) && retry >= longRetry {
		return f.again.Add(repeatAfter)
	}
	return f.round.Add(retry)
}

// ready says whether something is to be asked for the first time.
func (g *gaps) ready(highest int64, now time.Time) bool {
	if !g.nack {
		return false
	}
	// Requests go out in order, so the newest gap that is old enough decides.
	for i := len(g.list) - 1; i >= 0; i-- {
		if f := &g.list[i]; f.tries > 0 {
			return false
		} else if f.early(highest, now) {
			continue
		}
		return true
	}
	return false
}

// early says whether it is too soon to ask for f.
func (f *gap) early(highest int64, now time.Time) bool {
	return highest-f.ext < nackAfter && now.Sub(f.since) < nackDelay
}

// due appends what is to be asked for at now. highest is the newest packet.
func (g *gaps) due(dst []uint16, highest int64, now time.Time) []uint16 {
	if !g.nack {
		return dst
	}
	retry, hold := g.retry(), g.hold()
	for i := range g.list {
		f := &g.list[i]
		if f.tries == 0 {
			if f.early(highest, now) {
				continue
			}
			f.asked = now
		} else if f.tries == maxNACKs || now.Before(f.due(retry)) {
			continue
		}
		if f.tries == 0 || now.Sub(f.round) >= retry {
			f.round = now
			f.rounds++
			if f.rounds > g.vainRounds() && now.Add(retry+g.rtt).Sub(f.asked) > hold {
				g.doubt = max(g.doubt, f.ext) // no round after this one can be answered within hold
			}
		}
		f.again = now
		f.tries++
		dst = append(dst, uint16(f.ext))
	}
	return dst
}

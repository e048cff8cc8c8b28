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
	maxNACKs  = 6 // per packet

	// A repair is asked for again after one and a half round trips, within these.
	minRetry, maxRetry = 20 * time.Millisecond, 150 * time.Millisecond

	// A packet is given up so long after it was first asked for: four round
	// trips within the first two bounds. Where the round trip alone takes most
	// of that, one and a half, up to the last bound.
	minHold, maxHold, farHold = 100 * time.Millisecond, 200 * time.Millisecond, 400 * time.Millisecond

	// Without repairs only packets out of order are waited for.
	orderHold = 60 * time.Millisecond

	firstRTT  = 50 * time.Millisecond // assumed until a repair has come
	goneLimit = 64                    // given up, but remembered to learn the round trip
)

// gap is a packet that is missing.
type gap struct {
	ext   int64
	since time.Time // when it was missed
	asked time.Time // for the first time
	again time.Time // for the last time
	tries int
}

// gaps are the packets that are missing, in order.
type gaps struct {
	nack bool
	list []gap
	gone []gap
	rtt  time.Duration // of repairs, smoothed
}

func newGaps(nack bool) gaps { return gaps{nack: nack, rtt: firstRTT} }

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
// sure if there was just one.
func (g *gaps) learn(f gap, now time.Time) {
	if f.tries != 1 {
		return
	}
	g.rtt += (now.Sub(f.asked) - g.rtt) / 4
}

func (g *gaps) giveUp(ext int64) {
	i := find(g.list, ext)
	if i < 0 {
		return
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

// expired says whether ext is missing and no longer waited for.
func (g *gaps) expired(ext int64, now time.Time) bool {
	i := find(g.list, ext)
	if i < 0 {
		return true // never noted as missing: nothing to wait for
	}
	f := g.list[i]
	if !g.nack {
		return now.Sub(f.since) >= orderHold
	}
	if f.tries == 0 {
		return now.Sub(f.since) >= nackDelay+g.hold()
	}
	return now.Sub(f.asked) >= g.hold()
}

func (g *gaps) hold() time.Duration {
	if far := g.rtt * 3 / 2; far > maxHold {
		return min(far, farHold)
	}
	return min(max(4*g.rtt, minHold), maxHold)
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
	retry := min(max(g.rtt*3/2, minRetry), maxRetry)
	for i := range g.list {
		f := &g.list[i]
		if f.tries == 0 {
			if f.early(highest, now) {
				continue
			}
			f.asked = now
		} else if f.tries == maxNACKs || now.Sub(f.again) < retry {
			continue
		}
		f.again = now
		f.tries++
		dst = append(dst, uint16(f.ext))
	}
	return dst
}

package bandwidth

import (
	"math"
	"time"
)

// historySize is how many packets are remembered until they are reported: a
// second of 5 Mbit/s. A power of two.
const historySize = 512

const (
	inFlight uint8 = iota
	arrived
	lost
	assumed // arrived, for want of a report
)

// sentPacket is a packet on its way.
type sentPacket struct {
	at    int64 // µs
	bytes uint16
	seq   uint16
	state uint8
	used  bool
	probe bool
}

// history is what was sent, by transport-wide sequence number.
type history struct {
	packets []sentPacket
	last    uint16
	started bool
}

func (h *history) add(seq uint16, bytes int, at int64, probe bool) {
	if h.packets == nil {
		h.packets = make([]sentPacket, historySize)
	}
	h.packets[seq%historySize] = sentPacket{at: at, bytes: uint16(min(bytes, math.MaxUint16)), seq: seq, used: true, probe: probe}
	h.last, h.started = seq, true
}

// oldest is the lowest number that may be remembered.
func (h *history) oldest() uint16 { return h.last - (historySize - 1) }

func (h *history) get(seq uint16) *sentPacket {
	p := &h.packets[seq%historySize]
	if !p.used || p.seq != seq {
		return nil
	}
	return p
}

// told is the highest number that was reported.
type told struct {
	last    uint16
	started bool
}

func (t *told) note(seq uint16) {
	if !t.started || int16(seq-t.last) > 0 {
		t.last, t.started = seq, true
	}
}

const (
	slotMicros = 20000
	slots      = 64 // 1.28 s
	noDelay    = math.MaxInt64

	// The least delay is that of the last half minute: long enough for a queue
	// to go away meanwhile, short enough for clocks that run apart by 100 ppm.
	baseSlots  = 30
	baseMicros = 1e6
)

// slot is what arrived within slotMicros.
type slot struct {
	index int64 // time / slotMicros
	bytes int
	least int64 // delay, µs
}

// arrivals is what arrived of late, by the viewer's clock. Delays are from our
// clock to the viewer's: only their differences mean something.
type arrivals struct {
	slots  [slots]slot
	newest int64 // µs
	begun  bool

	base      [baseSlots]int64 // least delay of each second
	baseIndex int64            // of the newest second
}

func (a *arrivals) reset() { *a = arrivals{} }

// forget learns the least delay anew from the packets of late.
func (a *arrivals) forget() {
	least := a.least(longWindow)
	for i := range a.base {
		a.base[i] = least
	}
}

func (a *arrivals) add(at, delay int64, bytes int) {
	if !a.begun {
		a.begun, a.newest, a.baseIndex = true, at, floorDiv(at, baseMicros)
		for i := range a.base {
			a.base[i] = noDelay
		}
		for i := range a.slots {
			a.slots[i].index = math.MinInt64
		}
	}
	if delay != noDelay {
		a.newest = max(a.newest, at)
	}
	index := floorDiv(at, slotMicros)
	s := &a.slots[mod(index, slots)]
	switch {
	case s.index > index:
		return // very late
	case s.index < index:
		*s = slot{index: index, least: noDelay}
	}
	s.bytes += bytes
	s.least = min(s.least, delay)
	if delay == noDelay {
		return
	}
	a.addBase(floorDiv(at, baseMicros), delay)
}

func (a *arrivals) addBase(index, delay int64) {
	for n := 0; a.baseIndex < index && n < baseSlots; n++ {
		a.baseIndex++
		a.base[mod(a.baseIndex, baseSlots)] = noDelay
	}
	a.baseIndex = max(a.baseIndex, index)
	if a.baseIndex-index < baseSlots {
		b := &a.base[mod(index, baseSlots)]
		*b = min(*b, delay)
	}
}

// least is the least delay within the window before the newest arrival.
func (a *arrivals) least(window time.Duration) int64 {
	least := int64(noDelay)
	from := floorDiv(a.newest-window.Microseconds(), slotMicros)
	for i := range a.slots {
		if s := &a.slots[i]; s.index > from && s.bytes > 0 {
			least = min(least, s.least)
		}
	}
	return least
}

// queue is how long the packets of the window waited at least, beyond the least
// of all. It reports false without packets.
func (a *arrivals) queue(window time.Duration) (time.Duration, bool) {
	if !a.begun {
		return 0, false
	}
	least := a.least(window)
	base := int64(noDelay)
	for _, b := range a.base {
		base = min(base, b)
	}
	if least == noDelay || base == noDelay {
		return 0, false
	}
	return time.Duration(max(least-base, 0)) * time.Microsecond, true
}

// rate is what arrived within the window before the newest arrival, bit/s.
func (a *arrivals) rate(window time.Duration) float64 {
	if !a.begun {
		return 0
	}
	// Whole slots, so that the newest one counts for as long as it lasts.
	n := max(window.Microseconds()/slotMicros, 1)
	from := floorDiv(a.newest, slotMicros) - n
	bytes := 0
	for i := range a.slots {
		if s := &a.slots[i]; s.index >= from {
			bytes += s.bytes
		}
	}
	span := a.newest - from*slotMicros
	return float64(bytes) * 8e6 / float64(max(span, slotMicros))
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

func mod(a, n int64) int64 { return ((a % n) + n) % n }

const (
	lossMicros = 100000
	lossSlots  = 10
)

// losses counts what was reported over the last second.
type losses struct {
	index [lossSlots]int64
	all   [lossSlots]int
	gone  [lossSlots]int
	now   int64 // index of the newest slot
}

func (l *losses) add(at int64, all, gone int) {
	index := floorDiv(at, lossMicros)
	l.now = max(l.now, index)
	i := mod(index, lossSlots)
	if l.index[i] != index {
		l.index[i], l.all[i], l.gone[i] = index, 0, 0
	}
	l.all[i] += all
	l.gone[i] += gone
}

// sum counts over the last n slots.
func (l *losses) sum(n int64) (all, gone int) {
	for i := range lossSlots {
		if l.index[i] > l.now-n {
			all += l.all[i]
			gone += l.gone[i]
		}
	}
	return all, max(gone, 0)
}

func (l *losses) share() float64 {
	all, gone := l.sum(lossSlots)
	return float64(gone) / float64(max(all, 1))
}

// excessive says whether more is lost than chance takes where it takes 10 %:
// beyond three and a half standard deviations.
func (l *losses) excessive() bool {
	all, gone := l.sum(lossSlots)
	const p, z = 0.10, 3.5
	n := float64(all)
	return float64(gone) > p*n+z*math.Sqrt(n*p*(1-p))
}

// sudden says whether much more is lost at the moment than over the second, and
// than usual.
func (l *losses) sudden(usual float64) bool {
	all, gone := l.sum(2)
	allBefore, goneBefore := l.sum(lossSlots)
	allBefore, goneBefore = allBefore-all, goneBefore-gone
	p := min(max((float64(max(goneBefore, 0))+1)/(float64(allBefore)+20), usual), 0.5)
	n := float64(all)
	return gone >= 3 && float64(gone) > p*n+3*math.Sqrt(n*p*(1-p))
}

// rttWindow is the least round trip of the last seconds.
type rttWindow struct {
	index [2]int64
	value [2]int64
}

const rttMicros = 5e6

func (w *rttWindow) add(now, rtt int64) {
	index := now / rttMicros
	i := index % 2
	if w.index[i] != index || w.value[i] == 0 {
		w.index[i], w.value[i] = index, rtt
	}
	w.value[i] = min(w.value[i], rtt)
}

// least is in µs; 0: unknown.
func (w *rttWindow) least() int64 {
	switch {
	case w.value[0] == 0:
		return w.value[1]
	case w.value[1] == 0:
		return w.value[0]
	}
	return min(w.value[0], w.value[1])
}

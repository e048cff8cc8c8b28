package stream

import "time"

const (
	meterSlots = 10
	meterSlot  = time.Second / meterSlots
)

// meter measures the rate of a stream over about the last second, and keeps the
// size of its picture. Its methods are called with the lock of the stream held.
type meter struct {
	slots [meterSlots]int // bytes of payload
	now   int64           // slot of the newest unit, counted since the origin
	w, h  int
}

// add counts n bytes that came at a time since the origin.
func (m *meter) add(at time.Duration, n int) {
	m.advance(int64(at / meterSlot))
	m.slots[m.now%meterSlots] += n
}

// advance empties the slots that time has passed by. It never goes back.
func (m *meter) advance(slot int64) {
	if slot-m.now >= meterSlots {
		m.slots, m.now = [meterSlots]int{}, slot
	}
	for m.now < slot {
		m.now++
		m.slots[m.now%meterSlots] = 0
	}
}

// rate is in bits per second. The slot under way counts for what of it is over:
// else the rate would be a tenth too low on average.
func (m *meter) rate(at time.Duration) float64 {
	m.advance(int64(at / meterSlot))
	sum := 0
	for _, n := range m.slots {
		sum += n
	}
	span := (meterSlots-1)*meterSlot + at%meterSlot
	return float64(sum) * 8 / span.Seconds()
}

// sized notes the size of a keyframe and says whether it is another one.
func (m *meter) sized(u *Unit) bool {
	w, h := int(u.Width), int(u.Height)
	if !u.Keyframe || w == 0 || h == 0 || w == m.w && h == m.h {
		return false
	}
	m.w, m.h = w, h
	return true
}

// Rate is the bits per second of RTP payload over about the last second; 0 when
// the stream has been silent for one.
func (s *Stream) Rate() float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.meter.rate(max(s.now().Sub(s.origin), 0))
}

// Size is the size in pixels that the newest keyframe announced; 0, 0 if that is
// not known. H.264 may announce it earlier than with its newest keyframe.
func (s *Stream) Size() (w, h int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.meter.w, s.meter.h
}

package bandwidth

import "github.com/pion/rtcp"

const (
	referenceMicros = 64000 // unit of the reference time
	referenceBits   = 24    // it wraps after 12 days

	// maxStatuses bounds the work for one feedback. Nobody reports on more
	// packets at once than are remembered.
	maxStatuses = historySize

	// maxJump is how much the viewer's clock may differ from ours in what passes
	// between two feedbacks before it counts as another clock.
	maxJump = int64(5e6)
)

// receiverClock unwraps the viewer's clock.
type receiverClock struct {
	started bool
	raw     uint32
	micros  int64
	at      int64 // our time of the last reading
}

// read tells the reference time in µs. fresh is true when it has nothing to do
// with what was read before.
func (c *receiverClock) read(raw uint32, now int64) (micros int64, fresh bool) {
	const span = 1 << referenceBits
	raw %= span
	if !c.started {
		*c = receiverClock{started: true, raw: raw, micros: int64(raw) * referenceMicros, at: now}
		return c.micros, true
	}
	step := int64((raw - c.raw) % span)
	if step >= span/2 {
		step -= span // reports may overtake one another
	}
	micros = c.micros + step*referenceMicros
	drift := (micros - c.micros) - (now - c.at)
	fresh = drift > maxJump || drift < -maxJump
	*c = receiverClock{started: true, raw: raw, micros: micros, at: now}
	return micros, fresh
}

// walk calls visit for every packet that fb tells of from oldest on, in order.
// offset is the arrival in µs after the reference time.
func walk(fb *rtcp.TransportLayerCC, oldest uint16, visit func(seq uint16, got bool, offset int64)) {
	w := walker{fb: fb, left: int(fb.PacketStatusCount), seq: fb.BaseSequenceNumber, oldest: oldest, visit: visit, work: maxStatuses}
	for _, c := range fb.PacketChunks {
		switch c := c.(type) {
		case *rtcp.RunLengthChunk:
			if c == nil {
				return
			}
			for range c.RunLength {
				if !w.next(c.PacketStatusSymbol) {
					return
				}
			}
		case *rtcp.StatusVectorChunk:
			if c == nil {
				return
			}
			for _, symbol := range c.SymbolList {
				if !w.next(symbol) {
					return
				}
			}
		default:
			return
		}
	}
}

type walker struct {
	fb         *rtcp.TransportLayerCC
	left, work int
	seq        uint16
	oldest     uint16
	delta      int
	offset     int64
	visit      func(seq uint16, got bool, offset int64)
}

// next takes the next status. It returns false at the end.
func (w *walker) next(symbol uint16) bool {
	if w.left == 0 || w.work == 0 {
		return false
	}
	w.left--
	w.work--
	got := symbol == rtcp.TypeTCCPacketReceivedSmallDelta || symbol == rtcp.TypeTCCPacketReceivedLargeDelta
	if got {
		if w.delta >= len(w.fb.RecvDeltas) || w.fb.RecvDeltas[w.delta] == nil {
			return false
		}
		w.offset += w.fb.RecvDeltas[w.delta].Delta
		w.delta++
	}
	// A packet that came, but not when, tells nothing.
	if symbol <= rtcp.TypeTCCPacketReceivedLargeDelta && w.seq-w.oldest < historySize {
		w.visit(w.seq, got, w.offset)
	}
	w.seq++
	return true
}

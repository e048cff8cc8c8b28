package ingest

import (
	"time"

	"github.com/lectern/lectern/stream/frame"
)

const (
	// window bounds how many packets wait for a missing one: 400 ms of 20 Mbit/s.
	window = 1024

	// A sequence number further ahead or behind than this is another numbering,
	// if the next packet goes on from it (RFC 3550, appendix A.1). Behind is the
	// larger: Chrome probes the bandwidth by sending packets of the last second
	// again, in order.
	maxAhead  = 3000
	maxBehind = 8192

	// maxHole bounds how many sequence numbers a hole leaves out: viewers ask
	// for each of them, in vain.
	maxHole = 64

	firstSeq = 1 << 16 // extended sequence numbers begin here: none is negative
)

// ReceiverConfig configures a Receiver.
type ReceiverConfig struct {
	// NACK is true if the publisher repairs what is asked for again.
	NACK bool
	// NextSeq is the sequence number of the first packet that comes out.
	NextSeq uint16
	// Out gets the packets in order, from within Push, Tick and Flush.
	Out func(Packet)
}

// Receiver puts the packets of one RTP source in order. It drops duplicates and
// packets without media, waits for missing packets for a bounded time, says
// which ones to ask for, and keeps the statistics for receiver reports.
//
// Packets that are in order pass at once. They come out with sequence numbers of
// the Receiver's own, in which only real losses leave holes.
//
// A Receiver has no goroutine and is not goroutine-safe: its owner calls Tick
// every 10 to 20 ms.
type Receiver struct {
	cfg ReceiverConfig

	started  bool
	next     int64 // extended sequence number that is to come out next
	highest  int64 // highest seen
	ring     [window]Packet
	buffered int
	gaps     gaps
	moved    int // packets in a row that go on from another numbering
	movedTo  uint16

	seq  uint16 // of the next packet that comes out
	lost int    // since the last packet that came out

	rescue rescue

	stats  ReceiverStats
	report report
}

// ReceiverStats are counters since the Receiver was made.
type ReceiverStats struct {
	Received   uint64 // packets, repairs included, duplicates not
	Bytes      uint64 // of their payloads
	Duplicates uint64
	Empty      uint64 // packets without media
	Late       uint64 // packets that came after they had been given up
	Lost       uint64 // packets that were given up
	Repaired   uint64 // packets that came after they had been asked for
	NACKed     uint64 // packets that were asked for, each time
	RTT        time.Duration
}

// NewReceiver returns a Receiver that has seen nothing.
func NewReceiver(cfg ReceiverConfig) *Receiver {
	return &Receiver{cfg: cfg, seq: cfg.NextSeq, gaps: newGaps(cfg.NACK)}
}

// NextSeq is the sequence number that comes out next.
func (r *Receiver) NextSeq() uint16 { return r.seq }

// Stats returns the counters.
func (r *Receiver) Stats() ReceiverStats {
	s := r.stats
	s.RTT = r.gaps.rtt
	return s
}

// Push takes a packet as it came. It owns p from then on.
func (r *Receiver) Push(p Packet) {
	if !r.started {
		r.started = true
		r.next = firstSeq + int64(p.SequenceNumber)
		r.highest = r.next - 1
		r.report.begin(p)
	}
	ahead := int(int16(p.SequenceNumber - uint16(r.highest)))
	if ahead > maxAhead || ahead < -maxBehind {
		if !r.renumbered(p.SequenceNumber) {
			return
		}
		ahead = 1
	}
	r.moved = 0
	ext := r.highest + int64(ahead)
	if ext < r.next || ext <= r.highest && r.at(ext).Packet != nil {
		r.again(ext, p)
		return
	}
	repair := r.gaps.fill(ext, p.Arrival)
	if repair {
		r.stats.Repaired++
	}
	r.stats.Received++
	r.stats.Bytes += uint64(len(p.Payload))
	r.report.received(p, repair)
	r.advance(ext, p.Arrival)
	if ext == r.next && r.buffered == 0 {
		r.next++
		r.deliver(p)
		return
	}
	*r.at(ext) = p
	r.buffered++
	r.release()
	if r.buffered > 0 && r.rescue.note(ext, p) {
		r.Tick(p.Arrival)
	}
}

func (r *Receiver) at(ext int64) *Packet { return &r.ring[ext%window] }

// renumbered decides whether the source began to number anew: two packets in a
// row must say so. Then it lets go of all that waits and leaves a hole.
func (r *Receiver) renumbered(seq uint16) bool {
	follows := r.moved > 0 && seq == r.movedTo+1
	r.moved, r.movedTo = 1, seq
	if !follows {
		return false
	}
	r.Flush()
	r.lost++
	r.stats.Lost++
	// The next multiple of the numbering that fits: only its low 16 bits count.
	r.highest += int64(seq-uint16(r.highest)) - 1
	r.next = r.highest + 1
	r.report.renumbered(r.highest)
	return true
}

// again counts a packet that is of no use any more.
func (r *Receiver) again(ext int64, p Packet) {
	if r.gaps.late(ext, p.Arrival) {
		r.stats.Late++
		return
	}
	r.stats.Duplicates++
}

// advance notes that ext came, and which packets are missing before it.
func (r *Receiver) advance(ext int64, arrival time.Time) {
	if ext <= r.highest {
		return
	}
	for ext-r.next >= window {
		r.skip()
	}
	for missing := max(r.highest+1, r.next); missing < ext; missing++ {
		r.gaps.add(missing, arrival)
	}
	r.highest = ext
	r.report.highest = ext
}

// skip lets the next packet out, or gives it up if it is missing.
func (r *Receiver) skip() {
	slot := r.at(r.next)
	if slot.Packet == nil {
		r.gaps.giveUp(r.next)
		r.lost++
		r.stats.Lost++
		r.next++
		return
	}
	p := *slot
	*slot = Packet{}
	r.buffered--
	r.next++
	r.deliver(p)
}

// release lets out what is in order.
func (r *Receiver) release() {
	for r.buffered > 0 && r.at(r.next).Packet != nil {
		r.skip()
	}
}

func (r *Receiver) deliver(p Packet) {
	if frame.Empty(p.Format.Codec, p.Payload) {
		r.stats.Empty++
		return
	}
	p.Lost = r.lost
	r.seq += uint16(min(r.lost, maxHole))
	r.lost = 0
	p.SequenceNumber = r.seq
	r.seq++
	r.cfg.Out(p)
}

// Tick gives up what has been missing for too long at now.
func (r *Receiver) Tick(now time.Time) {
	for r.buffered > 0 {
		switch {
		case r.gaps.expired(r.next, now, true) && r.rescued():
			r.toKeyframe()
		case r.gaps.expired(r.next, now, false):
			r.skip()
			r.release()
		default:
			return
		}
	}
}

// Flush lets out all that waits and gives up all that is missing.
func (r *Receiver) Flush() {
	for r.buffered > 0 {
		r.skip()
	}
	r.gaps.clear()
}

// Doubtful says, once, that a packet was asked for in vain so often that it may
// be lost for good, and that no keyframe is on its way that can take its place.
func (r *Receiver) Doubtful() bool {
	doubt := r.gaps.doubt
	r.gaps.doubt = 0
	return doubt > 0 && doubt >= r.needs()
}

// Next is how long after now Tick or NACKs have something to do by time alone,
// at most most.
func (r *Receiver) Next(now time.Time, most time.Duration) time.Duration {
	return r.gaps.next(now, most)
}

// Missing says whether packets are missing at this moment.
func (r *Receiver) Missing() bool { return len(r.gaps.list) > 0 }

// Waiting says whether Tick has something to look after.
func (r *Receiver) Waiting() bool { return r.buffered > 0 || r.Missing() }

// Jitter is the interarrival jitter (RFC 3550, section 6.4.1).
func (r *Receiver) Jitter(f *Format) time.Duration {
	if f == nil || f.ClockRate == 0 {
		return 0
	}
	return time.Duration(r.report.jitter / float64(f.ClockRate) * float64(time.Second))
}

// NACKs appends the sequence numbers (as the publisher counts) to ask for again
// at now. It is cheap when nothing is missing.
func (r *Receiver) NACKs(dst []uint16, now time.Time) []uint16 {
	before := len(dst)
	dst = r.gaps.due(dst, r.highest, now)
	r.stats.NACKed += uint64(len(dst) - before)
	return dst
}

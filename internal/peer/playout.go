package peer

import (
	"slices"
	"sync"
	"time"

	"github.com/pion/rtp"
)

// playoutWindow bounds the packets that wait for a missing one.
const playoutWindow = 4096

// Playout tells what the viewer of a stream of pictures sees: a picture is shown
// when all its packets and those of the pictures before it, back to a keyframe,
// have come, repaired ones included; what will never be whole is skipped at the
// next whole keyframe. Nothing is held back for smoothness, so a freeze here is
// what a player's buffer must hide. It wants pictures of a Publisher that stamps
// them. Methods may be called from any goroutine.
type Playout struct {
	mime string

	mu      sync.Mutex // guards what follows
	started bool
	next    uint16 // the packet that is waited for
	newest  uint16
	waiting map[uint16]*rtp.Packet
	seen    Seen
	last    time.Time // when a picture was shown last
	layer   byte
}

// Seen is what a Playout has to tell.
type Seen struct {
	Pictures  int
	Skipped   int             // times that it went on with a keyframe behind a hole
	Latencies []time.Duration // from sending a picture to showing it
	Longest   time.Duration   // between two pictures
	Over300   int             // gaps between two pictures of more than 300 ms
	Switches  []Switch        // of layers, the first picture included
	Layer     byte            // that is shown now, as given to the publisher; 0 before the first picture
}

// Switch is a change of the layer that is shown.
type Switch struct {
	At    time.Time
	Layer byte
}

// Latency returns the part q (0 to 1) of the latencies; 0 without any.
func (s Seen) Latency(q float64) time.Duration {
	if len(s.Latencies) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(s.Latencies))
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}

// NewPlayout returns one for pictures of VP8 or H.264.
func NewPlayout(mime string) *Playout {
	return &Playout{mime: mime, waiting: make(map[uint16]*rtp.Packet)}
}

// Add takes a packet of the video track.
func (p *Playout) Add(pkt *rtp.Packet) { p.add(pkt, time.Now()) }

// Take returns what was seen since the last Take. A freeze that lasts is told
// with its length so far.
func (p *Playout) Take() Seen {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.seen
	s.Layer = p.layer
	if !p.last.IsZero() {
		s.gap(time.Since(p.last))
	}
	p.seen = Seen{}
	return s
}

func (s *Seen) gap(d time.Duration) {
	s.Longest = max(s.Longest, d)
	if d > 300*time.Millisecond {
		s.Over300++
	}
}

func (p *Playout) add(pkt *rtp.Packet, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(pkt.Payload) == 0 {
		// Padding, of a prober; it counts as a packet like any other.
		pkt = &rtp.Packet{Header: pkt.Header}
		pkt.Marker = false
	}
	seq := pkt.SequenceNumber
	if !p.started {
		if !BeginsKeyframe(p.mime, pkt.Payload) {
			return
		}
		p.started, p.next, p.newest = true, seq, seq
	}
	if int16(seq-p.next) < 0 {
		return // shown, or skipped
	}
	if int16(seq-p.newest) > 0 {
		p.newest = seq
	}
	p.waiting[seq] = pkt
	p.showLocked(now)
	if p.next != p.newest+1 {
		p.skipLocked(now)
	}
}

// showLocked shows what is whole.
func (p *Playout) showLocked(now time.Time) {
	for {
		pkt := p.waiting[p.next]
		if pkt == nil {
			return
		}
		delete(p.waiting, p.next)
		p.next++
		if pkt.Marker {
			p.pictureLocked(pkt, now)
		}
	}
}

func (p *Playout) pictureLocked(pkt *rtp.Packet, now time.Time) {
	p.seen.Pictures++
	if !p.last.IsZero() {
		p.seen.gap(now.Sub(p.last))
	}
	p.last = now
	layer, sent, ok := findStamp(pkt.Payload)
	if !ok {
		return // the stamp came in two packets
	}
	p.seen.Latencies = append(p.seen.Latencies, now.Sub(sent))
	if layer != p.layer {
		p.layer = layer
		p.seen.Switches = append(p.seen.Switches, Switch{At: now, Layer: layer})
	}
}

// skipLocked goes on with the first whole keyframe behind the hole.
func (p *Playout) skipLocked(now time.Time) {
	if len(p.waiting) > playoutWindow { // half the numbers are in use: begin anew
		clear(p.waiting)
		p.started = false
		return
	}
	for at := p.next + 1; at != p.newest+1; at++ {
		first := p.waiting[at]
		if first == nil || !BeginsKeyframe(p.mime, first.Payload) {
			continue
		}
		if before := p.waiting[at-1]; before != nil && before.Timestamp == first.Timestamp {
			continue
		}
		if !p.wholeLocked(at, first.Timestamp) {
			continue
		}
		for n := p.next; n != at; n++ {
			delete(p.waiting, n)
		}
		p.next = at
		p.seen.Skipped++
		p.showLocked(now)
		return
	}
}

func (p *Playout) wholeLocked(at uint16, timestamp uint32) bool {
	for ; ; at++ {
		pkt := p.waiting[at]
		if pkt == nil || pkt.Timestamp != timestamp {
			return false
		}
		if pkt.Marker {
			return true
		}
	}
}

package bandwidth

import "time"

const (
	// A queue that grows with every packet needs no window to be seen: the network
	// has become narrow at a stroke. It must have grown by steepRise over so many
	// packets, and by that much more than steepShare times what it would grow by
	// if the network carried what is believed: a keyframe leaves all at once.
	steepRise    = 60 * time.Millisecond
	steepPackets = 4
	steepShare   = 1.5
	steepBack    = time.Millisecond // a clock may tick coarsely

	// What is carried is told by the last packets, so many and over so long: the
	// first of the row may have passed before.
	steepTail = 40 * time.Millisecond

	steepSize = 32
)

// steep looks at the last packets that arrived, one by one.
type steep struct {
	last [steepSize]passed
	n    int // packets added so far
}

// passed is a packet that arrived: when it left by our clock, and when it came
// by the viewer's, µs.
type passed struct {
	left, came int64
	bytes      int
}

func (s *steep) reset() { s.n = 0 }

// add takes a packet that arrived. One from before the newest is passed over.
func (s *steep) add(left, came int64, bytes int) {
	if s.n > 0 && left < s.last[(s.n-1)%steepSize].left {
		return
	}
	s.last[s.n%steepSize] = passed{left, came, bytes}
	s.n++
}

// read returns by how much the last packets were held up, each more than the one
// before, and what was carried meanwhile, bit/s; 0 without such a rise. rate is
// what the network was believed to carry, bit/s.
func (s *steep) read(rate float64) (rise time.Duration, carried float64) {
	if s.n < steepPackets {
		return 0, 0
	}
	newest := s.last[(s.n-1)%steepSize]
	first, bytes, packets := newest, 0, 1
	carried = rate
	for i := s.n - 2; i >= max(0, s.n-steepSize); i-- {
		p := s.last[i%steepSize]
		if p.came-p.left > first.came-first.left+steepBack.Microseconds() || p.came > first.came {
			break
		}
		bytes += first.bytes
		first = p
		packets++
		if took := newest.came - p.came; packets >= steepPackets && took >= steepTail.Microseconds() {
			carried = min(carried, float64(bytes)*8e6/float64(took))
		}
	}
	span := newest.left - first.left
	grown := float64(newest.came - first.came - span)
	expected := max(float64(bytes)*8e6/max(rate, Least)-float64(span), 0)
	if packets < steepPackets || grown < float64(steepRise.Microseconds())+steepShare*expected {
		return 0, 0
	}
	return time.Duration(grown) * time.Microsecond, carried
}

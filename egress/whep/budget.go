package whep

import (
	"sync"
	"time"
)

const (
	// inlinePackets is what is sent at once on the goroutine that brings the
	// packets: about a millisecond, and less than waking another goroutine costs.
	inlinePackets = 1024

	// That goroutine reads for all classes. So it gets half of its time for
	// sending, and no more than inlineMost in a row; what goes beyond is done by
	// the shards' own goroutines, on all cores.
	inlineShare = 0.5
	inlineMost  = 4 * time.Millisecond
)

// budget is the time left for sending on the goroutine that brings the packets.
// One serves all shards of a Server.
type budget struct {
	mu   sync.Mutex // guards what follows
	left time.Duration
	at   time.Time
}

// may says whether there is time left at now.
func (b *budget) may(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.left = min(b.left+time.Duration(inlineShare*float64(now.Sub(b.at))), inlineMost)
	b.at = now
	return b.left > 0
}

// spend takes what was used; there may be less than nothing left.
func (b *budget) spend(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.left -= d
}

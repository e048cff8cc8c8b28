package netsim

import (
	"container/heap"
	"math/rand/v2"
	"sync"
	"time"
)

const (
	// maxHeld bounds the packets on their way in one direction: a second of
	// 100 Mbit/s. What comes beyond is refused.
	maxHeld = 16384

	defaultReorderBy = 10 * time.Millisecond
	defaultQueueTime = 100 * time.Millisecond
	leastQueue       = 12000 // bytes: ten packets
)

// packet is one on its way.
type packet struct {
	at   time.Time
	n    uint64 // number of its coming, to keep the order at equal times
	data []byte
	send func([]byte) error
}

// heapOf orders packets by time.
type heapOf []packet

func (h heapOf) Len() int { return len(h) }
func (h heapOf) Less(i, j int) bool {
	if h[i].at.Equal(h[j].at) {
		return h[i].n < h[j].n
	}
	return h[i].at.Before(h[j].at)
}
func (h heapOf) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *heapOf) Push(x any) {
	if p, ok := x.(packet); ok {
		*h = append(*h, p)
	}
}

func (h *heapOf) Pop() any {
	old := *h
	p := old[len(old)-1]
	old[len(old)-1] = packet{}
	*h = old[:len(old)-1]
	return p
}

// pipe is one direction: decide says when packets come out, run sends them.
type pipe struct {
	wake chan struct{} // capacity 1: an earlier packet than all others
	done chan struct{}

	mu    sync.Mutex // guards what follows
	link  Link
	rand  *rand.Rand
	held  heapOf
	next  uint64
	count Stats

	losing  bool      // within a burst of loss
	free    time.Time // when the line has sent all that waits for it
	last    time.Time // when the last packet in order comes out
	closing sync.Once
}

func newPipe(l Link, seed uint64) *pipe {
	return &pipe{
		wake: make(chan struct{}, 1), done: make(chan struct{}),
		link: l, rand: rand.New(rand.NewPCG(seed, 0x6e657473696d)), // a seed is what is wanted here
	}
}

func (p *pipe) set(l Link) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.link = l
}

func (p *pipe) stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.count
}

func (p *pipe) refuse() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.count.Refused++
}

// push takes a packet that came at now; data is copied.
func (p *pipe) push(now time.Time, data []byte, send func([]byte) error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	times, n := p.decideLocked(now, len(data))
	if n == 0 {
		return
	}
	if len(p.held)+n > maxHeld {
		p.count.Refused++
		return
	}
	kept := append([]byte(nil), data...)
	for _, at := range times[:n] {
		heap.Push(&p.held, packet{at: at, n: p.next, data: kept, send: send})
		p.next++
	}
	if p.held[0].n >= p.next-uint64(n) { // one of ours is the next to go
		select {
		case p.wake <- struct{}{}:
		default:
		}
	}
}

// decideLocked says when a packet of size bytes that comes at now goes out: n
// times, 0 for one that is dropped.
func (p *pipe) decideLocked(now time.Time, size int) (at [2]time.Time, n int) {
	p.count.Packets++
	p.count.Bytes += uint64(size)
	if p.loseLocked() {
		p.count.Lost++
		return at, 0
	}
	sent, ok := p.transmitLocked(now, size)
	if !ok {
		p.count.Overflowed++
		return at, 0
	}
	out := sent.Add(p.link.Delay)
	if p.link.Jitter > 0 {
		out = out.Add(time.Duration(p.rand.Int64N(int64(p.link.Jitter) + 1)))
	}
	if out.Before(p.last) {
		out = p.last
	}
	switch {
	case p.hitLocked(p.link.Reorder):
		p.count.Reordered++
		by := p.link.ReorderBy
		if by <= 0 {
			by = defaultReorderBy
		}
		out = out.Add(by) // and p.last stays, so that the next may overtake it
	default:
		p.last = out
	}
	at[0], n = out, 1
	if p.hitLocked(p.link.Duplicate) {
		p.count.Duplicated++
		at[1], n = out, 2
	}
	return at, n
}

// hitLocked is true with the given probability. Nothing is drawn for 0, so that
// what is off does not change the rest.
func (p *pipe) hitLocked(chance float64) bool {
	return chance > 0 && p.rand.Float64() < chance
}

// loseLocked follows Gilbert's model of two states for bursts: the chances to
// enter and to leave the lossy one give Burst and Loss on average.
func (p *pipe) loseLocked() bool {
	l := p.link
	switch {
	case l.Loss <= 0:
		p.losing = false
	case l.Burst <= 1 || l.Loss >= 1:
		p.losing = p.hitLocked(l.Loss)
	case p.losing:
		p.losing = !p.hitLocked(1 / l.Burst)
	default:
		p.losing = p.hitLocked(l.Loss / (l.Burst * (1 - l.Loss)))
	}
	return p.losing
}

// transmitLocked says when the line has sent the packet; false if too much waits
// already.
func (p *pipe) transmitLocked(now time.Time, size int) (time.Time, bool) {
	if p.link.Rate <= 0 {
		if p.free.After(now) { // it was throttled a moment ago: order is kept
			return p.free, true
		}
		return now, true
	}
	took := func(bytes int) time.Duration {
		return time.Duration(float64(bytes) * 8 / float64(p.link.Rate) * float64(time.Second))
	}
	queue := p.link.Queue
	if queue <= 0 {
		queue = max(leastQueue, int(float64(p.link.Rate)/8*defaultQueueTime.Seconds()))
	}
	begin := now
	if p.free.After(now) {
		begin = p.free
	}
	if begin.Sub(now)+took(size) > took(queue) {
		return time.Time{}, false
	}
	p.free = begin.Add(took(size))
	return p.free, true
}

// run sends packets when their time has come, until close.
func (p *pipe) run() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		wait := p.flush(time.Now())
		timer.Reset(wait)
		select {
		case <-p.done:
			return
		case <-p.wake:
		case <-timer.C:
		}
	}
}

// flush sends what is due at now, and returns the time until the next is.
func (p *pipe) flush(now time.Time) time.Duration {
	for {
		p.mu.Lock()
		if len(p.held) == 0 {
			p.mu.Unlock()
			return time.Hour
		}
		if wait := p.held[0].at.Sub(now); wait > 0 {
			p.mu.Unlock()
			return wait
		}
		due, _ := heap.Pop(&p.held).(packet)
		p.mu.Unlock()
		err := due.send(due.data)
		p.mu.Lock()
		if err != nil {
			p.count.Refused++ // the peer is gone, or the system has no room
		} else {
			p.count.Passed++
			p.count.PassedBytes += uint64(len(due.data))
		}
		p.mu.Unlock()
	}
}

func (p *pipe) close() { p.closing.Do(func() { close(p.done) }) }

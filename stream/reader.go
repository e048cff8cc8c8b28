package stream

import (
	"context"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// ReaderOptions configure a Reader. The zero value reads all from the next
// keyframe on with a queue of DefaultQueue units.
type ReaderOptions struct {
	// Name says in logs who reads: "recording", "rtsp".
	Name string

	// Queue bounds the units that wait. 0 means DefaultQueue.
	Queue int

	// Backlog lets the reader begin with the cached group of pictures if its
	// keyframe is no older than this. 0: begin with the next keyframe.
	Backlog time.Duration

	// KeyframeEvery asks the publisher for a keyframe at least so often while
	// the reader is open. 0: only on need.
	KeyframeEvery time.Duration

	// PerFrame wakes the reader at the end of an access unit only, not for each
	// packet of it: fewer wake-ups for readers that handle whole bursts.
	PerFrame bool

	// Linger lets units wait for so long before Read returns them, for a reader
	// that is in no hurry: one wake-up for many of them. A queue that is half
	// full ends the wait.
	Linger time.Duration

	// OnReady is called instead of waking the reader, on the goroutine that
	// writes and without locks of the stream. It may take what is queued with
	// TryReadBatch there and then, and must be quick; true says that it has. It
	// spares a small fan-out the change of goroutine, which costs more than the
	// sending. After false the reader is woken.
	OnReady func() bool
}

// DefaultQueue is about two seconds of 720p video with audio, in units.
const DefaultQueue = 1024

// Reader is the end of a stream at one way out. Read, ReadBatch and Close may be
// called by one goroutine each; Len and Dropped by any.
type Reader struct {
	s      *Stream
	opts   ReaderOptions
	notify chan struct{} // capacity 1
	hurry  chan struct{} // capacity 1; ends Linger
	ready  atomic.Bool   // OnReady is due

	mu      sync.Mutex // guards what follows
	backlog []*Unit    // shared with the cache of the stream: read-only
	ring    []*Unit    // grows up to opts.Queue
	head, n int
	waitKey bool // video is dropped up to the next keyframe
	behind  bool // waitKey is because the queue was full
	asked   bool // for that keyframe
	lastTS  uint32
	dropped uint64
	closed  bool
}

const firstRing = 64

func newReader(s *Stream, opts ReaderOptions) *Reader {
	if opts.Queue <= 0 {
		opts.Queue = DefaultQueue
	}
	opts.Queue = min(opts.Queue, maxQueueUnits)
	return &Reader{
		s:       s,
		opts:    opts,
		notify:  make(chan struct{}, 1),
		hurry:   make(chan struct{}, 1),
		ring:    make([]*Unit, min(firstRing, opts.Queue)),
		waitKey: true,
	}
}

// preload lets the reader begin with a cached group of pictures.
func (r *Reader) preload(units []*Unit) {
	if len(units) == 0 {
		return
	}
	r.backlog = units[:len(units):len(units)]
	r.waitKey = false
	r.wake()
}

// push queues u, unless the queue is full.
func (r *Reader) push(u *Unit) {
	r.mu.Lock()
	defer r.mu.Unlock()
	video := u.Track.Kind == Video
	if video && r.waitKey && !u.Keyframe {
		if r.behind {
			r.dropped++
		}
		return
	}
	if r.n >= r.opts.Queue {
		r.dropped++
		if video {
			r.waitKey, r.behind, r.asked = true, true, false
		}
		// The rest of an access unit may have been what should wake the reader.
		r.wake()
		return
	}
	if video {
		r.waitKey, r.behind, r.asked = false, false, false
	}
	r.grow()
	r.ring[(r.head+r.n)%len(r.ring)] = u
	r.n++
	// A marker that was lost must not hold the frame back: a unit of another
	// timestamp wakes the reader too.
	if !r.opts.PerFrame || !video || u.Packet.Marker || u.Packet.Timestamp != r.lastTS {
		r.due()
	}
	if video {
		r.lastTS = u.Packet.Timestamp
	}
}

func (r *Reader) grow() {
	if r.n < len(r.ring) {
		return
	}
	next := make([]*Unit, min(2*len(r.ring), r.opts.Queue))
	for i := range r.n {
		next[i] = r.ring[(r.head+i)%len(r.ring)]
	}
	r.ring, r.head = next, 0
}

// due wakes the reader for units that were queued.
func (r *Reader) due() {
	if r.opts.OnReady != nil {
		r.ready.Store(true)
		return
	}
	r.wake()
	if r.opts.Linger > 0 && r.n > r.opts.Queue/2 {
		signal(r.hurry)
	}
}

func (r *Reader) wake() { signal(r.notify) }

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// callReady calls OnReady if it is due. It is called without locks.
func (r *Reader) callReady() {
	if r.ready.CompareAndSwap(true, false) && !r.opts.OnReady() {
		r.wake()
	}
}

// Read returns the next unit. It blocks until there is one, ctx ends (its
// error), or the stream or the reader is closed and all is read (io.EOF).
func (r *Reader) Read(ctx context.Context) (*Unit, error) {
	var one [1]*Unit
	if _, err := r.ReadBatch(ctx, one[:]); err != nil {
		return nil, err
	}
	return one[0], nil
}

// ReadBatch fills dst with what is queued, at least one unit, and returns how
// many. It blocks and fails as Read does.
func (r *Reader) ReadBatch(ctx context.Context, dst []*Unit) (int, error) {
	for {
		n, closed, ask := r.take(dst)
		if ask {
			r.s.RequestKeyframe()
		}
		if n > 0 {
			return n, nil
		}
		if closed {
			return 0, io.EOF
		}
		select {
		case <-r.notify:
			r.linger(ctx)
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
}

// Wait returns nil when the reader has been woken: there may be units for
// TryReadBatch. It fails as Read does.
func (r *Reader) Wait(ctx context.Context) error {
	select {
	case <-r.notify:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed && r.n == 0 && len(r.backlog) == 0 {
		return io.EOF
	}
	return nil
}

// TryReadBatch is ReadBatch that does not wait: it returns 0 if nothing is
// queued.
func (r *Reader) TryReadBatch(dst []*Unit) int {
	n, _, ask := r.take(dst)
	if ask {
		r.s.RequestKeyframe()
	}
	return n
}

// linger lets more units come before they are taken.
func (r *Reader) linger(ctx context.Context) {
	if r.opts.Linger <= 0 {
		return
	}
	t := time.NewTimer(r.opts.Linger)
	defer t.Stop()
	select {
	case <-t.C:
	case <-r.hurry:
	case <-ctx.Done():
	}
}

// take moves what is queued to dst. ask is true if a reader that fell behind has
// room for a keyframe again. Asked for earlier, by a reader that has stalled, it
// would cost the picture of everyone else and not help.
func (r *Reader) take(dst []*Unit) (n int, closed, ask bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := copy(dst, r.backlog); n > 0 {
		r.backlog = r.backlog[n:]
		if len(r.backlog) == 0 {
			r.backlog = nil
		}
		r.wakeIfMore()
		return n, false, false
	}
	for n < len(dst) && r.n > 0 {
		dst[n] = r.ring[r.head]
		r.ring[r.head] = nil
		r.head = (r.head + 1) % len(r.ring)
		r.n--
		n++
	}
	r.wakeIfMore()
	ask = r.behind && !r.asked && r.n <= r.opts.Queue/2
	r.asked = r.asked || ask
	return n, r.closed, ask
}

func (r *Reader) wakeIfMore() {
	if r.n > 0 || len(r.backlog) > 0 || r.closed {
		r.wake()
	}
}

// Resync drops what is queued up to the next keyframe and asks for one: for a
// consumer that has fallen behind in ways that its queue does not show.
func (r *Reader) Resync() {
	r.mu.Lock()
	r.dropped += uint64(r.n + len(r.backlog))
	clear(r.ring)
	r.backlog, r.head, r.n, r.waitKey = nil, 0, 0, true
	r.behind, r.asked = true, true
	r.mu.Unlock()
	r.s.RequestKeyframe()
}

// Len is the number of units that wait.
func (r *Reader) Len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.n + len(r.backlog)
}

// Dropped counts the units that the reader lost because it was slow.
func (r *Reader) Dropped() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.dropped
}

// Close detaches the reader. A Read that waits returns io.EOF once all queued
// units are read. It is idempotent.
func (r *Reader) Close() {
	r.s.removeReader(r)
	r.end()
}

func (r *Reader) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	r.wake()
	signal(r.hurry)
}

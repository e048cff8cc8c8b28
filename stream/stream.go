// Package stream is the ground floor of the house: one published source, its
// tracks, and the fan-out to any number of readers that never makes the
// publisher wait.
//
// A Stream outlives its publishers. A way in takes the stream with Publish and
// writes Units; the stream splices them onto the sequence numbers, timestamps
// and VP8 picture ids of whatever came before, so that readers see one
// unbroken source. A way out takes a Reader and pulls.
package stream

import (
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// Errors by which callers decide.
var (
	// ErrClosed says that the stream (or the publication) has ended for good.
	ErrClosed = errors.New("stream: closed")
	// ErrReplaced says that another publisher has taken the stream over.
	ErrReplaced = errors.New("stream: replaced by another publisher")
)

// Bounds of one stream. They keep memory finite whatever a publisher sends.
const (
	// KeyframeGate is the least time between two keyframe requests to the
	// publisher, however many viewers ask. Chromium answers a PLI in 30-100 ms.
	KeyframeGate = 500 * time.Millisecond

	// keyframeRetry is how long a request may stay unanswered while video goes
	// on before it is made again.
	keyframeRetry = time.Second

	maxCacheUnits = 8192      // of the cached group of pictures
	maxCacheBytes = 16 << 20  // of payload in the cached group of pictures
	maxQueueUnits = 1024 * 16 // of one reader
)

// Config configures a Stream. The zero value is useful.
type Config struct {
	Name string       // for logs, "room/slot"
	Log  *slog.Logger // nil: slog.DiscardHandler
	Now  func() time.Time

	// Origin is the time of PTS 0; zero: now. A rendition takes that of its
	// source.
	Origin time.Time
}

// Stream is one published source inside a room. All methods may be called from
// any goroutine.
type Stream struct {
	name   string
	log    *slog.Logger
	now    func() time.Time
	origin time.Time
	parent *Stream // of which it is a layer, or nil

	mu      sync.Mutex // guards what follows
	pub     *Publication
	since   time.Time // pub is, or is not, nil since then
	lines   [2]line   // by Kind
	readers []*Reader
	eager   []*Reader // those of readers with OnReady; replaced, never changed
	cache   cache
	gate    gate
	meter   meter
	layers  []Layer       // in the order of the publisher
	changed chan struct{} // closed and renewed at each change of state
	stats   Stats
	closed  bool
}

// New returns a Stream whose timeline begins now, or at cfg.Origin.
func New(cfg Config) *Stream {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Origin.IsZero() {
		cfg.Origin = cfg.Now()
	}
	s := &Stream{
		name:    cfg.Name,
		log:     cfg.Log,
		now:     cfg.Now,
		origin:  cfg.Origin,
		since:   cfg.Origin,
		changed: make(chan struct{}),
	}
	s.gate.init(s)
	return s
}

// Name is the name given to New, "room/slot".
func (s *Stream) Name() string { return s.name }

// Origin is the wall-clock time at which PTS is 0.
func (s *Stream) Origin() time.Time { return s.origin }

// Since maps a wall-clock time of this machine onto the timeline of the stream.
func (s *Stream) Since(t time.Time) time.Duration { return t.Sub(s.origin) }

// Live says whether a publisher holds the stream at this moment.
func (s *Stream) Live() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pub != nil
}

// State is Live, and since when it is so; a stream that never had a publisher
// is not live since its origin.
func (s *Stream) State() (live bool, since time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pub != nil, s.since
}

// Tracks returns the tracks that the present (or the last) publisher sent, at
// most one audio and one video, audio first. A track appears with its first
// unit; for video, with the first keyframe.
func (s *Stream) Tracks() []*Track {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tracksLocked()
}

func (s *Stream) tracksLocked() []*Track {
	var ts []*Track
	for i := range s.lines {
		if t := s.lines[i].track; t != nil {
			ts = append(ts, t)
		}
	}
	return ts
}

// Keyframe returns the packets of the newest keyframe, in order, or nil. They
// are shared: read-only.
func (s *Stream) Keyframe() []*Unit {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cache.keyframe()
}

// Changed returns a channel that is closed at the next change of the state: a
// publisher came, went or was replaced, a track appeared or changed, the size
// of the picture changed, the stream was closed, or any of this happened to one
// of its layers.
func (s *Stream) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

func (s *Stream) changedLocked() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// RequestKeyframe asks the publisher for a keyframe. Requests are coalesced: at
// most one per KeyframeGate reaches the publisher, and one that came too early
// is sent at the end of the gate unless a keyframe has come meanwhile.
func (s *Stream) RequestKeyframe() {
	s.mu.Lock()
	f := s.gate.askLocked(s.now())
	s.mu.Unlock()
	call(f)
}

// Close ends the stream for good: readers get io.EOF after what they have
// queued, the publication gets ErrClosed. It is idempotent.
func (s *Stream) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.closed = true
	s.gate.stopLocked()
	if s.pub != nil {
		s.pub.endLocked(ErrClosed)
	}
	for _, r := range s.readers {
		s.stats.Dropped += r.Dropped()
		r.end()
	}
	s.readers = nil
	s.cache.reset()
	s.keepLayersLocked(nil)
	s.changedLocked()
}

// Stats is a snapshot of the counters of a Stream.
type Stats struct {
	Units            uint64 // packets written, after ordering
	Bytes            uint64 // of RTP payload
	Keyframes        uint64
	KeyframeRequests uint64 // that reached the publisher
	Dropped          uint64 // units that slow readers lost, readers of the past included
	Readers          int
}

// Stats returns the counters.
func (s *Stream) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.stats
	st.Readers = len(s.readers)
	st.KeyframeRequests = s.gate.sent
	for _, r := range s.readers {
		st.Dropped += r.Dropped()
	}
	return st
}

// NewReader attaches a Reader. The caller must Close it.
func (s *Stream) NewReader(opts ReaderOptions) (*Reader, error) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil, ErrClosed
	}
	r := newReader(s, opts)
	if opts.Backlog > 0 && s.cache.age(s.now()) <= opts.Backlog {
		r.preload(s.cache.units)
	}
	s.readers = append(s.readers, r)
	if opts.OnReady != nil {
		s.eager = append(slices.Clip(s.eager), r)
	}
	var ask func()
	if r.waitKey && s.pub != nil {
		ask = s.gate.askLocked(s.now())
	}
	s.mu.Unlock()
	call(ask)
	return r, nil
}

func (s *Stream) removeReader(r *Reader) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.Index(s.readers, r)
	if i < 0 {
		return
	}
	s.stats.Dropped += r.Dropped()
	s.readers = slices.Delete(s.readers, i, i+1)
	if i := slices.Index(s.eager, r); i >= 0 {
		s.eager = append(slices.Clone(s.eager[:i]), s.eager[i+1:]...)
	}
}

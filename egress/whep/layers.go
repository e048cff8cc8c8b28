package whep

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lectern/lectern/stream"
	"github.com/lectern/lectern/stream/frame"
)

// ErrNoLayer says that the layer which was asked for does not exist.
var ErrNoLayer = errors.New("whep: no such layer")

// Layer is one encoding of a video m-line that a viewer can get.
type Layer struct {
	Line     int    // index of the m-line in the answer
	RID      string // of simulcast; "" without
	Spatial  int    // 0 is the lowest
	Temporal int    // 0 is the lowest
	Bitrate  int    // bit/s over the last second; 0: nothing comes
	Width    int    // pixels; 0: not known
	Height   int    // pixels; 0: not known
}

// LayerChoice is what a viewer wants of the layers. Nil fields leave the choice
// to the gateway, and so does the zero value. The bounds (Max...) are wishes:
// where every layer exceeds them the smallest is sent.
type LayerChoice struct {
	Line                    *int // nil: the first video m-line
	RID                     *string
	Spatial, Temporal       *int
	MaxSpatial, MaxTemporal *int
	MaxWidth, MaxHeight     *int // pixels
}

// Layers returns what the publisher sends at this moment, by m-line, lowest
// first: an entry for each layer of simulcast, and for each spatial and temporal
// layer within; one as long as there is nothing to choose; none if the viewer
// did not ask for video or there was none yet. The bitrate is that of a layer
// with all below it. Safe for concurrent use.
func (s *Session) Layers() []Layer {
	if s.line < 0 {
		return nil
	}
	sh := s.v.shard.Load()
	if sh != nil {
		if all := sh.describe(s.line); all != nil {
			return all
		}
	}
	var out []Layer
	for _, l := range s.v.st.Layers() {
		d := Layer{Line: s.line, RID: l.ID}
		d.Width, d.Height = l.Stream.Size()
		if l.Stream.Flowing() {
			d.Bitrate = int(l.Stream.Rate())
		}
		out = append(out, d)
	}
	if out != nil {
		return out
	}
	return s.only(sh)
}

// only is the layer of a publisher that sends one.
func (s *Session) only(sh *shard) []Layer {
	for _, t := range s.v.st.Tracks() {
		if t.Kind != stream.Video {
			continue
		}
		l := Layer{Line: s.line}
		if sh != nil {
			l.Bitrate, l.Width, l.Height = sh.video.read(s.v.st)
		} else {
			_, l.Width, l.Height = new(meter).read(s.v.st)
		}
		if !s.v.st.Live() {
			l.Bitrate = 0
		}
		return []Layer{l}
	}
	return nil
}

// describe tells of the qualities; nil while there is nothing to choose.
func (sh *shard) describe(line int) []Layer {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if !sh.adaptive {
		return nil
	}
	inputs := sh.layers
	if len(inputs) == 0 {
		inputs = []*input{sh.main}
	}
	var out []Layer
	for _, in := range inputs {
		for _, q := range in.qualities(nil, in.flowing()) {
			for t, rate := range q.temporal {
				l := Layer{Line: line, RID: q.rid, Spatial: int(q.spatial), Temporal: t, Width: q.w, Height: q.h}
				if q.flowing {
					l.Bitrate = int(rate)
				}
				out = append(out, l)
			}
		}
	}
	if len(out) == 1 {
		return nil
	}
	return out
}

// Select sends what fits c from now on, as far as the network carries it: of a
// layer that is too much for it, the sound would suffer, so that the best below
// is sent until it is not. It returns ErrNoLayer if c names an m-line, an
// encoding or a layer that does not exist; the choice is then as before. Safe
// for concurrent use.
func (s *Session) Select(c LayerChoice) error {
	if s.line < 0 || c.Line != nil && *c.Line != s.line {
		return ErrNoLayer
	}
	if (c.RID != nil || c.Spatial != nil || c.Temporal != nil) && !slices.ContainsFunc(s.Layers(), func(l Layer) bool {
		return (c.RID == nil || *c.RID == l.RID && l.RID != "") && fits(c.Spatial, l.Spatial) && fits(c.Temporal, l.Temporal)
	}) {
		return ErrNoLayer
	}
	s.v.wish.Store(&c)
	if sh := s.v.shard.Load(); sh != nil {
		sh.chosen(s.v)
	}
	return nil
}

// chosen makes the wish of v count at once.
func (sh *shard) chosen(v *viewer) {
	now := time.Now()
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.adaptive {
		sh.lookLocked(now)
		sh.decideLocked(v, now)
		sh.poke()
	}
}

// fits says whether the wish, if there is one, is for have.
func fits(wish *int, have int) bool { return wish == nil || *wish == have }

// meter measures what video a shard gets. Safe for concurrent use.
type meter struct {
	bytes atomic.Int64 // of payload since the last tick

	mu            sync.Mutex // guards what follows
	since         time.Time
	rate          int          // bit/s of the interval before
	key           *stream.Unit // the keyframe whose size is known
	width, height int
}

// tick ends an interval.
func (m *meter) tick(now time.Time) {
	n := m.bytes.Swap(0)
	m.mu.Lock()
	defer m.mu.Unlock()
	if d := now.Sub(m.since); !m.since.IsZero() && d > 0 {
		m.rate = int(float64(n) * 8 / d.Seconds())
	}
	m.since = now
}

// read returns the bitrate, and the size of the newest picture of st, which is
// looked at once for each keyframe however many ask.
func (m *meter) read(st *stream.Stream) (rate, width, height int) {
	key := st.Keyframe()
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(key) > 0 && m.key != key[0] {
		m.key = key[0]
		m.width, m.height = pictureSize(key)
	}
	return m.rate, m.width, m.height
}

// pictureSize reads the size out of a keyframe, 0 if it cannot.
func pictureSize(key []*stream.Unit) (width, height int) {
	a := frame.NewAssembler()
	for _, u := range key {
		if u.Track.Kind != stream.Video {
			continue
		}
		if au, ok := a.Push(u); ok {
			width, height, _ = frame.VideoSize(u.Track.Codec, au.Data)
			return width, height
		}
	}
	return 0, 0
}

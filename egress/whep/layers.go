package whep

import (
	"errors"
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

// Layers returns what the publisher sends at this moment, by m-line: one layer
// as long as publishers send one encoding, none if the viewer did not ask for
// video or there was none yet. Safe for concurrent use.
func (s *Session) Layers() []Layer {
	if s.line < 0 {
		return nil
	}
	for _, t := range s.v.st.Tracks() {
		if t.Kind != stream.Video {
			continue
		}
		l := Layer{Line: s.line}
		if sh := s.v.shard.Load(); sh != nil {
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

// Select sends the layer that fits c from now on. It returns ErrNoLayer if c
// names an m-line, an encoding or a layer that does not exist; the choice is
// then as before. Safe for concurrent use.
//
// With one layer there is nothing to switch: what can be chosen is what is sent.
func (s *Session) Select(c LayerChoice) error {
	if s.line < 0 || c.Line != nil && *c.Line != s.line {
		return ErrNoLayer
	}
	if c.RID == nil && c.Spatial == nil && c.Temporal == nil {
		return nil // automatic within bounds
	}
	for _, l := range s.Layers() {
		if (c.RID == nil || *c.RID == l.RID && l.RID != "") && fits(c.Spatial, l.Spatial) && fits(c.Temporal, l.Temporal) {
			return nil
		}
	}
	return ErrNoLayer
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

package whep

import (
	"bytes"
	"errors"
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
	line := videoLine(s.Answer())
	if line < 0 {
		return nil
	}
	for _, t := range s.v.st.Tracks() {
		if t.Kind != stream.Video {
			continue
		}
		l := Layer{Line: line}
		l.Width, l.Height = pictureSize(s.v.st)
		if sh := s.v.shard.Load(); sh != nil && s.v.st.Live() {
			l.Bitrate = sh.bitrate()
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
	line := videoLine(s.Answer())
	if line < 0 || c.Line != nil && *c.Line != line {
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

// videoLine is the index of the video m-line of an SDP, -1 for none.
func videoLine(sdp []byte) int {
	n := -1
	for line := range bytes.Lines(sdp) {
		if !bytes.HasPrefix(line, []byte("m=")) {
			continue
		}
		n++
		if bytes.HasPrefix(line, []byte("m=video ")) {
			return n
		}
	}
	return -1
}

// pictureSize reads the size out of the newest keyframe, 0 if there is none.
func pictureSize(st *stream.Stream) (width, height int) {
	a := frame.NewAssembler()
	for _, u := range st.Keyframe() {
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

// meter measures what video a shard gets. It is guarded by shard.mu.
type meter struct {
	since time.Time
	bytes int // of payload since then
	rate  int // bit/s of the interval before
}

// tick ends an interval.
func (m *meter) tick(now time.Time) {
	if d := now.Sub(m.since); !m.since.IsZero() && d > 0 {
		m.rate = int(float64(m.bytes) * 8 / d.Seconds())
	}
	m.since, m.bytes = now, 0
}

func (sh *shard) bitrate() int {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return sh.video.rate
}

package transcode

import (
	"testing"
	"time"

	"github.com/lectern/lectern/stream"
	"github.com/lectern/lectern/stream/frame"
)

// countWriter counts what the multiplexer writes.
type countWriter struct{ writes int }

func (w *countWriter) Write(p []byte) (int, error) { w.writes++; return len(p), nil }

// With discontinuous transmission one packet comes each 400 ms. That its PTS is
// a microsecond off must not leave a hole of a packet each time.
func TestSession_SilenceOfDTXLeavesNoHoles(t *testing.T) {
	opus := []byte{0xfc, 0xff, 0xfe} // 20 ms
	p := plan{stream.Audio: way{codec: stream.Opus}}
	for _, off := range []time.Duration{-time.Microsecond, 0, time.Microsecond} {
		mux, err := newMatroska(&countWriter{}, p, 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		s := &session{plan: p, mux: mux, fill: fillFirst}
		const period = 400 * time.Millisecond
		for i := range 50 {
			pts := time.Duration(i) * period
			if i%2 == 1 {
				pts += off
			}
			before := s.audioEnd
			w := &countWriter{}
			mux.w = w
			if err := s.audio(&frame.AccessUnit{PTS: pts, Data: opus}); err != nil {
				t.Fatal(err)
			}
			if fed := time.Duration(w.writes) * opusRest; i > 0 && (fed-(s.audioEnd-before)).Abs() > opusRest/2 {
				t.Fatalf("offset %v, packet %d: %v of sound for %v of time", off, i, fed, s.audioEnd-before)
			}
		}
	}
}

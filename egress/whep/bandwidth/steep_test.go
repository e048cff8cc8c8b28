package bandwidth_test

import (
	"testing"
	"time"
)

// A network that becomes narrow at a stroke must be left before its queue is
// full of what the viewer will not see whole: within the next feedback but one.
func TestEstimator_SeesAStrokeBeforeTheQueueIsFull(t *testing.T) {
	for phase := range 10 {
		change := 10*time.Second + time.Duration(phase)*10*time.Millisecond
		w := newWorld(link{rate: steps(time.Duration(0), 3e6, change, 400e3), buffer: 24000}, 150e3, 500e3, 2000e3)
		w.run(change)
		if w.layer != 2 {
			t.Fatalf("phase %d: layer %d before, want 2", phase, w.layer)
		}
		for w.layer == 2 {
			w.run(w.now + time.Millisecond)
			if w.now > change+2*time.Second {
				t.Fatalf("phase %d: not seen", phase)
			}
		}
		took := w.now - change
		t.Logf("phase %d: layer %d after %v, estimate %.0f", phase, w.layer, took, w.est.Rate())
		if took > 240*time.Millisecond || w.layer != 0 {
			t.Errorf("phase %d: layer %d after %v", phase, w.layer, took)
		}
	}
}

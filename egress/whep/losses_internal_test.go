package whep

import (
	"testing"
	"time"

	"github.com/pion/rtcp"
)

// Reports that come with every NACK tell of single packets; what counts is the
// part over a second.
func TestLosses(t *testing.T) {
	const ms = time.Millisecond
	var l losses
	now := time.Unix(1000, 0)
	for i, tc := range []struct {
		after         time.Duration
		highest, lost uint32
		fraction      uint8
		part          float64
		whole         bool
	}{
		{0, 70000, 0, 0, 0, true},
		{100 * ms, 70004, 1, 64, 0, false},
		{300 * ms, 70008, 2, 64, 0, false},
		{500 * ms, 70100, 5, 12, 0.05, true},
		{100 * ms, 70104, 6, 64, 0, false},
		{900 * ms, 70200, 2, 0, 0, true},           // doubles
		{900 * ms, 70300, 1<<24 - 1, 0, 0, true},   // below zero, in 24 bits
		{900 * ms, 70400, 9, 25, 0.1, true},        // and back
		{900 * ms, 70400, 9, 0, 0, false},          // nothing came
		{900 * ms, 60000, 3, 0, 0, false},          // numbered anew
		{900 * ms, 60100, 103 + 20, 255, 1, true},  // all
		{900 * ms, 60100 + 1<<30, 123, 0, 0, true}, // wild
		{time.Hour, 60100 + 1<<30 + 4, 124, 64, .25, true},
	} {
		now = now.Add(tc.after)
		part, whole := l.take(&rtcp.ReceptionReport{LastSequenceNumber: tc.highest, TotalLost: tc.lost, FractionLost: tc.fraction}, now)
		if part != tc.part || whole != tc.whole {
			t.Errorf("report %d: got %v, %t; want %v, %t", i, part, whole, tc.part, tc.whole)
		}
	}
}

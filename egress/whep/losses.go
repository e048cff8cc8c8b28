package whep

import (
	"time"

	"github.com/pion/rtcp"
)

// lossEvery is over how long losses are counted at least. Chromium puts a report
// before each NACK, of the few packets around what is missing.
const lossEvery = 900 * time.Millisecond

// losses measures by the cumulative counts of reception reports (RFC 3550,
// section 6.4.1) what part of the packets does not arrive.
type losses struct {
	at      time.Time // of the report that is compared with
	highest uint32    // extended sequence number
	lost    uint32    // 24 bits
}

// take returns the part that was lost since the report compared with, 0 to 1. It
// reports false if that is too short ago.
func (l *losses) take(r *rtcp.ReceptionReport, at time.Time) (part float64, whole bool) {
	before := *l
	if !before.at.IsZero() && at.Sub(before.at) < lossEvery {
		return 0, false
	}
	*l = losses{at: at, highest: r.LastSequenceNumber, lost: r.TotalLost}
	if before.at.IsZero() {
		return float64(r.FractionLost) / 256, true
	}
	expected := int32(r.LastSequenceNumber - before.highest)
	if expected <= 0 {
		return 0, false
	}
	lost := int32((r.TotalLost-before.lost)<<8) >> 8 // repairs and doubles may make it fall
	return min(max(float64(lost), 0)/float64(expected), 1), true
}

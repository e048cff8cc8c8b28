package ingest

import (
	"time"

	"github.com/pion/rtcp"
)

// report keeps the statistics of a receiver report (RFC 3550, section 6.4.1 and
// appendix A). Repairs do not count as received: the publisher must learn what
// its network really loses.
type report struct {
	base    int64 // extended sequence number of the first packet
	highest int64
	count   int64 // received

	expectedBefore, countBefore int64 // at the last report

	begun   time.Time
	transit float64 // of the last packet, in ticks
	timed   bool
	jitter  float64 // in ticks

	lastSR   uint32 // middle 32 bits of its NTP time
	lastSRAt time.Time
}

func (r *report) begin(p Packet) {
	r.base = firstSeq + int64(p.SequenceNumber)
	r.highest = r.base - 1
	r.begun = p.Arrival
}

// renumbered begins anew after highest. What was lost so far is forgotten.
func (r *report) renumbered(highest int64) {
	r.base, r.highest, r.count = highest+1, highest, 0
	r.expectedBefore, r.countBefore = 0, 0
	r.timed = false
}

func (r *report) received(p Packet, repair bool) {
	if repair {
		return
	}
	r.count++
	// Appendix A.8, with the difference taken in 32 bits so that timestamps wrap.
	arrival := uint32(int64(p.Arrival.Sub(r.begun).Seconds() * float64(p.Format.ClockRate)))
	transit := float64(int32(arrival - p.Timestamp))
	if r.timed {
		d := transit - r.transit
		if d < 0 {
			d = -d
		}
		// A jump of the timestamps is no jitter.
		if d < float64(p.Format.ClockRate) {
			r.jitter += (d - r.jitter) / 16
		}
	}
	r.transit, r.timed = transit, true
}

// SenderReport notes when a sender report came: the next report answers it.
func (r *Receiver) SenderReport(ntp uint64, arrival time.Time) {
	r.report.lastSR = uint32(ntp >> 16)
	r.report.lastSRAt = arrival
}

// Report returns the reception report on source ssrc since the last call. It
// reports false if nothing has come yet.
func (r *Receiver) Report(ssrc uint32, now time.Time) (rtcp.ReceptionReport, bool) {
	if !r.started {
		return rtcp.ReceptionReport{}, false
	}
	s := &r.report
	expected := s.highest - s.base + 1
	lost := expected - s.count
	out := rtcp.ReceptionReport{
		SSRC:               ssrc,
		TotalLost:          uint32(min(max(lost, 0), 0x7fffff)),
		LastSequenceNumber: uint32(s.highest - firstSeq),
		Jitter:             uint32(s.jitter),
		LastSenderReport:   s.lastSR,
	}
	expectedNow, countNow := expected-s.expectedBefore, s.count-s.countBefore
	s.expectedBefore, s.countBefore = expected, s.count
	if expectedNow > 0 && expectedNow > countNow {
		out.FractionLost = uint8(min((expectedNow-countNow)*256/expectedNow, 255))
	}
	if s.lastSR != 0 {
		out.Delay = uint32(now.Sub(s.lastSRAt).Seconds() * 65536)
	}
	return out, true
}

package bandwidth

import "time"

const (
	// badLoss in two reports running is taken for congestion: chance rarely
	// brings that.
	badLoss  = 0.10
	goodLoss = 0.03
	// badRTT is how much longer than the least a round trip may take.
	badRTT = 250 * time.Millisecond

	// growth is the step up with each good report, some one a second.
	growth = 1.08

	// After a step down nothing is tried for firstHold; each step down before the
	// next success doubles it.
	firstHold = 10 * time.Second
	mostHold  = time.Minute
)

// Report is what a receiver report tells (RFC 3550, section 6.4.2).
type Report struct {
	Loss    float64       // share of the packets since the report before, 0 to 1
	RTT     time.Duration // 0: unknown
	Sending float64       // what is sent at the moment, bit/s
	Most    float64       // what more than this would not be used, bit/s
}

// Reports is the estimate for a viewer that sends receiver reports only. They
// come once a second and tell of loss when it is late: down it goes like an
// Estimator, if slower, and up with caution, because only sending more shows
// whether there is room. Use NewReports.
type Reports struct {
	est    Estimate
	bad    int
	least  time.Duration
	until  time.Time // no growth before
	hold   time.Duration
	downAt time.Time
}

// NewReports returns a Reports that begins with start bit/s.
func NewReports(start float64) *Reports {
	return &Reports{est: Estimate{Rate: bound(start)}, hold: firstHold}
}

// Report takes a report that came at.
func (r *Reports) Report(rep Report, at time.Time) {
	e := &r.est
	e.Proven = true // as far as it goes
	e.Loss, e.Received = rep.Loss, rep.Sending*(1-rep.Loss)
	if rep.RTT > 0 {
		e.RTT = rep.RTT
		if r.least == 0 || rep.RTT < r.least {
			r.least = rep.RTT
		}
		e.Queue = rep.RTT - r.least
	}
	if rep.Loss > badLoss || rep.RTT > 0 && e.Queue > badRTT {
		r.bad++
	} else {
		r.bad = 0
		e.State = Normal
	}
	switch {
	case r.bad >= 2 && at.Sub(r.downAt) > 2*time.Second:
		e.Rate = bound(min(e.Rate, 0.8*e.Received))
		e.State = Congested
		r.downAt, r.until = at, at.Add(r.hold)
		r.hold = min(2*r.hold, mostHold)
	case r.bad == 0 && rep.Loss < goodLoss && at.After(r.until):
		if !r.downAt.IsZero() && at.Sub(r.downAt) > mostHold {
			r.hold = firstHold
		}
		// What has arrived is carried, whatever was believed.
		e.Rate = bound(max(e.Rate, e.Received, min(growth*e.Rate, rep.Most)))
	}
}

// Estimate tells what is known.
func (r *Reports) Estimate() Estimate { return r.est }

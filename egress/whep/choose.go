package whep

import (
	"slices"
	"time"
)

const (
	// upMargin is what the estimate must exceed a quality by before it is taken,
	// and upAfter for how long.
	upMargin = 1.15
	upAfter  = time.Second

	// A quality that was given up is not taken again for firstBar, unless the
	// network has become another: the estimate newNetwork times what it was. A
	// quality that could not be held for barMemory is barred whatever the
	// estimate says, and for twice as long each time.
	firstBar   = 5 * time.Second
	mostBar    = 30 * time.Second
	barMemory  = 8 * time.Second
	newNetwork = 1.5

	// freezeAfter is how long not even the lowest quality must fit before the
	// picture stops, for the sake of the sound. freezeBelow is the share of it
	// that the estimate must be below: with a little less it may still be seen.
	freezeAfter = 2 * time.Second
	freezeBelow = 0.7

	// thawAfter is how long the picture of a viewer stands still of whose network
	// nothing can be learnt meanwhile: then it is shown for freezeAfter at least.
	thawAfter = 8 * time.Second
)

// quality is one picture that a viewer can get: a layer of simulcast, or a
// spatial layer of a stream with several.
type quality struct {
	rid      string
	spatial  uint8
	w, h     int       // 0: not known
	temporal []float64 // bit/s with the temporal layers up to the index; not empty
	flowing  bool
	key      string // see name; "" if not yet made
}

func (q *quality) rate() float64 { return q.temporal[len(q.temporal)-1] }

func (q *quality) top() uint8 { return uint8(len(q.temporal) - 1) }

// Reason says in a stable word why a viewer gets what it gets.
type Reason string

// The reasons.
const (
	ReasonOnlyOne     Reason = "only_one"     // there is nothing to choose
	ReasonBest        Reason = "best"         // the best that flows
	ReasonBandwidth   Reason = "bandwidth"    // the network carries no more
	ReasonRising      Reason = "rising"       // the network is being tried for more
	ReasonExplicit    Reason = "explicit"     // the viewer has chosen
	ReasonTooMuch     Reason = "too_much"     // less than the viewer has chosen: the network carries no more
	ReasonUnavailable Reason = "unavailable"  // what the viewer has chosen does not flow
	ReasonFrozen      Reason = "frozen"       // the network carries no picture, only sound
	ReasonNone        Reason = "nothing_sent" // no quality flows
)

// bar keeps a viewer from going up to what has just failed.
type bar struct {
	until time.Time
	rate  float64 // the estimate at the time
	wait  time.Duration
	upAt  time.Time // when the quality was taken last

	failed bool // it was taken after the bar before, and not held
}

// decision is what a viewer should get.
type decision struct {
	q        int // index into the qualities; -1: none flows
	temporal uint8
	frozen   bool
	reason   Reason
	want     float64 // rate that the network should be tried for; 0: enough is known
}

// chooser chooses for one viewer. It is pure: what it sees is handed in.
type chooser struct {
	now     decision
	rid     string // of now
	spatial uint8
	begun   bool // something is being sent
	whole   bool // with all of the temporal layers that were known and wanted

	fitSince map[string]time.Time // by name: since when it would fit with the margin
	bars     map[string]bar
	tooLow   time.Time // since when not even the lowest fits
	loweredT time.Time // when temporal layers were left out last
}

// situation is what a chooser sees.
type situation struct {
	at     time.Time
	all    []quality // lowest first
	rate   float64   // estimate, bit/s
	proven bool
	blind  bool // the estimate stands still while nothing is sent
	wish   LayerChoice
}

// name tells qualities apart.
func (q *quality) name() string {
	if q.key == "" {
		q.key = q.rid + "/" + string('0'+rune(q.spatial))
	}
	return q.key
}

// choose decides anew.
func (c *chooser) choose(s *situation) decision {
	if c.fitSince == nil {
		c.fitSince, c.bars = map[string]time.Time{}, map[string]bar{}
	}
	may, missed := allowed(s)
	if len(may) == 0 {
		c.now, c.begun = decision{q: -1, reason: ReasonNone}, false
		return c.now
	}
	c.observe(s, may)
	cur := slices.IndexFunc(may, func(i int) bool { return c.begun && s.all[i].rid == c.rid && s.all[i].spatial == c.spatial })
	d := decision{temporal: c.now.temporal, frozen: c.now.frozen}
	best := may[len(may)-1]
	switch {
	case cur < 0:
		d.q, d.temporal = fitting(s, may)
		d.frozen = false
		c.took(s, d.q)
	default:
		d.q = may[cur]
		if most := wishTemporal(s, &s.all[d.q]); c.whole || d.temporal > most {
			d.temporal = most // more may have become known, or be wanted
		}
		c.down(s, may[:cur+1], &d)
		if d.q == may[cur] {
			c.up(s, may[cur:], &d)
		}
	}
	c.freeze(s, &s.all[may[0]], &d)
	d.reason = c.why(s, &d, best, missed)
	if q := &s.all[best]; d.q != best || d.frozen || d.temporal < wishTemporal(s, q) {
		d.want = upMargin * q.temporal[wishTemporal(s, q)]
		if d.frozen {
			d.want = s.all[may[0]].temporal[0]
		}
	}
	c.now, c.rid, c.spatial, c.begun = d, s.all[d.q].rid, s.all[d.q].spatial, true
	c.whole = d.temporal >= wishTemporal(s, &s.all[d.q])
	return d
}

// allowed returns those that flow and agree with the wish; where none does, the
// smallest, and missed.
func allowed(s *situation) (may []int, missed bool) {
	var flowing []int
	for i := range s.all {
		if s.all[i].flowing {
			flowing = append(flowing, i)
		}
	}
	w := &s.wish
	for _, i := range flowing {
		q := &s.all[i]
		if (w.RID == nil || *w.RID == q.rid) && fits(w.Spatial, int(q.spatial)) && within(w.MaxSpatial, int(q.spatial)) &&
			within(w.MaxWidth, q.w) && within(w.MaxHeight, q.h) {
			may = append(may, i)
		}
	}
	exact := w.exact()
	switch {
	case len(flowing) == 0:
		return nil, exact
	case len(may) == 0 && exact:
		return flowing, true
	case len(may) == 0:
		return flowing[:1], false
	case exact:
		// What the network does not carry is of no use: lower ones are in reach.
		return flowing[:slices.Index(flowing, may[len(may)-1])+1], false
	}
	return may, false
}

// exact says whether a layer is named.
func (c *LayerChoice) exact() bool { return c.RID != nil || c.Spatial != nil }

func within(most *int, have int) bool { return most == nil || have <= *most }

// wishTemporal is the highest temporal layer of q that the viewer wants.
func wishTemporal(s *situation, q *quality) uint8 {
	top := int(q.top())
	for _, most := range []*int{s.wish.Temporal, s.wish.MaxTemporal} {
		if most != nil {
			top = min(top, *most)
		}
	}
	return uint8(max(top, 0))
}

// fitting is the best that fits into the estimate, or the lowest.
func fitting(s *situation, may []int) (q int, temporal uint8) {
	for k := len(may) - 1; k >= 0; k-- {
		q := &s.all[may[k]]
		if top := wishTemporal(s, q); q.temporal[top] <= s.rate {
			return may[k], top
		}
	}
	q = may[0]
	return q, lowered(s, &s.all[q], 0)
}

// lowered is the highest temporal layer from least on that fits, else least.
func lowered(s *situation, q *quality, least uint8) uint8 {
	t := wishTemporal(s, q)
	for t > least && q.temporal[t] > s.rate {
		t--
	}
	return t
}

// observe notes since when each quality fits.
func (c *chooser) observe(s *situation, may []int) {
	for i := range s.all {
		q := &s.all[i]
		n, rate := q.name(), q.temporal[wishTemporal(s, q)]
		switch {
		case !slices.Contains(may, i) || !s.proven || rate > s.rate:
			delete(c.fitSince, n)
		case c.fitSince[n].IsZero() && upMargin*rate <= s.rate:
			// The margin is for this moment: what is measured of a layer goes up and
			// down, and the estimate rests on a probe that may not come again soon.
			c.fitSince[n] = s.at
		}
	}
	if len(c.fitSince) > 4*len(s.all)+8 || len(c.bars) > 32 { // of publishers long gone
		clear(c.fitSince)
		clear(c.bars)
	}
}

// down gives up at once what does not fit: one temporal layer first, then the
// layer, and of the lowest all temporal layers but the base. may ends with the
// present one.
func (c *chooser) down(s *situation, may []int, d *decision) {
	q := &s.all[d.q]
	if q.temporal[d.temporal] <= s.rate {
		return
	}
	least := uint8(0)
	if top := q.top(); len(may) > 1 && top > 0 {
		least = top - 1
	}
	if t := lowered(s, q, min(least, d.temporal)); q.temporal[t] <= s.rate || len(may) == 1 {
		d.temporal, c.loweredT = t, s.at
		return
	}
	b := c.bars[q.name()]
	b.failed = b.wait > 0 && s.at.Sub(b.upAt) <= barMemory
	if b.failed {
		b.wait = min(2*b.wait, mostBar)
	} else {
		b.wait = firstBar
	}
	b.until, b.rate = s.at.Add(b.wait), s.rate
	c.bars[q.name()] = b
	d.q, d.temporal = fitting(s, may[:len(may)-1])
}

// up takes the best that has fitted for long enough. may begins with the
// present one.
func (c *chooser) up(s *situation, may []int, d *decision) {
	for k := len(may) - 1; k > 0; k-- {
		q := &s.all[may[k]]
		since := c.fitSince[q.name()]
		proven := !since.IsZero() && s.at.Sub(since) >= upAfter
		// Who has chosen need not wait for what fits.
		if chosen := s.wish.exact() && q.temporal[wishTemporal(s, q)] <= s.rate; !proven && !chosen || c.barred(q, s) {
			continue
		}
		d.q, d.temporal = may[k], wishTemporal(s, q)
		c.took(s, d.q)
		return
	}
	q := &s.all[d.q]
	want := wishTemporal(s, q)
	since := c.fitSince[q.name()]
	if d.temporal < want && !since.IsZero() && s.at.Sub(since) >= upAfter && s.at.Sub(c.loweredT) >= firstBar {
		d.temporal = want
	}
}

func (c *chooser) barred(q *quality, s *situation) bool {
	b, ok := c.bars[q.name()]
	return ok && s.at.Before(b.until) && (b.failed || s.rate < newNetwork*b.rate)
}

func (c *chooser) took(s *situation, q int) {
	n := s.all[q].name()
	b := c.bars[n]
	b.upAt = s.at
	c.bars[n] = b
}

// freeze stops the picture when not even the lowest fits for long, and lets it
// go on when it does.
func (c *chooser) freeze(s *situation, lowest *quality, d *decision) {
	base := lowest.temporal[0]
	switch {
	case s.rate >= base:
		c.tooLow = time.Time{}
		d.frozen = false
	case s.rate < freezeBelow*base && s.proven && c.tooLow.IsZero():
		c.tooLow = s.at
	case s.rate >= freezeBelow*base && !d.frozen:
		c.tooLow = time.Time{}
	}
	if d.frozen && s.blind && s.at.Sub(c.tooLow) >= freezeAfter+thawAfter {
		c.tooLow, d.frozen = s.at, false
	}
	if !c.tooLow.IsZero() && s.at.Sub(c.tooLow) >= freezeAfter {
		d.frozen = true
	}
}

func (c *chooser) why(s *situation, d *decision, best int, missed bool) Reason {
	q := &s.all[best]
	whole := d.q == best && d.temporal >= wishTemporal(s, q)
	exact := s.wish.exact() || s.wish.Temporal != nil
	bounded := s.wish.MaxSpatial != nil || s.wish.MaxTemporal != nil || s.wish.MaxWidth != nil || s.wish.MaxHeight != nil
	switch {
	case d.frozen:
		return ReasonFrozen
	case missed:
		return ReasonUnavailable
	case exact && whole:
		return ReasonExplicit
	case exact:
		return ReasonTooMuch
	case len(s.all) == 1 && s.all[0].top() == 0:
		return ReasonOnlyOne
	case whole && bounded:
		return ReasonExplicit
	case whole:
		return ReasonBest
	case upMargin*q.rate() <= s.rate:
		return ReasonRising
	}
	return ReasonBandwidth
}

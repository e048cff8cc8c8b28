package storage

import (
	"sync"
	"time"

	"github.com/lectern/lectern/stream"
	"github.com/lectern/lectern/stream/frame"
)

const (
	// maxGaps bounds the gaps of a manifest; past it the last one of a kind grows.
	maxGaps = 4096
	// endGap is how long a lost publisher must be away at the end of a lecture
	// to be marked; endPause is the same for a kind that went silent. Screens
	// that do not change send a frame per second at least.
	endGap   = time.Second
	endPause = 5 * time.Second
)

// line follows one kind of one slot and marks what is missing.
type line struct {
	slot string
	kind stream.Kind
	away *absence

	track   *stream.Track // of the newest access unit
	end     time.Duration // of what has come
	resumed bool          // end is of a recording that a crash broke off
	dropped func() uint64 // units that the reader lost; nil: none
	lost    uint64        // dropped at the newest access unit
}

// note marks the gap before au, if there is one. au lasts for length.
func (l *line) note(r *Recording, au *frame.AccessUnit, at, length time.Duration) {
	var lost uint64
	if l.dropped != nil {
		lost = l.dropped()
	}
	if at-l.end >= minGap && (l.track != nil || l.resumed) {
		if reason := l.reason(au, at, lost > l.lost); reason != "" {
			r.addGap(Gap{Stream: l.slot, Kind: l.kind.String(), FromMS: ms(l.end), ToMS: ms(at), Reason: reason})
		}
	}
	l.track, l.resumed, l.lost = au.Track, false, lost
	l.end = max(l.end, at+length)
}

// reason tells why nothing came between l.end and at; empty if that is no gap:
// a microphone with discontinuous transmission, a screen that stood still.
func (l *line) reason(au *frame.AccessUnit, at time.Duration, dropped bool) GapReason {
	switch {
	case l.resumed:
		return GapGatewayRestarted
	case l.away.overlaps(l.end, at):
		return GapPublisherLost
	case au.Track.Codec != l.track.Codec:
		return GapCodecChange
	case au.Track != l.track:
		return GapPublisherLost
	case au.Lost && dropped:
		return GapSlowDisk
	case au.Lost:
		return GapPacketLoss
	case au.Discontinuity:
		return GapPaused
	}
	return ""
}

// finish marks what is missing at the end of the lecture.
func (l *line) finish(r *Recording, end time.Duration) {
	if l.track == nil {
		return
	}
	g := Gap{Stream: l.slot, Kind: l.kind.String(), FromMS: ms(l.end), ToMS: ms(end), Reason: GapPublisherLost}
	switch missing := end - l.end; {
	case missing >= endGap && l.away.overlaps(l.end, end):
	case missing >= endPause:
		g.Reason = GapPaused
	default:
		return
	}
	r.addGap(g)
}

// absence remembers when a slot had no publisher, on the timeline of the lecture.
type absence struct {
	mu    sync.Mutex // guards what follows
	times []span     // the newest maxAbsences
	since time.Duration
	away  bool
}

type span struct{ from, to time.Duration }

const maxAbsences = 32

// set notes whether there is a publisher at this moment.
func (a *absence) set(live bool, now time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case !live && !a.away:
		a.away, a.since = true, now
	case live && a.away:
		a.away = false
		if len(a.times) == maxAbsences {
			a.times = append(a.times[:0], a.times[1:]...)
		}
		a.times = append(a.times, span{a.since, now})
	}
}

// overlaps tells whether the publisher was away at some time from..to. The loss
// is noticed later than the last packet, and the return sooner than the first.
func (a *absence) overlaps(from, to time.Duration) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.away && a.since <= to {
		return true
	}
	for _, s := range a.times {
		if s.from <= to && s.to >= from {
			return true
		}
	}
	return false
}

// addGap appends a gap to the manifest.
func (r *Recording) addGap(g Gap) {
	r.mu.Lock()
	defer r.mu.Unlock()
	gaps := r.man.Gaps
	if len(gaps) >= maxGaps {
		for i := len(gaps) - 1; i >= 0; i-- {
			if gaps[i].Stream == g.Stream && gaps[i].Kind == g.Kind {
				gaps[i].ToMS = g.ToMS
				return
			}
		}
		return
	}
	r.man.Gaps = append(gaps, g)
	r.kickLocked()
}

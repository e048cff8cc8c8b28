package stream

import (
	"context"
	"slices"
	"time"
)

// Ready waits until the present publisher has sent a unit of every kind that it
// announced (for video, a keyframe) and returns the tracks. A kind that stays
// silent for settle after the first track is given up: a microphone may be
// muted from the start. It returns ctx's error, or ErrClosed.
func (s *Stream) Ready(ctx context.Context, settle time.Duration) ([]*Track, error) {
	var settled settling
	defer settled.stop()
	for {
		s.mu.Lock()
		closed, changed := s.closed, s.changed
		tracks, complete := s.readyLocked()
		if !complete {
			settled.watch(s.pub, len(tracks) > 0, settle)
		}
		var ask func()
		if s.pub != nil && s.pub.fresh[Video] && slices.Contains(s.pub.src.Kinds, Video) {
			ask = s.gate.askLocked(s.now())
		}
		s.mu.Unlock()
		call(ask)
		if closed {
			return nil, ErrClosed
		}
		if complete {
			return tracks, nil
		}
		select {
		case <-changed:
		case <-settled.due:
			return tracks, nil
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// Flowing says whether the present publisher has sent something that a reader
// can begin with (sound, or a keyframe) and has not paused. Changed tells when to
// look again.
func (s *Stream) Flowing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	tracks, _ := s.readyLocked()
	return len(tracks) > 0 && !s.pub.paused
}

// settling runs from the first track of a publication on.
type settling struct {
	pub   *Publication
	timer *time.Timer
	due   <-chan time.Time
}

// watch starts the time when pub has a track, and forgets that of another.
func (w *settling) watch(pub *Publication, begun bool, settle time.Duration) {
	if w.pub != pub {
		w.stop()
	}
	w.pub = pub
	if begun && w.due == nil {
		w.timer = time.NewTimer(settle)
		w.due = w.timer.C
	}
}

func (w *settling) stop() {
	if w.timer != nil {
		w.timer.Stop()
	}
	w.timer, w.due = nil, nil
}

// readyLocked returns the tracks, and whether they are all that was announced.
func (s *Stream) readyLocked() ([]*Track, bool) {
	if s.pub == nil {
		return nil, false
	}
	var tracks []*Track
	for k := range s.lines {
		if !s.pub.fresh[k] {
			tracks = append(tracks, s.lines[k].track)
		}
	}
	for _, k := range s.pub.src.Kinds {
		if s.pub.fresh[k] {
			return tracks, false
		}
	}
	return tracks, len(tracks) > 0
}

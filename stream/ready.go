package stream

import (
	"context"
	"time"
)

// Ready waits until the present publisher has sent a unit of every kind that it
// announced (for video, a keyframe) and returns the tracks. A kind that stays
// silent for settle after the first track is given up: a microphone may be
// muted from the start. It returns ctx's error, or ErrClosed.
func (s *Stream) Ready(ctx context.Context, settle time.Duration) ([]*Track, error) {
	var deadline <-chan time.Time
	for {
		s.mu.Lock()
		closed, changed := s.closed, s.changed
		tracks, complete := s.readyLocked()
		if s.pub != nil && !complete && len(tracks) > 0 && deadline == nil {
			t := time.NewTimer(settle)
			defer t.Stop()
			deadline = t.C
		}
		var ask func()
		if s.pub != nil && s.lines[Video].track == nil {
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
		case <-deadline:
			if len(tracks) > 0 {
				return tracks, nil
			}
			deadline = nil // the publisher went; wait for the next
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
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

package rtmp

import (
	"context"
	"io"
	"sync"
	"time"

	"github.com/lectern/lectern/internal/rtmp"
	"github.com/lectern/lectern/stream"
)

const (
	// maxLag is how far a player may be behind before it skips to the newest
	// keyframe: the picture of a class is worth little when it is old.
	maxLag = 5 * time.Second

	// patience is how long a player waits while nothing comes: the publisher may
	// return.
	patience = 2 * time.Minute
)

// player is the place of one player in a feed. It implements rtmp.Source.
type player struct {
	f       *feed
	done    <-chan struct{} // the players must go
	onClose func()

	cut    chan struct{} // closed when this player must go
	once   sync.Once     // of cut
	reason error         // why; set before cut is closed

	started bool
	next    uint64        // number of the next tag
	base    time.Duration // PTS of timestamp 0
	wait    bool          // video is left out up to the next keyframe
	configs [2]*config    // that the player has, by kind
	last    [2]uint32     // timestamps, by kind
	pending []rtmp.Message
	skips   uint64
	bytes   uint64
}

func newPlayer(f *feed, done <-chan struct{}) *player {
	return &player{f: f, done: done, cut: make(chan struct{})}
}

// end makes the player go. Any goroutine may call it.
func (p *player) end(reason error) {
	p.once.Do(func() {
		p.reason = reason
		close(p.cut)
	})
}

// why is the reason that end was given, "" for none.
func (p *player) why() string {
	select {
	case <-p.cut:
		return p.reason.Error()
	default:
		return ""
	}
}

// Close implements rtmp.Source.
func (p *player) Close() { p.onClose() }

// Next implements rtmp.Source.
func (p *player) Next(ctx context.Context) (rtmp.Message, error) {
	var timeout <-chan time.Time
	for {
		if len(p.pending) > 0 {
			m := p.pending[0]
			p.pending = p.pending[1:]
			p.bytes += uint64(len(m.Body))
			return m, nil
		}
		changed, err := p.take()
		if err != nil {
			return rtmp.Message{}, err
		}
		if changed == nil {
			continue
		}
		if timeout == nil {
			t := time.NewTimer(patience)
			defer t.Stop()
			timeout = t.C
		}
		select {
		case <-changed:
		case <-timeout:
			return rtmp.Message{}, io.EOF
		case <-p.done:
			return rtmp.Message{}, io.EOF
		case <-p.cut:
			return rtmp.Message{}, io.EOF
		case <-ctx.Done():
			return rtmp.Message{}, context.Cause(ctx)
		}
	}
}

// take looks at the next tag. When there is none yet it returns a channel that
// tells of a change.
func (p *player) take() (<-chan struct{}, error) {
	select {
	case <-p.done:
		return nil, io.EOF
	case <-p.cut:
		return nil, io.EOF
	default:
	}
	f := p.f
	f.mu.Lock()
	defer f.mu.Unlock()
	if !p.started && !p.startLocked() || p.next >= f.first+uint64(len(f.tags)) {
		if f.err != nil {
			return nil, f.err
		}
		return f.changed, nil
	}
	p.skipLocked()
	t := f.tags[p.next-f.first]
	p.next++
	p.queue(t)
	return nil, nil
}

// startLocked finds the place to begin: the newest keyframe, or with sound only
// the newest tag.
func (p *player) startLocked() bool {
	f := p.f
	if !f.complete || len(f.tags) == 0 {
		return false
	}
	switch {
	case f.hasKey:
		p.next = f.key
	case f.configs[stream.Video] != nil:
		return false // the next keyframe is not far
	default:
		p.next = f.first + uint64(len(f.tags)) - 1
	}
	p.started = true
	p.base = f.tags[p.next-f.first].pts
	p.pending = append(p.pending, metadata(f.configs[stream.Video], f.configs[stream.Audio]))
	for _, k := range []stream.Kind{stream.Video, stream.Audio} {
		if c := f.configs[k]; c != nil && k == stream.Audio {
			// The tags may bring it late; players want it before the first picture.
			p.configure(k, c, 0)
		} else if c != nil {
			p.configure(k, f.tags[p.next-f.first].config, 0)
		}
	}
	return true
}

// skipLocked moves a player that lags to the newest keyframe. If there is none
// newer it goes on, without video if that was lost to it.
func (p *player) skipLocked() {
	f := p.f
	lost := p.next < f.first
	newest := f.tags[len(f.tags)-1].pts
	if !lost && newest-f.tags[p.next-f.first].pts <= maxLag {
		return
	}
	switch {
	case f.hasKey && f.key > p.next:
		p.next = f.key
	case lost:
		p.next = f.first
		p.wait = true
	case f.configs[stream.Video] == nil:
		p.next = f.first + uint64(len(f.tags)) - 1
	default:
		return
	}
	p.skips++
}

// queue makes the messages of a tag.
func (p *player) queue(t *tag) {
	if t.pts < p.base {
		return // sound from before the first picture
	}
	if t.kind == stream.Video {
		if p.wait && !t.keyframe {
			return
		}
		p.wait = false
	}
	ts := max(uint32((t.pts - p.base).Milliseconds()), p.last[t.kind])
	p.last[t.kind] = ts
	if p.configs[t.kind] != t.config {
		p.configure(t.kind, t.config, ts)
	}
	p.pending = append(p.pending, rtmp.Message{Kind: messageKind(t.kind), Timestamp: ts, Body: t.body})
}

// configure queues a sequence header.
func (p *player) configure(k stream.Kind, c *config, ts uint32) {
	p.configs[k] = c
	p.pending = append(p.pending, rtmp.Message{Kind: messageKind(k), Timestamp: ts, Body: c.header})
}

func messageKind(k stream.Kind) rtmp.Kind {
	if k == stream.Video {
		return rtmp.Video
	}
	return rtmp.Audio
}

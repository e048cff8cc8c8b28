package whep

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/pion/rtcp"

	"github.com/lectern/lectern/internal/rtc"
	"github.com/lectern/lectern/stream"
)

const (
	// A second shard helps only when one goroutine has enough to do.
	viewersPerShard = 64

	readerQueue = 4096 // units; about 12 s of 2.5 Mbit/s
	burst       = 128  // units handled at once

	// So few viewers are served on the goroutine that brings the packets: a
	// tenth of a millisecond for a frame, less than waking another one costs.
	// With more the shard's own goroutine does it, so that one class does not
	// hold up the packets of the others.
	viewersInline = 16

	// A joiner gets the group of pictures since the last keyframe if it is this
	// young and small; else the next keyframe is asked for, which is quicker
	// than pushing a long past through the viewer's network.
	replayAge   = 2 * time.Second
	replayBytes = 512 << 10
)

// fanout is all shards of one stream. It is guarded by Server.mu.
type fanout struct {
	st       *stream.Stream
	endpoint *rtc.Endpoint
	log      *slog.Logger
	shards   []*shard
}

func (f *fanout) count() int {
	n := 0
	for _, sh := range f.shards {
		n += sh.count()
	}
	return n
}

// add gives v to the shard with the fewest viewers, or to a new one.
func (f *fanout) add(v *viewer) error {
	var best *shard
	for _, sh := range f.shards {
		if best == nil || sh.count() < best.count() {
			best = sh
		}
	}
	if best == nil || (best.count() >= viewersPerShard && len(f.shards) < runtime.GOMAXPROCS(0)) {
		sh, err := newShard(f)
		if err != nil {
			return err
		}
		f.shards = append(f.shards, sh)
		best = sh
	}
	best.add(v)
	return nil
}

// remove takes v out and returns its shard if that has no viewer left; the
// caller closes it without the lock.
func (f *fanout) remove(v *viewer) *shard {
	sh := v.shard.Load()
	if sh == nil || sh.remove(v) > 0 {
		return nil
	}
	f.shards = slices.DeleteFunc(f.shards, func(s *shard) bool { return s == sh })
	return sh
}

// shard is one goroutine that serves some viewers of one stream.
type shard struct {
	st     *stream.Stream
	log    *slog.Logger
	reader *stream.Reader
	cancel context.CancelFunc
	done   sync.WaitGroup
	video  meter

	mu      sync.Mutex // guards what follows
	batch   *rtc.Batch
	units   []*stream.Unit // scratch
	viewers []*viewer
	rings   [2]ring // by stream.Kind
}

func newShard(f *fanout) (*shard, error) {
	ctx, cancel := context.WithCancel(context.Background())
	sh := &shard{st: f.st, log: f.log, cancel: cancel, batch: f.endpoint.NewBatch(), units: make([]*stream.Unit, burst)}
	sh.rings[stream.Audio].init(audioRing)
	sh.rings[stream.Video].init(videoRing)
	sh.mu.Lock() // a publisher may call at once
	defer sh.mu.Unlock()
	var err error
	sh.reader, err = f.st.NewReader(stream.ReaderOptions{
		Name: "whep", Queue: readerQueue, Backlog: replayAge, PerFrame: true, OnReady: sh.serveInline,
	})
	if err != nil {
		cancel()
		return nil, fmt.Errorf("read stream: %w", err)
	}
	sh.done.Go(func() { sh.run(ctx) }) // ended by close
	return sh, nil
}

// run serves the viewers while they are too many for serveInline.
func (sh *shard) run(ctx context.Context) {
	for sh.reader.Wait(ctx) == nil { // until the stream or the shard is closed
		sh.mu.Lock()
		sh.serveLocked()
		sh.mu.Unlock()
	}
}

// serveInline serves a few viewers on the goroutine of the publisher.
func (sh *shard) serveInline() bool {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if len(sh.viewers) > viewersInline {
		return false
	}
	sh.serveLocked()
	return true
}

// serveLocked sends all that is queued. Whoever takes units from the reader
// holds the lock until they are sent, so that their order is kept.
func (sh *shard) serveLocked() {
	for {
		n := sh.reader.TryReadBatch(sh.units)
		if n == 0 {
			return
		}
		sh.fanLocked(sh.units[:n])
		clear(sh.units[:n])
	}
}

// fanLocked sends a burst viewer by viewer: consecutive packets for one address
// leave in one message, and messages are what costs.
func (sh *shard) fanLocked(units []*stream.Unit) {
	for _, u := range units {
		sh.rings[u.Track.Kind].add(u)
		if u.Track.Kind == stream.Video {
			sh.video.bytes.Add(int64(len(u.Packet.Payload)))
		}
	}
	now := time.Now()
	for _, v := range sh.viewers {
		for _, u := range units {
			v.sendLocked(sh.batch, u, now)
		}
	}
	sh.batch.Flush()
}

// add lets v begin: with the packets since the last keyframe where they are few,
// else with the next keyframe.
func (sh *shard) add(v *viewer) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	v.shard.Store(sh)
	sh.viewers = append(sh.viewers, v)
	now := time.Now()
	gop := sh.rings[stream.Video].sinceKeyframe(now)
	for _, u := range gop {
		v.sendLocked(sh.batch, u, now)
	}
	sh.batch.Flush()
	if len(gop) == 0 {
		sh.st.RequestKeyframe()
	}
}

func (sh *shard) remove(v *viewer) (left int) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.viewers = slices.DeleteFunc(sh.viewers, func(o *viewer) bool { return o == v })
	return len(sh.viewers)
}

func (sh *shard) count() int {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return len(sh.viewers)
}

func (sh *shard) resend(v *viewer, p *rtcp.TransportLayerNack) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for k := range v.out {
		if v.out[k].ssrc == 0 || v.out[k].ssrc != p.MediaSSRC {
			continue
		}
		for i := range p.Nacks {
			p.Nacks[i].Range(func(seq uint16) bool {
				v.nacked.Add(1)
				v.resendLocked(sh.batch, stream.Kind(k), &sh.rings[k], seq)
				return true
			})
		}
	}
	sh.batch.Flush()
}

func (sh *shard) report(now time.Time) {
	sh.video.tick(now)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for _, v := range sh.viewers {
		v.reportLocked(now)
	}
}

// close ends the goroutine and waits for it. It is idempotent.
func (sh *shard) close() {
	sh.cancel()
	sh.reader.Close()
	sh.done.Wait()
}

package whep

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/lectern/lectern/internal/rtc"
	"github.com/lectern/lectern/stream"
)

const (
	// A second shard helps only when one goroutine has enough to do: a picture for
	// so many takes it three milliseconds.
	viewersPerShard = 256

	readerQueue = 4096 // units; about 12 s of 2.5 Mbit/s
	burst       = 128  // units handled at once

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
	budget   *budget
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

// shard serves some viewers of one stream: on the goroutine that brings the
// packets while they are few, else on one of its own for each input.
type shard struct {
	st     *stream.Stream
	log    *slog.Logger
	reader *stream.Reader
	cancel context.CancelFunc
	done   sync.WaitGroup
	kick   chan struct{} // capacity 1: look at the timer
	budget *budget
	video  meter

	mu      sync.Mutex // guards what follows
	batch   *rtc.Batch
	units   []*stream.Unit // scratch
	viewers []*viewer
	rings   [2]ring // by stream.Kind, of the main stream

	adaptive bool // there is, or was, something to choose
	main     *input
	layers   []*input // lowest first; none if the publisher sends one quality
	decided  time.Time
	all      []quality // as of decided, lowest first
	of       []*input  // of all
}

func newShard(f *fanout) (*shard, error) {
	ctx, cancel := context.WithCancel(context.Background())
	sh := &shard{
		st: f.st, log: f.log, budget: f.budget, cancel: cancel, kick: make(chan struct{}, 1),
		batch: f.endpoint.NewBatch(), units: make([]*stream.Unit, burst),
	}
	sh.rings[stream.Audio].init(audioRing)
	sh.rings[stream.Video].init(videoRing)
	sh.main = &input{sh: sh, st: sh.st, ring: &sh.rings[stream.Video]}
	sh.mu.Lock() // a publisher may call at once
	defer sh.mu.Unlock()
	var err error
	sh.reader, err = f.st.NewReader(stream.ReaderOptions{
		Name: "whep", Queue: readerQueue, Backlog: replayAge, PerFrame: true,
		OnReady: func() bool { return sh.serveInline(sh.main) },
	})
	if err != nil {
		cancel()
		return nil, fmt.Errorf("read stream: %w", err)
	}
	sh.main.reader = sh.reader
	sh.followLocked(ctx)
	sh.done.Go(func() { sh.runInput(ctx, sh.main) }) // ended by close
	sh.done.Go(func() { sh.watch(ctx) })             // ended by close
	return sh, nil
}

// watch follows the layers of the publisher, and does what is due by time while
// there is something to choose.
func (sh *shard) watch(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		changed := sh.st.Changed() // before looking, so that nothing is missed
		sh.mu.Lock()
		sh.followLocked(ctx)
		sh.mu.Unlock()
		for waiting := true; waiting; {
			timer.Stop()
			if d := sh.tick(time.Now()); d > 0 {
				timer.Reset(d)
			}
			select {
			case <-changed:
				waiting = false
			case <-timer.C:
			case <-sh.kick:
			case <-ctx.Done():
				return
			}
		}
	}
}

// followLocked opens the layers that are new and closes those that have gone.
func (sh *shard) followLocked(ctx context.Context) {
	now := sh.st.Layers()
	var inputs []*input
	for _, l := range now {
		i := slices.IndexFunc(sh.layers, func(in *input) bool { return in.st == l.Stream })
		if i >= 0 {
			inputs = append(inputs, sh.layers[i])
			continue
		}
		in, err := sh.open(ctx, l)
		if err != nil {
			sh.log.Warn("layer not served", "stream", sh.st.Name(), "layer", l.ID, "err", err)
			continue
		}
		inputs = append(inputs, in)
	}
	for _, in := range sh.layers {
		if !slices.Contains(inputs, in) {
			in.reader.Close()
		}
	}
	sh.layers = inputs
	if len(inputs) > 0 {
		sh.adaptLocked()
	}
	sh.decided = time.Time{}
}

// serveInline serves on the goroutine of the publisher where that is little work,
// and nobody else is at it.
func (sh *shard) serveInline(in *input) bool {
	if !sh.mu.TryLock() {
		return false
	}
	defer sh.mu.Unlock()
	began := time.Now()
	if len(sh.viewers)*in.reader.Len() > inlinePackets || !sh.budget.may(began) {
		return false
	}
	sh.serveLocked(in)
	sh.budget.spend(time.Since(began))
	return true
}

// serveLocked sends all that is queued. Whoever takes units from the reader
// holds the lock until they are sent, so that their order is kept.
func (sh *shard) serveLocked(in *input) {
	for {
		n := in.reader.TryReadBatch(sh.units)
		if n == 0 {
			return
		}
		if in == sh.main {
			sh.fanLocked(sh.units[:n])
		} else {
			sh.fanLayerLocked(in, sh.units[:n])
		}
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
			if sh.adaptive {
				sh.main.grid.add(u)
			} else if u.Temporal > 0 || u.Spatial > 0 {
				sh.adaptLocked()
			}
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

// fanLayerLocked is fanLocked for a layer: for those who get it, or are about to.
func (sh *shard) fanLayerLocked(in *input, units []*stream.Unit) {
	for _, u := range units {
		in.ring.add(u)
		in.grid.add(u)
	}
	now := time.Now()
	for _, v := range sh.viewers {
		if a := v.video; a != nil && (a.from == in || a.target == in) {
			for _, u := range units {
				a.take(sh.batch, in, u, now)
			}
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
	if v.out[stream.Video].ssrc == 0 {
		return // sound begins with its next packet
	}
	now := time.Now()
	if sh.adaptive {
		v.adapt(sh)
		sh.lookLocked(now)
		sh.decideLocked(v, now)
		sh.poke()
		return
	}
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

func (sh *shard) report(now time.Time) {
	sh.video.tick(now)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for _, v := range sh.viewers {
		v.reportLocked(now)
	}
}

// close ends the goroutines, waits for them, and gives up the streams. It is
// idempotent.
func (sh *shard) close() {
	sh.cancel()
	sh.done.Wait() // no layer is opened any more
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.reader.Close()
	for _, in := range sh.layers {
		in.reader.Close()
	}
}

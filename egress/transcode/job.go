package transcode

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/lectern/lectern/stream"
)

const (
	// settle is how long a kind that was announced may stay silent before the
	// rendition begins without it.
	settle = 2 * time.Second

	// keyframeEvery is how often the source is asked for a keyframe while a
	// rendition runs: players join at keyframes.
	keyframeEvery = 2 * time.Second

	// backlog is the age up to which a cached group of pictures is taken at the
	// start, so that players need not wait for a keyframe.
	backlog = 2 * time.Second

	// Restarts of a child that dies wait from firstBackoff on, twice as long each
	// time; one that lived for steady resets that.
	firstBackoff = 250 * time.Millisecond
	maxBackoff   = 15 * time.Second
	steady       = 30 * time.Second
)

// Why a generation ends.
var (
	errOffline = errors.New("transcode: source has no publisher")
	errReplan  = errors.New("transcode: tracks of the source changed")
)

// job makes one rendition. run is its only goroutine but for those that it
// starts and waits for.
type job struct {
	pool   *Pool
	key    key
	src    *stream.Stream
	out    *stream.Stream
	log    *slog.Logger
	ctx    context.Context // the lifetime of the job
	cancel context.CancelFunc

	// What follows is guarded by pool.mu.
	refs int
	idle *time.Timer // runs while refs is 0
}

func newJob(p *Pool, k key) (*job, error) {
	log := p.log.With("stream", k.src.Name())
	out := stream.New(stream.Config{Name: k.src.Name() + "#rendition", Log: p.log, Origin: k.src.Origin()})
	j := &job{pool: p, key: k, src: k.src, out: out, log: log}
	j.ctx, j.cancel = context.WithCancel(p.ctx)
	// A source that has ended is told apart here: later it would only show as a
	// rendition that ends at once.
	r, err := k.src.NewReader(stream.ReaderOptions{Name: "probe", Queue: 1})
	if err != nil {
		j.cancel()
		return nil, fmt.Errorf("reading source of rendition: %w", err)
	}
	r.Close()
	return j, nil
}

// run makes generation after generation until the job or the source ends.
func (j *job) run() {
	defer j.pool.forget(j)
	defer j.out.Close()
	out := newSink(j.log)
	j.log.Info("rendition began")
	began := time.Now()
	for j.ctx.Err() == nil { // Ready does not look when all is ready at once
		tracks, err := j.src.Ready(j.ctx, settle)
		if err != nil {
			break
		}
		p := newPlan(tracks, j.key.want, j.pool.missing == nil)
		if len(p.kinds()) == 0 {
			j.log.Warn("nothing of the source can be rendered", "err", j.pool.missing)
			if !j.changed() {
				break
			}
			continue
		}
		why := j.generation(p, out)
		j.log.Debug("rendition paused", "err", why)
	}
	j.log.Info("rendition ended", "dur_ms", time.Since(began).Milliseconds())
}

// changed waits for a change of the source. It reports false when the job ends.
func (j *job) changed() bool {
	select {
	case <-j.src.Changed():
		return true
	case <-j.ctx.Done():
		return false
	}
}

// generation renders as long as the source has a publisher and its tracks fit
// the plan. It returns why it ended.
func (j *job) generation(p plan, out *sink) error {
	pub, err := j.out.Publish(stream.Source{Kinds: p.kinds(), RequestKeyframe: j.src.RequestKeyframe})
	if err != nil {
		return fmt.Errorf("publishing rendition: %w", err)
	}
	defer pub.Close()
	out.begin(pub)

	ctx, cancel := context.WithCancelCause(j.ctx)
	var wg sync.WaitGroup
	if p.passesAny() {
		wg.Go(func() { cancel(j.pass(ctx, p, out)) }) // ended by ctx
	}
	if p.encodesAny() {
		wg.Go(func() { cancel(j.encode(ctx, p, out)) }) // ended by ctx
	}
	j.watch(ctx, cancel)
	wg.Wait()
	return context.Cause(ctx)
}

// watch waits until ctx ends, and ends it when the publisher goes.
func (j *job) watch(ctx context.Context, cancel context.CancelCauseFunc) {
	for {
		changed := j.src.Changed()
		if !j.src.Live() {
			cancel(errOffline)
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// fits says whether a unit of track t has its place in plan p, or would have
// none in any plan.
func (j *job) fits(p plan, t *stream.Track) bool {
	if p[t.Kind].codec == t.Codec {
		return true
	}
	alone := newPlan([]*stream.Track{t}, j.key.want, j.pool.missing == nil)
	return alone[t.Kind].codec == "" && p[t.Kind].codec == ""
}

// pass hands on the units that need no encoding.
func (j *job) pass(ctx context.Context, p plan, out *sink) error {
	r, err := j.src.NewReader(stream.ReaderOptions{
		Name: "rendition", Backlog: backlog, KeyframeEvery: keyframeEvery, PerFrame: true,
	})
	if err != nil {
		return err
	}
	defer r.Close()
	var batch [64]*stream.Unit
	for {
		n, err := r.ReadBatch(ctx, batch[:])
		if err != nil {
			return err
		}
		for _, u := range batch[:n] {
			if !j.fits(p, u.Track) {
				return errReplan
			}
			if p.passes(u.Track.Kind) {
				out.pass(u)
			}
		}
	}
}

// encode runs the encoder and starts it again when it dies.
func (j *job) encode(ctx context.Context, p plan, out *sink) error {
	wait := firstBackoff
	for {
		began := time.Now()
		err := j.session(ctx, p, out)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, io.EOF) || errors.Is(err, errReplan):
			return err
		case errors.Is(err, errJump):
			wait = firstBackoff
			continue
		}
		if time.Since(began) > steady {
			wait = firstBackoff
		}
		j.log.Warn("encoder died, will be started again", "err", err, "wait_ms", wait.Milliseconds())
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		wait = min(2*wait, maxBackoff)
	}
}

// Package transcode makes renditions: the same stream as H.264 and AAC, for
// players that cannot decode what browsers send.
//
// A rendition is a stream.Stream of its own on the timeline of its source.
// H.264 of the source is passed on as it is; all else is encoded by a child
// process (ffmpeg) that gets Matroska on its standard input and gives FLV. There
// is one child for each source however many players share the rendition. It
// starts with the first of them, stops some time after the last, and is started
// again when it dies: the worst that its death does is a gap for the players.
package transcode

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/lectern/lectern/stream"
)

// Errors by which callers decide.
var (
	// ErrClosed says that the Pool was closed.
	ErrClosed = errors.New("transcode: closed")
	// ErrBusy says that MaxProcesses renditions are in use already.
	ErrBusy = errors.New("transcode: too many renditions")
	// ErrUnavailable says that there is no usable ffmpeg.
	ErrUnavailable = errors.New("transcode: no encoder")
)

// Want is what a player wants of a rendition.
type Want int

// The wants.
const (
	// Full is H.264 and AAC whatever the source sends. It is the default.
	Full Want = iota
	// AudioOnly is AAC, and H.264 if that is what the source sends: no video is
	// encoded, so that it costs little.
	AudioOnly
)

// Defaults of Config.
const (
	DefaultMaxProcesses = 8
	DefaultIdleStop     = 10 * time.Second
	DefaultPreset       = "veryfast"
)

// Config configures a Pool. The zero value is useful.
type Config struct {
	// FFmpeg is the path of the program; "" looks "ffmpeg" up in PATH.
	FFmpeg string

	// MaxProcesses bounds the renditions, and with them the children. 0 means
	// DefaultMaxProcesses.
	MaxProcesses int

	// IdleStop is how long a rendition outlives its last player. 0 means
	// DefaultIdleStop, below 0 none.
	IdleStop time.Duration

	// Preset is that of the H.264 encoder. "" means DefaultPreset; "ultrafast"
	// needs a third of its CPU and twice its bit rate.
	Preset string

	Log *slog.Logger // nil: slog.DiscardHandler
}

// Pool makes and shares renditions. All methods may be called from any
// goroutine.
type Pool struct {
	cfg     Config
	ffmpeg  string // path; "" when there is none
	fpsMode string // name of an option, see probe
	missing error  // why there is none
	log     *slog.Logger

	ctx    context.Context // of all jobs; ended by Close
	cancel context.CancelFunc
	wg     sync.WaitGroup // the jobs

	mu     sync.Mutex // guards what follows
	jobs   map[key]*job
	stats  Stats
	closed bool
}

type key struct {
	src  *stream.Stream
	want Want
}

// Stats is a snapshot of the counters of a Pool.
type Stats struct {
	Renditions int    // that exist now, idle ones included
	Children   int    // processes that run now
	Started    uint64 // children, in all
	Died       uint64 // children that ended without being told to
}

// New returns a Pool. It asks ffmpeg what it can do, which takes some 100 ms. The
// caller must Close it.
func New(cfg Config) *Pool {
	if cfg.MaxProcesses <= 0 {
		cfg.MaxProcesses = DefaultMaxProcesses
	}
	if cfg.IdleStop == 0 {
		cfg.IdleStop = DefaultIdleStop
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Preset == "" {
		cfg.Preset = DefaultPreset
	}
	if cfg.FFmpeg == "" {
		cfg.FFmpeg = "ffmpeg"
	}
	p := &Pool{cfg: cfg, log: cfg.Log, jobs: make(map[key]*job)}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.ffmpeg, p.fpsMode, p.missing = probe(cfg.FFmpeg)
	return p
}

// Available is nil, or tells why players will lack something (it wraps
// ErrUnavailable): without ffmpeg a rendition is the H.264 video of its source
// and nothing else.
func (p *Pool) Available() error { return p.missing }

// Acquire returns the rendition of src, shared with all who want the same, and
// starts it if need be. It does not wait for the first picture: see
// stream.Stream.Ready. The caller must Release it.
// It returns ErrBusy, ErrClosed, or stream.ErrClosed when src has ended.
func (p *Pool) Acquire(ctx context.Context, src *stream.Stream, want ...Want) (*Rendition, error) {
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	k := key{src: src, want: Full}
	if len(want) > 0 {
		k.want = want[0]
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, ErrClosed
	}
	j := p.jobs[k]
	if j == nil {
		if len(p.jobs) >= p.cfg.MaxProcesses && !p.evictLocked() {
			return nil, ErrBusy
		}
		var err error
		if j, err = newJob(p, k); err != nil {
			return nil, err
		}
		p.jobs[k] = j
		p.wg.Go(j.run) // ended by its own context
	}
	j.refs++
	if j.idle != nil {
		j.idle.Stop()
		j.idle = nil
	}
	return &Rendition{job: j}, nil
}

// evictLocked ends a rendition that nobody uses, to make room for another.
func (p *Pool) evictLocked() bool {
	for _, j := range p.jobs {
		if j.refs == 0 {
			p.removeLocked(j)
			return true
		}
	}
	return false
}

// removeLocked takes j out of the pool and tells it to end.
func (p *Pool) removeLocked(j *job) {
	if j.idle != nil {
		j.idle.Stop()
		j.idle = nil
	}
	if p.jobs[j.key] == j {
		delete(p.jobs, j.key)
	}
	j.cancel()
}

// release gives one use of j back.
func (p *Pool) release(j *job) {
	p.mu.Lock()
	defer p.mu.Unlock()
	j.refs--
	if j.refs > 0 || p.jobs[j.key] != j {
		return
	}
	if p.cfg.IdleStop < 0 {
		p.removeLocked(j)
		return
	}
	// Ended by Acquire, by removeLocked, or by itself.
	j.idle = time.AfterFunc(p.cfg.IdleStop, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if j.refs == 0 {
			p.removeLocked(j)
		}
	})
}

// forget takes a job that ended by itself out of the pool.
func (p *Pool) forget(j *job) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.removeLocked(j)
}

// count changes the counters.
func (p *Pool) count(f func(*Stats)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f(&p.stats)
}

// Stats returns the counters.
func (p *Pool) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	st := p.stats
	st.Renditions = len(p.jobs)
	return st
}

// Close ends all renditions and their children and waits for them. It is
// idempotent.
func (p *Pool) Close() {
	p.mu.Lock()
	p.closed = true
	for _, j := range p.jobs {
		p.removeLocked(j)
	}
	p.mu.Unlock()
	p.cancel()
	p.wg.Wait()
}

// Rendition is one player's hold of a rendition. Its methods may be called from
// any goroutine.
type Rendition struct {
	job  *job
	once sync.Once
}

// Stream is the rendition itself: units of H.264 (RFC 6184, packetization mode
// 1, parameter sets before each IDR picture) and AAC (RFC 3640, AAC-hbr, 48 kHz
// stereo), with the origin and the PTS of the source. It has a publisher while
// the source has one that can be rendered, and is closed when the source is
// closed or the rendition is stopped.
func (r *Rendition) Stream() *stream.Stream { return r.job.out }

// Release gives the rendition back. It is idempotent.
func (r *Rendition) Release() { r.once.Do(func() { r.job.pool.release(r.job) }) }

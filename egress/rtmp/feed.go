package rtmp

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/lectern/lectern/stream"
	"github.com/lectern/lectern/stream/frame"
)

const (
	// maxTags and maxTagBytes bound what a feed keeps for players that lag.
	maxTags     = 2048
	maxTagBytes = 16 << 20

	// backlog is the age up to which the cached group of pictures is of use.
	backlog = 8 * time.Second

	// settle is how long the first player waits for the second track.
	settle = 3 * time.Second
)

// feed makes tags of a rendition, once for all its players, and keeps the newest
// of them. Players read it each from its own place.
type feed struct {
	src   *stream.Stream
	users int // guarded by Server.mu

	cancel context.CancelFunc
	done   chan struct{} // closed when run has ended

	mu       sync.Mutex // guards what follows
	tags     []*tag     // the newest; tags[0] has the number first
	first    uint64
	bytes    int
	key      uint64 // number of the newest keyframe
	hasKey   bool
	configs  [2]*config // of the newest tags, by kind
	complete bool       // all tracks that are to be expected have shown up
	began    time.Time  // when the first tag came
	changed  chan struct{}
	err      error // why there will be no more tags
}

func newFeed(src *stream.Stream, log *slog.Logger) (*feed, error) {
	r, err := src.NewReader(stream.ReaderOptions{Name: "rtmp", Backlog: backlog, PerFrame: true})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	f := &feed{src: src, cancel: cancel, done: make(chan struct{}), changed: make(chan struct{})}
	go f.run(ctx, r, log) // ended by close
	return f, nil
}

// close ends the feed and waits.
func (f *feed) close() {
	f.cancel()
	<-f.done
}

// run makes tags until the rendition ends or ctx does.
func (f *feed) run(ctx context.Context, r *stream.Reader, log *slog.Logger) {
	defer close(f.done)
	defer r.Close()
	asm := frame.NewAssembler()
	var g tagger
	var batch [64]*stream.Unit
	for {
		n, err := r.ReadBatch(ctx, batch[:])
		if err != nil {
			f.end(err)
			break
		}
		for _, u := range batch[:n] {
			for au, ok := asm.Push(u); ok; au, ok = asm.Next() {
				if t := g.tag(au); t != nil {
					f.add(t)
				}
			}
		}
	}
	if d := r.Dropped(); d > 0 {
		log.Warn("rtmp feed lost units", "stream", f.src.Name(), "units", d)
	}
}

// add appends a tag for all players.
func (f *feed) add(t *tag) {
	kinds := f.src.Kinds()
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.first + uint64(len(f.tags))
	f.tags = append(f.tags, t)
	f.bytes += len(t.body)
	f.configs[t.kind] = t.config
	if t.kind == stream.Video && t.keyframe {
		f.key, f.hasKey = n, true
	}
	f.trimLocked()
	if !f.complete {
		f.complete = f.completeLocked(kinds)
	}
	f.wakeLocked()
}

// completeLocked says whether players can begin. A track that does not come
// must not hold the others back for ever.
func (f *feed) completeLocked(kinds []stream.Kind) bool {
	if f.began.IsZero() {
		f.began = time.Now()
	}
	for _, k := range kinds {
		if f.configs[k] == nil {
			return time.Since(f.began) > settle
		}
	}
	return true
}

// trimLocked keeps the bounds. Everything older than the newest keyframe is only
// for players that lag.
func (f *feed) trimLocked() {
	drop := 0
	for len(f.tags)-drop > maxTags || f.bytes > maxTagBytes && len(f.tags)-drop > 1 {
		f.bytes -= len(f.tags[drop].body)
		drop++
	}
	if drop == 0 {
		return
	}
	clear(f.tags[:drop])
	f.tags = f.tags[drop:]
	f.first += uint64(drop)
	if f.hasKey && f.key < f.first {
		f.hasKey = false
	}
}

func (f *feed) wakeLocked() {
	close(f.changed)
	f.changed = make(chan struct{})
}

// end tells the players that nothing more will come.
func (f *feed) end(err error) {
	if errors.Is(err, stream.ErrClosed) {
		err = io.EOF
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
	f.wakeLocked()
}

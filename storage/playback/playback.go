// Package playback turns recordings into what a browser plays and people
// download, without encoding anything anew.
//
// A recording is seen as one timeline per slot, from 0 to the end of the
// lecture: a sequence of video segments of about two seconds that begin with
// keyframes, and one of audio segments. Where media is missing, both are filled
// (a still picture, silence), so that a player never meets a hole: players jump
// over holes, or stop, and lose what the other track has there. What is missing
// is written in the manifest of the recording.
//
// Segments are WebM (VP8, VP9, AV1; Opus) or fragmented MP4 (H.264, and Opus
// beside it), as browsers take them: WebM cannot hold H.264, MP4 cannot hold
// VP8. They never change, not even while the recording grows.
package playback

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"sync"
	"time"

	"github.com/lectern/lectern/storage"
)

// Errors by which callers decide.
var (
	// ErrNotFound says that the lecture has no such slot, segment or download.
	ErrNotFound = errors.New("playback: not found")
	// ErrNotReady says that a recording is too young: nothing can be played yet.
	ErrNotReady = errors.New("playback: not ready")
	// ErrUnsupported says that the media cannot be put into this container, or
	// not without ffmpeg, which is missing.
	ErrUnsupported = errors.New("playback: unsupported")
	// ErrBroken says that a file of the recording is damaged at this place.
	ErrBroken = errors.New("playback: broken file")
)

// Store is where recordings are; *storage.Store is one. OpenLectureFile must not
// leave the folder of the recording whatever the path.
type Store interface {
	Get(ctx context.Context, id string) (*storage.Manifest, error)
	OpenLectureFile(id, path string) (*os.File, error)
	LectureDir(id string) (string, error)
}

// Config configures a Library. Store must be set.
type Config struct {
	Store  Store
	FFmpeg string       // path of the program for posters and MP4; "": look it up in PATH
	Log    *slog.Logger // nil: slog.DiscardHandler
}

// Bounds of the cache of a Library.
const (
	maxOpen  = 32          // lectures
	liveFor  = time.Second // how long the view of a growing lecture is used
	maxJobs  = 2           // ffmpeg at once
	jobLimit = 10 * time.Minute
)

// Library opens recordings for playback. All methods may be called from any
// goroutine. It holds no goroutines and no open files.
type Library struct {
	cfg    Config
	ffmpeg string        // "" when there is none
	jobs   chan struct{} // tickets for ffmpeg

	mu   sync.Mutex // guards what follows
	open map[string]*entry
}

// entry is a lecture in the cache.
type entry struct {
	mu      sync.Mutex // held while the lecture is read
	lecture *Lecture
	read    time.Time
	memo    *memo

	used time.Time // guarded by Library.mu
}

// New returns a Library.
func New(cfg Config) *Library {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.FFmpeg == "" {
		cfg.FFmpeg = "ffmpeg"
	}
	l := &Library{cfg: cfg, open: make(map[string]*entry), jobs: make(chan struct{}, maxJobs)}
	if path, err := exec.LookPath(cfg.FFmpeg); err == nil {
		l.ffmpeg = path
	}
	return l
}

// Lecture returns the recording as it is now; one that grows, as it was within
// the last second. It fails as Store.Get does. Damaged tracks are left out.
func (l *Library) Lecture(ctx context.Context, id string) (*Lecture, error) {
	m, err := l.cfg.Store.Get(ctx, id)
	if err != nil {
		return nil, err
	}
	e := l.entry(id)
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.lecture != nil && e.fresh(m) {
		return e.lecture, nil
	}
	x := &Lecture{lib: l, m: m, memo: e.memo}
	x.build()
	e.lecture, e.read = x, time.Now()
	return x, nil
}

// fresh says whether the cached view still holds for m.
func (e *entry) fresh(m *storage.Manifest) bool {
	old := e.lecture.m
	if m.State == storage.StateRecording {
		return old.State == storage.StateRecording && time.Since(e.read) < liveFor
	}
	return old.State == m.State && old.EndedAt.Equal(m.EndedAt) && old.DurationMS == m.DurationMS &&
		len(old.Tracks) == len(m.Tracks)
}

// entry finds the place of a lecture in the cache, or makes room for it.
func (l *Library) entry(id string) *entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.open[id]
	if e == nil {
		e = &entry{memo: newMemo()}
		if len(l.open) >= maxOpen {
			l.evictLocked()
		}
		l.open[id] = e
	}
	e.used = time.Now()
	return e
}

func (l *Library) evictLocked() {
	var oldest string
	for id, e := range l.open {
		if oldest == "" || e.used.Before(l.open[oldest].used) {
			oldest = id
		}
	}
	delete(l.open, oldest)
}

// Lecture is a view of a recording. It is not changed after it was made, so any
// goroutine may use it.
type Lecture struct {
	lib   *Library
	m     *storage.Manifest
	memo  *memo
	slots map[string]*timeline
}

// Manifest is what the view was made of. It must not be changed.
func (x *Lecture) Manifest() *storage.Manifest { return x.m }

// Growing says whether the recording goes on.
func (x *Lecture) Growing() bool { return x.m.State == storage.StateRecording }

func (x *Lecture) openFile(name string) (*os.File, error) {
	return x.lib.cfg.Store.OpenLectureFile(x.m.ID, name)
}

// slot returns the timeline of a slot; "" means main, or the only one.
func (x *Lecture) slot(name string) (*timeline, error) {
	if name == "" {
		name = "main"
		if _, ok := x.slots[name]; !ok && len(x.slots) == 1 {
			for only := range x.slots {
				name = only
			}
		}
	}
	t, ok := x.slots[name]
	if !ok {
		if x.Growing() {
			return nil, ErrNotReady
		}
		return nil, ErrNotFound
	}
	return t, nil
}

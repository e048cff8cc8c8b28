package storage

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// Recording is a recording that runs. All methods may be called from any
// goroutine.
type Recording struct {
	store *Store
	log   *slog.Logger
	root  *os.Root // its folder
	begin time.Time

	writers sync.WaitGroup // the goroutines of the slots
	ended   chan struct{}  // closed when endAt is set
	endAt   time.Duration
	failed  chan struct{} // closed when err is set
	done    chan struct{} // closed when all is on disk
	kick    chan struct{} // capacity 1: the manifest has changed in kind

	events  eventFile
	sharing sync.Mutex // held while a file is added: one at a time

	mu      sync.Mutex // guards what follows
	man     Manifest
	slots   map[string]*slot
	files   []*mediaFile // open, to be synced
	changed bool         // the manifest on disk is old
	ending  bool
	err     error // why it failed
	endErr  error // what End returns
}

// Names of the files in a folder.
const (
	manifestFile = "manifest.json"
	eventsFile   = "events.jsonl"
	sharedDir    = "files"
	maxName      = 64
	maxID        = 128
)

// Begin makes a recording of a class that began at the time at: t = 0 of its
// timeline. The caller must End it.
func (s *Store) Begin(room, title string, at time.Time) (*Recording, error) {
	if !validName(room, maxName) {
		return nil, fmt.Errorf("beginning recording of %q: %w", room, ErrBadName)
	}
	id := at.UTC().Format("2006-01-02T15-04-05Z") + "-" + room + "-" + strings.ToLower(rand.Text()[:6])
	if err := s.root.Mkdir(filepath.Join(recordingsDir, id), 0o750); err != nil {
		return nil, fmt.Errorf("beginning recording: %w", err)
	}
	if err := syncDir(s.root, recordingsDir); err != nil {
		return nil, fmt.Errorf("beginning recording: %w", err)
	}
	return s.start(Manifest{
		Version: ManifestVersion, ID: id, Room: room, Title: cleanText(title, maxTitle),
		StartedAt: at.UTC(), Writer: s.cfg.Writer,
		Tracks: []TrackInfo{}, Gaps: []Gap{}, Files: []SharedFile{},
	})
}

// maxTitle bounds the title of a recording, in bytes.
const maxTitle = 300

// Resume opens a recording of a class that goes on after the gateway restarted.
// What comes goes into new files on the same timeline, and the time between is
// marked as a gap. It returns ErrNotFound, ErrLive, or ErrTooOld if its last
// frame is older than Config.ResumeWithin.
func (s *Store) Resume(_ context.Context, id string) (*Recording, error) {
	if s.liveRecording(id) != nil {
		return nil, fmt.Errorf("resuming recording %s: %w", id, ErrLive)
	}
	m, err := s.readManifest(id)
	if err != nil {
		return nil, fmt.Errorf("resuming recording: %w", err)
	}
	if s.cfg.Now().Sub(m.EndedAt) > s.cfg.ResumeWithin {
		return nil, fmt.Errorf("resuming recording %s: %w", id, ErrTooOld)
	}
	m.EndedAt, m.Error = time.Time{}, ""
	return s.start(*m)
}

// start opens the folder and begins to keep it.
func (s *Store) start(m Manifest) (*Recording, error) {
	m.State = StateRecording
	r := &Recording{
		store: s, begin: m.StartedAt, man: m,
		log:   s.log.With("room", m.Room, "recording", m.ID),
		slots: make(map[string]*slot),
		ended: make(chan struct{}), failed: make(chan struct{}), done: make(chan struct{}),
		kick: make(chan struct{}, 1),
	}
	if err := r.open(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	_, live := s.live[m.ID]
	closed := s.closed
	if !live && !closed {
		s.live[m.ID] = r
	}
	s.mu.Unlock()
	if live || closed {
		err := ErrLive
		if closed {
			err = ErrEnded
		}
		return nil, errors.Join(fmt.Errorf("beginning recording %s: %w", m.ID, err), r.events.close(), r.root.Close())
	}
	if err := r.saveManifest(); err != nil {
		s.forget(r)
		return nil, errors.Join(err, r.events.close(), r.root.Close())
	}
	if err := s.index(context.Background(), r.Manifest()); err != nil {
		r.log.Warn("recording not in catalogue", "err", err) // the folder counts
	}
	r.log.Info("recording began")
	go r.keep() // ended by End
	return r, nil
}

func (r *Recording) open() (err error) {
	if r.root, err = r.store.root.OpenRoot(filepath.Join(recordingsDir, r.man.ID)); err != nil {
		return fmt.Errorf("opening recording %s: %w", r.man.ID, err)
	}
	if err := r.events.open(r.root); err != nil {
		return errors.Join(fmt.Errorf("opening recording %s: %w", r.man.ID, err), r.root.Close())
	}
	return nil
}

func (s *Store) forget(r *Recording) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.live, r.man.ID)
}

// ID names the recording. IDs sort by the time of the begin.
func (r *Recording) ID() string { return r.man.ID }

// Dir is the folder of the recording.
func (r *Recording) Dir() string { return r.root.Name() }

// StartedAt is t = 0 of the timeline.
func (r *Recording) StartedAt() time.Time { return r.begin }

// now is the present time on the timeline of the lecture.
func (r *Recording) now() time.Duration { return r.store.cfg.Now().Sub(r.begin) }

// Manifest is the present state, a copy.
func (r *Recording) Manifest() *Manifest {
	now := r.now()
	r.mu.Lock()
	defer r.mu.Unlock()
	m := r.man
	if m.State == StateRecording {
		m.DurationMS = ms(max(now, 0))
	}
	m.Tracks = slices.Clone(m.Tracks)
	for i := range m.Tracks {
		m.Tracks[i].Sizes = slices.Clone(m.Tracks[i].Sizes)
	}
	m.Gaps, m.Files = slices.Clone(m.Gaps), slices.Clone(m.Files)
	return &m
}

// Failed is closed when the recording has stopped because of an error. The class
// need not care.
func (r *Recording) Failed() <-chan struct{} { return r.failed }

// Err tells why the recording has failed (errors.Is ErrDiskFull, or the error of
// the disk), or nil.
func (r *Recording) Err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

// Event appends line, a JSON object, to events.jsonl. If the object has no
// member "t", it gets one: the ms on the timeline of its member "at" (ms since
// the epoch), or of now. It returns ErrEnded after End.
func (r *Recording) Event(line []byte) error {
	if err := r.events.append(line, r.begin, r.now()); err != nil {
		return fmt.Errorf("recording event: %w", err)
	}
	return nil
}

// update changes what the manifest says of track n.
func (r *Recording) update(n int, f func(*TrackInfo)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f(&r.man.Tracks[n])
	r.changed = true
}

func (r *Recording) kickLocked() {
	r.changed = true
	select {
	case r.kick <- struct{}{}:
	default:
	}
}

// fail stops the recording because of err. The first error counts.
func (r *Recording) fail(err error) {
	r.mu.Lock()
	if r.err != nil {
		r.mu.Unlock()
		return
	}
	if isDiskFull(err) {
		err = fmt.Errorf("%w: %w", ErrDiskFull, err)
	}
	r.err = err
	r.man.Error = publicReason(err)
	close(r.failed)
	r.mu.Unlock()
	r.log.Error("recording failed", "err", err)
	r.shut()
}

// publicReason is err for the manifest: without the names of files.
func publicReason(err error) string {
	if errors.Is(err, ErrDiskFull) {
		return "disk full"
	}
	return "write error"
}

// shut sets the end of the lecture and lets the slots finish.
func (r *Recording) shut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ending {
		return
	}
	r.ending = true
	r.endAt = max(r.now(), 0)
	for _, s := range r.slots {
		s.reader.Close()
	}
	close(r.ended)
}

// End finishes the files and the manifest and returns when all is synced. When
// ctx ends first, it returns its error and goes on in the background. It is
// idempotent.
func (r *Recording) End(ctx context.Context) error {
	r.shut()
	select {
	case <-r.done:
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.endErr
	case <-ctx.Done():
		return fmt.Errorf("ending recording %s: %w", r.man.ID, context.Cause(ctx))
	}
}

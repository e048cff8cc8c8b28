// Package storage keeps what must outlive the process: the recordings, the
// files that a room shares, and the catalogue.
//
// A recording is a folder of its own that can be copied, played and put back:
// IVF and Ogg files, an index of keyframes beside each, manifest.json and
// events.jsonl (docs/FORMAT.md). The catalogue is a SQLite database: an index of
// the recordings that can be rebuilt from the folders, the events of the rooms,
// their files and the classes that run.
package storage

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Errors by which callers decide.
var (
	// ErrNotFound says that there is no such recording, file or event.
	ErrNotFound = errors.New("storage: not found")
	// ErrBadName says that a room, slot or id holds other characters than
	// a-z A-Z 0-9 . _ -, begins with a dot, or is not 1 to 64 of them (an id of
	// a recording: up to 128).
	ErrBadName = errors.New("storage: bad name")
	// ErrLive says that the recording runs: it cannot be deleted or resumed.
	ErrLive = errors.New("storage: recording is live")
	// ErrEnded says that the recording has ended, or has failed.
	ErrEnded = errors.New("storage: recording has ended")
	// ErrTooOld says that a recording ended too long ago to be resumed.
	ErrTooOld = errors.New("storage: recording ended too long ago")
	// ErrDiskFull says that the disk has less than Config.MinFree left.
	ErrDiskFull = errors.New("storage: disk full")
	// ErrInUse says that another process has the data folder open.
	ErrInUse = errors.New("storage: data folder in use")
	// ErrDuplicate says that the room has an event of this dedupe key already.
	ErrDuplicate = errors.New("storage: event exists")
	// ErrSeqTaken says that the room has an event of this number already.
	ErrSeqTaken = errors.New("storage: sequence number taken")
	// ErrTooLarge says that a file is larger than Config.FileLimit, or that an
	// upload sends more than it announced.
	ErrTooLarge = errors.New("storage: file too large")
	// ErrQuota says that the files of a room would pass Config.RoomQuota.
	ErrQuota = errors.New("storage: room quota exceeded")
	// ErrTooMany says that too many uploads of the room are open.
	ErrTooMany = errors.New("storage: too many open uploads")
	// ErrDigest says that the content has another SHA-256 than announced.
	// Nothing of it is kept.
	ErrDigest = errors.New("storage: wrong digest")
	// ErrIncomplete says that bytes are missing at Commit.
	ErrIncomplete = errors.New("storage: upload incomplete")
	// ErrOffset says that a chunk does not begin where the upload stands.
	ErrOffset = errors.New("storage: wrong offset")
	// ErrBadHead says that an upload is announced with a bad size, digest or name.
	ErrBadHead = errors.New("storage: bad file head")
	// ErrSuperseded says that the upload was begun anew elsewhere, or aborted.
	ErrSuperseded = errors.New("storage: upload superseded")
)

// Defaults of Config.
const (
	DefaultKeyframeEvery = 2 * time.Second
	DefaultResumeWithin  = 10 * time.Minute
	DefaultMinFree       = 64 << 20 // bytes
	DefaultFileLimit     = 512 << 20
	DefaultRoomQuota     = 4 << 30
	DefaultMaxUploads    = 16
	DefaultQueue         = 8192 // units: about 10 s of 2.5 Mbit/s
	DefaultWriteEvery    = 100 * time.Millisecond
)

// Config configures a Store. Dir is needed; all else has a default.
type Config struct {
	Dir string       // DATA: holds recordings/, files/ and catalogue.db
	Log *slog.Logger // nil: discarded

	// KeyframeEvery is how often at least a recorded stream is asked for a
	// keyframe: the time between two decides how long a seek takes.
	KeyframeEvery time.Duration
	// ResumeWithin is for how long after its last frame a recording may be resumed.
	ResumeWithin time.Duration
	// MinFree is the free space in bytes below which recordings stop, so that
	// they can still be closed. Negative: not checked.
	MinFree int64
	// Queue bounds the units that wait for the disk, per stream.
	Queue int
	// WriteEvery is how long packets wait to be written together. It is what a
	// kill of the process may cost, and spares a wake-up for each frame.
	WriteEvery time.Duration

	FileLimit  int64 // bytes of one shared file
	RoomQuota  int64 // bytes of all files of a room
	MaxUploads int   // open uploads per room

	// Writer is what manifests name as their writer: "lectern v1.2.3".
	Writer string
	// Now is the clock; nil: time.Now.
	Now func() time.Time
}

func (c *Config) setDefaults() {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Writer == "" {
		c.Writer = "lectern"
	}
	setDefault(&c.KeyframeEvery, DefaultKeyframeEvery)
	setDefault(&c.ResumeWithin, DefaultResumeWithin)
	setDefault(&c.MinFree, DefaultMinFree)
	setDefault(&c.Queue, DefaultQueue)
	setDefault(&c.WriteEvery, DefaultWriteEvery)
	setDefault(&c.FileLimit, DefaultFileLimit)
	setDefault(&c.RoomQuota, DefaultRoomQuota)
	setDefault(&c.MaxUploads, DefaultMaxUploads)
}

func setDefault[T comparable](v *T, value T) {
	var zero T
	if *v == zero {
		*v = value
	}
}

// Store is the storage of one gateway. All methods may be called from any
// goroutine; those that take a context may block on the disk.
type Store struct {
	cfg  Config
	log  *slog.Logger
	cat  *catalogue
	root *os.Root // DATA
	lock *os.File // held while the store is open

	starting sync.Mutex // held while an upload begins
	stop     context.CancelFunc
	cleaned  chan struct{} // closed when clean has ended; nil: not begun

	mu      sync.Mutex // guards what follows
	live    map[string]*Recording
	uploads map[string]*Upload // by file id
	closed  bool
}

// Folders and files below DATA.
const (
	recordingsDir = "recordings"
	filesDir      = "files"
	catalogueFile = "catalogue.db"
	lockFile      = "lock"
)

// Open opens the storage below cfg.Dir, creates what is missing, brings the
// catalogue up to date and finishes recordings that a crash has left open. It
// returns ErrInUse if another Store has the folder open. The caller must Close it.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	cfg.setDefaults()
	for _, dir := range []string{recordingsDir, filesDir} {
		if err := os.MkdirAll(filepath.Join(cfg.Dir, dir), 0o750); err != nil {
			return nil, fmt.Errorf("creating data folder: %w", err)
		}
	}
	root, err := os.OpenRoot(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("opening data folder: %w", err)
	}
	lock, err := lockFolder(root)
	if err != nil {
		return nil, errors.Join(err, root.Close())
	}
	cat, err := openCatalogue(ctx, filepath.Join(cfg.Dir, catalogueFile))
	if err != nil {
		return nil, errors.Join(err, lock.Close(), root.Close())
	}
	s := &Store{
		cfg: cfg, log: cfg.Log, cat: cat, root: root, lock: lock,
		live:    make(map[string]*Recording),
		uploads: make(map[string]*Upload),
	}
	if err := s.recover(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	// Not the context of the caller: that one is for the opening only.
	ctx, s.stop = context.WithCancel(context.WithoutCancel(ctx))
	s.cleaned = make(chan struct{})
	go s.clean(ctx) // ended by Close
	return s, nil
}

// lockFolder takes the folder for this process. Two that recover the same
// recordings would tear them. The lock ends with the process, however it ends.
func lockFolder(root *os.Root) (*os.File, error) {
	f, err := root.OpenFile(lockFile, os.O_CREATE|os.O_RDWR, 0o640)
	if err != nil {
		return nil, fmt.Errorf("locking data folder: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = ErrInUse
		}
		return nil, errors.Join(fmt.Errorf("locking data folder: %w", err), f.Close())
	}
	return f, nil
}

// Close ends the recordings that still run, lets go of the uploads (their bytes
// stay for a resume) and closes the catalogue. It is idempotent.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	var recs []*Recording
	for _, r := range s.live {
		recs = append(recs, r)
	}
	var ups []*Upload
	for _, u := range s.uploads {
		ups = append(ups, u)
	}
	s.mu.Unlock()

	if s.cleaned != nil {
		s.stop()
		<-s.cleaned
	}
	var errs []error
	for _, r := range recs {
		errs = append(errs, r.End(context.Background()))
	}
	for _, u := range ups {
		errs = append(errs, u.Close())
	}
	errs = append(errs, s.cat.close(), s.root.Close(), s.lock.Close())
	return errors.Join(errs...)
}

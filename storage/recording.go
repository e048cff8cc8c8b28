package storage

import (
	"context"
	"time"

	"github.com/lectern/lectern/stream"
)

// Recording is a recording that runs. All methods may be called from any
// goroutine.
type Recording struct{}

// Begin makes a recording of a class that began at the time at: t = 0 of its
// timeline. The caller must End it.
func (s *Store) Begin(room, title string, at time.Time) (*Recording, error) { return nil, nil }

// Resume opens a recording of a class that goes on after the gateway restarted.
// What comes goes into new files on the same timeline, and the time between is
// marked as a gap. It returns ErrNotFound, ErrLive, or ErrTooOld if its last
// frame is older than Config.ResumeWithin.
func (s *Store) Resume(ctx context.Context, id string) (*Recording, error) { return nil, nil }

// ID names the recording. IDs sort by the time of the begin.
func (r *Recording) ID() string { return "" }

// Dir is the folder of the recording.
func (r *Recording) Dir() string { return "" }

// StartedAt is t = 0 of the timeline.
func (r *Recording) StartedAt() time.Time { return time.Time{} }

// AddStream records the stream of a slot from now on, until End. A slot that is
// recorded already is left as it is if st is the same, else it is an error. It
// returns ErrEnded or ErrBadName.
func (r *Recording) AddStream(slot string, st *stream.Stream) error { return nil }

// Event appends line, a JSON object, to events.jsonl. If the object has no
// member "t", it gets one: the ms on the timeline of its member "at" (ms since
// the epoch), or of now.
func (r *Recording) Event(line []byte) error { return nil }

// AddFile keeps a file of the room in the recording too.
func (r *Recording) AddFile(f FileInfo) error { return nil }

// Manifest is the present state, a copy.
func (r *Recording) Manifest() *Manifest { return nil }

// Failed is closed when the recording has stopped because of an error. The class
// need not care.
func (r *Recording) Failed() <-chan struct{} { return nil }

// Err tells why the recording has failed (errors.Is ErrDiskFull, or the error of
// the disk), or nil.
func (r *Recording) Err() error { return nil }

// End finishes the files and the manifest and returns when all is synced. When
// ctx ends first, it returns its error and goes on in the background. It is
// idempotent.
func (r *Recording) End(ctx context.Context) error { return nil }

func (s *Store) recover(ctx context.Context) error { return nil }

package storage

import (
	"context"
	"os"
	"time"
)

// Lecture is what a list of recordings shows of one.
type Lecture struct {
	ID         string      `json:"id"`
	Room       string      `json:"room"`
	Title      string      `json:"title"`
	State      State       `json:"state"`
	StartedAt  time.Time   `json:"started_at"`
	EndedAt    time.Time   `json:"ended_at,omitzero"`
	DurationMS float64     `json:"duration_ms"`
	Bytes      int64       `json:"bytes"` // media and shared files
	Tracks     []TrackInfo `json:"tracks"`
	Gaps       int         `json:"gaps"`
	Error      string      `json:"error,omitempty"`
}

// Filter selects recordings. The zero value selects all.
type Filter struct {
	Room   string // "": all rooms
	Before string // only ids that sort before this one: the last of the page before
	Limit  int    // 0: no limit
}

// List returns recordings, newest first. Those that run show their present numbers.
func (s *Store) List(ctx context.Context, f Filter) ([]Lecture, error) { return nil, nil }

// Get returns the manifest of a recording, or ErrNotFound. Of one that runs it
// is the present state: Bytes and Frames count what can be read at this moment.
func (s *Store) Get(ctx context.Context, id string) (*Manifest, error) { return nil, nil }

// Delete removes a recording for good. It returns ErrLive while it runs, and
// ErrNotFound.
func (s *Store) Delete(ctx context.Context, id string) error { return nil }

// LectureDir returns the folder of a recording for reading, or ErrNotFound.
func (s *Store) LectureDir(id string) (string, error) { return "", nil }

// OpenLectureFile opens a file in the folder of a recording by a path from its
// manifest. It cannot leave the folder. It returns ErrNotFound.
func (s *Store) OpenLectureFile(id, path string) (*os.File, error) { return nil, nil }

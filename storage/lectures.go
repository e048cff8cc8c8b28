package storage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
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

// Lecture is the manifest in short.
func (m *Manifest) Lecture() Lecture {
	return Lecture{
		ID: m.ID, Room: m.Room, Title: m.Title, State: m.State,
		StartedAt: m.StartedAt, EndedAt: m.EndedAt, DurationMS: m.DurationMS,
		Bytes: m.size(), Tracks: m.Tracks, Gaps: len(m.Gaps), Error: m.Error,
	}
}

// Filter selects recordings. The zero value selects all.
type Filter struct {
	Room   string // "": all rooms
	Before string // only ids that sort before this one: the last of the page before
	Limit  int    // 0: no limit
}

// List returns recordings, newest first. Those that run show their present numbers.
func (s *Store) List(ctx context.Context, f Filter) ([]Lecture, error) {
	limit := f.Limit
	if limit <= 0 {
		limit = -1 // none, for SQLite
	}
	const q = `SELECT id, summary FROM recordings
		WHERE (?1 = '' OR room = ?1) AND (?2 = '' OR id < ?2) ORDER BY id DESC LIMIT ?3`
	rows, err := s.cat.read.QueryContext(ctx, q, f.Room, f.Before, limit)
	if err != nil {
		return nil, fmt.Errorf("listing recordings: %w", err)
	}
	defer rows.Close() // read only
	list := []Lecture{}
	for rows.Next() {
		var (
			id      string
			summary []byte
			l       Lecture
		)
		if err := rows.Scan(&id, &summary); err != nil {
			return nil, fmt.Errorf("listing recordings: %w", err)
		}
		if r := s.liveRecording(id); r != nil {
			l = r.Manifest().Lecture()
		} else if err := json.Unmarshal(summary, &l); err != nil {
			return nil, fmt.Errorf("listing recording %s: %w", id, err)
		}
		list = append(list, l)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("listing recordings: %w", err)
	}
	return list, nil
}

// Get returns the manifest of a recording, or ErrNotFound. Of one that runs it
// is the present state: Bytes and Frames count what can be read at this moment.
func (s *Store) Get(_ context.Context, id string) (*Manifest, error) {
	if r := s.liveRecording(id); r != nil {
		return r.Manifest(), nil
	}
	return s.readManifest(id)
}

// Live returns the recording with this id if it runs.
func (s *Store) Live(id string) (*Recording, bool) {
	r := s.liveRecording(id)
	return r, r != nil
}

func (s *Store) liveRecording(id string) *Recording {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.live[id]
}

func (s *Store) readManifest(id string) (*Manifest, error) {
	f, err := s.OpenLectureFile(id, manifestFile)
	if err != nil {
		return nil, err
	}
	defer f.Close() // read only
	m, err := ReadManifest(f)
	if err != nil {
		return nil, fmt.Errorf("recording %s: %w", id, err)
	}
	m.ID = id // a folder may have been renamed
	return m, nil
}

// deletedPrefix marks folders that are being removed. It begins with a dot, so
// that no id has it.
const deletedPrefix = ".deleted-"

// Delete removes a recording for good. It returns ErrLive while it runs, and
// ErrNotFound.
func (s *Store) Delete(ctx context.Context, id string) error {
	if _, err := s.LectureDir(id); err != nil {
		return fmt.Errorf("deleting recording: %w", err)
	}
	if s.liveRecording(id) != nil {
		return fmt.Errorf("deleting recording %s: %w", id, ErrLive)
	}
	gone := filepath.Join(recordingsDir, deletedPrefix+id)
	if err := s.root.Rename(filepath.Join(recordingsDir, id), gone); err != nil {
		return fmt.Errorf("deleting recording %s: %w", id, err)
	}
	if _, err := s.cat.write.ExecContext(ctx, `DELETE FROM recordings WHERE id = ?`, id); err != nil {
		return fmt.Errorf("deleting recording %s: %w", id, err)
	}
	// What a crash leaves of it, the next start removes.
	if err := s.root.RemoveAll(gone); err != nil {
		return fmt.Errorf("deleting recording %s: %w", id, err)
	}
	s.log.Info("recording deleted", "recording", id)
	return nil
}

// LectureDir returns the folder of a recording for reading, or ErrNotFound.
func (s *Store) LectureDir(id string) (string, error) {
	if !validName(id, maxID) {
		return "", fmt.Errorf("recording %q: %w", id, ErrNotFound)
	}
	info, err := s.root.Stat(filepath.Join(recordingsDir, id))
	if err != nil || !info.IsDir() {
		return "", fmt.Errorf("recording %s: %w", id, ErrNotFound)
	}
	return filepath.Join(s.cfg.Dir, recordingsDir, id), nil
}

// OpenLectureFile opens a file in the folder of a recording by a path from its
// manifest. It cannot leave the folder. It returns ErrNotFound.
func (s *Store) OpenLectureFile(id, path string) (*os.File, error) {
	if !validName(id, maxID) || !filepath.IsLocal(path) || strings.Contains(path, `\`) {
		return nil, fmt.Errorf("file of recording %q: %w", id, ErrNotFound)
	}
	f, err := s.root.Open(filepath.Join(recordingsDir, id, path))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("file of recording %s: %w", id, ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("opening file of recording %s: %w", id, err)
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(fmt.Errorf("file of recording %s: %w", id, ErrNotFound), f.Close())
	}
	return f, nil
}

// index enters a recording into the catalogue.
func (s *Store) index(ctx context.Context, m *Manifest) error {
	b, err := json.Marshal(m.Lecture())
	if err != nil {
		return fmt.Errorf("indexing recording %s: %w", m.ID, err)
	}
	const q = `INSERT INTO recordings (id, room, started_ms, summary) VALUES (?, ?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET room = excluded.room, started_ms = excluded.started_ms, summary = excluded.summary`
	if _, err := s.cat.write.ExecContext(ctx, q, m.ID, m.Room, m.StartedAt.UnixMilli(), string(b)); err != nil {
		return fmt.Errorf("indexing recording %s: %w", m.ID, err)
	}
	return nil
}

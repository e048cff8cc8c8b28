package storage

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// FileInfo is a file that a room shares.
type FileInfo struct {
	ID        string    `json:"id"` // the server's; unguessable
	Room      string    `json:"room"`
	Name      string    `json:"name"` // for people: never a path
	Size      int64     `json:"size"` // bytes
	SHA256    string    `json:"sha256"`
	MediaType string    `json:"media_type"`
	By        string    `json:"by"` // member id
	At        time.Time `json:"at"` // when it was complete
}

// fileColumns are what scanFile reads.
const fileColumns = `id, room, name, size, sha256, media_type, by_member, updated_ms`

func scanFile(row interface{ Scan(...any) error }) (FileInfo, error) {
	var (
		f    FileInfo
		atMS int64
	)
	err := row.Scan(&f.ID, &f.Room, &f.Name, &f.Size, &f.SHA256, &f.MediaType, &f.By, &atMS)
	f.At = time.UnixMilli(atMS).UTC()
	return f, err
}

// ListFiles returns the complete files of a room, oldest first.
func (s *Store) ListFiles(ctx context.Context, room string) ([]FileInfo, error) {
	const q = `SELECT ` + fileColumns + ` FROM files WHERE room = ? AND stored = 1 ORDER BY updated_ms, id`
	rows, err := s.cat.read.QueryContext(ctx, q, room)
	if err != nil {
		return nil, fmt.Errorf("listing files of room %s: %w", room, err)
	}
	defer rows.Close() // read only
	list := []FileInfo{}
	for rows.Next() {
		f, err := scanFile(rows)
		if err != nil {
			return nil, fmt.Errorf("listing files of room %s: %w", room, err)
		}
		list = append(list, f)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("listing files of room %s: %w", room, err)
	}
	return list, nil
}

// OpenFile opens a complete file of a room for reading. It returns ErrNotFound.
func (s *Store) OpenFile(ctx context.Context, room, id string) (*os.File, FileInfo, error) {
	info, err := s.file(ctx, room, id)
	if err != nil {
		return nil, FileInfo{}, fmt.Errorf("opening file of room %s: %w", room, err)
	}
	f, err := s.root.Open(filePath(info.ID))
	if errors.Is(err, fs.ErrNotExist) {
		err = ErrNotFound
	}
	if err != nil {
		return nil, FileInfo{}, fmt.Errorf("opening file of room %s: %w", room, err)
	}
	return f, info, nil
}

func (s *Store) file(ctx context.Context, room, id string) (FileInfo, error) {
	const q = `SELECT ` + fileColumns + ` FROM files WHERE room = ? AND id = ? AND stored = 1`
	f, err := scanFile(s.cat.read.QueryRowContext(ctx, q, room, id))
	if errors.Is(err, sql.ErrNoRows) {
		err = ErrNotFound
	}
	return f, err
}

// DeleteFile removes a file from a room; recordings keep theirs. It returns
// ErrNotFound.
func (s *Store) DeleteFile(ctx context.Context, room, id string) error {
	if _, err := s.file(ctx, room, id); err != nil {
		return fmt.Errorf("deleting file of room %s: %w", room, err)
	}
	if _, err := s.cat.write.ExecContext(ctx, `DELETE FROM files WHERE id = ?`, id); err != nil {
		return fmt.Errorf("deleting file of room %s: %w", room, err)
	}
	if err := s.root.Remove(filePath(id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("deleting file of room %s: %w", room, err)
	}
	return nil
}

// partSuffix marks files that are not complete.
const partSuffix = ".part"

func filePath(id string) string { return filepath.Join(filesDir, id) }

func partPath(id string) string { return filepath.Join(filesDir, id+partSuffix) }

// AddFile keeps a file of the room in the recording too. A file that is there
// already is left. It returns ErrEnded after End.
func (r *Recording) AddFile(f FileInfo) error {
	if !validName(f.ID, maxID) {
		return fmt.Errorf("keeping file %q: %w", f.ID, ErrBadName)
	}
	r.sharing.Lock()
	defer r.sharing.Unlock()
	if r.Err() != nil || r.isEnding() {
		return fmt.Errorf("keeping file %s: %w", f.ID, ErrEnded)
	}
	if r.hasFile(f.ID) {
		return nil
	}
	if err := r.copyFile(f); err != nil {
		return fmt.Errorf("keeping file %s: %w", f.ID, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.man.Files = append(r.man.Files, SharedFile{
		ID: f.ID, Name: f.Name, Size: f.Size, SHA256: f.SHA256, MediaType: f.MediaType,
		Path: sharedDir + "/" + f.ID, AtMS: ms(max(f.At.Sub(r.begin), 0)),
	})
	r.kickLocked()
	return nil
}

func (r *Recording) hasFile(id string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.ContainsFunc(r.man.Files, func(f SharedFile) bool { return f.ID == id })
}

func (r *Recording) isEnding() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ending
}

// copyFile links the file into the folder, or copies it where links cannot be made.
func (r *Recording) copyFile(f FileInfo) error {
	root := r.store.root
	dir := filepath.Join(recordingsDir, r.man.ID, sharedDir)
	if err := root.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	to := filepath.Join(dir, f.ID)
	err := root.Link(filePath(f.ID), to)
	if err == nil || errors.Is(err, fs.ErrExist) {
		return syncDir(root, dir)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return ErrNotFound
	}
	return errors.Join(copyTo(root, filePath(f.ID), to), syncDir(root, dir))
}

func copyTo(root *os.Root, from, to string) error {
	src, err := root.Open(from)
	if err != nil {
		return err
	}
	defer src.Close() // read only
	dst, err := root.OpenFile(to+partSuffix, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o640)
	if err != nil {
		return err
	}
	_, err = io.Copy(dst, src)
	if err = errors.Join(err, dst.Sync(), dst.Close()); err != nil {
		return errors.Join(err, root.Remove(to+partSuffix))
	}
	return root.Rename(to+partSuffix, to)
}

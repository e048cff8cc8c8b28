package storage

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"mime"
	"os"
	"strings"
	"sync"
	"time"
)

// FileHead announces a file.
type FileHead struct {
	ClientID  string // what the sender calls the upload; unique per member, at most 128 bytes
	By        string // member id
	Name      string // cleaned and cut to 200 bytes
	Size      int64  // bytes, exact
	SHA256    string // of the content, 64 hex digits
	MediaType string // "": application/octet-stream
}

const (
	maxFileName    = 200 // bytes
	maxClientID    = 128 // bytes
	maxMediaType   = 120 // bytes
	uploadLifetime = 24 * time.Hour
)

// Upload is a file on its way in. Append and Commit may be called by one
// goroutine at a time, the other methods by any.
type Upload struct {
	s    *Store
	info FileInfo

	mu     sync.Mutex // guards what follows
	f      *os.File   // nil once closed or stored
	sum    hash.Hash  // of what is written
	offset int64
	stored bool
}

// BeginUpload announces a file to a room, or goes on with an upload that was
// broken off: the same member, ClientID, size and digest. A later BeginUpload of
// it takes it over. Errors: ErrTooLarge, ErrQuota, ErrTooMany, ErrBadHead,
// ErrBadName.
func (s *Store) BeginUpload(ctx context.Context, room string, head FileHead) (*Upload, error) {
	if err := s.checkHead(room, &head); err != nil {
		return nil, fmt.Errorf("beginning upload: %w", err)
	}
	s.starting.Lock() // so that quota and number are kept
	defer s.starting.Unlock()
	info, stored, err := s.enter(ctx, room, head)
	if err != nil {
		return nil, fmt.Errorf("beginning upload: %w", err)
	}
	u := &Upload{s: s, info: info, stored: stored}
	if stored {
		u.offset = info.Size
		return u, nil
	}
	if err := s.takeOver(info.ID); err != nil {
		return nil, fmt.Errorf("beginning upload: %w", err)
	}
	if err := u.open(); err != nil {
		return nil, fmt.Errorf("beginning upload: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errors.Join(fmt.Errorf("beginning upload: %w", ErrEnded), u.f.Close())
	}
	s.uploads[info.ID] = u
	return u, nil
}

func (s *Store) checkHead(room string, h *FileHead) error {
	if !validName(room, maxName) {
		return ErrBadName
	}
	h.SHA256 = strings.ToLower(h.SHA256)
	sum, err := hex.DecodeString(h.SHA256)
	if err != nil || len(sum) != sha256.Size || h.Size < 0 || len(h.ClientID) > maxClientID || h.ClientID == "" {
		return ErrBadHead
	}
	if h.Size > s.cfg.FileLimit {
		return ErrTooLarge
	}
	h.Name = cleanFileName(h.Name, maxFileName)
	if _, _, err := mime.ParseMediaType(h.MediaType); err != nil || len(h.MediaType) > maxMediaType {
		h.MediaType = "application/octet-stream"
	}
	return nil
}

// enter finds the upload in the catalogue or enters it there.
func (s *Store) enter(ctx context.Context, room string, h FileHead) (f FileInfo, stored bool, err error) {
	tx, err := s.cat.write.BeginTx(ctx, nil)
	if err != nil {
		return f, false, err
	}
	defer func() { _ = tx.Rollback() }() // does nothing after Commit
	now := s.cfg.Now().UnixMilli()
	const find = `SELECT ` + fileColumns + ` FROM files WHERE room = ? AND by_member = ? AND client_id = ?`
	f, err = scanFile(tx.QueryRowContext(ctx, find, room, h.By, h.ClientID))
	switch {
	case errors.Is(err, sql.ErrNoRows):
	case err != nil:
		return f, false, err
	case f.Size != h.Size || f.SHA256 != h.SHA256:
		return f, false, fmt.Errorf("%w: id used for another file", ErrBadHead)
	default:
		const touch = `UPDATE files SET updated_ms = CASE stored WHEN 1 THEN updated_ms ELSE ? END
			WHERE id = ? RETURNING stored`
		if err := tx.QueryRowContext(ctx, touch, now, f.ID).Scan(&stored); err != nil {
			return f, false, err
		}
		return f, stored, tx.Commit()
	}
	if err := s.checkRoom(ctx, tx, room, h.Size); err != nil {
		return f, false, err
	}
	f = FileInfo{
		ID: strings.ToLower(rand.Text()), Room: room, Name: h.Name, Size: h.Size,
		SHA256: h.SHA256, MediaType: h.MediaType, By: h.By,
	}
	const insert = `INSERT INTO files (id, room, client_id, by_member, name, size, sha256, media_type, updated_ms)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`
	_, err = tx.ExecContext(ctx, insert, f.ID, room, h.ClientID, h.By, f.Name, f.Size, f.SHA256, f.MediaType, now)
	if err != nil {
		return f, false, err
	}
	return f, false, tx.Commit()
}

// checkRoom keeps the bounds of a room. Uploads that are not complete count in
// full: the promise made to them must hold.
func (s *Store) checkRoom(ctx context.Context, tx *sql.Tx, room string, size int64) error {
	var used int64
	var open int
	const q = `SELECT coalesce(sum(size), 0), coalesce(sum(stored = 0), 0) FROM files WHERE room = ?`
	if err := tx.QueryRowContext(ctx, q, room).Scan(&used, &open); err != nil {
		return err
	}
	switch {
	case open >= s.cfg.MaxUploads:
		return ErrTooMany
	case used+size > s.cfg.RoomQuota:
		return ErrQuota
	}
	return nil
}

// takeOver ends an upload that another connection has open.
func (s *Store) takeOver(id string) error {
	s.mu.Lock()
	old := s.uploads[id]
	s.mu.Unlock()
	if old == nil {
		return nil
	}
	return old.Close()
}

// open opens the .part file and hashes what is there.
func (u *Upload) open() error {
	f, err := u.s.root.OpenFile(partPath(u.info.ID), os.O_CREATE|os.O_RDWR, 0o640)
	if err != nil {
		return err
	}
	u.f, u.sum = f, sha256.New()
	n, err := io.Copy(u.sum, io.LimitReader(f, u.info.Size+1))
	if err != nil || n > u.info.Size {
		u.sum.Reset()
		n, err = 0, f.Truncate(0)
	}
	if err != nil {
		return errors.Join(err, f.Close())
	}
	u.offset = n
	return nil
}

// ID is the id that the file will have.
func (u *Upload) ID() string { return u.info.ID }

// Offset is the number of bytes that are kept, from which the sender goes on.
func (u *Upload) Offset() int64 {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.offset
}

// Stored returns the file if it is complete: after Commit, or when BeginUpload
// met one that had been committed before.
func (u *Upload) Stored() (FileInfo, bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.stored {
		return FileInfo{}, false
	}
	return u.info, true
}

// Append writes p, which must begin at offset == Offset(). The slice is the
// caller's again after return. Errors: ErrOffset, ErrTooLarge (p passes the
// announced size; nothing is written), ErrSuperseded, ErrDiskFull.
func (u *Upload) Append(offset int64, p []byte) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case u.f == nil:
		return fmt.Errorf("appending to upload %s: %w", u.info.ID, ErrSuperseded)
	case offset != u.offset:
		return fmt.Errorf("appending to upload %s at %d, stands at %d: %w", u.info.ID, offset, u.offset, ErrOffset)
	case offset+int64(len(p)) > u.info.Size:
		return fmt.Errorf("appending to upload %s: %w", u.info.ID, ErrTooLarge)
	}
	if _, err := u.f.WriteAt(p, offset); err != nil {
		if isDiskFull(err) {
			err = fmt.Errorf("%w: %w", ErrDiskFull, err)
		}
		return fmt.Errorf("appending to upload %s: %w", u.info.ID, err)
	}
	_, _ = u.sum.Write(p) // never fails
	u.offset += int64(len(p))
	return nil
}

// Commit checks size and digest, syncs the file and makes it known. After
// ErrIncomplete the upload may go on; after ErrDigest nothing is left of it. Of
// a file that is stored already it returns what Stored does.
func (u *Upload) Commit(ctx context.Context) (FileInfo, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case u.stored:
		return u.info, nil
	case u.f == nil:
		return FileInfo{}, fmt.Errorf("committing upload %s: %w", u.info.ID, ErrSuperseded)
	case u.offset != u.info.Size:
		return FileInfo{}, fmt.Errorf("committing upload %s at %d of %d bytes: %w",
			u.info.ID, u.offset, u.info.Size, ErrIncomplete)
	case hex.EncodeToString(u.sum.Sum(nil)) != u.info.SHA256:
		err := fmt.Errorf("committing upload %s: %w", u.info.ID, ErrDigest)
		return FileInfo{}, errors.Join(err, u.removeLocked(ctx))
	}
	if err := u.storeLocked(ctx); err != nil {
		return FileInfo{}, fmt.Errorf("committing upload %s: %w", u.info.ID, err)
	}
	return u.info, nil
}

// storeLocked brings the file to the disk under its name before the catalogue
// says that it is there.
func (u *Upload) storeLocked(ctx context.Context) error {
	if err := u.f.Sync(); err != nil {
		return err
	}
	root := u.s.root
	if err := root.Rename(partPath(u.info.ID), filePath(u.info.ID)); err != nil {
		return err
	}
	if err := syncDir(root, filesDir); err != nil {
		return err
	}
	now := u.s.cfg.Now()
	const q = `UPDATE files SET stored = 1, updated_ms = ? WHERE id = ?`
	if _, err := u.s.cat.write.ExecContext(ctx, q, now.UnixMilli(), u.info.ID); err != nil {
		// Back, so that a further Commit can do it again.
		return errors.Join(err, root.Rename(filePath(u.info.ID), partPath(u.info.ID)))
	}
	u.stored = true
	u.info.At = now.UTC().Truncate(time.Millisecond)
	return u.closeLocked()
}

// Close lets go of the upload; what has come stays for a resume for 24 h. It is
// idempotent, and does nothing after Commit.
func (u *Upload) Close() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.closeLocked()
}

func (u *Upload) closeLocked() error {
	if u.f == nil {
		return nil
	}
	f := u.f
	u.f = nil
	u.s.mu.Lock()
	if u.s.uploads[u.info.ID] == u {
		delete(u.s.uploads, u.info.ID)
	}
	u.s.mu.Unlock()
	if err := f.Close(); err != nil {
		return fmt.Errorf("closing upload %s: %w", u.info.ID, err)
	}
	return nil
}

// Abort removes the upload and its bytes. It is idempotent, and does nothing
// after Commit.
func (u *Upload) Abort(ctx context.Context) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.f == nil {
		return nil
	}
	return u.removeLocked(ctx)
}

func (u *Upload) removeLocked(ctx context.Context) error {
	return errors.Join(u.closeLocked(), u.s.removeUpload(ctx, u.info.ID))
}

func (s *Store) removeUpload(ctx context.Context, id string) error {
	if err := s.root.Remove(partPath(id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing upload %s: %w", id, err)
	}
	if _, err := s.cat.write.ExecContext(ctx, `DELETE FROM files WHERE id = ? AND stored = 0`, id); err != nil {
		return fmt.Errorf("removing upload %s: %w", id, err)
	}
	return nil
}

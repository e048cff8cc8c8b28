package storage

import "context"

// FileHead announces a file.
type FileHead struct {
	ClientID  string // what the sender calls the upload; unique per member, at most 128 bytes
	By        string // member id
	Name      string // cleaned and cut to 200 bytes
	Size      int64  // bytes, exact
	SHA256    string // of the content, 64 hex digits
	MediaType string // "": application/octet-stream
}

// Upload is a file on its way in. Append and Commit may be called by one
// goroutine at a time, the other methods by any.
type Upload struct{}

// BeginUpload announces a file to a room, or goes on with an upload that was
// broken off: the same member, ClientID, size and digest. A later BeginUpload of
// it takes it over. Errors: ErrTooLarge, ErrQuota, ErrTooMany, ErrBadHead,
// ErrBadName.
func (s *Store) BeginUpload(ctx context.Context, room string, head FileHead) (*Upload, error) {
	return nil, nil
}

// ID is the id that the file will have.
func (u *Upload) ID() string { return "" }

// Offset is the number of bytes that are kept, from which the sender goes on.
func (u *Upload) Offset() int64 { return 0 }

// Stored returns the file if it is complete: after Commit, or when BeginUpload
// met one that had been committed before.
func (u *Upload) Stored() (FileInfo, bool) { return FileInfo{}, false }

// Append writes p, which must begin at offset == Offset(). The slice is the
// caller's again after return. Errors: ErrOffset, ErrTooLarge (p passes the
// announced size; nothing is written), ErrSuperseded, ErrDiskFull.
func (u *Upload) Append(offset int64, p []byte) error { return nil }

// Commit checks size and digest, syncs the file and makes it known. After
// ErrIncomplete the upload may go on; after ErrDigest nothing is left of it. Of
// a file that is stored already it returns what Stored does.
func (u *Upload) Commit(ctx context.Context) (FileInfo, error) { return FileInfo{}, nil }

// Close lets go of the upload; what has come stays for a resume for 24 h. It is
// idempotent, and does nothing after Commit.
func (u *Upload) Close() error { return nil }

// Abort removes the upload and its bytes. It is idempotent, and does nothing
// after Commit.
func (u *Upload) Abort(ctx context.Context) error { return nil }

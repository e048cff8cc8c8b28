package room

import (
	"context"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/lectern/lectern/room/access"
)

const (
	maxFileName  = 200 // characters
	maxMediaType = 127 // bytes (RFC 6838, section 4.2: twice 63 and a slash)
	maxClientID  = 128 // bytes
)

// BeginUpload begins to take a file from the person by, or goes on with one that
// was interrupted. Errors: ErrForbidden, ErrFilesClosed, ErrNoFiles, ErrBadFile,
// ErrClosed and those of FileStore.BeginUpload. Once it is committed, ShareFile tells the room.
func (r *Room) BeginUpload(ctx context.Context, by Identity, head FileHead) (Upload, error) {
	if !r.Admits(by) || by.Anonymous { // whoever comes in by the door of an open room has a token
		return nil, ErrForbidden
	}
	if by.Role == access.Student && !r.policy().Files {
		return nil, ErrFilesClosed
	}
	if r.cfg.Files == nil {
		return nil, ErrNoFiles
	}
	if r.refused() {
		return nil, ErrClosed
	}
	head.By = by.ID
	head.Name = cleanName(head.Name, maxFileName)
	head.SHA256 = strings.ToLower(head.SHA256)
	if err := checkHead(head); err != nil {
		return nil, err
	}
	if head.Size > r.cfg.Limits.FileBytes {
		return nil, ErrFileTooLarge
	}
	u, err := r.cfg.Files.BeginUpload(ctx, r.name, head)
	if err != nil {
		return nil, fmt.Errorf("beginning upload: %w", err)
	}
	return u, nil
}

func checkHead(h FileHead) error {
	digest, err := hex.DecodeString(h.SHA256)
	switch {
	case h.ClientID == "" || len(h.ClientID) > maxClientID:
		return fmt.Errorf("%w: id of %d bytes", ErrBadFile, len(h.ClientID))
	case h.Name == "":
		return fmt.Errorf("%w: no name", ErrBadFile)
	case h.Size < 0:
		return fmt.Errorf("%w: size %d", ErrBadFile, h.Size)
	case err != nil || len(digest) != 32:
		return fmt.Errorf("%w: sha256 is not 64 hexadecimal digits", ErrBadFile)
	case len(h.MediaType) > maxMediaType:
		return fmt.Errorf("%w: media type of %d bytes", ErrBadFile, len(h.MediaType))
	}
	return nil
}

// Admits says whether id may be in the room, and so fetch what is shared there:
// not an encoder, which only publishes.
func (r *Room) Admits(id Identity) bool { return id.claims().MayWatch(r.name) }

// FileURL is where a file of the room is fetched over HTTP.
func (r *Room) FileURL(id string) string { return r.cfg.FileURL(r.name, id) }

// ShareFile announces a stored file to the room and gives it to the running
// recording. A file is announced once. It returns the seq of the announcement.
func (r *Room) ShareFile(ctx context.Context, by Identity, f FileInfo) (seq uint64, err error) {
	f.URL = r.FileURL(f.ID)
	r.mu.Lock()
	lec := r.lecture
	r.mu.Unlock()
	seq, dup, err := r.post(ctx, Event{
		Type: TypeFile, By: by.ID, From: cleanName(by.Name, r.cfg.Limits.NameChars),
		ID: f.ID, Name: f.Name, Size: &f.Size, SHA256: f.SHA256, MediaType: f.MediaType, URL: f.URL,
	}, "file/"+f.ID, nil)
	if err != nil {
		return 0, err
	}
	if lec == nil || dup {
		return seq, nil
	}
	if err := lec.AddFile(f); err != nil {
		r.log.Error("file missing in recording", "recording", lec.ID(), "bytes", f.Size, "err", err)
		r.announce(Event{
			Type: TypeRecording, State: recordingFailed, Lecture: lec.ID(), ID: f.ID, Why: "cannot_add_file",
		})
	}
	return seq, nil
}

// OpenFile opens a file that was shared in the room. Errors: ErrNoFiles,
// ErrFileNotFound.
func (r *Room) OpenFile(ctx context.Context, id string) (File, FileInfo, error) {
	if r.cfg.Files == nil {
		return nil, FileInfo{}, ErrNoFiles
	}
	f, info, err := r.cfg.Files.OpenFile(ctx, r.name, id)
	if err != nil {
		return nil, FileInfo{}, fmt.Errorf("opening file: %w", err)
	}
	info.URL = r.FileURL(info.ID)
	return f, info, nil
}

package storage_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lectern/lectern/storage"
)

func headOf(id string, content []byte) storage.FileHead {
	sum := sha256.Sum256(content)
	return storage.FileHead{
		ClientID: id, By: "ada", Name: "../../notes\u202e.pdf", Size: int64(len(content)),
		SHA256: hex.EncodeToString(sum[:]), MediaType: "application/pdf",
	}
}

func content(n int) []byte { return bytes.Repeat([]byte("lectern "), n/8+1)[:n] }

func TestUpload_IsStoredAndKeptByTheRecording(t *testing.T) {
	ctx := context.Background()
	r := newRig(t, storage.Config{})
	b := content(200_000)
	u, err := r.store.BeginUpload(ctx, "algebra", headOf("1", b))
	if err != nil {
		t.Fatal(err)
	}
	for off := 0; off < len(b); off += 65536 {
		if err := u.Append(int64(off), b[off:min(len(b), off+65536)]); err != nil {
			t.Fatal(err)
		}
	}
	r.clock.add(5 * time.Second)
	info, err := u.Commit(ctx)
	if err != nil || info.Name != "notes.pdf" || info.Size != 200_000 {
		t.Fatalf("commit: got %+v, %v", info, err)
	}
	if err := r.rec.AddFile(info); err != nil {
		t.Fatal(err)
	}
	f, got, err := r.store.OpenFile(ctx, "algebra", info.ID)
	if err != nil || got != info {
		t.Fatalf("open: got %+v, %v, want %+v", got, err, info)
	}
	defer f.Close()
	if kept, err := io.ReadAll(f); err != nil || !bytes.Equal(kept, b) {
		t.Errorf("content differs: %d bytes, %v", len(kept), err)
	}
	if _, _, err := r.store.OpenFile(ctx, "geometry", info.ID); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("open from another room: got %v, want ErrNotFound", err)
	}
	again, err := r.store.BeginUpload(ctx, "algebra", headOf("1", b))
	if err != nil {
		t.Fatal(err)
	}
	if done, ok := again.Stored(); !ok || done != info {
		t.Errorf("begun again: got %+v, %v, want the stored file", done, ok)
	}
	m := r.end(10 * time.Second)
	if err := r.store.DeleteFile(ctx, "algebra", info.ID); err != nil {
		t.Fatal(err)
	}
	if len(m.Files) != 1 || m.Files[0].AtMS != 5000 {
		t.Fatalf("files: got %+v", m.Files)
	}
	lf, err := r.store.OpenLectureFile(m.ID, m.Files[0].Path)
	if err != nil {
		t.Fatal(err)
	}
	defer lf.Close()
	if kept, err := io.ReadAll(lf); err != nil || !bytes.Equal(kept, b) {
		t.Errorf("content in the recording differs: %d bytes, %v", len(kept), err)
	}
}

func TestUpload_ResumesAcrossConnectionsAndRestarts(t *testing.T) {
	ctx, dir, b := context.Background(), t.TempDir(), content(100_000)
	s, err := storage.Open(ctx, storage.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	old, err := s.BeginUpload(ctx, "algebra", headOf("1", b))
	if err != nil {
		t.Fatal(err)
	}
	if err := old.Append(0, b[:30_000]); err != nil {
		t.Fatal(err)
	}
	u, err := s.BeginUpload(ctx, "algebra", headOf("1", b))
	if err != nil || u.Offset() != 30_000 || u.ID() != old.ID() {
		t.Fatalf("taken over: got %v, %v", u, err)
	}
	if err := old.Append(30_000, b[30_000:]); !errors.Is(err, storage.ErrSuperseded) {
		t.Errorf("old connection: got %v, want ErrSuperseded", err)
	}
	if err := u.Append(30_000, b[30_000:60_000]); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, storage.Config{Dir: dir})
	if u, err = s.BeginUpload(ctx, "algebra", headOf("1", b)); err != nil || u.Offset() != 60_000 {
		t.Fatalf("after a restart: got %v, %v", u, err)
	}
	if err := u.Append(0, b[:10]); !errors.Is(err, storage.ErrOffset) {
		t.Errorf("wrong offset: got %v, want ErrOffset", err)
	}
	if _, err := u.Commit(ctx); !errors.Is(err, storage.ErrIncomplete) {
		t.Errorf("early commit: got %v, want ErrIncomplete", err)
	}
	if err := u.Append(60_000, append(b[60_000:], 'x')); !errors.Is(err, storage.ErrTooLarge) {
		t.Errorf("too many bytes: got %v, want ErrTooLarge", err)
	}
	if err := u.Append(60_000, b[60_000:]); err != nil {
		t.Fatal(err)
	}
	if _, err := u.Commit(ctx); err != nil {
		t.Fatal(err)
	}
}

func TestUpload_WrongDigestLeavesNothing(t *testing.T) {
	ctx, dir := context.Background(), t.TempDir()
	s := open(t, storage.Config{Dir: dir})
	b := content(1000)
	u, err := s.BeginUpload(ctx, "algebra", headOf("1", b))
	if err != nil {
		t.Fatal(err)
	}
	b[500] ^= 1
	if err := u.Append(0, b); err != nil {
		t.Fatal(err)
	}
	if _, err := u.Commit(ctx); !errors.Is(err, storage.ErrDigest) {
		t.Fatalf("commit: got %v, want ErrDigest", err)
	}
	if fs, err := os.ReadDir(filepath.Join(dir, "files")); err != nil || len(fs) != 0 {
		t.Errorf("left: %v, %v", fs, err)
	}
	if fs, err := s.ListFiles(ctx, "algebra"); err != nil || len(fs) != 0 {
		t.Errorf("listed: %v, %v", fs, err)
	}
}

func TestUpload_KeepsItsBounds(t *testing.T) {
	ctx := context.Background()
	s := open(t, storage.Config{Dir: t.TempDir(), FileLimit: 1000, RoomQuota: 2500, MaxUploads: 3})
	begin := func(id string, size int64, change func(*storage.FileHead)) error {
		h := headOf(id, nil)
		h.Size = size
		if change != nil {
			change(&h)
		}
		_, err := s.BeginUpload(ctx, "algebra", h)
		return err
	}
	tests := []struct {
		name   string
		id     string
		size   int64
		change func(*storage.FileHead)
		want   error
	}{
		{name: "too large", id: "a", size: 1001, want: storage.ErrTooLarge},
		{name: "negative", id: "a", size: -1, want: storage.ErrBadHead},
		{name: "no id", size: 1, want: storage.ErrBadHead},
		{name: "bad digest", id: "a", want: storage.ErrBadHead, change: func(h *storage.FileHead) { h.SHA256 = "zz" }},
		{name: "first", id: "a", size: 1000},
		{name: "other content under its id", id: "a", size: 999, want: storage.ErrBadHead},
		{name: "second", id: "b", size: 1000},
		{name: "over quota", id: "c", size: 501, want: storage.ErrQuota},
		{name: "third", id: "c", size: 500},
		{name: "too many", id: "d", size: 0, want: storage.ErrTooMany},
		{name: "resume of the first", id: "a", size: 1000},
	}
	for _, tt := range tests {
		if err := begin(tt.id, tt.size, tt.change); !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
			t.Errorf("%s: got %v, want %v", tt.name, err, tt.want)
		}
	}
}

func TestOpen_RemovesStaleUploads(t *testing.T) {
	ctx, dir := context.Background(), t.TempDir()
	c := new(clock)
	c.set(time.Now())
	s := open(t, storage.Config{Dir: dir, Now: c.now})
	for _, id := range []string{"old", "new"} {
		u, err := s.BeginUpload(ctx, "algebra", headOf(id, content(10)))
		if err != nil {
			t.Fatal(err)
		}
		if err := u.Append(0, []byte("lec")); err != nil {
			t.Fatal(err)
		}
		c.add(13 * time.Hour)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, storage.Config{Dir: dir, Now: c.now})
	fs, err := os.ReadDir(filepath.Join(dir, "files"))
	if err != nil || len(fs) != 1 || !strings.HasSuffix(fs[0].Name(), ".part") {
		t.Errorf("left: %v, %v, want the new one", fs, err)
	}
}

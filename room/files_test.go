package room_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/lectern/lectern/room"
	"github.com/lectern/lectern/room/access"
)

// fakeFiles is a FileStore that keeps the last head.
type fakeFiles struct{ head room.FileHead }

func (f *fakeFiles) BeginUpload(_ context.Context, _ string, head room.FileHead) (room.Upload, error) {
	f.head = head
	return nil, nil
}

func (f *fakeFiles) OpenFile(context.Context, string, string) (room.File, room.FileInfo, error) {
	return nil, room.FileInfo{}, room.ErrFileNotFound
}

func TestBeginUpload_ChecksTheHead(t *testing.T) {
	files := &fakeFiles{}
	r := newHouse(t, func(c *room.Config) { c.Files = files; c.Limits.FileBytes = 100 }).open(t)
	good := room.FileHead{ClientID: "x", By: "forged", Name: " a\x00/b.pdf ", Size: 100, SHA256: strings.Repeat("AB", 32)}
	if _, err := r.BeginUpload(t.Context(), wei, good); err != nil {
		t.Fatal(err)
	}
	if files.head.By != "wei" || files.head.Name != "a/b.pdf" || files.head.SHA256 != strings.Repeat("ab", 32) {
		t.Errorf("got %+v", files.head)
	}
	for name, tt := range map[string]struct {
		change func(*room.FileHead)
		want   error
	}{
		"id":     {func(h *room.FileHead) { h.ClientID = "" }, room.ErrBadFile},
		"name":   {func(h *room.FileHead) { h.Name = " \n" }, room.ErrBadFile},
		"size":   {func(h *room.FileHead) { h.Size = -1 }, room.ErrBadFile},
		"large":  {func(h *room.FileHead) { h.Size = 101 }, room.ErrFileTooLarge},
		"digest": {func(h *room.FileHead) { h.SHA256 = "zz" }, room.ErrBadFile},
		"type":   {func(h *room.FileHead) { h.MediaType = strings.Repeat("x", 200) }, room.ErrBadFile},
	} {
		h := good
		tt.change(&h)
		if _, err := r.BeginUpload(t.Context(), wei, h); !errors.Is(err, tt.want) {
			t.Errorf("%s: got %v, want %v", name, err, tt.want)
		}
	}
	player := room.Identity{ID: "p", Role: access.Player, Room: "algebra"}
	if _, err := r.BeginUpload(t.Context(), player, good); !errors.Is(err, room.ErrForbidden) {
		t.Errorf("a player: got %v, want ErrForbidden", err)
	}
	none := newHouse(t).open(t)
	if _, err := none.BeginUpload(t.Context(), wei, good); !errors.Is(err, room.ErrNoFiles) {
		t.Errorf("without a store: got %v, want ErrNoFiles", err)
	}
	if _, _, err := r.OpenFile(t.Context(), "x"); !errors.Is(err, room.ErrFileNotFound) {
		t.Errorf("open: got %v, want ErrFileNotFound", err)
	}
}

func TestShareFile_IsAnnouncedOnceAndKeptInTheRecording(t *testing.T) {
	h := newHouse(t)
	r := h.open(t)
	publish(t, r, ada, "main")
	m, _ := join(t, r, wei, room.JoinOptions{})
	info := room.FileInfo{ID: "f1", Name: "a.pdf", Size: 0, SHA256: "00", MediaType: "application/pdf"}
	first, err := r.ShareFile(t.Context(), wei, info)
	if err != nil {
		t.Fatal(err)
	}
	e := next(t, m, room.TypeFile)
	if e.ID != "f1" || e.By != "wei" || *e.Size != 0 || e.URL != "/api/rooms/algebra/files/f1" || e.Seq != first {
		t.Errorf("got %+v", e)
	}
	if again, err := r.ShareFile(t.Context(), wei, info); err != nil || again != first {
		t.Errorf("again: got %d, %v, want %d", again, err, first)
	}
	if got := h.rec.only(t).files; len(got) != 1 {
		t.Errorf("the recording has %v, want f1 once", got)
	}
}

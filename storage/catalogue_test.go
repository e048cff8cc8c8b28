package storage_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lectern/lectern/storage"
	"github.com/lectern/lectern/stream"
)

func TestEvents_AreNumberedOnceAndKeptInOrder(t *testing.T) {
	ctx := context.Background()
	s := open(t, storage.Config{Dir: t.TempDir()})
	at := time.UnixMilli(1_800_000_000_123).UTC()
	var wg sync.WaitGroup
	for i := range 100 { // at once: they share commits
		wg.Go(func() {
			e := storage.Event{Seq: uint64(i + 1), At: at, Payload: fmt.Appendf(nil, `{"seq":%d}`, i+1)}
			if i%2 == 0 {
				e.Key = fmt.Sprintf("ada/%d", i)
			}
			if err := s.AppendEvent(ctx, "algebra", e); err != nil {
				t.Errorf("append %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	if err := s.AppendEvent(ctx, "algebra", storage.Event{Seq: 7}); !errors.Is(err, storage.ErrSeqTaken) {
		t.Errorf("same number: got %v, want ErrSeqTaken", err)
	}
	if err := s.AppendEvent(ctx, "algebra", storage.Event{Seq: 101, Key: "ada/4"}); !errors.Is(err, storage.ErrDuplicate) {
		t.Errorf("same key: got %v, want ErrDuplicate", err)
	}
	if err := s.AppendEvent(ctx, "geometry", storage.Event{Seq: 1, Key: "ada/4", Payload: []byte("{}")}); err != nil {
		t.Errorf("same key in another room: %v", err)
	}
	e, err := s.EventByKey(ctx, "algebra", "ada/4")
	if err != nil || e.Seq != 5 || !e.At.Equal(at) {
		t.Errorf("by key: got %+v, %v", e, err)
	}
	if _, err := s.EventByKey(ctx, "algebra", "ada/5"); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("by unknown key: got %v", err)
	}
	es, err := s.EventsSince(ctx, "algebra", 41, 16)
	if err != nil || len(es) != 16 || es[0].Seq != 42 || es[15].Seq != 57 || string(es[0].Payload) != `{"seq":42}` {
		t.Errorf("since 41: got %d events, %v", len(es), err)
	}
	if last, err := s.LastSeq(ctx, "algebra"); err != nil || last != 100 {
		t.Errorf("last: got %d, %v", last, err)
	}
	if last, err := s.LastSeq(ctx, "empty"); err != nil || last != 0 {
		t.Errorf("last of an empty room: got %d, %v", last, err)
	}
}

func TestEvents_EndWithTheStore(t *testing.T) {
	s, err := storage.Open(context.Background(), storage.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}
	if err := s.AppendEvent(context.Background(), "algebra", storage.Event{Seq: 1}); err == nil {
		t.Error("append after close: got no error")
	}
}

func TestOpen_RefusesAFolderInUse(t *testing.T) {
	dir := t.TempDir()
	open(t, storage.Config{Dir: dir})
	if _, err := storage.Open(context.Background(), storage.Config{Dir: dir}); !errors.Is(err, storage.ErrInUse) {
		t.Errorf("got %v, want ErrInUse", err)
	}
}

func TestClasses_OutliveTheStore(t *testing.T) {
	ctx, dir := context.Background(), t.TempDir()
	s, err := storage.Open(ctx, storage.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	for room, state := range map[string]string{"algebra": `{"v":1}`, "geometry": `{}`} {
		if err := s.SaveClass(ctx, room, json.RawMessage(state)); err != nil {
			t.Fatal(err)
		}
	}
	err = errors.Join(s.SaveClass(ctx, "algebra", json.RawMessage(`{"v":2}`)), s.DeleteClass(ctx, "geometry"), s.Close())
	if err != nil {
		t.Fatal(err)
	}
	s = open(t, storage.Config{Dir: dir})
	cs, err := s.LoadClasses(ctx)
	if err != nil || len(cs) != 1 || string(cs["algebra"]) != `{"v":2}` {
		t.Errorf("got %s, %v", cs, err)
	}
}

func TestLectures_AreListedReadAndDeleted(t *testing.T) {
	ctx := context.Background()
	r := newRig(t, storage.Config{})
	newFeeder(t, r.publish(), stream.VP8).clip(videoClip(t, stream.VP8, "160x90", 0.5), 0)
	r.settle("video", 15)
	r.clock.add(2 * time.Second)
	ls, err := r.store.List(ctx, storage.Filter{})
	if err != nil || len(ls) != 1 || ls[0].State != storage.StateRecording || ls[0].DurationMS != 2000 || ls[0].Bytes == 0 {
		t.Fatalf("live: got %+v, %v", ls, err)
	}
	if err := r.store.Delete(ctx, r.rec.ID()); !errors.Is(err, storage.ErrLive) {
		t.Errorf("delete while live: got %v, want ErrLive", err)
	}
	if _, err := r.store.Begin("../evil", "", r.began); !errors.Is(err, storage.ErrBadName) {
		t.Errorf("bad room: got %v", err)
	}
	second, err := r.store.Begin("geometry", "Circles", r.began.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if err := second.End(ctx); err != nil {
		t.Fatal(err)
	}
	r.end(3 * time.Second)
	ls, err = r.store.List(ctx, storage.Filter{})
	if err != nil || len(ls) != 2 || ls[0].Room != "geometry" || ls[1].State != storage.StateComplete {
		t.Errorf("list: got %+v, %v", ls, err)
	}
	if ls, err = r.store.List(ctx, storage.Filter{Before: second.ID(), Limit: 5}); err != nil || len(ls) != 1 {
		t.Errorf("second page: got %+v, %v", ls, err)
	}
	for _, path := range []string{"../../catalogue.db", "/etc/passwd", "..", ".", "none"} {
		if _, err := r.store.OpenLectureFile(r.rec.ID(), path); !errors.Is(err, storage.ErrNotFound) {
			t.Errorf("open %s: got %v, want ErrNotFound", path, err)
		}
	}
	if err := r.store.Delete(ctx, r.rec.ID()); err != nil {
		t.Fatal(err)
	}
	if _, err := r.store.Get(ctx, r.rec.ID()); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("get deleted: got %v", err)
	}
	if _, err := os.Stat(r.rec.Dir()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("folder of deleted: got %v", err)
	}
}

func TestOpen_RebuildsTheIndexFromFolders(t *testing.T) {
	ctx := context.Background()
	r := newRig(t, storage.Config{})
	newFeeder(t, r.publish(), stream.VP8).clip(videoClip(t, stream.VP8, "160x90", 0.5), 0)
	r.settle("video", 15)
	want := r.end(time.Second)
	if err := r.store.Close(); err != nil {
		t.Fatal(err)
	}
	moved := filepath.Join(t.TempDir(), "data")
	for _, d := range []string{"recordings", "recordings/broken", "recordings/not a recording"} {
		if err := os.MkdirAll(filepath.Join(moved, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.CopyFS(filepath.Join(moved, "recordings", want.ID), os.DirFS(r.rec.Dir())); err != nil {
		t.Fatal(err)
	}
	s := open(t, storage.Config{Dir: moved})
	ls, err := s.List(ctx, storage.Filter{})
	if err != nil || len(ls) != 1 || ls[0].Title != "Rings and fields" || ls[0].Bytes != want.Tracks[0].Bytes {
		t.Errorf("list: got %+v, %v", ls, err)
	}
}

func TestRecording_EventsHaveTheTimeOfTheLecture(t *testing.T) {
	r := newRig(t, storage.Config{})
	r.clock.add(1500 * time.Millisecond)
	for _, line := range []string{
		`{"type":"hand"}`,
		fmt.Sprintf(`{"type":"say", "at":%d,`+"\n"+`"text":"a<b"}`, r.began.Add(700*time.Millisecond).UnixMilli()),
		`{"t":5,"type":"poll"}`,
		`{}`,
	} {
		if err := r.rec.Event([]byte(line)); err != nil {
			t.Fatal(err)
		}
	}
	for _, line := range []string{`[1]`, `{"open":`, `"text"`, ``, `null`, `{"pad":"` + strings.Repeat("x", 300_000) + `"}`} {
		if err := r.rec.Event([]byte(line)); err == nil {
			t.Errorf("event %.20q: got no error", line)
		}
	}
	r.end(2 * time.Second)
	if err := r.rec.Event([]byte(`{}`)); !errors.Is(err, storage.ErrEnded) {
		t.Errorf("event after the end: got %v", err)
	}
	b, err := os.ReadFile(r.path("events.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	want := `{"t":1500,"type":"hand"}
{"t":700,"type":"say","at":` + fmt.Sprint(r.began.Add(700*time.Millisecond).UnixMilli()) + `,"text":"a<b"}
{"t":5,"type":"poll"}
{"t":1500}
`
	if string(b) != want {
		t.Errorf("got\n%s\nwant\n%s", b, want)
	}
}

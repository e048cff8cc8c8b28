package storage_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/gob"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lectern/lectern/storage"
	"github.com/lectern/lectern/stream"
)

// childDir names the data folder for a process that records until it is killed.
const childDir = "LECTERN_TEST_RECORD_INTO"

// childRecords is that process: it says how many frames are kept, line by line.
func childRecords(dir string) {
	file, err := os.Open(filepath.Join(dir, "clips.gob"))
	if err != nil {
		panic(err)
	}
	var clips struct{ Video, Audio [][]byte }
	if err := gob.NewDecoder(file).Decode(&clips); err != nil {
		panic(err)
	}
	ctx := context.Background()
	s, err := storage.Open(ctx, storage.Config{Dir: dir})
	if err != nil {
		panic(err)
	}
	began := time.Now()
	rec, err := s.Begin("algebra", "Killed", began)
	if err != nil {
		panic(err)
	}
	st := stream.New(stream.Config{})
	if err := rec.AddStream("main", st); err != nil {
		panic(err)
	}
	pub, err := st.Publish(stream.Source{})
	if err != nil {
		panic(err)
	}
	video, audio := newFeeder(nil, pub, stream.VP8), newFeeder(nil, pub, stream.Opus)
	tick := time.NewTicker(5 * time.Millisecond)
	for i := 0; ; i++ {
		<-tick.C
		video.frame(clips.Video[i%len(clips.Video)], time.Duration(i)*time.Second/30)
		audio.frame(clips.Audio[i%len(clips.Audio)], time.Duration(i)*time.Second/50)
		line := fmt.Sprintf(`{"type":"say","seq":%d,"at":%d}`, i+1, began.Add(time.Duration(i)*time.Second).UnixMilli())
		if err := rec.Event([]byte(line)); err != nil {
			panic(err)
		}
		e := storage.Event{Seq: uint64(i + 1), At: time.Now(), Payload: []byte(line)}
		if err := s.AppendEvent(ctx, "algebra", e); err != nil {
			panic(err)
		}
		for _, tr := range rec.Manifest().Tracks {
			if tr.Kind == "video" {
				fmt.Println(tr.Frames, i+1)
			}
		}
	}
}

// killed returns a data folder whose process was killed while it recorded, and
// how many frames and events it had said to be kept.
func killed(t *testing.T) (dir string, frames int64, events uint64) {
	t.Helper()
	dir = t.TempDir()
	file, err := os.Create(filepath.Join(dir, "clips.gob"))
	if err != nil {
		t.Fatal(err)
	}
	clips := struct{ Video, Audio [][]byte }{
		videoClip(t, stream.VP8, "320x180", 1).frames, audioClip(t, beep, 1).frames,
	}
	if err := errors.Join(gob.NewEncoder(file).Encode(clips), file.Close()); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for frames < 200 && lines.Scan() {
		if _, err := fmt.Sscan(lines.Text(), &frames, &events); err != nil {
			t.Fatalf("child says %q: %v", lines.Text(), err)
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
	if frames < 200 {
		t.Fatalf("child ended after %d frames", frames)
	}
	return dir, frames, events
}

func TestOpen_RecoversARecordingAfterAKill(t *testing.T) {
	src, frames, events := killed(t)
	tests := []struct {
		name    string
		harm    func(t *testing.T, folder string)
		noTitle bool
	}{
		{name: "as it was", harm: func(*testing.T, string) {}},
		{name: "torn tails", harm: func(t *testing.T, folder string) {
			add(t, folder, "main-video-1.ivf", "\x00\x10\x00\x00\x00\x00\x00\x7f\x00\x00\x00\x00half a frame")
			add(t, folder, "main-audio-1.ogg", "OggS\x00\x00half a page")
			add(t, folder, "main-video-1.idx", `{"frame":999,"off`)
			add(t, folder, "events.jsonl", `{"t":99999,"type":"sa`)
		}},
		{name: "index lost", harm: func(t *testing.T, folder string) { remove(t, folder, "main-video-1.idx", "main-audio-1.idx") }},
		{name: "index of another file", harm: func(t *testing.T, folder string) {
			add(t, folder, "main-video-1.idx", `{"frame":100000,"offset":4000,"pts":99999999}`+"\n")
		}},
		{name: "manifest lost", noTitle: true, harm: func(t *testing.T, folder string) { remove(t, folder, "manifest.json") }},
		{name: "catalogue lost", harm: func(t *testing.T, folder string) {
			remove(t, filepath.Join(folder, "..", ".."), "catalogue.db", "catalogue.db-wal", "catalogue.db-shm")
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "data")
			if err := os.CopyFS(dir, os.DirFS(src)); err != nil {
				t.Fatal(err)
			}
			tt.harm(t, onlyRecording(t, dir))
			s := open(t, storage.Config{Dir: dir})
			m := recovered(t, s)
			if m.Room != "algebra" || (m.Title == "Killed") == tt.noTitle {
				t.Errorf("room %q, title %q", m.Room, m.Title)
			}
			checkRecovered(t, dir, m, frames)
			if n := lines(t, filepath.Join(dir, "recordings", m.ID, "events.jsonl")); uint64(n) < events {
				t.Errorf("lines of events: got %d, want %d", n, events)
			}
			last, err := s.LastSeq(context.Background(), "algebra")
			if err != nil || last < events && tt.name != "catalogue lost" {
				t.Errorf("last event: got %d, %v, want %d", last, err, events)
			}
		})
	}
}

func checkRecovered(t *testing.T, dir string, m *storage.Manifest, frames int64) {
	t.Helper()
	video, audio := track(t, m, "main-video-1"), track(t, m, "main-audio-1")
	if video.Frames < frames {
		t.Errorf("frames: got %d, want at least the %d that were kept", video.Frames, frames)
	}
	if video.Width != 320 || video.Height != 180 || len(video.Sizes) != 1 {
		t.Errorf("size: got %+v", video)
	}
	near(t, "video duration", video.DurationMS, float64(video.Frames)*1000/30, 0.1)
	if audio.DurationMS < float64(frames-1)*20 {
		t.Errorf("audio duration: got %v for %d frames", audio.DurationMS, frames)
	}
	folder := filepath.Join(dir, "recordings", m.ID)
	for _, tr := range m.Tracks {
		decodes(t, filepath.Join(folder, tr.File))
	}
	b, err := os.ReadFile(filepath.Join(folder, audio.File))
	if err != nil {
		t.Fatal(err)
	}
	if last := bytes.LastIndex(b, []byte("OggS")); b[last+5]&4 == 0 {
		t.Error("last page of the audio is not marked as the end")
	}
	p := probe(t, filepath.Join(folder, video.File))
	if p.Frames != fmt.Sprint(video.Frames) {
		t.Errorf("ffprobe frames: got %s, want %d", p.Frames, video.Frames)
	}
	near(t, "ffprobe duration", p.seconds()*1000, video.DurationMS, 0.1)
	f, err := os.Open(filepath.Join(folder, video.Index))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	_, es, err := storage.ReadIndex(f)
	if want := (video.Frames + 29) / 30; err != nil || int64(len(es)) != want {
		t.Errorf("index: got %d entries, %v, want %d", len(es), err, want)
	}
}

func TestResume_GoesOnInNewFiles(t *testing.T) {
	dir, _, _ := killed(t)
	s := open(t, storage.Config{Dir: dir})
	m := recovered(t, s)
	rec, err := s.Resume(context.Background(), m.ID)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Resume(context.Background(), m.ID); !errors.Is(err, storage.ErrLive) {
		t.Errorf("second resume: got %v, want ErrLive", err)
	}
	st := stream.New(stream.Config{})
	defer st.Close()
	if err := rec.AddStream("main", st); err != nil {
		t.Fatal(err)
	}
	pub, err := st.Publish(stream.Source{})
	if err != nil {
		t.Fatal(err)
	}
	c := videoClip(t, stream.VP8, "320x180", 1)
	back := m.EndedAt.Sub(st.Origin()) + time.Second // the child's media ran ahead of its clock
	newFeeder(t, pub, stream.VP8).clip(c, back)
	eventually(t, "frames", func() bool {
		ts := rec.Manifest().Tracks
		return len(ts) == 3 && ts[2].Frames == 30
	})
	if err := rec.End(context.Background()); err != nil {
		t.Fatal(err)
	}
	after, err := s.Get(context.Background(), m.ID)
	if err != nil {
		t.Fatal(err)
	}
	if after.State != storage.StateComplete || !after.StartedAt.Equal(m.StartedAt) {
		t.Errorf("manifest: got %s %v, want complete %v", after.State, after.StartedAt, m.StartedAt)
	}
	second := track(t, after, "main-video-2")
	decodes(t, filepath.Join(dir, "recordings", m.ID, second.File))
	if len(after.Gaps) != 1 || after.Gaps[0].Reason != storage.GapGatewayRestarted {
		t.Fatalf("gaps: got %+v", after.Gaps)
	}
	near(t, "gap to", after.Gaps[0].ToMS, second.OffsetMS, 0.01)
}

func TestResume_RefusesWhatIsLongOver(t *testing.T) {
	r := newRig(t, storage.Config{ResumeWithin: time.Minute})
	r.end(time.Second)
	r.clock.add(2 * time.Minute)
	if _, err := r.store.Resume(context.Background(), r.rec.ID()); !errors.Is(err, storage.ErrTooOld) {
		t.Errorf("got %v, want ErrTooOld", err)
	}
	if _, err := r.store.Resume(context.Background(), "no-such"); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("got %v, want ErrNotFound", err)
	}
}

func open(t testing.TB, cfg storage.Config) *storage.Store {
	t.Helper()
	s, err := storage.Open(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

func recovered(t *testing.T, s *storage.Store) *storage.Manifest {
	t.Helper()
	ls, err := s.List(context.Background(), storage.Filter{Room: "algebra"})
	if err != nil || len(ls) != 1 || ls[0].State != storage.StateRecovered {
		t.Fatalf("list: got %+v, %v", ls, err)
	}
	m, err := s.Get(context.Background(), ls[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func onlyRecording(t *testing.T, dir string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "recordings", "*"))
	if err != nil || len(found) != 1 {
		t.Fatalf("recordings: got %v, %v", found, err)
	}
	return found[0]
}

func add(t *testing.T, folder, name, tail string) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(folder, name), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(tail); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, folder string, names ...string) {
	t.Helper()
	for _, n := range names {
		if err := os.Remove(filepath.Join(folder, n)); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
	}
}

// lines counts the lines of a file, each of which must be whole.
func lines(t *testing.T, file string) int {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range strings.Lines(string(b)) {
		if !json.Valid([]byte(line)) || !strings.HasSuffix(line, "\n") {
			t.Errorf("line %d is torn: %q", n+1, line)
		}
		n++
	}
	return n
}

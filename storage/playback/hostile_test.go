package playback

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/lectern/lectern/storage"
	"github.com/lectern/lectern/stream"
)

// shelf is a Store of one recording in a folder, with any manifest.
type shelf struct {
	dir string
	m   *storage.Manifest
}

func (s *shelf) Get(context.Context, string) (*storage.Manifest, error) { return s.m, nil }
func (s *shelf) LectureDir(string) (string, error)                      { return s.dir, nil }
func (s *shelf) OpenLectureFile(_, path string) (*os.File, error) {
	return os.OpenInRoot(s.dir, path)
}

// ivf is a file of frames of VP8 keyframes, 0.5 s apart.
func ivf(n int) []byte {
	key := []byte{0x10, 0x02, 0x00, 0x9d, 0x01, 0x2a, 0x40, 0x01, 0xf0, 0x00, 1, 2, 3, 4}
	b := make([]byte, ivfHeader)
	for i := range n {
		b = binary.LittleEndian.AppendUint32(b, uint32(len(key)))
		b = binary.LittleEndian.AppendUint64(b, uint64(i*videoClock/2))
		b = append(b, key...)
	}
	return b
}

// ogg is a file of 20 ms packets, with sums left at zero: nobody checks them.
func ogg(n int) []byte {
	var b []byte
	page := func(granule uint64, packet []byte) {
		b = append(b, "OggS\x00\x00"...)
		b = binary.LittleEndian.AppendUint64(b, granule)
		b = append(b, make([]byte, 12)...)
		b = append(b, 1, byte(len(packet)))
		b = append(b, packet...)
	}
	page(0, []byte("OpusHead\x01\x02\x38\x01\x80\xbb\x00\x00\x00\x00\x00"))
	page(0, []byte("OpusTags\x00\x00\x00\x00\x00\x00\x00\x00"))
	for i := range n {
		page(uint64(i+1)*960, []byte{0xfc, 0xff, 0xfe})
	}
	return b
}

func lecture(dir string, tracks ...storage.TrackInfo) *Lecture {
	m := &storage.Manifest{
		Version: 1, ID: "x", State: storage.StateComplete, DurationMS: 10000, Tracks: tracks, StartedAt: time.Unix(0, 0),
	}
	x, _ := New(Config{Store: &shelf{dir, m}}).Lecture(context.Background(), "x")
	return x
}

var (
	video = storage.TrackInfo{ID: "main-video-1", Stream: "main", Kind: "video", Codec: stream.VP8, File: "v.ivf", Index: "v.idx", DurationMS: 10000, ClockRate: videoClock}
	audio = storage.TrackInfo{ID: "main-audio-1", Stream: "main", Kind: "audio", Codec: stream.Opus, File: "a.ogg", Index: "a.idx", DurationMS: 10000, ClockRate: audioClock}
)

func put(t testing.TB, dir, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// exercise does all that can be done to a lecture; nothing may panic.
func exercise(x *Lecture) {
	for name, tl := range x.slots {
		_, _ = x.MPD(name)
		for _, p := range tl.parts {
			for _, s := range p.segments {
				_, _ = x.videoMedia(p, itoa(scale(s.start, p.timescale(), videoClock)))
			}
			_, _ = x.videoMedia(p, initName)
		}
		for _, s := range tl.audio {
			_, _ = x.audioMedia(tl, itoa(scale(s.start, tl.timescale(), audioClock)))
		}
		if v, err := x.webmFile(tl); err == nil {
			_, _ = io.Copy(io.Discard, v)
		}
		_ = x.writeFragments(io.Discard, tl)
	}
}

func itoa(n int64) string {
	b, _ := json.Marshal(n)
	return string(b)
}

// Without an index the files alone are enough.
func TestLecture_WithoutIndex(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "v.ivf", ivf(20))
	put(t, dir, "a.ogg", ogg(500))
	x := lecture(dir, video, audio)
	tl := x.slots["main"]
	if tl == nil || len(tl.parts) != 1 || len(tl.parts[0].segments) != 5 || len(tl.audio) < 5 {
		t.Fatalf("got %+v, want one part with 5 segments of video, and audio", tl)
	}
	exercise(x)
}

func TestLecture_HostileManifests(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "v.ivf", ivf(20))
	put(t, dir, "a.ogg", ogg(500))
	put(t, dir, "v.idx", []byte("{\"version\":1,\"clock_rate\":90000}\n{\"frame\":0,\"offset\":9000000,\"pts\":0}\n"))
	with := func(change func(v, a *storage.TrackInfo)) []storage.TrackInfo {
		v, a := video, audio
		change(&v, &a)
		return []storage.TrackInfo{v, a}
	}
	tests := map[string][]storage.TrackInfo{
		"index beyond the file": with(func(*storage.TrackInfo, *storage.TrackInfo) {}),
		"negative offset":       with(func(v, _ *storage.TrackInfo) { v.OffsetMS = -5 }),
		"endless":               with(func(v, a *storage.TrackInfo) { v.DurationMS, a.DurationMS = 1e300, 1e300 }),
		"late":                  with(func(v, _ *storage.TrackInfo) { v.OffsetMS = 1e8 }),
		"wrong codec":           with(func(v, _ *storage.TrackInfo) { v.Codec = stream.H264 }),
		"audio as video":        with(func(v, a *storage.TrackInfo) { v.File, a.File = a.File, v.File }),
		"no codec":              with(func(v, _ *storage.TrackInfo) { v.Codec = "" }),
		"path":                  with(func(v, _ *storage.TrackInfo) { v.File = "../../etc/passwd" }),
		"markup in id":          with(func(v, _ *storage.TrackInfo) { v.ID = `"><x/` }),
		"short":                 with(func(v, _ *storage.TrackInfo) { v.DurationMS = 0.001 }),
		"same twice":            {video, video, audio, audio},
		"nothing":               nil,
	}
	for name, tracks := range tests {
		t.Run(name, func(t *testing.T) { exercise(lecture(dir, tracks...)) })
	}
}

func FuzzLecture(f *testing.F) {
	f.Add(ivf(4), ogg(20), []byte(nil), 10000.0)
	f.Add(ivf(4)[:60], ogg(20)[:90], []byte("{\"version\":1,\"clock_rate\":90000}\n{\"frame\":0,\"offset\":32,\"pts\":0,\"width\":1}\n"), 1.0)
	f.Add(append(ivf(2), 0xff, 0xff, 0xff, 0xff, 0xff), bytes.Repeat([]byte("OggS\x00"), 40), []byte("{}"), 1e9)
	f.Fuzz(func(t *testing.T, iv, og, index []byte, duration float64) {
		dir := t.TempDir()
		put(t, dir, "v.ivf", iv)
		put(t, dir, "a.ogg", og)
		if len(index) > 0 {
			put(t, dir, "v.idx", index)
		}
		for _, c := range []stream.Codec{stream.VP8, stream.VP9, stream.AV1, stream.H264} {
			v, a := video, audio
			v.Codec, v.DurationMS, a.DurationMS = c, min(duration, 60000), min(duration, 60000)
			began := time.Now()
			exercise(lecture(dir, v, a))
			if took := time.Since(began); took > 2*time.Second {
				t.Errorf("took %v", took)
			}
		}
	})
}

func FuzzConfig(f *testing.F) {
	f.Add([]byte{0x0a, 0x0b, 0, 0, 0, 0x04, 0x3c, 0xfe, 0xcf, 0xff, 0xf1, 0xa1, 0x20})
	f.Add([]byte{0, 0, 0, 1, 0x67, 0x42, 0xc0, 0x0c, 0, 0, 0, 1, 0x68, 0xce})
	f.Fuzz(func(_ *testing.T, key []byte) {
		if len(key) == 0 {
			return
		}
		for _, c := range []stream.Codec{stream.VP8, stream.VP9, stream.AV1, stream.H264} {
			cfg, err := configOf(c, key)
			if err == nil && c == stream.H264 {
				_, _ = initMP4(videoClock, cfg)
			}
			_ = payload(c, key)
		}
	})
}

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

	"github.com/at-wat/ebml-go"
	"github.com/at-wat/ebml-go/webm"

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

// Players seek no farther than the shortest track.
func TestLecture_TracksEndTogether(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "v.ivf", ivf(8))
	put(t, dir, "a.ogg", ogg(100))
	v, a := video, audio
	v.OffsetMS, v.DurationMS, a.OffsetMS, a.DurationMS = 1000, 4000, 3000, 2000
	tl := lecture(dir, v, a).slots["main"]
	for name, segs := range map[string][]segment{"video": tl.parts[0].segments, "audio": tl.audio} {
		clock := int64(videoClock)
		if name == "audio" {
			clock = audioClock
		}
		at := int64(0)
		for _, s := range segs {
			if s.start != at || s.end <= s.start || s.end-s.start > (maxFill+minFill)*clock {
				t.Errorf("%s: segment from %d to %d after %d", name, s.start, s.end, at)
			}
			at = s.end
		}
		if at != 10*clock {
			t.Errorf("%s: ends at %d, want %d", name, at, 10*clock)
		}
	}
}

func TestWebM_IndexLeadsToClusters(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "v.ivf", ivf(20))
	put(t, dir, "a.ogg", ogg(500))
	v, err := (&Lecture{}).webmFile(&timeline{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, v); err != nil {
		t.Errorf("nothing at all: %v", err)
	}
	x := lecture(dir, video, audio)
	if v, err = x.webmFile(x.slots["main"]); err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(v)
	if err != nil {
		t.Fatal(err)
	}
	var f struct {
		EBML    webm.EBMLHeader
		Segment webm.Segment
	}
	if err := ebml.Unmarshal(bytes.NewReader(b), &f, ebml.WithIgnoreUnknown(true)); err != nil {
		t.Fatal(err)
	}
	begin := bytes.Index(b, []byte{0x18, 0x53, 0x80, 0x67}) + segmentHead
	if f.Segment.Cues == nil || len(f.Segment.Cues.CuePoint) != 5 {
		t.Fatalf("got index %+v, want 5 places", f.Segment.Cues)
	}
	for _, c := range f.Segment.Cues.CuePoint {
		at := begin + int(c.CueTrackPositions[0].CueClusterPosition)
		if !bytes.HasPrefix(b[at:], []byte{0x1f, 0x43, 0xb6, 0x75}) {
			t.Errorf("time %d leads to % x", c.CueTime, b[at:at+4])
		}
	}
	for _, c := range f.Segment.Cluster {
		if n := len(c.BlockGroup); n != 1 || c.BlockGroup[0].BlockDuration == 0 {
			t.Errorf("cluster at %d: got %d blocks with duration, want the last one", c.Timecode, n)
		}
	}
}

func TestPayload(t *testing.T) {
	tests := []struct {
		name      string
		codec     stream.Codec
		got, want []byte
	}{
		{"AV1 without temporal delimiter", stream.AV1, []byte{0x12, 0, 0x32, 1, 9}, []byte{0x32, 1, 9}},
		{"AV1 of nothing else", stream.AV1, []byte{0x12, 0}, []byte{0x12, 0}},
		{"H.264 without delimiter", stream.H264, []byte{0, 0, 0, 1, 9, 0xf0, 0, 0, 0, 1, 0x65, 7}, []byte{0, 0, 0, 2, 0x65, 7}},
		{"H.264", stream.H264, []byte{0, 0, 0, 1, 0x65, 7}, []byte{0, 0, 0, 2, 0x65, 7}},
		{"VP8", stream.VP8, []byte{0x10, 0}, []byte{0x10, 0}},
	}
	for _, tt := range tests {
		if got := payload(tt.codec, tt.got); !bytes.Equal(got, tt.want) {
			t.Errorf("%s: got % x, want % x", tt.name, got, tt.want)
		}
	}
}

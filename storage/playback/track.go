package playback

import (
	"fmt"
	"math"
	"os"
	"sync"

	"github.com/lectern/lectern/storage"
	"github.com/lectern/lectern/stream"
)

const (
	videoClock = 90000 // Hz
	audioClock = 48000 // Hz

	// maxLecture bounds what a manifest may claim, in seconds.
	maxLecture = 48 * 3600

	// maxRange bounds what is read for one segment, in bytes: 30 s of 16 Mbit/s.
	maxRange = 64 << 20
)

// track is one media file of a recording, with its index. Times are in ticks of
// its clock on the timeline of the lecture.
type track struct {
	info  storage.TrackInfo
	codec stream.Codec
	clock int64
	base  int64 // of PTS 0
	end   int64 // of the last frame
	size  int64 // bytes that may be read
	marks []storage.IndexEntry
}

// validID says whether a track or slot may stand in an address.
func validID(s string) bool {
	if s == "" || len(s) > 200 || s[0] == '.' {
		return false
	}
	for _, r := range s {
		if (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && r != '-' && r != '_' && r != '.' {
			return false
		}
	}
	return true
}

// openTrack reads the index of a track. It fails if the track cannot be played.
func (x *Lecture) openTrack(info storage.TrackInfo) (*track, error) {
	t := &track{info: info, codec: info.Codec, clock: videoClock}
	switch info.Codec {
	case stream.VP8, stream.VP9, stream.AV1, stream.H264:
	case stream.Opus:
		t.clock = audioClock
	default:
		return nil, fmt.Errorf("%w: codec %q", ErrUnsupported, info.Codec)
	}
	if !validID(info.ID) || !validID(info.Stream) {
		return nil, fmt.Errorf("%w: name of track", ErrBroken)
	}
	offset, duration := info.OffsetMS, info.DurationMS
	if !(offset >= 0 && duration > 0 && offset+duration <= maxLecture*1000) { // also NaN
		return nil, fmt.Errorf("%w: times of track %s", ErrBroken, info.ID)
	}
	t.base = int64(math.Round(offset * float64(t.clock) / 1000))
	t.end = t.base + int64(math.Round(duration*float64(t.clock)/1000))
	f, err := x.openFile(info.File)
	if err != nil {
		return nil, err
	}
	defer f.Close() // read only
	st, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("open track %s: %w", info.ID, err)
	}
	t.size = st.Size()
	if info.Bytes > 0 {
		t.size = min(t.size, info.Bytes) // what lies behind may be half a frame
	}
	t.marks, err = x.readMarks(t, f)
	return t, err
}

// readMarks reads the index, or makes one by walking over the media file if it
// is missing. Marks outside of the file are left out.
func (x *Lecture) readMarks(t *track, media *os.File) ([]storage.IndexEntry, error) {
	f, err := x.openFile(t.info.Index)
	var marks []storage.IndexEntry
	if err == nil {
		defer f.Close() // read only
		var head storage.IndexHead
		if head, marks, err = storage.ReadIndex(f); err == nil && int64(head.ClockRate) != t.clock {
			err = fmt.Errorf("%w: clock of index", ErrBroken)
		}
	}
	if err != nil {
		if x.Growing() {
			return nil, err
		}
		marks = scan(media, t)
	}
	for len(marks) > 0 {
		last := marks[len(marks)-1]
		if last.Offset < t.size && t.base+last.PTS < t.end {
			break
		}
		marks = marks[:len(marks)-1]
	}
	if len(marks) == 0 || marks[0].Offset < 0 || marks[0].PTS < 0 {
		return nil, fmt.Errorf("%w: no index of track %s", ErrBroken, t.info.ID)
	}
	return marks, nil
}

// offsetAfter is where what begins at mark i ends, in bytes.
func (t *track) offsetAfter(i int) int64 {
	if i+1 < len(t.marks) {
		return t.marks[i+1].Offset
	}
	return t.size
}

// memo keeps what was read of the media files, for the next view of a recording
// that grows. What it holds never changes.
type memo struct {
	mu      sync.Mutex // guards what follows
	configs map[place]*config
	ends    map[place]int64
}

// place is a place in a media file.
type place struct {
	file   string
	offset int64
}

func newMemo() *memo {
	return &memo{configs: make(map[place]*config), ends: make(map[place]int64)}
}

// config returns the decoder configuration of the keyframe at an offset.
func (m *memo) config(p place, read func() (*config, error)) (*config, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if c, ok := m.configs[p]; ok {
		return c, nil
	}
	c, err := read()
	if err == nil {
		m.configs[p] = c
	}
	return c, err
}

// end returns the time of the last frame of what begins at an offset.
func (m *memo) end(p place, read func() int64) int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	at, ok := m.ends[p]
	if !ok {
		at = read()
		m.ends[p] = at
	}
	return at
}

package playback

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/lectern/lectern/storage"
	"github.com/lectern/lectern/stream"
	"github.com/lectern/lectern/stream/frame"
)

// Content is something to send whole.
type Content struct {
	MediaType string
	Data      []byte
	// Immutable says that the content at this address will never be another.
	Immutable bool
}

const initName = "init"

// Media returns what the manifest (MPD) names below media/: a path of two
// elements, the id of a representation, and init or the time of a segment with
// an extension. It returns ErrNotFound, or ErrBroken.
func (x *Lecture) Media(path string) (Content, error) {
	id, file, _ := strings.Cut(path, "/")
	name, ext, _ := strings.Cut(file, ".")
	for _, tl := range x.slots {
		if id == tl.audioID && len(tl.audio) > 0 && ext == extension(tl.mp4) {
			return x.audioMedia(tl, name)
		}
		for _, p := range tl.parts {
			if id == p.id && ext == extension(p.mp4()) {
				return x.videoMedia(p, name)
			}
		}
	}
	return Content{}, ErrNotFound
}

func (p *part) mp4() bool { return p.t.codec == stream.H264 }

func extension(mp4 bool) string {
	if mp4 {
		return "mp4"
	}
	return "webm"
}

func (x *Lecture) videoMedia(p *part, name string) (Content, error) {
	c := Content{MediaType: "video/" + extension(p.mp4()), Immutable: true}
	var err error
	if name == initName {
		if p.mp4() {
			c.Data, err = initMP4(videoClock, p.config)
		} else {
			c.Data, err = webmHead(p.webmTrack(), nil, 0)
		}
		return c, err
	}
	s, err := find(p.segments, name, p.timescale(), videoClock)
	if err != nil {
		return Content{}, err
	}
	samples, err := x.samples(s)
	if err != nil {
		return Content{}, err
	}
	if p.mp4() {
		c.Data, err = segmentMP4(samples, s)
	} else {
		c.Data, err = clusters(videoNumber, samples, s, videoClock)
	}
	return c, err
}

// timescale is that of the manifest: WebM counts milliseconds.
func (p *part) timescale() int64 {
	if p.mp4() {
		return videoClock
	}
	return 1000
}

func (tl *timeline) timescale() int64 {
	if tl.mp4 {
		return audioClock
	}
	return 1000
}

func (x *Lecture) audioMedia(tl *timeline, name string) (Content, error) {
	c := Content{MediaType: "audio/" + extension(tl.mp4), Immutable: true}
	var err error
	if name == initName {
		if tl.mp4 {
			c.Data, err = initMP4(audioClock, nil)
		} else {
			c.Data, err = webmHead(nil, webmAudio(), 0)
		}
		return c, err
	}
	s, err := find(tl.audio, name, tl.timescale(), audioClock)
	if err != nil {
		return Content{}, err
	}
	samples, err := x.samples(s)
	if err != nil {
		return Content{}, err
	}
	if tl.mp4 {
		c.Data, err = segmentMP4(samples, s)
	} else {
		c.Data, err = clusters(audioNumber, samples, s, audioClock)
	}
	return c, err
}

// scale turns ticks of clock into those of the manifest. It always rounds down,
// so that what ends where another begins still does.
func scale(ticks, timescale, clock int64) int64 { return ticks * timescale / clock }

// find returns the segment that begins at a time of the manifest.
func find(segs []segment, name string, timescale, clock int64) (segment, error) {
	at, err := strconv.ParseInt(name, 10, 64)
	if err != nil {
		return segment{}, ErrNotFound
	}
	i, ok := slices.BinarySearchFunc(segs, at, func(s segment, at int64) int {
		return int(min(max(scale(s.start, timescale, clock)-at, -1), 1))
	})
	if !ok {
		return segment{}, ErrNotFound
	}
	return segs[i], nil
}

// samples reads what a segment holds: at least one sample, the first of them a
// keyframe.
func (x *Lecture) samples(s segment) ([]sample, error) {
	if s.kind == silent {
		return atLeastOne(silence(s.start, s.end))
	}
	f, err := x.openFile(s.t.info.File)
	if err != nil {
		return nil, err
	}
	defer f.Close() // read only
	if s.kind == still {
		data, err := readFrame(f, s.key, s.to)
		if err != nil {
			return nil, err
		}
		return []sample{{at: s.start, key: true, data: payload(s.t.codec, data)}}, nil
	}
	return s.read(f)
}

func (s *segment) read(f *os.File) ([]sample, error) {
	b, err := readRange(f, s.from, s.to)
	if err != nil {
		return nil, fmt.Errorf("track %s: %w", s.t.info.ID, err)
	}
	var samples []sample
	if s.t.clock == audioClock {
		samples, err = parseOgg(b, s.start)
	} else {
		samples, err = parseIVF(b, s.t.base)
	}
	if err != nil {
		return nil, fmt.Errorf("track %s: %w", s.t.info.ID, err)
	}
	for i := range samples {
		if samples[i].at >= s.end {
			samples = samples[:i] // the lecture, or the part, ends before
			break
		}
		samples[i].data = payload(s.t.codec, samples[i].data)
	}
	s.markKeys(samples)
	return atLeastOne(samples)
}

// markKeys marks the keyframes within the segment.
func (s *segment) markKeys(samples []sample) {
	if s.t.clock == audioClock {
		return
	}
	marks := s.t.marks
	i, _ := slices.BinarySearchFunc(marks, s.from, func(m storage.IndexEntry, from int64) int {
		return int(min(max(m.Offset-from, -1), 1))
	})
	for n := range samples {
		for i < len(marks) && s.t.base+marks[i].PTS < samples[n].at {
			i++
		}
		if i < len(marks) && s.t.base+marks[i].PTS == samples[n].at {
			samples[n].key = true
		}
	}
}

func atLeastOne(samples []sample) ([]sample, error) {
	if len(samples) == 0 {
		return nil, fmt.Errorf("%w: empty segment", ErrBroken)
	}
	return samples, nil
}

// aud is the type of an access unit delimiter (H.264, table 7-1).
const aud = 9

// payload is a frame as the container wants it.
func payload(c stream.Codec, data []byte) []byte {
	switch c {
	case stream.AV1:
		return withoutDelimiter(data)
	case stream.H264:
		if nalus := frame.SplitNALUs(data); len(nalus) > 1 && nalus[0][0]&0x1f == aud {
			if at := bytes.Index(data, nalus[1]); at > 0 {
				data = append([]byte{0, 0, 0, 1}, data[at:]...)
			}
		}
		return frame.AVCC(data)
	}
	return data
}

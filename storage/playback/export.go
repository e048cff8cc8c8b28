package playback

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"sort"
	"time"

	"github.com/at-wat/ebml-go"
	"github.com/at-wat/ebml-go/webm"

	"github.com/lectern/lectern/stream"
)

// piece is a stretch of a file that is made when it is read. make returns at
// most size bytes.
type piece struct {
	offset, size int64
	make         func() ([]byte, error)
}

// virtual is a file that is made while it is read: a lecture of hours costs no
// disk, and a browser may begin in the middle. One goroutine may use it.
type virtual struct {
	pieces []piece
	size   int64
	pos    int64

	now  int    // index of the piece in data; <0: none
	data []byte // padded to its size
}

// Read makes what is at the position.
func (v *virtual) Read(p []byte) (int, error) {
	if v.pos >= v.size {
		return 0, io.EOF
	}
	i := sort.Search(len(v.pieces), func(i int) bool { return v.pieces[i].offset > v.pos }) - 1
	if i != v.now {
		data, err := v.pieces[i].make()
		if err != nil {
			return 0, err
		}
		if data, err = pad(data, v.pieces[i].size); err != nil {
			return 0, err
		}
		v.now, v.data = i, data
	}
	n := copy(p, v.data[v.pos-v.pieces[i].offset:])
	v.pos += int64(n)
	return n, nil
}

// Seek sets the position, as io.Seeker tells.
func (v *virtual) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += v.pos
	case io.SeekEnd:
		offset += v.size
	}
	if offset < 0 {
		return 0, errors.New("playback: seek before the begin")
	}
	v.pos = offset
	return offset, nil
}

func (v *virtual) add(size int64, make func() ([]byte, error)) {
	v.pieces = append(v.pieces, piece{offset: v.size, size: size, make: make})
	v.size += size
}

// Void elements fill the room between what was reserved and what was needed.
const (
	voidID      = 0xec
	smallVoid   = 128 // bytes, with a size of one byte
	minVoid     = 2
	bigVoidHead = 9
)

// pad fills data up to size with a Void element (Matroska, section 11.3.3).
func pad(data []byte, size int64) ([]byte, error) {
	n := int(size) - len(data)
	switch {
	case n == 0:
		return data, nil
	case n < minVoid:
		return nil, fmt.Errorf("%w: %d bytes where %d are expected", ErrBroken, len(data), size)
	case n <= smallVoid:
		data = append(data, voidID, 0x80|byte(n-minVoid))
		return append(data, make([]byte, n-minVoid)...), nil
	}
	data = append(data, voidID)
	data = binary.BigEndian.AppendUint64(data, 1<<56|uint64(n-bigVoidHead))
	return append(data, make([]byte, n-bigVoidHead)...), nil
}

// Room that is reserved, in bytes.
const (
	roomCluster = 256 // besides the frames
	roomCue     = 32
	roomHead    = 4096
	roomSilence = 16 // for a packet of 3 bytes
)

// room is how many bytes the clusters of a segment need at most. A block costs up
// to 9 bytes besides its frame, a frame header of IVF 12, an Ogg page 28.
func (x *Lecture) room(s segment) (int64, error) {
	long := (s.end - s.start) / (maxCluster * audioClock / 1000)
	fixed := (2 + long) * roomCluster
	switch s.kind {
	case silent:
		return fixed + (s.end-s.start)*roomSilence/silenceStep/8 + 8*roomSilence, nil
	case still:
		size := int64(-1)
		f, err := x.openFile(s.t.info.File)
		if err != nil {
			return 0, err
		}
		defer f.Close() // read only
		walkIVF(f, s.key, s.to, func(_, n, _ int64) bool { size = n; return false })
		if size < 0 {
			return 0, fmt.Errorf("%w: no keyframe at %d", ErrBroken, s.key)
		}
		return fixed + size, nil
	}
	return fixed + s.to - s.from, nil
}

// exported is a segment with what it takes to write it.
type exported struct {
	segment
	number uint64
	clock  int64
	ms     int64 // of its begin
}

// interleaved are all segments of a slot in the order of their time.
func (tl *timeline) interleaved() []exported {
	var all []exported
	for _, p := range tl.parts {
		for _, s := range p.segments {
			all = append(all, exported{s, videoNumber, videoClock, scale(s.start, 1000, videoClock)})
		}
	}
	for _, s := range tl.audio {
		all = append(all, exported{s, audioNumber, audioClock, scale(s.start, 1000, audioClock)})
	}
	slices.SortStableFunc(all, func(a, b exported) int { return int(min(max(a.ms-b.ms, -1), 1)) })
	return all
}

// codec is the one of all parts; "" without video.
func (tl *timeline) codec() (stream.Codec, error) {
	var c stream.Codec
	for _, p := range tl.parts {
		if c != "" && p.t.codec != c {
			return "", fmt.Errorf("%w: the codec changes within the lecture", ErrUnsupported)
		}
		c = p.t.codec
	}
	return c, nil
}

// webmFile is a lecture as one WebM with an index at its head. Changes of the
// picture size are in the stream, where decoders of these codecs find them.
func (x *Lecture) webmFile(tl *timeline) (*virtual, error) {
	codec, err := tl.codec()
	if err != nil {
		return nil, err
	}
	if codec == stream.H264 {
		return nil, fmt.Errorf("%w: H.264 in WebM", ErrUnsupported)
	}
	segs := tl.interleaved()
	v := &virtual{now: -1}
	headSize := roomHead + int64(len(segs))*roomCue
	var head []byte
	v.add(headSize, func() ([]byte, error) { return head, nil })
	var cues webm.Cues
	ebmlHead, err := marshal(struct{ EBML webm.EBMLHeader }{ebmlHeader()})
	if err != nil {
		return nil, err
	}
	begin := int64(len(ebmlHead)) + segmentHead
	for _, s := range segs {
		n, err := x.room(s.segment)
		if err != nil {
			return nil, err
		}
		if s.number == videoNumber || len(tl.parts) == 0 {
			cues.CuePoint = append(cues.CuePoint, webm.CuePoint{
				CueTime:           uint64(s.ms),
				CueTrackPositions: []webm.CueTrackPosition{{CueTrack: s.number, CueClusterPosition: uint64(v.size - begin)}},
			})
		}
		v.add(n, func() ([]byte, error) {
			samples, err := x.samples(s.segment)
			if err != nil {
				return nil, nil //nolint:nilerr // what cannot be read is left out: the rest is worth having
			}
			return clusters(s.number, samples, s.segment, s.clock)
		})
	}
	head, err = tl.webmFileHead(ebmlHead, cues, v.size-begin)
	return v, err
}

// segmentHead is the length of the head of the Segment element: 4 bytes of id, 8
// of size.
const segmentHead = 12

func (tl *timeline) webmFileHead(ebmlHead []byte, cues webm.Cues, size int64) ([]byte, error) {
	var h struct {
		Info   webm.Info
		Tracks webm.Tracks
		Cues   webm.Cues
	}
	h.Info = webm.Info{
		TimecodeScale: uint64(time.Millisecond), MuxingApp: "lectern", WritingApp: "lectern", Duration: float64(tl.endMS),
	}
	if len(tl.parts) > 0 {
		t := tl.parts[0].webmTrack()
		for _, p := range tl.parts {
			t.Video.PixelWidth = max(t.Video.PixelWidth, uint64(p.width))
			t.Video.PixelHeight = max(t.Video.PixelHeight, uint64(p.height))
		}
		h.Tracks.TrackEntry = append(h.Tracks.TrackEntry, *t)
	}
	if len(tl.audio) > 0 {
		h.Tracks.TrackEntry = append(h.Tracks.TrackEntry, *webmAudio())
	}
	h.Cues = cues
	body, err := marshal(h)
	if err != nil {
		return nil, err
	}
	head := append(bytes.Clone(ebmlHead), 0x18, 0x53, 0x80, 0x67)
	head = binary.BigEndian.AppendUint64(head, 1<<56|uint64(size))
	return append(head, body...), nil
}

func marshal[T any](v T) ([]byte, error) {
	var buf bytes.Buffer
	if err := ebml.Marshal(&v, &buf); err != nil {
		return nil, fmt.Errorf("marshal webm: %w", err)
	}
	return buf.Bytes(), nil
}

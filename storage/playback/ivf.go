package playback

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/lectern/lectern/storage"
	"github.com/lectern/lectern/stream/frame"
)

const (
	ivfHeader      = 32
	ivfFrameHeader = 12
	maxFrame       = 16 << 20 // bytes
	maxFrames      = 1 << 17  // of one segment
)

// sample is one access unit or Opus packet. Times are in ticks of its clock on
// the timeline of the lecture.
type sample struct {
	at   int64
	key  bool
	data []byte
}

// readRange reads a part of a file into memory.
func readRange(f io.ReaderAt, from, to int64) ([]byte, error) {
	if from < 0 || to < from || to-from > maxRange {
		return nil, fmt.Errorf("%w: range of %d bytes", ErrBroken, to-from)
	}
	b := make([]byte, to-from)
	n, err := f.ReadAt(b, from)
	if n < len(b) {
		return nil, fmt.Errorf("%w: %w", ErrBroken, err)
	}
	return b, nil
}

// parseIVF returns the frames in b, which begins at a frame header. A torn frame
// at the end is left out; anything else wrong is ErrBroken. Only the first is
// marked as keyframe. base is added to the times.
func parseIVF(b []byte, base int64) ([]sample, error) {
	var out []sample
	last := int64(-1)
	for len(b) >= ivfFrameHeader {
		n := int64(binary.LittleEndian.Uint32(b))
		pts := int64(binary.LittleEndian.Uint64(b[4:]))
		if n == 0 || n > maxFrame || pts <= last || pts > maxLecture*videoClock || len(out) >= maxFrames {
			return nil, fmt.Errorf("%w: frame of %d bytes at %d", ErrBroken, n, pts)
		}
		if n > int64(len(b)-ivfFrameHeader) {
			break
		}
		out = append(out, sample{at: base + pts, key: len(out) == 0, data: b[ivfFrameHeader : ivfFrameHeader+n]})
		b, last = b[ivfFrameHeader+n:], pts
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%w: no frame", ErrBroken)
	}
	return out, nil
}

// walkIVF calls visit with the offset, size and time of each frame from..to,
// until it returns false. It reads the frame headers only.
func walkIVF(f io.ReaderAt, from, to int64, visit func(offset, size, pts int64) bool) {
	var head [ivfFrameHeader]byte
	last := int64(-1)
	for from+ivfFrameHeader <= to {
		if _, err := f.ReadAt(head[:], from); err != nil {
			return
		}
		n := int64(binary.LittleEndian.Uint32(head[:]))
		pts := int64(binary.LittleEndian.Uint64(head[4:]))
		if n == 0 || n > maxFrame || pts <= last || from+ivfFrameHeader+n > to || !visit(from, n, pts) {
			return
		}
		last = pts
		from += ivfFrameHeader + n
	}
}

// keyPrefix is how much of a frame tells whether it is a keyframe, in bytes.
const keyPrefix = 4096

// scan makes the index of a file that has none.
func scan(f io.ReaderAt, t *track) []storage.IndexEntry {
	if t.clock == audioClock {
		return scanOgg(f, t.size)
	}
	var (
		marks  []storage.IndexEntry
		n      int64
		prefix [keyPrefix]byte
	)
	walkIVF(f, ivfHeader, t.size, func(offset, size, pts int64) bool {
		p := prefix[:min(size, keyPrefix)]
		if _, err := f.ReadAt(p, offset+ivfFrameHeader); err != nil {
			return false
		}
		if w, h, ok := frame.VideoSize(t.codec, p); ok {
			marks = append(marks, storage.IndexEntry{Frame: n, Offset: offset, PTS: pts, Width: w, Height: h})
		}
		n++
		return true
	})
	return marks
}

// lastFrame is the time of the last frame between two offsets, -1 if there is
// none, in ticks since PTS 0.
func lastFrame(f io.ReaderAt, from, to int64) int64 {
	last := int64(-1)
	walkIVF(f, from, to, func(_, _, pts int64) bool {
		last = pts
		return true
	})
	return last
}

// readFrame reads the one frame at an offset.
func readFrame(f io.ReaderAt, offset, size int64) ([]byte, error) {
	var data []byte
	err := fmt.Errorf("%w: no frame at %d", ErrBroken, offset)
	walkIVF(f, offset, size, func(_, n, _ int64) bool {
		data, err = readRange(f, offset+ivfFrameHeader, offset+ivfFrameHeader+n)
		return false
	})
	return data, err
}

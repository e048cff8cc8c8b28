package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/lectern/lectern/stream"
	"github.com/lectern/lectern/stream/frame"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4/pkg/media/ivfwriter"
)

// The layout of an IVF file.
const (
	ivfHeaderSize   = 32
	ivfFrameHeader  = 12
	ivfSizeAt       = 12 // width and height, 16 bits each
	ivfDurationAt   = 24 // 32 bits, in ticks
	ivfFramesAt     = 28 // 32 bits; unused by others
	videoClock      = 90000
	maxFrame        = 16 << 20 // bytes of one access unit
	vp8Descriptor   = 0x10     // S: start of a partition (RFC 7741, section 4.2)
	vp9Descriptor   = 0x0c     // B and E: a whole frame (RFC 9628, section 4.2)
	av1NewSequence  = 0x08     // N; W = 0: each element has a length
	av1SizeField    = 0x02
	av1Extension    = 0x04
	av1MaxSizeBytes = 8
)

var errBadFrame = errors.New("storage: malformed frame")

// ivfWriter puts access units into a mediaFile. VP8, VP9 and AV1 go through
// pion's writer, H.264, which that one refuses, into the same container.
type ivfWriter struct {
	m       *mediaFile
	codec   stream.Codec
	pion    *ivfwriter.IVFWriter // nil for H.264
	scratch []byte               // payload of the packet that is made of a frame
	frames  int64
}

// newIVFWriter writes the file header.
func newIVFWriter(m *mediaFile, codec stream.Codec, width, height int) (*ivfWriter, error) {
	w := &ivfWriter{m: m, codec: codec}
	if codec == stream.H264 {
		h := make([]byte, ivfHeaderSize)
		copy(h, "DKIF\x00\x00\x20\x00H264")
		binary.LittleEndian.PutUint16(h[ivfSizeAt:], uint16(width))
		binary.LittleEndian.PutUint16(h[ivfSizeAt+2:], uint16(height))
		binary.LittleEndian.PutUint32(h[16:], videoClock)
		binary.LittleEndian.PutUint32(h[20:], 1)
		_, _ = m.Write(h) // collects only
	} else {
		// Without these options pion rounds times to 1/30 s of milliseconds: a
		// file of 9.8 s then plays 10.9 s.
		p, err := ivfwriter.NewWith(m, ivfwriter.WithCodec(string(codec)),
			ivfwriter.WithFrameRate(1, videoClock), ivfwriter.WithDirectPTS(),
			ivfwriter.WithWidthAndHeight(uint16(width), uint16(height)))
		if err != nil {
			return nil, fmt.Errorf("starting IVF of %s: %w", codec, err)
		}
		w.pion = p
	}
	if err := m.commit(); err != nil {
		return nil, err
	}
	return w, w.setHeader(width, height, 0)
}

// write appends one access unit at pts, in ticks since the first, which has 0.
// After errBadFrame the file is as it was.
func (w *ivfWriter) write(data []byte, pts uint32, key bool) error {
	if len(data) == 0 || len(data) > maxFrame {
		return errBadFrame
	}
	if err := w.collect(data, pts, key); err != nil {
		w.m.drop()
		return err
	}
	if len(w.m.buf) <= ivfFrameHeader {
		// pion has kept it back: it takes the unit for the begin of another.
		w.m.drop()
		return errBadFrame
	}
	if err := w.m.commit(); err != nil {
		return err
	}
	w.frames++
	return nil
}

func (w *ivfWriter) collect(data []byte, pts uint32, key bool) error {
	if w.pion == nil {
		h := binary.LittleEndian.AppendUint32(w.scratch[:0], uint32(len(data)))
		h = binary.LittleEndian.AppendUint64(h, uint64(pts))
		w.scratch = h
		_, _ = w.m.Write(h)    // collects only
		_, _ = w.m.Write(data) // collects only
		return nil
	}
	// One packet per frame: pion's own reassembly merges and tears frames when
	// packets are lost, and has no check for packets without payload.
	switch w.codec {
	case stream.VP8:
		w.scratch = append(append(w.scratch[:0], vp8Descriptor), data...)
	case stream.VP9:
		w.scratch = append(append(w.scratch[:0], vp9Descriptor), data...)
	default:
		if !w.packAV1(data, key) {
			return errBadFrame
		}
	}
	p := rtp.Packet{Header: rtp.Header{Version: 2, Marker: true, Timestamp: pts}, Payload: w.scratch}
	if err := w.pion.WriteRTP(&p); err != nil {
		return fmt.Errorf("%w: %w", errBadFrame, err)
	}
	return nil
}

// packAV1 makes one packet of all OBUs of a temporal unit: aggregation header,
// then each OBU with its length (RTP payload format for AV1, section 4.4).
func (w *ivfWriter) packAV1(data []byte, key bool) bool {
	var head byte
	if key {
		head = av1NewSequence
	}
	w.scratch = append(w.scratch[:0], head)
	for len(data) > 0 {
		n := obuSize(data)
		if n == 0 {
			return false
		}
		w.scratch = binary.AppendUvarint(w.scratch, uint64(n)) // same as leb128
		w.scratch = append(w.scratch, data[:n]...)
		data = data[n:]
	}
	return len(w.scratch) > 1
}

// obuSize is the length in bytes of the OBU with size field at the head of b; 0
// if it is cut short or has none.
func obuSize(b []byte) int {
	n := 1
	if b[0]&av1Extension != 0 {
		n = 2
	}
	if b[0]&av1SizeField == 0 || len(b) <= n {
		return 0
	}
	v, size := binary.Uvarint(b[n:min(len(b), n+av1MaxSizeBytes)])
	if size <= 0 || v > uint64(len(b)-n-size) {
		return 0
	}
	return n + size + int(v)
}

// setHeader sets what is known only later. Duration (ticks) stands where the
// format has the number of frames: that is what ffmpeg reads and writes there.
// The number of frames follows in a field that nobody uses.
func (w *ivfWriter) setHeader(width, height int, duration int64) error {
	return writeIVFHeader(w.m, width, height, duration, w.frames)
}

func writeIVFHeader(f io.WriterAt, width, height int, duration, frames int64) error {
	var size [4]byte
	binary.LittleEndian.PutUint16(size[:], uint16(width))
	binary.LittleEndian.PutUint16(size[2:], uint16(height))
	if _, err := f.WriteAt(size[:], ivfSizeAt); err != nil {
		return err
	}
	var counts [8]byte
	binary.LittleEndian.PutUint32(counts[:], uint32(min(duration, 1<<32-1)))
	binary.LittleEndian.PutUint32(counts[ivfFramesAt-ivfDurationAt:], uint32(frames))
	_, err := f.WriteAt(counts[:], ivfDurationAt)
	return err
}

// ivfScan is what a walk over the frames of an IVF file found.
type ivfScan struct {
	frames        int64
	size          int64 // bytes up to the end of the last whole frame
	lastPTS, step int64 // ticks; step: from the last but one to the last
	keys          []IndexEntry
}

// keyPrefix is how much of a frame is read to tell whether it is a keyframe:
// sequence headers and parameter sets lie at its begin.
const keyPrefix = 4096

// scanIVF walks over the frames of a file of size bytes, from the last of keys
// on if there are any. It ends at the first frame that is torn, empty, oversized
// or does not lie behind the one before.
func scanIVF(f io.ReaderAt, size int64, codec stream.Codec, keys []IndexEntry) (ivfScan, error) {
	s := ivfScan{size: ivfHeaderSize, lastPTS: -1, keys: keys}
	if n := len(keys); n > 0 {
		last := keys[n-1]
		s.frames, s.size, s.lastPTS, s.keys = last.Frame, last.Offset, last.PTS-1, keys[:n-1]
	}
	var head [ivfFrameHeader]byte
	prefix := make([]byte, keyPrefix)
	for {
		if s.size+ivfFrameHeader > size {
			return s, nil
		}
		if _, err := f.ReadAt(head[:], s.size); err != nil {
			return s, fmt.Errorf("reading frame header: %w", err)
		}
		n := int64(binary.LittleEndian.Uint32(head[:]))
		pts := int64(binary.LittleEndian.Uint64(head[4:]))
		if n == 0 || n > maxFrame || s.size+ivfFrameHeader+n > size || pts <= s.lastPTS {
			return s, nil
		}
		p := prefix[:min(n, keyPrefix)]
		if _, err := f.ReadAt(p, s.size+ivfFrameHeader); err != nil {
			return s, fmt.Errorf("reading frame: %w", err)
		}
		if w, h, ok := frame.VideoSize(codec, p); ok {
			s.keys = append(s.keys, IndexEntry{Frame: s.frames, Offset: s.size, PTS: pts, Width: w, Height: h})
		}
		if s.frames > 0 {
			s.step = pts - s.lastPTS
		}
		s.lastPTS = pts
		s.frames++
		s.size += ivfFrameHeader + n
	}
}

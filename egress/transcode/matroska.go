package transcode

import (
	"bytes"
	"fmt"
	"io"
	"time"

	"github.com/at-wat/ebml-go"
	"github.com/at-wat/ebml-go/webm"

	"github.com/lectern/lectern/stream"
)

// Track numbers, and track types (Matroska, section 5.1.4.1.3).
const (
	videoNumber, audioNumber = 1, 2
	videoType, audioType     = 1, 2
)

// matroska writes live Matroska: a segment without end, and one cluster for each
// frame, so that a frame is one write and nothing waits for the next. The frames
// come with milliseconds since the start of the segment.
type matroska struct {
	w   io.Writer
	buf bytes.Buffer
}

// header is the head of the file. The segment stays open.
type header struct {
	EBML    webm.EBMLHeader `ebml:"EBML"`
	Segment struct {
		Info   webm.Info
		Tracks webm.Tracks
	} `ebml:"Segment,size=unknown"`
}

// cluster is one frame.
type cluster struct {
	Cluster struct {
		Timecode    uint64
		SimpleBlock ebml.Block
	}
}

// newMatroska writes the head to w: the tracks that p encodes, with video of the
// given size.
func newMatroska(w io.Writer, p plan, width, height int) (*matroska, error) {
	var h header
	h.EBML = webm.EBMLHeader{
		EBMLVersion: 1, EBMLReadVersion: 1, EBMLMaxIDLength: 4, EBMLMaxSizeLength: 8,
		DocType: "matroska", DocTypeVersion: 4, DocTypeReadVersion: 2,
	}
	h.Segment.Info = webm.Info{TimecodeScale: uint64(time.Millisecond), MuxingApp: "lectern", WritingApp: "lectern"}
	if p.encodes(stream.Video) {
		id, err := matroskaCodec(p[stream.Video].codec)
		if err != nil {
			return nil, err
		}
		h.Segment.Tracks.TrackEntry = append(h.Segment.Tracks.TrackEntry, webm.TrackEntry{
			TrackNumber: videoNumber, TrackUID: videoNumber, TrackType: videoType, CodecID: id,
			Video: &webm.Video{PixelWidth: uint64(width), PixelHeight: uint64(height)},
		})
	}
	if p.encodes(stream.Audio) {
		h.Segment.Tracks.TrackEntry = append(h.Segment.Tracks.TrackEntry, webm.TrackEntry{
			TrackNumber: audioNumber, TrackUID: audioNumber, TrackType: audioType, CodecID: "A_OPUS",
			CodecPrivate: opusHead(),
			Audio:        &webm.Audio{SamplingFrequency: audioRate, Channels: 2},
		})
	}
	m := &matroska{w: w}
	if err := ebml.Marshal(&h, &m.buf); err != nil {
		return nil, fmt.Errorf("marshalling Matroska header: %w", err)
	}
	return m, m.flush()
}

func matroskaCodec(c stream.Codec) (string, error) {
	switch c {
	case stream.VP8:
		return "V_VP8", nil
	case stream.VP9:
		return "V_VP9", nil
	case stream.AV1:
		return "V_AV1", nil
	}
	return "", fmt.Errorf("transcode: no encoder input for %s", c)
}

// opusHead is the identification header (RFC 7845, section 5.1): stereo, no
// pre-skip, since the encoder joins in the middle of a stream.
func opusHead() []byte {
	return []byte{'O', 'p', 'u', 's', 'H', 'e', 'a', 'd', 1, 2, 0, 0, 0x80, 0xbb, 0, 0, 0, 0, 0}
}

// write writes one frame.
func (m *matroska) write(number uint64, ms int64, keyframe bool, data []byte) error {
	var c cluster
	c.Cluster.Timecode = uint64(ms)
	c.Cluster.SimpleBlock = ebml.Block{TrackNumber: number, Keyframe: keyframe, Data: [][]byte{data}}
	if err := ebml.Marshal(&c, &m.buf); err != nil {
		return fmt.Errorf("marshalling Matroska cluster: %w", err)
	}
	return m.flush()
}

func (m *matroska) flush() error {
	_, err := m.w.Write(m.buf.Bytes())
	m.buf.Reset()
	return err
}

package playback

import (
	"bytes"
	"fmt"
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

// maxCluster bounds a cluster in ms: the times of its blocks have 16 bits with a
// sign, and a block 32.8 s behind would play before it.
const maxCluster = 30000

// webmCluster is a cluster with the blocks of one track. The last block has a
// duration, so that what follows begins where it ends.
type webmCluster struct {
	Cluster struct {
		Timecode    uint64
		SimpleBlock []ebml.Block
		BlockGroup  []webm.BlockGroup
	}
}

// webmHeader is what comes before the clusters. The segment has no size, so that
// clusters can follow for ever.
type webmHeader struct {
	EBML    webm.EBMLHeader `ebml:"EBML"`
	Segment struct {
		Info   webm.Info
		Tracks webm.Tracks
	} `ebml:"Segment,size=unknown"`
}

func (p *part) webmTrack() *webm.TrackEntry {
	ids := map[stream.Codec]string{stream.VP8: "V_VP8", stream.VP9: "V_VP9", stream.AV1: "V_AV1"}
	return &webm.TrackEntry{
		TrackNumber: videoNumber, TrackUID: videoNumber, TrackType: videoType,
		CodecID: ids[p.t.codec], CodecPrivate: p.config.private,
		Video: &webm.Video{PixelWidth: uint64(p.width), PixelHeight: uint64(p.height)},
	}
}

func webmAudio() *webm.TrackEntry {
	return &webm.TrackEntry{
		TrackNumber: audioNumber, TrackUID: audioNumber, TrackType: audioType,
		CodecID: "A_OPUS", CodecPrivate: opusHead(), SeekPreRoll: uint64(80 * time.Millisecond),
		Audio: &webm.Audio{SamplingFrequency: audioClock, Channels: 2},
	}
}

func ebmlHeader() webm.EBMLHeader {
	return webm.EBMLHeader{
		EBMLVersion: 1, EBMLReadVersion: 1, EBMLMaxIDLength: 4, EBMLMaxSizeLength: 8,
		DocType: "webm", DocTypeVersion: 4, DocTypeReadVersion: 2,
	}
}

// webmHead is the initialization segment of one or two tracks (nil: none).
func webmHead(video, audio *webm.TrackEntry, durationMS float64) ([]byte, error) {
	h := webmHeader{EBML: ebmlHeader()}
	h.Segment.Info = webm.Info{
		TimecodeScale: uint64(time.Millisecond), MuxingApp: "lectern", WritingApp: "lectern", Duration: durationMS,
	}
	for _, t := range []*webm.TrackEntry{video, audio} {
		if t != nil {
			h.Segment.Tracks.TrackEntry = append(h.Segment.Tracks.TrackEntry, *t)
		}
	}
	var buf bytes.Buffer
	if err := ebml.Marshal(&h, &buf); err != nil {
		return nil, fmt.Errorf("marshal webm header: %w", err)
	}
	return buf.Bytes(), nil
}

// clusters is a segment: one cluster, or some if it is long.
func clusters(number uint64, samples []sample, s segment, clock int64) ([]byte, error) {
	var buf bytes.Buffer
	for len(samples) > 0 {
		begin := scale(samples[0].at, 1000, clock)
		n := 1
		for n < len(samples) && scale(samples[n].at, 1000, clock)-begin <= maxCluster {
			n++
		}
		end := scale(s.end, 1000, clock)
		if n < len(samples) {
			end = scale(samples[n].at, 1000, clock)
		}
		if err := writeCluster(&buf, number, samples[:n], clock, end); err != nil {
			return nil, err
		}
		samples = samples[n:]
	}
	return buf.Bytes(), nil
}

func writeCluster(buf *bytes.Buffer, number uint64, samples []sample, clock, end int64) error {
	var c webmCluster
	begin := scale(samples[0].at, 1000, clock)
	c.Cluster.Timecode = uint64(begin)
	for i, u := range samples {
		at := scale(u.at, 1000, clock)
		b := ebml.Block{TrackNumber: number, Timecode: int16(at - begin), Keyframe: u.key, Data: [][]byte{u.data}}
		if i < len(samples)-1 {
			c.Cluster.SimpleBlock = append(c.Cluster.SimpleBlock, b)
			continue
		}
		g := webm.BlockGroup{Block: b, BlockDuration: uint64(max(end-at, 1))}
		g.Block.Keyframe = false // this bit is reserved outside of simple blocks
		if !u.key {
			g.ReferenceBlock = -max(at-scale(samples[i-1].at, 1000, clock), 1)
		}
		c.Cluster.BlockGroup = append(c.Cluster.BlockGroup, g)
	}
	if err := ebml.Marshal(&c, buf); err != nil {
		return fmt.Errorf("marshal cluster: %w", err)
	}
	return nil
}

package playback

import (
	"fmt"

	"github.com/bluenviron/mediacommon/v2/pkg/formats/fmp4"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/fmp4/seekablebuffer"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/mp4"
)

// mp4Track is the track number of video and of audio: each has a file of its own.
const mp4Track = 1

// initMP4 is the initialization segment of H.264, or of Opus without config.
func initMP4(clock uint32, c *config) ([]byte, error) {
	track := &fmp4.InitTrack{ID: mp4Track, TimeScale: clock, Codec: &mp4.CodecOpus{ChannelCount: 2}}
	if c != nil {
		track.Codec = &mp4.CodecH264{SPS: c.sps, PPS: c.pps}
	}
	return marshalInit(track)
}

func marshalInit(tracks ...*fmp4.InitTrack) ([]byte, error) {
	var buf seekablebuffer.Buffer
	if err := (&fmp4.Init{Tracks: tracks}).Marshal(&buf); err != nil {
		return nil, fmt.Errorf("marshal mp4 header: %w", err)
	}
	return buf.Bytes(), nil
}

// segmentMP4 is a segment as one fragment. The last sample lasts to its end.
func segmentMP4(samples []sample, s segment) ([]byte, error) {
	return marshalFragment(mp4Track, samples, s.end)
}

func marshalFragment(id int, samples []sample, end int64) ([]byte, error) {
	t := &fmp4.PartTrack{ID: id, BaseTime: uint64(samples[0].at)}
	for i, u := range samples {
		next := end
		if i+1 < len(samples) {
			next = samples[i+1].at
		}
		t.Samples = append(t.Samples, &fmp4.Sample{
			Duration: uint32(max(next-u.at, 1)), IsNonSyncSample: !u.key, Payload: u.data,
		})
	}
	var buf seekablebuffer.Buffer
	if err := (&fmp4.Part{Tracks: []*fmp4.PartTrack{t}}).Marshal(&buf); err != nil {
		return nil, fmt.Errorf("marshal mp4 fragment: %w", err)
	}
	return buf.Bytes(), nil
}

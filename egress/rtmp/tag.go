package rtmp

import (
	"encoding/binary"
	"time"

	"github.com/lectern/lectern/internal/rtmp"
	"github.com/lectern/lectern/stream"
	"github.com/lectern/lectern/stream/frame"
)

// First bytes of FLV tag bodies (FLV 10.1, sections E.4.2.1 and E.4.3.1).
const (
	flvKeyframe = 1<<4 | 7                   // AVC
	flvInter    = 2<<4 | 7                   // AVC
	flvAAC      = 10<<4 | 3<<2 | 1<<1 | 1<<0 // 44 kHz, 16 bit, stereo: fixed for AAC

	avcHeader, avcNALU = 0, 1
	aacHeader, aacRaw  = 0, 1
)

const naluAUD = 9 // access unit delimiter (H.264, table 7-1)

// config is what a decoder must know before the media of one kind. Players
// compare the pointer.
type config struct {
	header        []byte // body of the sequence header tag
	width, height int    // video
	sps, pps      []byte
}

// tag is one picture or audio frame, as all players get it.
type tag struct {
	kind     stream.Kind
	pts      time.Duration
	keyframe bool
	body     []byte
	config   *config
}

// tagger makes tags. It is used by one goroutine.
type tagger struct {
	video, audio *config
	audioTrack   *stream.Track
}

// tag makes the tag of an access unit, or nil if it cannot be shown.
func (g *tagger) tag(au *frame.AccessUnit) *tag {
	if au.Track.Kind == stream.Audio {
		return g.audioTag(au)
	}
	return g.videoTag(au)
}

func (g *tagger) videoTag(au *frame.AccessUnit) *tag {
	if au.Track.Codec != stream.H264 {
		return nil
	}
	if au.Keyframe {
		g.configure(au)
	}
	if g.video == nil {
		return nil
	}
	body := make([]byte, 5, 5+len(au.Data)+16)
	body[0], body[1] = flvInter, avcNALU // composition time 0: nobody reorders
	if au.Keyframe {
		body[0] = flvKeyframe
	}
	for _, n := range frame.SplitNALUs(au.Data) {
		// Parameter sets stay although the sequence header has them: those who
		// record by copying lose the header of a change in the middle.
		if n[0]&31 == naluAUD {
			continue
		}
		body = binary.BigEndian.AppendUint32(body, uint32(len(n)))
		body = append(body, n...)
	}
	if len(body) == 5 {
		return nil
	}
	return &tag{kind: stream.Video, pts: au.PTS, keyframe: au.Keyframe, body: body, config: g.video}
}

// configure takes the parameter sets of a keyframe. The same ones keep the
// config, so that players are told of changes only.
func (g *tagger) configure(au *frame.AccessUnit) {
	sps, pps := frame.ParameterSets(au.Data)
	if len(sps) < 4 || len(pps) == 0 || len(sps) > 1<<16-1 || len(pps) > 1<<16-1 {
		return
	}
	if v := g.video; v != nil && string(v.sps) == string(sps) && string(v.pps) == string(pps) {
		return
	}
	c := &config{width: au.Width, height: au.Height, sps: append([]byte(nil), sps...), pps: append([]byte(nil), pps...)}
	// Decoder configuration record (ISO 14496-15, section 5.2.4.1).
	c.header = append(c.header, flvKeyframe, avcHeader, 0, 0, 0, 1, sps[1], sps[2], sps[3], 0xff, 0xe1)
	c.header = binary.BigEndian.AppendUint16(c.header, uint16(len(sps)))
	c.header = append(c.header, sps...)
	c.header = append(c.header, 1)
	c.header = binary.BigEndian.AppendUint16(c.header, uint16(len(pps)))
	c.header = append(c.header, pps...)
	g.video = c
}

func (g *tagger) audioTag(au *frame.AccessUnit) *tag {
	if au.Track.Codec != stream.AAC {
		return nil
	}
	if g.audioTrack != au.Track {
		asc := audioConfig(au.Track.FMTP)
		if asc == nil {
			return nil
		}
		g.audioTrack = au.Track
		g.audio = &config{header: append([]byte{flvAAC, aacHeader}, asc...)}
	}
	body := make([]byte, 0, 2+len(au.Data))
	body = append(body, flvAAC, aacRaw)
	return &tag{
		kind: stream.Audio, pts: au.PTS, keyframe: true,
		body: append(body, au.Data...), config: g.audio,
	}
}

// metadata is what players are told of the stream beforehand. ffmpeg reads from
// it which tracks to expect.
func metadata(video, audio *config) rtmp.Message {
	ps := []rtmp.Property{{Name: "encoder", Value: "Lectern"}}
	if video != nil {
		ps = append(ps, rtmp.Property{Name: "videocodecid", Value: 7.0})
		if video.width > 0 {
			ps = append(ps,
				rtmp.Property{Name: "width", Value: float64(video.width)},
				rtmp.Property{Name: "height", Value: float64(video.height)})
		}
	}
	if audio != nil {
		ps = append(ps,
			rtmp.Property{Name: "audiocodecid", Value: 10.0},
			rtmp.Property{Name: "audiosamplerate", Value: 48000.0},
			rtmp.Property{Name: "audiosamplesize", Value: 16.0},
			rtmp.Property{Name: "stereo", Value: true})
	}
	return rtmp.Message{Kind: rtmp.Metadata, Properties: ps}
}

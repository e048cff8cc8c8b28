package rtsp

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/mpeg4audio"

	"github.com/lectern/lectern/stream"
)

// Payload types of the SDP, of the dynamic range (RFC 3551, section 6).
const (
	videoPayloadType = 96
	audioPayloadType = 97
)

// describe makes the media section of a track.
func describe(t *stream.Track) (*description.Media, error) {
	m := &description.Media{Type: description.MediaTypeAudio}
	if t.Kind == stream.Video {
		m.Type = description.MediaTypeVideo
	}
	var f format.Format
	switch t.Codec {
	case stream.H264:
		f = &format.H264{PayloadTyp: videoPayloadType, PacketizationMode: 1}
	case stream.VP8:
		f = &format.VP8{PayloadTyp: videoPayloadType}
	case stream.VP9:
		f = &format.VP9{PayloadTyp: videoPayloadType}
	case stream.AV1:
		f = &format.AV1{PayloadTyp: videoPayloadType}
	case stream.Opus:
		f = &format.Opus{PayloadTyp: audioPayloadType, ChannelCount: 2}
	case stream.AAC:
		f = &format.MPEG4Audio{
			PayloadTyp: audioPayloadType,
			Config:     audioConfig(t),
			SizeLength: 13, IndexLength: 3, IndexDeltaLength: 3, // AAC-hbr
		}
	default:
		return nil, fmt.Errorf("%w: %s", errUnknownCodec, t.Codec)
	}
	m.Formats = []format.Format{f}
	return m, nil
}

// sdp describes the feed to a player that asked for u. The control URLs are
// absolute: the library's are relative, and players that resolve them by the
// book (RFC 3986, section 5.2; GStreamer does) lose room and token with them.
// The library names IPv4 addresses always; GStreamer, told so over IPv6, opens
// UDP sockets of the wrong family.
func (f *feed) sdp(u *base.URL, path, query string, ip6 bool) ([]byte, error) {
	out := &description.Session{Title: f.st.Desc.Title}
	for i, m := range f.st.Desc.Medias {
		control := base.URL{Scheme: u.Scheme, Host: u.Host, Path: fmt.Sprintf("%s/trackID=%d", path, i), RawQuery: query}
		out.Medias = append(out.Medias, &description.Media{Type: m.Type, Formats: m.Formats, Control: control.String()})
	}
	body, err := out.Marshal(false)
	if err != nil {
		return nil, fmt.Errorf("marshal sdp: %w", err)
	}
	if ip6 {
		body = bytes.Replace(body, []byte(" IN IP4 127.0.0.1\r\n"), []byte(" IN IP6 ::1\r\n"), 1)
		body = bytes.Replace(body, []byte("c=IN IP4 0.0.0.0\r\n"), []byte("c=IN IP6 ::\r\n"), 1)
	}
	return body, nil
}

// audioConfig is the AudioSpecificConfig that the track's format parameters
// name, or that of AAC-LC at its rate.
func audioConfig(t *stream.Track) *mpeg4audio.AudioSpecificConfig {
	for p := range strings.SplitSeq(t.FMTP, ";") {
		key, val, _ := strings.Cut(strings.TrimSpace(p), "=")
		if !strings.EqualFold(key, "config") {
			continue
		}
		var c mpeg4audio.AudioSpecificConfig
		if raw, err := hex.DecodeString(val); err == nil && c.Unmarshal(raw) == nil {
			return &c
		}
	}
	return &mpeg4audio.AudioSpecificConfig{
		Type:         mpeg4audio.ObjectTypeAACLC,
		SampleRate:   int(t.ClockRate),
		ChannelCount: int(max(t.Channels, 1)),
	}
}

// NALU types (H.264, table 7-1; RFC 6184, section 5.2).
const (
	naluSPS   = 7
	naluPPS   = 8
	naluSTAPA = 24
)

// parameterSets finds SPS and PPS in an RTP payload: a single NALU or a STAP-A.
// Nobody splits so small a NALU into FU-A. The slices point into payload.
func parameterSets(payload []byte) (sps, pps []byte) {
	each := func(nalu []byte) {
		if len(nalu) == 0 {
			return
		}
		switch nalu[0] & 0x1f {
		case naluSPS:
			sps = nalu
		case naluPPS:
			pps = nalu
		}
	}
	if len(payload) == 0 || payload[0]&0x1f != naluSTAPA {
		each(payload)
		return sps, pps
	}
	for rest := payload[1:]; len(rest) >= 2; {
		n := int(rest[0])<<8 | int(rest[1])
		if rest = rest[2:]; n > len(rest) {
			break
		}
		each(rest[:n])
		rest = rest[n:]
	}
	return sps, pps
}

// sameFormat says whether units of b fit the media section made for a.
func sameFormat(a, b *stream.Track) bool {
	return a.Codec == b.Codec && a.ClockRate == b.ClockRate &&
		(a.Codec != stream.AAC || (a.Channels == b.Channels && a.FMTP == b.FMTP))
}

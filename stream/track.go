package stream

import (
	"strings"
	"time"

	"github.com/pion/rtp"
)

// Kind tells audio from video.
type Kind uint8

// The kinds. Their values index arrays.
const (
	Audio Kind = iota
	Video
)

// String returns "audio" or "video", as in an SDP m-line.
func (k Kind) String() string {
	if k == Video {
		return "video"
	}
	return "audio"
}

// Codec is a MIME type (RFC 4855), spelt as below. Compare with ==.
type Codec string

// The codecs that the gateway carries.
const (
	VP8  Codec = "video/VP8"
	VP9  Codec = "video/VP9"
	AV1  Codec = "video/AV1"
	H264 Codec = "video/H264"
	Opus Codec = "audio/opus"
	AAC  Codec = "audio/mpeg4-generic" // RFC 3640, mode AAC-hbr; of renditions only
)

// Name is the codec without its kind: "VP8", "opus".
func (c Codec) Name() string {
	_, name, _ := strings.Cut(string(c), "/")
	return name
}

// Kind is the kind that the MIME type names.
func (c Codec) Kind() Kind {
	if strings.HasPrefix(string(c), "video/") {
		return Video
	}
	return Audio
}

// Track is one audio or video line of a stream. It is never changed after its
// first Unit: another codec is another Track.
type Track struct {
	ID        string
	Kind      Kind
	Codec     Codec
	ClockRate uint32 // Hz
	Channels  uint16 // audio only
	FMTP      string // format parameters as in a=fmtp, without the payload type
}

// Unit is one RTP packet in decoding order. It belongs to its Stream once
// written: read-only for everyone.
type Unit struct {
	Track *Track

	// Layer tells the sources of one track apart: in the main stream of a
	// publisher with layers, which of them, in the publisher's order, the unit is
	// of. 0 elsewhere. Another Layer is spliced on at a keyframe, with
	// Track and timeline going on.
	Layer uint8

	// Temporal and Spatial are the layers within the stream that the packet
	// belongs to (RFC 7741, RFC 9628, AV1 OBU extension), 0 the base or unknown.
	Temporal, Spatial uint8

	// Switch is true if a decoder may go up to this temporal layer here: VP8's
	// layer sync bit, VP9's switching up point.
	Switch bool

	// EndOfLayer is true for the last packet of its spatial layer of a picture,
	// hence for the last of the picture.
	EndOfLayer bool

	// Keyframe is true for the first packet of a keyframe (with H.264: of the
	// parameter sets before it), and for all audio.
	Keyframe bool

	// Discontinuity is true for the first unit of a track after its timeline
	// jumped: another publisher, a pause, a clock that was set.
	Discontinuity bool

	// Width and Height are the size in pixels that a keyframe announces; 0 if
	// its first packet does not tell, and for all other units.
	Width, Height uint16

	// Packet has continuous sequence numbers and timestamps whatever the
	// publisher did; a hole in the sequence numbers is a packet lost for good.
	// It carries no header extensions and no padding.
	Packet *rtp.Packet

	// PTS is the time since the Origin of the stream, on the one clock that
	// all its tracks share. It never goes backwards within a track.
	PTS time.Duration

	// NTP is the sender's wall clock from RTCP SR (RFC 3550, section 6.4.1);
	// zero before the first.
	NTP time.Time

	// Arrival is the gateway's clock when the packet came in.
	Arrival time.Time

	// Descriptor is the dependency descriptor (AV1 RTP specification, appendix A)
	// that the packet came with; nil for other codecs and where there was none.
	// Its frame numbers go on across publishers and layers. Browsers need it to
	// show AV1 of several spatial layers; all others can do without.
	Descriptor []byte
}

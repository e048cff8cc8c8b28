package transcode

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"

	"github.com/lectern/lectern/stream"
	"github.com/lectern/lectern/stream/frame"
)

const (
	// maxPayload keeps RTP packets within the MTU of any path (bytes).
	maxPayload = 1200

	videoRate = 90000 // Hz
	audioRate = 48000 // Hz
	aacFrame  = 1024  // samples of one AAC access unit

	// maxSkew is how far the timestamps of the encoder, which are rounded to
	// milliseconds, may stray from the count of samples.
	maxSkew = audioRate * 3 / 1000
)

// sink writes a rendition: it makes units and sees that time never goes back,
// whatever child or publisher they come from. Each kind has a writer of its own
// at a time; begin is called while there is none.
type sink struct {
	log   *slog.Logger
	pub   *stream.Publication
	lines [2]sinkLine
	h264  codecs.H264Payloader
	asc   []byte // AudioSpecificConfig of the present audio track
	avc   []byte // parameter sets of the present video track, Annex B

	samples int64 // of audio at the end of the last access unit, since the origin
}

// sinkLine is what is remembered of one kind of track.
type sinkLine struct {
	mu      sync.Mutex // guards what follows
	track   *stream.Track
	seq     uint16
	last    time.Duration // PTS of what was written last
	started bool
	wait    bool // video: for a keyframe
}

func newSink(log *slog.Logger) *sink { return &sink{log: log} }

// begin writes to pub from now on.
func (s *sink) begin(pub *stream.Publication) {
	s.pub = pub
	for k := range s.lines {
		s.lines[k].wait = stream.Kind(k) == stream.Video
	}
}

// after says whether something of kind k at pts would be later than all that
// was written.
func (s *sink) after(k stream.Kind, pts time.Duration) bool {
	l := &s.lines[k]
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.started || pts > l.last
}

// admit decides whether a unit goes on, and notes it. A new access unit must be
// later than the last, and video must begin with a keyframe.
func (l *sinkLine) admit(pts time.Duration, keyframe, first bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.started && (pts < l.last || pts == l.last && (first || l.wait)) {
		return false
	}
	if l.wait && !keyframe {
		return false
	}
	l.wait, l.started, l.last = false, true, pts
	return true
}

// pass hands on a unit of the source. The payload is shared, the header is not:
// the stream rewrites it.
func (s *sink) pass(u *stream.Unit) {
	l := &s.lines[u.Track.Kind]
	if !l.admit(u.PTS, u.Keyframe, false) {
		return
	}
	c := *u
	c.Packet = &rtp.Packet{Header: u.Packet.Header, Payload: u.Packet.Payload}
	s.write(&c)
}

// setVideo takes the parameter sets that the pictures to come need (avcC, ISO
// 14496-15, section 5.2.4.1).
func (s *sink) setVideo(avcC []byte) error {
	sps, pps, err := parseAVCC(avcC)
	if err != nil {
		return err
	}
	sets := annexB(nil, sps)
	sets = annexB(sets, pps)
	if bytes.Equal(sets, s.avc) {
		return nil
	}
	s.avc = sets
	s.lines[stream.Video].track = &stream.Track{
		ID: "video", Kind: stream.Video, Codec: stream.H264, ClockRate: videoRate,
		FMTP: fmt.Sprintf("packetization-mode=1;profile-level-id=%s;sprop-parameter-sets=%s,%s",
			hex.EncodeToString(sps[1:4]), base64.StdEncoding.EncodeToString(sps), base64.StdEncoding.EncodeToString(pps)),
	}
	return nil
}

// video writes one picture of the child: NALUs with 4-byte lengths, which it
// overwrites.
func (s *sink) video(avcc []byte, keyframe bool, pts time.Duration) error {
	l := &s.lines[stream.Video]
	if l.track == nil {
		return errNoConfig
	}
	if !l.admit(pts, keyframe, true) {
		return nil
	}
	au, err := lengthsToStartCodes(avcc)
	if err != nil {
		return err
	}
	if keyframe {
		au = append(bytes.Clone(s.avc), au...)
	}
	payloads := s.h264.Payload(maxPayload, au)
	ts := ticks(pts, videoRate)
	for i, p := range payloads {
		l.seq++
		s.write(&stream.Unit{
			Track: l.track,
			Packet: &rtp.Packet{Header: rtp.Header{
				Version: 2, SequenceNumber: l.seq, Timestamp: ts, Marker: i == len(payloads)-1,
			}, Payload: p},
			PTS: pts, Arrival: time.Now(), Keyframe: keyframe && i == 0,
		})
	}
	return nil
}

// setAudio takes the AudioSpecificConfig (ISO 14496-3, section 1.6.2.1).
func (s *sink) setAudio(asc []byte) {
	if bytes.Equal(asc, s.asc) {
		return
	}
	s.asc = bytes.Clone(asc)
	s.lines[stream.Audio].track = &stream.Track{
		ID: "audio", Kind: stream.Audio, Codec: stream.AAC, ClockRate: audioRate, Channels: 2,
		FMTP: "streamtype=5;profile-level-id=1;mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3;config=" +
			hex.EncodeToString(asc),
	}
}

// audio writes one raw AAC frame of the child.
func (s *sink) audio(raw []byte, pts time.Duration) error {
	l := &s.lines[stream.Audio]
	if l.track == nil {
		return errNoConfig
	}
	at := samplesAt(pts)
	if d := at - s.samples; d >= -maxSkew && d <= maxSkew {
		at = s.samples
	}
	pts = time.Duration(at/audioRate)*time.Second + time.Duration(at%audioRate)*time.Second/audioRate
	if pts < 0 || !l.admit(pts, true, true) {
		return nil
	}
	s.samples = at + aacFrame
	l.seq++
	s.write(&stream.Unit{
		Track: l.track,
		Packet: &rtp.Packet{Header: rtp.Header{
			Version: 2, SequenceNumber: l.seq, Timestamp: uint32(at), Marker: true,
		}, Payload: frame.PackAAC(raw)},
		PTS: pts, Arrival: time.Now(), Keyframe: true,
	})
	return nil
}

// write hands u to the rendition. An error only says that the publication has
// ended meanwhile; whoever ended it knows.
func (s *sink) write(u *stream.Unit) {
	if err := s.pub.Write(u); err != nil {
		s.log.Debug("rendition takes no more", "err", err)
	}
}

// samplesAt is pts in audio samples.
func samplesAt(pts time.Duration) int64 {
	return int64(pts/time.Microsecond) * audioRate / int64(time.Second/time.Microsecond)
}

// ticks is pts in units of rate (Hz), wrapped.
func ticks(pts time.Duration, rate int64) uint32 {
	return uint32(int64(pts/time.Microsecond) * rate / int64(time.Second/time.Microsecond))
}

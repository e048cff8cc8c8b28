package storage_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/lectern/lectern/stream"
	"github.com/lectern/lectern/stream/frame"
	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"
)

// clip is media from ffmpeg, as coded pictures or packets.
type clip struct {
	codec  stream.Codec
	frames [][]byte
	every  time.Duration // between two frames
}

// videoClip encodes a test picture of size ("320x180") at 30 frames per second
// with a keyframe per second.
func videoClip(t testing.TB, codec stream.Codec, size string, seconds float64, more ...string) clip {
	t.Helper()
	args := []string{
		"-f", "lavfi", "-i", "testsrc2=size=" + size + ":rate=30",
		"-t", strconv.FormatFloat(seconds, 'f', -1, 64), "-g", "30", "-pix_fmt", "yuv420p",
	}
	out := filepath.Join(t.TempDir(), "clip.ivf")
	switch codec {
	case stream.VP8:
		args = append(args, "-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8", "-auto-alt-ref", "0")
	case stream.VP9:
		args = append(args, "-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-auto-alt-ref", "0")
	case stream.AV1:
		args = append(args, "-c:v", "libaom-av1", "-usage", "realtime", "-cpu-used", "8")
	case stream.H264:
		out = filepath.Join(t.TempDir(), "clip.h264")
		args = append(args, "-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-aud", "1")
	}
	ffmpeg(t, append(append(args, more...), out)...)
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	c := clip{codec: codec, every: time.Second / 30}
	if codec == stream.H264 {
		c.frames = bytes.SplitAfter(b, []byte("\x00\x00\x00\x01\x09"))[1:]
		for i := range c.frames {
			c.frames[i] = bytes.TrimSuffix(c.frames[i], []byte("\x00\x00\x00\x01\x09"))[1:]
		}
		return c
	}
	for b = b[32:]; len(b) >= 12; {
		n := binary.LittleEndian.Uint32(b)
		c.frames = append(c.frames, b[12:12+n])
		b = b[12+n:]
	}
	return c
}

// audioClip encodes what the ffmpeg filter source makes to Opus, 20 ms a packet.
func audioClip(t testing.TB, source string, seconds float64) clip {
	t.Helper()
	out := filepath.Join(t.TempDir(), "clip.ogg")
	ffmpeg(t, "-f", "lavfi", "-i", source, "-t", strconv.FormatFloat(seconds, 'f', -1, 64),
		"-ac", "2", "-ar", "48000", "-c:a", "libopus", "-frame_duration", "20", "-page_duration", "20000", out)
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	c := clip{codec: stream.Opus, every: 20 * time.Millisecond}
	for page := 0; len(b) >= 27; page++ {
		table := b[27 : 27+int(b[26])]
		body := b[27+len(table):]
		var packet []byte
		for _, s := range table {
			packet, body = append(packet, body[:s]...), body[s:]
			if s < 255 {
				if page >= 2 {
					c.frames = append(c.frames, packet)
				}
				packet = nil
			}
		}
		b = body
	}
	return c
}

func ffmpeg(t testing.TB, args ...string) {
	t.Helper()
	cmd := exec.Command("ffmpeg", append([]string{"-v", "error", "-xerror", "-nostdin", "-y"}, args...)...)
	out, err := cmd.CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Fatalf("ffmpeg %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// decodes checks that an independent decoder takes the whole file without a word.
func decodes(t testing.TB, file string) {
	t.Helper()
	ffmpeg(t, "-err_detect", "explode", "-i", file, "-f", "null", "-")
}

type probed struct {
	Codec    string `json:"codec_name"`
	Width    int    `json:"width"`
	Height   int    `json:"height"`
	Duration string `json:"duration"`
	Frames   string `json:"nb_read_frames"`
	TimeBase string `json:"time_base"`
}

func (p probed) seconds() float64 {
	f, _ := strconv.ParseFloat(p.Duration, 64)
	return f
}

func probe(t testing.TB, file string) probed {
	t.Helper()
	out, err := exec.Command("ffprobe", "-v", "error", "-count_frames", "-show_streams", "-of", "json", file).Output()
	if err != nil {
		t.Fatalf("ffprobe %s: %v", file, err)
	}
	var p struct{ Streams []probed }
	if err := json.Unmarshal(out, &p); err != nil || len(p.Streams) != 1 {
		t.Fatalf("ffprobe %s: %v: %s", file, err, out)
	}
	return p.Streams[0]
}

// feeder writes clips into a stream as a publisher would.
type feeder struct {
	t     testing.TB
	pub   *stream.Publication
	track *stream.Track
	pay   rtp.Payloader
	seq   uint16
	jump  bool // the next unit is the first after a jump of the timeline
}

func newFeeder(t testing.TB, pub *stream.Publication, codec stream.Codec) *feeder {
	f := &feeder{t: t, pub: pub, seq: 1000}
	f.track = &stream.Track{ID: string(codec), Kind: codec.Kind(), Codec: codec, ClockRate: 90000}
	switch codec {
	case stream.VP8:
		f.pay = &codecs.VP8Payloader{EnablePictureID: true}
	case stream.VP9:
		f.pay = &codecs.VP9Payloader{}
	case stream.AV1:
		f.pay = &codecs.AV1Payloader{}
	case stream.H264:
		f.pay = &codecs.H264Payloader{}
	case stream.Opus:
		f.pay = &codecs.OpusPayloader{}
		f.track.ClockRate, f.track.Channels = 48000, 2
	}
	return f
}

// frame writes one access unit at pts.
func (f *feeder) frame(data []byte, pts time.Duration) {
	payloads := f.pay.Payload(1200, data)
	for i, p := range payloads {
		f.unit(p, pts, i == len(payloads)-1, i == 0 && f.keyframe(data, p))
	}
}

// keyframe tells whether data, which begins with payload, is a keyframe.
func (f *feeder) keyframe(data, payload []byte) bool {
	if f.track.Codec == stream.H264 || f.track.Codec == stream.AV1 {
		_, _, ok := frame.VideoSize(f.track.Codec, data)
		return ok
	}
	return frame.KeyframeStart(f.track.Codec, payload)
}

func (f *feeder) unit(payload []byte, pts time.Duration, marker, key bool) {
	u := &stream.Unit{
		Track: f.track, PTS: pts, Keyframe: key, Arrival: time.Now(), Discontinuity: f.jump,
		Packet: &rtp.Packet{
			Header: rtp.Header{
				Version: 2, SequenceNumber: f.seq, Marker: marker,
				Timestamp: uint32(int64(pts) * int64(f.track.ClockRate) / int64(time.Second)),
			},
			Payload: payload,
		},
	}
	f.jump = false
	f.seq++
	if err := f.pub.Write(u); err != nil {
		f.t.Fatalf("write: %v", err)
	}
}

// clip writes a whole clip from pts on and returns where it ends.
func (f *feeder) clip(c clip, pts time.Duration) time.Duration {
	for i, b := range c.frames {
		f.frame(b, pts+time.Duration(i)*c.every)
	}
	return pts + time.Duration(len(c.frames))*c.every
}

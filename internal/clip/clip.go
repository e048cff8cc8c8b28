// Package clip makes media for tests: clips that ffmpeg encodes when the test
// runs, and their publication as RTP units in real time. Each second of a clip
// has a white flash and a beep, both from 400 to 500 ms, so that a test can see
// and hear whether picture and sound are still together.
//
// Only tests import it.
package clip

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"os/exec"
	"slices"
	"testing"
	"time"

	"github.com/lectern/lectern/stream"
)

// Spec says what clip to make.
type Spec struct {
	Video         stream.Codec // "" for none
	Audio         bool         // Opus
	Width, Height int          // pixels; 0 means 320x180
	FPS           int          // 0 means 25
	Length        time.Duration
	Bitrate       string // of the video, as ffmpeg reads it; "" means "600k"
	Noise         bool   // noise in the picture, so that it does need the bit rate
}

// Frame is one coded picture or Opus packet.
type Frame struct {
	Kind     stream.Kind
	PTS      time.Duration // since the begin of the clip
	Data     []byte        // H.264 as Annex B
	Keyframe bool
}

// Clip is a coded clip. Its frames are in order of PTS.
type Clip struct {
	Spec   Spec
	Frames []Frame
}

// Make encodes a clip. The test is skipped if there is no ffmpeg.
func Make(t testing.TB, s Spec) *Clip {
	t.Helper()
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Skip("no ffmpeg")
	}
	if s.Width == 0 {
		s.Width, s.Height = 320, 180
	}
	if s.FPS == 0 {
		s.FPS = 25
	}
	if s.Length == 0 {
		s.Length = 2 * time.Second
	}
	if s.Bitrate == "" {
		s.Bitrate = "600k"
	}
	c := &Clip{Spec: s}
	var video, audio []Frame
	if s.Video != "" {
		video = makeVideo(t, s)
	}
	if s.Audio {
		audio = makeAudio(t, s)
	}
	for len(video)+len(audio) > 0 {
		if len(audio) == 0 || len(video) > 0 && video[0].PTS < audio[0].PTS {
			c.Frames, video = append(c.Frames, video[0]), video[1:]
		} else {
			c.Frames, audio = append(c.Frames, audio[0]), audio[1:]
		}
	}
	return c
}

func run(t testing.TB, args ...string) []byte {
	t.Helper()
	cmd := exec.Command("ffmpeg", append([]string{"-hide_banner", "-v", "error", "-nostdin"}, args...)...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("making clip: %v: %s", err, errs.String())
	}
	return out.Bytes()
}

func makeVideo(t testing.TB, s Spec) []Frame {
	t.Helper()
	src := fmt.Sprintf("testsrc=s=%dx%d:r=%d:d=%.3f,format=yuv420p,drawbox=c=black:t=fill,"+
		"drawbox=c=white:t=fill:enable='between(mod(t,1),0.399,0.499)'", s.Width, s.Height, s.FPS, s.Length.Seconds())
	if s.Noise {
		src += ",noise=alls=60:allf=t"
	}
	args := []string{"-f", "lavfi", "-i", src, "-g", fmt.Sprint(s.FPS), "-b:v", s.Bitrate}
	format := "ivf"
	switch s.Video {
	case stream.VP8:
		args = append(args, "-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8", "-lag-in-frames", "0", "-auto-alt-ref", "0")
	case stream.VP9:
		args = append(args, "-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-lag-in-frames", "0", "-auto-alt-ref", "0")
	case stream.AV1:
		args = append(args, "-c:v", "libaom-av1", "-usage", "realtime", "-cpu-used", "8", "-lag-in-frames", "0")
	case stream.H264:
		args = append(args, "-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-threads", "1",
			"-profile:v", "baseline", "-bsf:v", "h264_metadata=aud=insert")
		format = "h264"
	}
	out := run(t, append(args, "-f", format, "-")...)
	var datas [][]byte
	if format == "ivf" {
		datas = splitIVF(out)
	} else {
		datas = splitAUD(out)
	}
	var fs []Frame
	for i, d := range datas {
		fs = append(fs, Frame{
			Kind: stream.Video, PTS: time.Duration(i) * time.Second / time.Duration(s.FPS), Data: d, Keyframe: i%s.FPS == 0,
		})
	}
	return fs
}

func makeAudio(t testing.TB, s Spec) []Frame {
	t.Helper()
	src := fmt.Sprintf("aevalsrc='0.5*sin(2*PI*1000*t)*between(mod(t,1),0.4,0.5)':s=48000:d=%.3f", s.Length.Seconds())
	out := run(t, "-f", "lavfi", "-i", src, "-c:a", "libopus", "-ac", "2", "-b:a", "64k", "-f", "ogg", "-")
	var fs []Frame
	for i, d := range splitOgg(out) {
		fs = append(fs, Frame{Kind: stream.Audio, PTS: time.Duration(i) * 20 * time.Millisecond, Data: d, Keyframe: true})
	}
	return fs
}

func splitIVF(b []byte) [][]byte {
	var out [][]byte
	for b = b[32:]; len(b) >= 12; {
		n := int(binary.LittleEndian.Uint32(b))
		out = append(out, b[12:12+n])
		b = b[12+n:]
	}
	return out
}

// splitAUD splits Annex B at its access unit delimiters, which it leaves out.
func splitAUD(b []byte) [][]byte {
	var out [][]byte
	for _, part := range bytes.Split(b, []byte{0, 0, 0, 1, 9}) {
		if len(part) > 1 {
			out = append(out, part[1:]) // primary_pic_type
		}
	}
	return out
}

// splitOgg returns the packets after the two headers.
func splitOgg(b []byte) [][]byte {
	var out [][]byte
	var packet []byte
	for len(b) >= 27 {
		segments := b[27 : 27+int(b[26])]
		b = b[27+len(segments):]
		for _, n := range segments {
			packet = append(packet, b[:n]...)
			b = b[n:]
			if n < 255 {
				out = append(out, packet)
				packet = nil
			}
		}
	}
	return out[2:]
}

// Sort puts the frames in order of PTS, audio first.
func (c *Clip) Sort() {
	slices.SortStableFunc(c.Frames, func(a, b Frame) int {
		if a.PTS != b.PTS {
			return cmp.Compare(a.PTS, b.PTS)
		}
		return cmp.Compare(a.Kind, b.Kind)
	})
}

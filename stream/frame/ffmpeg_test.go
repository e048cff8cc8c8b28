package frame_test

import (
	"bytes"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"

	"github.com/lectern/lectern/stream"
	"github.com/lectern/lectern/stream/frame"
)

const clipFrames = 24

// encode lets ffmpeg make a clip and returns its frames.
func encode(t *testing.T, format string, args ...string) [][]byte {
	t.Helper()
	ffmpeg, err := exec.LookPath("ffmpeg")
	if err != nil {
		t.Skip("no ffmpeg")
	}
	file := filepath.Join(t.TempDir(), "clip")
	args = append([]string{
		"-v", "error", "-f", "lavfi", "-i", "testsrc2=size=176x144:rate=24", "-frames:v", "24",
		"-g", "12", "-pix_fmt", "yuv420p",
	}, append(args, "-f", format, file)...)
	if out, err := exec.CommandContext(t.Context(), ffmpeg, args...).CombinedOutput(); err != nil {
		t.Fatalf("ffmpeg: %v: %s", err, out)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	split := ivfFrames
	if format == "h264" {
		split = delimited
	}
	frames := split(data)
	if len(frames) != clipFrames {
		t.Fatalf("ffmpeg made %d frames, want %d", len(frames), clipFrames)
	}
	return frames
}

// delimited splits Annex B at its access unit delimiters.
func delimited(data []byte) [][]byte {
	delimiter := []byte{0, 0, 0, 1, 9}
	var frames [][]byte
	for _, f := range bytes.Split(data, delimiter)[1:] {
		frames = append(frames, append(bytes.Clone(delimiter), f...))
	}
	return frames
}

func ivfFrames(data []byte) [][]byte {
	const header, frameHeader = 32, 12
	var frames [][]byte
	for data = data[header:]; len(data) > frameHeader; {
		n := int(binary.LittleEndian.Uint32(data))
		frames = append(frames, data[frameHeader:frameHeader+n])
		data = data[frameHeader+n:]
	}
	return frames
}

// checkDecodes lets ffmpeg decode access units and counts the pictures.
func checkDecodes(t *testing.T, fourCC string, units [][]byte) {
	t.Helper()
	ivf := binary.LittleEndian.AppendUint32(append([]byte("DKIF\x00\x00\x20\x00"), fourCC...), 144<<16|176)
	ivf = binary.LittleEndian.AppendUint32(ivf, 24)
	ivf = binary.LittleEndian.AppendUint32(ivf, 1)
	ivf = append(ivf, make([]byte, 8)...)
	for i, u := range units {
		ivf = binary.LittleEndian.AppendUint32(ivf, uint32(len(u)))
		ivf = binary.LittleEndian.AppendUint64(ivf, uint64(i))
		ivf = append(ivf, u...)
	}
	cmd := exec.CommandContext(t.Context(), "ffmpeg", "-v", "warning", "-xerror",
		"-f", "ivf", "-i", "pipe:0", "-fps_mode", "passthrough", "-f", "framecrc", "-")
	cmd.Stdin = bytes.NewReader(ivf)
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil || complaints.Len() > 0 {
		t.Errorf("ffmpeg: %v: %s", err, complaints.String())
	}
	if n := bytes.Count(out, []byte("\n0,")); n != len(units) {
		t.Errorf("ffmpeg decoded %d pictures, want %d", n, len(units))
	}
}

// TestAssembler_RealVideo sends what real encoders make through the packetizers
// of pion and back.
func TestAssembler_RealVideo(t *testing.T) {
	tests := map[stream.Codec]struct {
		fourCC    string
		payloader rtp.Payloader
		args      []string
		same      bool // the access unit is the very frame
	}{
		stream.VP8:  {"VP80", &codecs.VP8Payloader{EnablePictureID: true}, []string{"-c:v", "libvpx", "-deadline", "realtime", "-auto-alt-ref", "0"}, true},
		stream.VP9:  {"VP90", &codecs.VP9Payloader{}, []string{"-c:v", "libvpx-vp9", "-deadline", "realtime", "-lag-in-frames", "0"}, true},
		stream.AV1:  {"AV01", &codecs.AV1Payloader{}, []string{"-c:v", "libaom-av1", "-cpu-used", "8", "-usage", "realtime"}, false},
		stream.H264: {"H264", &codecs.H264Payloader{}, []string{"-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-profile:v", "baseline", "-threads", "1", "-x264-params", "aud=1"}, false},
	}
	for codec, tt := range tests {
		t.Run(codec.Name(), func(t *testing.T) {
			format := "ivf"
			if codec == stream.H264 {
				format = "h264"
			}
			frames := encode(t, format, tt.args...)
			f := newFeed(t)
			track := &stream.Track{Kind: stream.Video, Codec: codec, ClockRate: 90000}
			var units [][]byte
			for i, data := range frames {
				payloads := tt.payloader.Payload(400, data)
				var au *frame.AccessUnit
				for k, p := range payloads {
					if key := frame.KeyframeStart(codec, p); key != (i%12 == 0 && k == 0) && codec != stream.H264 {
						t.Errorf("frame %d, packet %d: got keyframe start %v", i, k, key)
					}
					au = f.push(track, uint32(i), k == len(payloads)-1, p...)
				}
				if au == nil {
					t.Fatalf("frame %d: nothing came out", i)
				}
				key := i%12 == 0
				if au.Keyframe != key || key && (au.Width != 176 || au.Height != 144) {
					t.Errorf("frame %d: got keyframe %v, %dx%d", i, au.Keyframe, au.Width, au.Height)
				}
				if tt.same && !bytes.Equal(au.Data, data) {
					t.Errorf("frame %d: got other bytes than went in", i)
				}
				units = append(units, au.Data)
			}
			checkDecodes(t, tt.fourCC, units)
		})
	}
}

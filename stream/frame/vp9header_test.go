package frame_test

import (
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/lectern/lectern/stream/frame"
)

// pictures decodes frames of VP9 and returns a digest of each picture shown.
func pictures(t *testing.T, frames [][]byte) []string {
	t.Helper()
	file := append([]byte("DKIF\x00\x00\x20\x00VP90\xb0\x00\x90\x00\x18\x00\x00\x00\x01\x00\x00\x00"), make([]byte, 8)...)
	for i, f := range frames {
		file = binary.LittleEndian.AppendUint32(file, uint32(len(f)))
		file = append(binary.LittleEndian.AppendUint64(file, uint64(i)), f...)
	}
	name := filepath.Join(t.TempDir(), "clip.ivf")
	if err := os.WriteFile(name, file, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "ffmpeg", "-v", "error", "-xerror", "-i", name, "-vsync", "passthrough", "-f", "framemd5", "-").Output()
	if err != nil {
		t.Fatal(err)
	}
	var digests []string
	for line := range strings.Lines(string(out)) {
		if !strings.HasPrefix(line, "#") {
			f := strings.Split(strings.TrimSpace(line), ",")
			digests = append(digests, f[len(f)-1])
		}
	}
	return digests
}

// Of the layers of a picture, each marked as to be shown, decoders show the last
// alone, and show the same as without the others.
func TestAssembler_LowerLayersOfVP9AreHidden(t *testing.T) {
	for name, args := range map[string][]string{
		"small":           nil,
		"tiles":           {"-s", "1280x720", "-tile-columns", "2"},
		"more tiles":      {"-s", "4096x144", "-tile-columns", "1", "-tile-rows", "1"},
		"segments":        {"-aq-mode", "3"},
		"all intra":       {"-g", "2"},
		"another profile": {"-pix_fmt", "yuv444p", "-profile:v", "1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			base := []string{"-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-lag-in-frames", "0", "-auto-alt-ref", "0", "-error-resilient", "1"}
			frames := encode(t, "ivf", append(base, args...)...)
			all := pictures(t, frames)
			f := newFeed(t)
			var units [][]byte
			var want []string
			for i := 0; i < len(frames); i += 2 {
				head := byte(0x2c) // L, B, E
				if i%12 != 0 {
					head |= 0x40
				}
				f.push(vp9Track, uint32(i), false, append([]byte{head, 0, 0}, frames[i]...)...)
				au := f.push(vp9Track, uint32(i), true, append([]byte{0x6c, 1 << 1, 0}, frames[i+1]...)...)
				if au == nil {
					t.Fatalf("picture %d: nothing came out", i)
				}
				if _, _, key := frame.VideoSize(vp9Track.Codec, au.Data); key != au.Keyframe {
					t.Errorf("picture %d: keyframe %v", i, key)
				}
				units, want = append(units, au.Data), append(want, all[i+1])
			}
			if got := pictures(t, units); !slices.Equal(got, want) {
				t.Errorf("got %d pictures, want every other of %d; equal: %v", len(got), len(all), slices.Equal(got, want))
			}
		})
	}
}

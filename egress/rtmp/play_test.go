package rtmp_test

import (
	"context"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/lectern/lectern/internal/clip"
	"github.com/lectern/lectern/stream"
)

func TestServer_PlaysEveryCodecInSync(t *testing.T) {
	for _, codec := range []stream.Codec{stream.VP8, stream.VP9, stream.AV1, stream.H264} {
		for _, delay := range []time.Duration{0, 700 * time.Millisecond} {
			if delay > 0 && codec != stream.VP8 && codec != stream.H264 {
				continue
			}
			t.Run(codec.Name()+"_"+delay.String(), func(t *testing.T) {
				t.Parallel()
				h := newHouse(t)
				c := clip.Make(t, clip.Spec{Video: codec, Audio: true, Length: 4 * time.Second})
				h.publish(c, clip.Options{AudioDelay: delay})
				seen := clip.Measure(t, h.record(h.url("live/algebra?token=secret"), "3.5"))
				got := seen.Offset(t, delay)
				t.Logf("%d pictures of %dx%d, offset %v, longest freeze %v", seen.Pictures, seen.Width, seen.Height, got, seen.LongestFreeze)
				if (got - delay).Abs() > 40*time.Millisecond {
					t.Errorf("sound %v after picture, want %v", got, delay)
				}
				if seen.Pictures < 75 || seen.LongestFreeze > 100*time.Millisecond {
					t.Errorf("%d pictures, longest freeze %v", seen.Pictures, seen.LongestFreeze)
				}
				if seen.DecoderMessages != "" {
					t.Errorf("decoder says %s", seen.DecoderMessages)
				}
				eventually(t, 5*time.Second, "release", func() bool { return h.released.Load() == 1 && h.pool.Stats().Children == 0 })
			})
		}
	}
}

func TestServer_RefusesPolitely(t *testing.T) {
	h := newHouse(t)
	c := clip.Make(t, clip.Spec{Audio: true, Length: time.Second})
	play := func(path string) string {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		out, err := exec.CommandContext(ctx, "ffmpeg", "-v", "error", "-nostdin",
			"-analyzeduration", "500000", "-i", h.url(path), "-t", "0.2", "-f", "null", "-").CombinedOutput()
		if err == nil {
			return ""
		}
		if ctx.Err() != nil {
			t.Errorf("%s: player was left hanging", path)
		}
		return string(out)
	}
	if s := play("live/algebra?token=secret"); !strings.Contains(s, "not live") {
		t.Errorf("room without publisher: %s", s)
	}
	h.publish(c, clip.Options{})
	for path, want := range map[string]string{
		"live/algebra":                    "not allowed",
		"live/algebra?token=wrong":        "not allowed",
		"live/geometry?token=secret":      "no such stream",
		"live/algebra/other?token=secret": "no such stream",
		"other/algebra?token=secret":      "no such stream",
		"live/algebra/main?token=secret":  "",
	} {
		if s := play(path); (want == "") != (s == "") || !strings.Contains(s, want) {
			t.Errorf("%s: got %q, want %q", path, s, want)
		}
	}
}

package test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// tool runs ffmpeg or ffprobe for at most within, and returns what it wrote.
func tool(within time.Duration, name string, args ...string) (stdout, stderr string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	if ctx.Err() != nil {
		err = fmt.Errorf("%s did not end within %s", name, within)
	}
	return out.String(), errs.String(), err
}

// decodes checks that ffmpeg decodes the whole file without a word on stderr.
// The time base of the file is kept: ffmpeg would else round to a frame rate
// that it guesses, and complain when two frames of a jittery camera meet.
func decodes(t *testing.T, file string) {
	t.Helper()
	_, stderr, err := tool(2*time.Minute, "ffmpeg", "-v", "warning", "-xerror", "-i", file, "-enc_time_base:v", "-1", "-f", "null", "-")
	if err != nil || stderr != "" {
		t.Errorf("decoding %s: %v: %s", filepath.Base(file), err, stderr)
	}
}

// probe is what ffprobe counts in a file or of a player's stream.
type probe struct {
	Streams []struct {
		CodecType string `json:"codec_type"`
		CodecName string `json:"codec_name"`
		NBFrames  string `json:"nb_read_frames"`
		Duration  string `json:"duration"`
		Width     int    `json:"width"`
		Height    int    `json:"height"`
	} `json:"streams"`
	Format struct {
		Duration string `json:"duration"`
	} `json:"format"`
}

func probeFile(t *testing.T, file string) probe {
	t.Helper()
	out, stderr, err := tool(2*time.Minute, "ffprobe", "-v", "error", "-count_frames", "-show_streams", "-show_format", "-of", "json", file)
	if err != nil {
		t.Fatalf("ffprobe %s: %v: %s", file, err, stderr)
	}
	var p probe
	if err := json.Unmarshal([]byte(out), &p); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p probe) frames(kind string) int {
	for _, s := range p.Streams {
		if s.CodecType == kind {
			n, _ := strconv.Atoi(s.NBFrames)
			return n
		}
	}
	return 0
}

func (p probe) codec(kind string) string {
	for _, s := range p.Streams {
		if s.CodecType == kind {
			return s.CodecName
		}
	}
	return ""
}

func (p probe) seconds() float64 {
	f, _ := strconv.ParseFloat(p.Format.Duration, 64)
	return f
}

// play takes seconds of a legacy player's stream into a file.
func play(t *testing.T, seconds float64, file string, input ...string) (stderr string, err error) {
	t.Helper()
	args := append([]string{"-v", "warning", "-y"}, input...)
	args = append(args, "-t", fmt.Sprint(seconds), "-c", "copy", file)
	_, stderr, err = tool(time.Duration(seconds*float64(time.Second))+25*time.Second, "ffmpeg", args...)
	return stderr, err
}

// flashes returns when the picture of file turns white, in seconds.
func flashes(t *testing.T, file string) []float64 {
	t.Helper()
	out, stderr, err := tool(2*time.Minute, "ffprobe", "-v", "error", "-f", "lavfi", "-show_entries", "frame=pts_time:frame_tags=lavfi.signalstats.YAVG",
		"-of", "csv=p=0", "movie="+file+",signalstats")
	if err != nil {
		t.Fatalf("looking at %s: %v: %s", file, err, stderr)
	}
	var at []float64
	white := false
	for line := range strings.Lines(out) {
		f := strings.Split(strings.TrimSpace(line), ",")
		if len(f) < 2 {
			continue
		}
		pts, _ := strconv.ParseFloat(f[0], 64)
		y, _ := strconv.ParseFloat(f[1], 64)
		if y > 150 && !white {
			at = append(at, pts)
		}
		white = y > 150
	}
	return at
}

// beeps returns when the tone of file sets in, in seconds from its first sample
// on plus the start time that the container gives.
func beeps(t *testing.T, file string) []float64 {
	t.Helper()
	const rate, window = 8000, 40 // Hz; samples: 5 ms
	start, _, err := tool(time.Minute, "ffprobe", "-v", "error", "-select_streams", "a:0", "-show_entries", "stream=start_time", "-of", "csv=p=0", file)
	if err != nil {
		t.Fatal(err)
	}
	offset, _ := strconv.ParseFloat(strings.TrimSpace(start), 64)
	raw := filepath.Join(t.TempDir(), "a.raw")
	if _, stderr, err := tool(2*time.Minute, "ffmpeg", "-v", "error", "-y", "-i", file, "-map", "0:a:0", "-ac", "1", "-ar", fmt.Sprint(rate), "-f", "s16le", raw); err != nil {
		t.Fatalf("decoding %s: %v: %s", file, err, stderr)
	}
	b := must[[]byte](t)(os.ReadFile(raw))
	var at []float64
	loud, since := false, 0
	for i := 0; i+2*window <= len(b); i += 2 * window {
		sum := 0.0
		for j := i; j < i+2*window; j += 2 {
			v := float64(int16(binary.LittleEndian.Uint16(b[j:])))
			sum += v * v
		}
		if math.Sqrt(sum/window) > 2000 {
			if !loud {
				at = append(at, offset+float64(i/2)/rate)
			}
			loud, since = true, 0
		} else if since++; since > 10 { // 50 ms of quiet end a beep
			loud = false
		}
	}
	return at
}

// skew pairs each flash with the nearest beep and returns the median of beep
// minus flash, in ms. Both must have been seen.
func skew(t *testing.T, flashes, beeps []float64) float64 {
	t.Helper()
	var d []float64
	for _, f := range flashes {
		best := math.Inf(1)
		for _, b := range beeps {
			if math.Abs(b-f) < math.Abs(best) {
				best = b - f
			}
		}
		if math.Abs(best) < 0.5 {
			d = append(d, best*1000)
		}
	}
	if len(d) < 2 {
		t.Fatalf("too few claps: flashes at %.2f, beeps at %.2f", flashes, beeps)
	}
	for i := range d { // insertion sort: a handful
		for j := i; j > 0 && d[j] < d[j-1]; j-- {
			d[j], d[j-1] = d[j-1], d[j]
		}
	}
	return d[len(d)/2]
}

// lecture is a recording's folder with its manifest.
type lecture struct {
	dir        string
	ID         string  `json:"id"`
	State      string  `json:"state"`
	DurationMS float64 `json:"duration_ms"`
	Tracks     []struct {
		ID         string  `json:"id"`
		Kind       string  `json:"kind"`
		Codec      string  `json:"codec"`
		File       string  `json:"file"`
		OffsetMS   float64 `json:"offset_ms"`
		DurationMS float64 `json:"duration_ms"`
		Frames     int     `json:"frames"`
	} `json:"tracks"`
	Gaps []struct {
		Stream, Kind, Reason string
		FromMS               float64 `json:"from_ms"`
		ToMS                 float64 `json:"to_ms"`
	} `json:"gaps"`
}

// lectures reads the manifests under the data directory, oldest first.
func (g *gateway) lectures() []lecture {
	g.t.Helper()
	names := must[[]string](g.t)(filepath.Glob(filepath.Join(g.data, "recordings", "*", "manifest.json")))
	var out []lecture
	for _, name := range names {
		l := lecture{dir: filepath.Dir(name)}
		if err := json.Unmarshal(must[[]byte](g.t)(os.ReadFile(name)), &l); err != nil {
			g.t.Fatalf("%s: %v", name, err)
		}
		out = append(out, l)
	}
	return out
}

// lecture waits for the one recording to be in one of the states.
func (g *gateway) lecture(states ...string) lecture {
	g.t.Helper()
	var l lecture
	g.eventually(10*time.Second, fmt.Sprint("one recording, ", states), func() error {
		all := g.lectures()
		if len(all) != 1 {
			return fmt.Errorf("%d recordings", len(all))
		}
		l = all[0]
		for _, s := range states {
			if l.State == s {
				return nil
			}
		}
		return fmt.Errorf("it is %q", l.State)
	})
	return l
}

func (l lecture) track(kind string) (file string, offset, duration float64) {
	for _, t := range l.Tracks {
		if t.Kind == kind {
			return filepath.Join(l.dir, t.File), t.OffsetMS / 1000, t.DurationMS / 1000
		}
	}
	return "", 0, 0
}

func shift(at []float64, by float64) []float64 {
	out := make([]float64, len(at))
	for i, v := range at {
		out[i] = v + by
	}
	return out
}

// decodesAll checks every track of a recording.
func decodesAll(t *testing.T, l lecture) {
	t.Helper()
	for _, tr := range l.Tracks {
		decodes(t, filepath.Join(l.dir, tr.File))
	}
}

package clip

import (
	"encoding/binary"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Seen is what can be seen and heard in a recording of a clip.
type Seen struct {
	Pictures        int
	Width, Height   int
	Flashes, Beeps  []time.Duration // onsets, on the clock of the recording
	LongestFreeze   time.Duration   // between two pictures
	DecoderMessages string
}

// Measure decodes a recording with ffmpeg and looks for flashes and beeps.
func Measure(t testing.TB, file string) Seen {
	t.Helper()
	var s Seen
	cmd := exec.Command("ffmpeg", "-hide_banner", "-v", "warning", "-nostdin", "-i", file, "-f", "null", "-")
	msgs, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("decoding recording: %v: %s", err, msgs)
	}
	s.DecoderMessages = string(msgs)
	probe, err := exec.Command("ffprobe", "-v", "error", "-show_entries", "stream=codec_type,width,height", "-of", "csv=p=0", file).Output()
	if err != nil {
		t.Fatal(err)
	}
	hasVideo, hasAudio := strings.Contains(string(probe), "video"), strings.Contains(string(probe), "audio")
	for line := range strings.Lines(string(probe)) {
		if f := strings.Split(strings.TrimSpace(line), ","); f[0] == "video" && len(f) >= 3 {
			s.Width, _ = strconv.Atoi(f[1])
			s.Height, _ = strconv.Atoi(f[2])
		}
	}
	if hasVideo {
		s.flashes(t, file)
	}
	if hasAudio {
		s.beeps(t, file)
	}
	return s
}

func (s *Seen) flashes(t testing.TB, file string) {
	t.Helper()
	const side = 8
	times, err := exec.Command("ffprobe", "-v", "error", "-select_streams", "v", "-show_entries",
		"frame=best_effort_timestamp_time", "-of", "csv=p=0", file).Output()
	if err != nil {
		t.Fatal(err)
	}
	var at []time.Duration
	for line := range strings.Lines(string(times)) {
		sec, err := strconv.ParseFloat(strings.Trim(strings.TrimSpace(line), ","), 64)
		if err == nil {
			at = append(at, time.Duration(sec*float64(time.Second)))
		}
	}
	raw := run(t, "-i", file, "-map", "0:v", "-vf", "scale=8:8,format=gray", "-vsync", "passthrough", "-f", "rawvideo", "-")
	s.Pictures = len(raw) / (side * side)
	bright := true // a recording may begin within a flash
	for i := range min(s.Pictures, len(at)) {
		now := raw[i*side*side+side*side/2+side/2] > 128
		if now && !bright {
			s.Flashes = append(s.Flashes, at[i])
		}
		bright = now
		if i > 0 {
			s.LongestFreeze = max(s.LongestFreeze, at[i]-at[i-1])
		}
	}
}

func (s *Seen) beeps(t testing.TB, file string) {
	t.Helper()
	const rate = 8000
	const quiet = rate / 20
	raw := run(t, "-copyts", "-i", file, "-map", "0:a", "-af", "aresample=async=1:first_pts=0", "-ac", "1", "-ar", "8000", "-f", "s16le", "-")
	silent := 0
	for i := 0; i+1 < len(raw); i += 2 {
		v := int16(binary.LittleEndian.Uint16(raw[i:]))
		if v > 2000 || v < -2000 {
			if silent > quiet {
				s.Beeps = append(s.Beeps, time.Duration(i/2)*time.Second/rate)
			}
			silent = 0
		} else {
			silent++
		}
	}
}

// Offset is how much later the beeps are than the flashes, on average, given
// what is expected; it pairs each flash with the beep nearest to that.
func (s *Seen) Offset(t testing.TB, want time.Duration) time.Duration {
	t.Helper()
	var sum time.Duration
	n := 0
	for _, f := range s.Flashes {
		best := time.Hour
		for _, b := range s.Beeps {
			if (b - f - want).Abs() < (best - want).Abs() {
				best = b - f
			}
		}
		if (best - want).Abs() < 400*time.Millisecond {
			sum += best
			n++
		}
	}
	if n == 0 {
		t.Fatalf("no flash with its beep: flashes %v, beeps %v", s.Flashes, s.Beeps)
	}
	return sum / time.Duration(n)
}

package playback_test

import (
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

var (
	reTime    = regexp.MustCompile(`pts_time:([-0-9.]+)`)
	reLuma    = regexp.MustCompile(`YAVG=([0-9.]+)`)
	reSilence = regexp.MustCompile(`silence_end: ([-0-9.]+)`)
)

// flashTimes are the times at which the picture turns white.
func flashTimes(t *testing.T, file string) []float64 {
	t.Helper()
	out, err := exec.Command("ffmpeg", "-v", "error", "-copyts", "-i", file, "-an", "-vf", "signalstats,metadata=print:file=-", "-f", "null", "-").Output()
	if err != nil {
		t.Fatal(err)
	}
	var times []float64
	at, white := 0.0, false
	for line := range strings.Lines(string(out)) {
		if m := reTime.FindStringSubmatch(line); m != nil {
			at, _ = strconv.ParseFloat(m[1], 64)
		}
		if m := reLuma.FindStringSubmatch(line); m != nil {
			luma, _ := strconv.ParseFloat(m[1], 64)
			if luma > 128 && !white {
				times = append(times, at)
			}
			white = luma > 128
		}
	}
	return times
}

// beepTimes are the times at which silence ends.
func beepTimes(t *testing.T, file string) []float64 {
	t.Helper()
	out, err := exec.Command("ffmpeg", "-copyts", "-i", file, "-vn", "-af", "silencedetect=n=-30dB:d=0.3", "-f", "null", "-").CombinedOutput()
	if err != nil {
		t.Fatal(err)
	}
	var times []float64
	for _, m := range reSilence.FindAllStringSubmatch(string(out), -1) {
		at, _ := strconv.ParseFloat(m[1], 64)
		times = append(times, at)
	}
	return times
}

// decode lets ffmpeg decode a file, and fails for any complaint.
func decode(t *testing.T, file string) {
	t.Helper()
	out, err := exec.Command("ffmpeg", "-v", "error", "-xerror", "-i", file, "-vsync", "passthrough", "-f", "null", "-").CombinedOutput()
	for line := range strings.Lines(string(out)) {
		if !strings.HasPrefix(line, "[null @") { // minds two pictures within a tick of the frame rate
			t.Errorf("decode %s: %s", file, line)
		}
	}
	if err != nil {
		t.Errorf("decode %s: %v", file, err)
	}
}

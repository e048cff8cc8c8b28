package rtsp_test

import (
	"math"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// check decodes a recorded file and compares the times of flashes and beeps.
func check(t *testing.T, file string) {
	t.Helper()
	out, err := exec.Command("ffmpeg", "-v", "error", "-xerror", "-i", file, "-f", "null", "-").CombinedOutput()
	for line := range strings.Lines(string(out)) {
		// The null muxer minds two pictures within one tick of the nominal
		// frame rate; the decoders do not.
		if !strings.HasPrefix(line, "[null @") {
			t.Errorf("decode: %v: %s", err, line)
		}
	}
	if err != nil && len(out) == 0 {
		t.Errorf("decode: %v", err)
	}
	flashes, beeps := flashTimes(t, file), beepTimes(t, file)
	if len(flashes) < 2 || len(beeps) < 2 {
		t.Fatalf("got %d flashes and %d beeps in 4 s", len(flashes), len(beeps))
	}
	const tolerance = 0.06 // s: a picture lasts 0.05
	matched := 0
	for _, f := range flashes {
		for _, b := range beeps {
			if d := math.Abs(f - b); d < 0.4 {
				matched++
				if d > tolerance {
					t.Errorf("flash at %.3f s, beep at %.3f s", f, b)
				}
			}
		}
	}
	if matched < 2 {
		t.Errorf("got flashes at %v and beeps at %v: no pairs", flashes, beeps)
	}
	t.Logf("flashes %.3f beeps %.3f", flashes, beeps)
}

var (
	reTime    = regexp.MustCompile(`pts_time:([-0-9.]+)`)
	reLuma    = regexp.MustCompile(`YAVG=([0-9.]+)`)
	reSilence = regexp.MustCompile(`silence_end: ([-0-9.]+)`)
)

func flashTimes(t *testing.T, file string) []float64 {
	t.Helper()
	out, err := exec.Command("ffmpeg", "-v", "error", "-copyts", "-i", file, "-an", "-vf", "signalstats,metadata=print:file=-", "-f", "null", "-").Output()
	if err != nil {
		t.Fatal(err)
	}
	var times []float64
	at, white, first := 0.0, false, true
	for line := range strings.Lines(string(out)) {
		if m := reTime.FindStringSubmatch(line); m != nil {
			at, _ = strconv.ParseFloat(m[1], 64)
		}
		if m := reLuma.FindStringSubmatch(line); m != nil {
			luma, _ := strconv.ParseFloat(m[1], 64)
			if luma > 128 && !white && !first {
				times = append(times, at)
			}
			white, first = luma > 128, false
		}
	}
	return times
}

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

package transcode_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lectern/lectern/egress/transcode"
	"github.com/lectern/lectern/internal/clip"
	"github.com/lectern/lectern/stream"
	"github.com/lectern/lectern/stream/frame"
)

// eventually polls until f is true.
func eventually(t *testing.T, limit time.Duration, what string, f func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(limit)
	for !f() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not in %v: %s", limit, what)
		}
	}
}

// children are the ffmpeg processes that this process started and that live.
func children(t *testing.T) []int {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	var pids []int
	for _, e := range entries {
		b, err := os.ReadFile("/proc/" + e.Name() + "/stat")
		if err != nil {
			continue
		}
		var pid, ppid int
		var comm, state string
		if n, _ := fmt.Sscanf(string(b), "%d %s %s %d", &pid, &comm, &state, &ppid); n == 4 &&
			ppid == os.Getpid() && comm == "(ffmpeg)" && state != "Z" {
			pids = append(pids, pid)
		}
	}
	return pids
}

// TestRendition_SurvivesItsChild kills the encoder twice. Only the units of the
// time in between are missing, and time goes on.
func TestRendition_SurvivesItsChild(t *testing.T) {
	c := clip.Make(t, clip.Spec{Video: stream.VP8, Audio: true})
	p := newPool(t, transcode.Config{})
	src := stream.New(stream.Config{Name: "room/main"})
	defer src.Close()
	publish(t, src, c, clip.Options{})
	r := acquire(t, p, src)
	var last [2]time.Duration
	kills, seen := 0, 0
	var killedAt, worst time.Duration
	collect(t, r.Stream(), 15*time.Second, func(au *frame.AccessUnit) bool {
		k := au.Track.Kind
		if au.PTS <= last[k] && last[k] > 0 {
			t.Errorf("%s: PTS %v after %v", k, au.PTS, last[k])
		}
		last[k] = au.PTS
		if k != stream.Video {
			return false
		}
		if seen++; killedAt > 0 {
			if seen == 1 {
				worst = max(worst, au.PTS-killedAt)
			}
		}
		if seen == 20 {
			if kills++; kills > 2 {
				return true
			}
			pids := children(t)
			if len(pids) != 1 {
				t.Errorf("%d children", len(pids))
			}
			for _, pid := range pids {
				if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
					t.Error(err)
				}
			}
			// Pictures that were made before the kill may still come.
			killedAt, seen = au.PTS, -5
		}
		return false
	})
	t.Logf("longest time without picture %v", worst)
	if st := p.Stats(); st.Died != 2 || st.Started != 3 || st.Children != 1 {
		t.Errorf("got %+v", st)
	}
}

// TestRendition_GrowsWithTheSource is the ramp of a browser: a rendition begins
// small and is as large as its source in the end, on one timeline.
func TestRendition_GrowsWithTheSource(t *testing.T) {
	sizes := []clip.Spec{
		{Video: stream.VP8, Width: 320, Height: 180, Length: time.Second},
		{Video: stream.VP8, Width: 640, Height: 360, Length: time.Second},
		{Video: stream.VP8, Width: 1280, Height: 720, Length: time.Second},
		{Video: stream.VP8, Width: 480, Height: 270, Length: time.Second},
	}
	all := clip.Make(t, clip.Spec{Audio: true, Length: 4 * time.Second})
	all.Spec.Video = stream.VP8
	for i, s := range sizes {
		part := clip.Make(t, s)
		for j := range part.Frames {
			part.Frames[j].PTS += time.Duration(i) * time.Second
		}
		all.Frames = append(all.Frames, part.Frames...)
	}
	all.Sort()
	p := newPool(t, transcode.Config{})
	src := stream.New(stream.Config{Name: "room/main"})
	defer src.Close()
	publish(t, src, all, clip.Options{})
	r := acquire(t, p, src)
	var got []string
	pictures := 0
	var last, freeze time.Duration
	collect(t, r.Stream(), 15*time.Second, func(au *frame.AccessUnit) bool {
		if au.Track.Kind != stream.Video {
			return false
		}
		if au.Width > 0 {
			if s := fmt.Sprintf("%dx%d", au.Width, au.Height); len(got) == 0 || got[len(got)-1] != s {
				got = append(got, s)
			}
		}
		if last > 0 {
			freeze = max(freeze, au.PTS-last)
		}
		last = au.PTS
		pictures++
		return pictures >= 95
	})
	t.Logf("sizes %v, longest freeze %v, children %d", got, freeze, p.Stats().Started)
	if s := strings.Join(got, " "); s != "640x360 1280x720" {
		t.Errorf("got sizes %s", s)
	}
	if freeze > 60*time.Millisecond {
		t.Errorf("longest freeze %v", freeze)
	}
}

// TestRendition_MicrophonePauses stops the audio for two seconds. Picture and
// sound go on meanwhile, and are together afterwards.
func TestRendition_MicrophonePauses(t *testing.T) {
	t.Parallel()
	c := clip.Make(t, clip.Spec{Video: stream.VP8, Audio: true, Length: 5 * time.Second})
	p := newPool(t, transcode.Config{})
	src := stream.New(stream.Config{Name: "room/main"})
	defer src.Close()
	publish(t, src, c, clip.Options{Drop: func(f clip.Frame, at time.Duration) bool {
		return f.Kind == stream.Audio && at > time.Second && at < 3*time.Second
	}})
	r := acquire(t, p, src)
	var last, gap [2]time.Duration
	var lag time.Duration
	collect(t, r.Stream(), 15*time.Second, func(au *frame.AccessUnit) bool {
		k := au.Track.Kind
		if last[k] > 0 {
			gap[k] = max(gap[k], au.PTS-last[k])
		}
		last[k] = au.PTS
		if src.Since(time.Now()) > 500*time.Millisecond {
			lag = max(lag, src.Since(time.Now())-last[stream.Audio])
		}
		return au.PTS > 4*time.Second
	})
	t.Logf("longest gap: video %v, audio %v; audio at most %v behind", gap[stream.Video], gap[stream.Audio], lag)
	if gap[stream.Video] > 60*time.Millisecond || gap[stream.Audio] > 60*time.Millisecond {
		t.Error("a pause of the microphone shows in the rendition")
	}
	if lag > 1200*time.Millisecond {
		t.Errorf("audio %v behind", lag)
	}
}

// TestRendition_PublisherReturns loses the publisher for a while; the next one
// has another codec.
func TestRendition_PublisherReturns(t *testing.T) {
	t.Parallel()
	p := newPool(t, transcode.Config{})
	src := stream.New(stream.Config{Name: "room/main"})
	defer src.Close()
	first := clip.Make(t, clip.Spec{Video: stream.VP8, Audio: true, Length: time.Second})
	second := clip.Make(t, clip.Spec{Video: stream.H264, Audio: true, Length: time.Second})
	stop := publish(t, src, first, clip.Options{})
	r := acquire(t, p, src)
	var last [2]time.Duration
	n := [2]int{}
	phase := 0
	collect(t, r.Stream(), 15*time.Second, func(au *frame.AccessUnit) bool {
		k := au.Track.Kind
		if au.PTS <= last[k] && last[k] > 0 {
			t.Errorf("%s: PTS %v after %v", k, au.PTS, last[k])
		}
		last[k] = au.PTS
		n[k]++
		if n[0] < 20 || n[1] < 20 {
			return false
		}
		n = [2]int{}
		if phase++; phase == 1 {
			stop()
			publish(t, src, second, clip.Options{})
		}
		return phase == 3
	})
	if !r.Stream().Live() {
		t.Error("rendition has no publisher")
	}
}

// TestRendition_TrackComesLate begins with sound alone.
func TestRendition_TrackComesLate(t *testing.T) {
	t.Parallel()
	c := clip.Make(t, clip.Spec{Video: stream.VP8, Audio: true, Length: time.Second})
	p := newPool(t, transcode.Config{})
	src := stream.New(stream.Config{Name: "room/main"})
	defer src.Close()
	publish(t, src, c, clip.Options{
		Kinds: []stream.Kind{stream.Audio},
		Drop:  func(f clip.Frame, at time.Duration) bool { return f.Kind == stream.Video && at < time.Second },
	})
	r := acquire(t, p, src)
	sounds, pictures := 0, 0
	collect(t, r.Stream(), 10*time.Second, func(au *frame.AccessUnit) bool {
		if au.Track.Kind == stream.Audio {
			sounds++
		} else {
			pictures++
		}
		return sounds > 30 && pictures > 10
	})
}

func TestPool_StopsWhatIsIdle(t *testing.T) {
	c := clip.Make(t, clip.Spec{Video: stream.VP8, Length: time.Second})
	p := newPool(t, transcode.Config{IdleStop: 300 * time.Millisecond, MaxProcesses: 1})
	src := stream.New(stream.Config{Name: "room/main"})
	defer src.Close()
	publish(t, src, c, clip.Options{})
	a, b := acquire(t, p, src), acquire(t, p, src)
	if a.Stream() != b.Stream() {
		t.Error("two players have two renditions")
	}
	other := stream.New(stream.Config{Name: "room/other"})
	defer other.Close()
	if _, err := p.Acquire(t.Context(), other); !errors.Is(err, transcode.ErrBusy) {
		t.Errorf("got %v, want ErrBusy", err)
	}
	eventually(t, 5*time.Second, "child", func() bool { return len(children(t)) == 1 })
	a.Release()
	a.Release()
	b.Release()
	eventually(t, 3*time.Second, "no child", func() bool { return len(children(t)) == 0 && p.Stats().Renditions == 0 })
	other.Close()
	if _, err := p.Acquire(t.Context(), other); !errors.Is(err, stream.ErrClosed) {
		t.Errorf("got %v, want stream.ErrClosed", err)
	}
	p.Close()
	if _, err := p.Acquire(t.Context(), src); !errors.Is(err, transcode.ErrClosed) {
		t.Errorf("got %v, want ErrClosed", err)
	}
}

// TestPool_WithoutFFmpeg still passes H.264 on.
func TestPool_WithoutFFmpeg(t *testing.T) {
	t.Parallel()
	c := clip.Make(t, clip.Spec{Video: stream.H264, Audio: true, Length: time.Second})
	p := transcode.New(transcode.Config{FFmpeg: "/nonexistent/ffmpeg", Log: testLog(t)})
	t.Cleanup(p.Close)
	if err := p.Available(); !errors.Is(err, transcode.ErrUnavailable) {
		t.Errorf("got %v, want ErrUnavailable", err)
	}
	src := stream.New(stream.Config{Name: "room/main"})
	defer src.Close()
	publish(t, src, c, clip.Options{})
	r := acquire(t, p, src)
	n := 0
	collect(t, r.Stream(), 5*time.Second, func(au *frame.AccessUnit) bool {
		if au.Track.Codec != stream.H264 {
			t.Errorf("got %s", au.Track.Codec)
		}
		n++
		return n > 20
	})
}

package test

import (
	"fmt"
	"math"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A microphone that is away for 4 s, with DTX switched on: no packet tells of
// it, yet the recording keeps its length, and sound and picture stay together.
func TestMicrophonePaused_RecordingKeepsLengthAndSync(t *testing.T) {
	g := startGateway(t)
	tp := openBrowser(t, "chromium").open(g.url("/")).tools()
	pub := tp.publish(publishOptions{URL: g.url("/whip/music"), Token: g.token("music", "teacher"), Source: "clap", DTX: true})
	sending(t, tp, pub)
	began := time.Now()
	pause(4 * time.Second)
	tp.eval("return T.unplug(arg)", pub, nil)
	pause(4 * time.Second)
	tp.eval("return T.plug(arg)", pub, nil)
	pause(6 * time.Second)
	tp.end(pub)
	length := time.Since(began).Seconds()

	l := g.lecture("complete")
	video, videoAt, videoLen := l.track("video")
	audio, audioAt, audioLen := l.track("audio")
	decodes(t, video)
	decodes(t, audio)
	fl, bp := shift(flashes(t, video), videoAt), shift(beeps(t, audio), audioAt)
	after := func(at []float64) []float64 {
		return slices.DeleteFunc(slices.Clone(at), func(v float64) bool { return v < videoAt+videoLen-5 })
	}
	before := func(at []float64) []float64 {
		return slices.DeleteFunc(slices.Clone(at), func(v float64) bool { return v > videoAt+videoLen-10.5 })
	}
	s0, s1 := skew(t, before(fl), before(bp)), skew(t, after(fl), after(bp))
	t.Logf("sound minus picture %.0f ms before and %.0f ms after the pause; class %.2f s, video %.2f s, audio %.2f s", s0, s1, length, videoLen, audioLen)
	if math.Abs(s0) > 80 || math.Abs(s1) > 80 {
		t.Errorf("sound minus picture: %.0f ms before, %.0f ms after the pause", s0, s1)
	}
	if math.Abs(audioAt+audioLen-videoAt-videoLen) > 0.1 {
		t.Errorf("audio ends at %.2f s, video at %.2f s", audioAt+audioLen, videoAt+videoLen)
	}
	if videoLen < length-0.3 {
		t.Errorf("video lasts %.2f s of %.2f s", videoLen, length)
	}
}

// sending waits until the publisher sends picture and sound.
func sending(t *testing.T, p *page, id int) {
	t.Helper()
	eventually(t, 15*time.Second, "the publisher sends", func() error {
		s := p.stats(id)
		return want(s.Video.FramesSent > 5 && s.Audio.PacketsSent > 5, "%s, %d frames, %d audio packets", s.State, s.Video.FramesSent, s.Audio.PacketsSent)
	})
}

// The picture changes its size: viewers go on, the recording decodes.
func TestResolutionChanges_EverybodyGoesOn(t *testing.T) {
	g := startGateway(t)
	b := openBrowser(t, "chromium")
	tp, sp := b.open(g.url("/")).tools(), b.open(g.url("/")).tools()
	pub := tp.publish(publishOptions{URL: g.url("/whip/art"), Token: g.token("art", "teacher"), Source: "clap", Width: 320, Height: 180})
	view := sp.watch(watchOptions{URL: g.url("/whep/art"), Token: g.token("art", "student"), Wait: true})
	sp.sees(view, 20)
	tp.eval("return T.resize(arg, 640, 480)", pub, nil)
	eventually(t, 10*time.Second, "the viewer sees the new size", func() error {
		s := sp.stats(view)
		return want(s.Width == 640, "width %d", s.Width)
	})
	sp.sees(view, 30)
	tp.end(pub)
	l := g.lecture("complete")
	decodesAll(t, l)
}

// The publisher's network is away for 10 s. Viewers and players stay connected
// and go on by themselves, even though another codec comes back; there is one
// recording, and its gap is marked.
func TestPublisherLost_OneClass(t *testing.T) {
	g := startGateway(t)
	b := openBrowser(t, "chromium")
	tp, sp := b.open(g.url("/")).tools(), b.open(g.url("/")).tools()
	teacher := g.token("chemistry", "teacher")
	pub := tp.publish(publishOptions{URL: g.url("/whip/chemistry"), Token: teacher, Codec: "VP8", Source: "clap"})
	view := sp.watch(watchOptions{URL: g.url("/whep/chemistry"), Token: g.token("chemistry", "student"), Wait: true})
	sp.sees(view, 30)
	file := filepath.Join(t.TempDir(), "player.mkv")
	played := make(chan error, 1)
	go func() { // ends by itself after 25 s of stream
		stderr, err := play(t, 25, file, "-i", fmt.Sprintf("rtmp://%s/live/chemistry?token=%s", g.addr.RTMP, g.token("chemistry", "player")))
		if err != nil {
			err = fmt.Errorf("%w: %s", err, stderr)
		}
		played <- err
	}()
	pause(5 * time.Second)
	tp.eval("return T.drop(arg)", pub, nil)
	pause(10 * time.Second)
	pub = tp.publish(publishOptions{URL: g.url("/whip/chemistry"), Token: teacher, Codec: "H264", Source: "clap"})
	s := sp.sees(view, 60)
	if s.Codec["video"] != "video/H264" {
		t.Errorf("the viewer decodes %s, want video/H264", s.Codec["video"])
	}
	if err := <-played; err != nil {
		t.Errorf("the RTMP player: %v", err)
	} else if p := probeFile(t, file); p.frames("video") < 100 || p.seconds() < 20 {
		t.Errorf("the RTMP player got %d frames in %.1f s", p.frames("video"), p.seconds())
	}
	tp.end(pub)
	l := g.lecture("complete")
	gap := 0.0
	for _, x := range l.Gaps {
		if x.Kind == "video" {
			gap = max(gap, x.ToMS-x.FromMS)
		}
	}
	if gap < 9000 || gap > 14000 {
		t.Errorf("the longest gap of %v lasts %.0f ms, want about 10 s", l.Gaps, gap)
	}
	decodesAll(t, l)
	audio, at, length := l.track("audio")
	if got := at + probeFile(t, audio).seconds(); math.Abs(got-l.DurationMS/1000) > 0.2 {
		t.Errorf("sound ends at %.2f s (manifest %.2f s), the lecture at %.2f s", got, at+length, l.DurationMS/1000)
	}
}

// The gateway is killed while it records, and started again: what was written
// is kept to the last frame, the class goes on in the same recording.
func TestKilledWhileRecording_NothingWrittenIsLost(t *testing.T) {
	g := startGateway(t)
	tp := openBrowser(t, "chromium").open(g.url("/")).tools()
	teacher := g.token("history", "teacher")
	o := publishOptions{URL: g.url("/whip/history"), Token: teacher, Codec: "VP8", Source: "clap"}
	pub := tp.publish(o)
	sending(t, tp, pub)
	pause(5 * time.Second)
	sent := tp.stats(pub).Video.FramesSent
	g.kill()
	l := g.lectures()[0]
	for _, tr := range l.Tracks {
		decodes(t, filepath.Join(l.dir, tr.File))
		if tr.Kind == "video" {
			if n := probeFile(t, filepath.Join(l.dir, tr.File)).frames("video"); n < sent-5 {
				t.Errorf("%d frames on disk of %d sent", n, sent)
			}
		}
	}
	g.restart()
	tp.eval("return T.drop(arg)", pub, nil)
	pub = tp.publish(o)
	sending(t, tp, pub)
	pause(3 * time.Second)
	tp.end(pub)
	l = g.lecture("complete", "recovered")
	reasons := fmt.Sprint(l.Gaps)
	if !strings.Contains(reasons, "gateway") {
		t.Errorf("the gaps do not tell of the restart: %v", reasons)
	}
	decodesAll(t, l)
}

// Twenty RTMP players, one of which stops reading: the others notice nothing,
// the stuck one is cut, memory stays bounded.
func TestTwentyPlayers_OneStuck(t *testing.T) {
	g := startGateway(t)
	tp := openBrowser(t, "chromium").open(g.url("/")).tools()
	pub := tp.publish(publishOptions{URL: g.url("/whip/sports"), Token: g.token("sports", "teacher"), Codec: "H264", Source: "clap"})
	sending(t, tp, pub)
	url := fmt.Sprintf("rtmp://%s/live/sports?token=%s", g.addr.RTMP, g.token("sports", "player"))
	dir := t.TempDir()
	var cmds []*exec.Cmd
	for i := range 20 {
		cmd := exec.Command("ffmpeg", "-v", "error", "-y", "-i", url, "-t", "20", "-c", "copy", filepath.Join(dir, fmt.Sprintf("%d.mkv", i)))
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		cmds = append(cmds, cmd)
	}
	stuck := cmds[0]
	t.Cleanup(func() { _ = stuck.Process.Kill(); _ = stuck.Wait() })
	pause(5 * time.Second)
	if err := stuck.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	before := rss(t, g.cmd.Process.Pid)
	for i, cmd := range cmds[1:] {
		if err := cmd.Wait(); err != nil {
			t.Errorf("player %d: %v", i+1, err)
		}
	}
	if grown := rss(t, g.cmd.Process.Pid) - before; grown > 64<<20 {
		t.Errorf("memory grew by %d MiB", grown>>20)
	}
	least, most := math.MaxInt, 0
	for i := range cmds[1:] {
		p := probeFile(t, filepath.Join(dir, fmt.Sprintf("%d.mkv", i+1)))
		least, most = min(least, p.frames("video")), max(most, p.frames("video"))
	}
	t.Logf("19 players got %d to %d frames in 20 s", least, most)
	if least < most-45 {
		t.Errorf("players got %d to %d frames", least, most)
	}
	eventually(t, 40*time.Second, "the stuck player is cut", func() error {
		var room struct {
			Streams []struct {
				Players struct {
					RTMP int `json:"rtmp"`
				} `json:"players"`
			} `json:"streams"`
		}
		g.call("GET", "/api/rooms/sports", adminKey, nil, &room)
		return want(len(room.Streams) == 1 && room.Streams[0].Players.RTMP == 0, "%+v", room.Streams)
	})
}

// End of class: players are told so, not left with a still picture.
func TestClassEnds_PlayersEnd(t *testing.T) {
	g := startGateway(t)
	tp := openBrowser(t, "chromium").open(g.url("/")).tools()
	pub := tp.publish(publishOptions{URL: g.url("/whip/latin"), Token: g.token("latin", "teacher"), Codec: "H264", Source: "clap"})
	sending(t, tp, pub)
	token := g.token("latin", "player")
	ended := make(chan string, 2)
	for _, url := range []string{
		fmt.Sprintf("rtsp://%s/latin?token=%s", g.addr.RTSP, token),
		fmt.Sprintf("rtmp://%s/live/latin?token=%s", g.addr.RTMP, token),
	} {
		go func() { // waited for below
			_, _, err := tool(40*time.Second, "ffmpeg", "-v", "error", "-i", url, "-c", "copy", "-f", "null", "-")
			if err != nil && strings.Contains(err.Error(), "did not end") {
				ended <- fmt.Sprintf("%.4s: %v", url, err)
				return
			}
			ended <- ""
		}()
	}
	pause(4 * time.Second)
	tp.end(pub)
	for range 2 {
		if problem := <-ended; problem != "" {
			t.Error(problem)
		}
	}
}

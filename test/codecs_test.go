package test

import (
	"fmt"
	"math"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// Whatever codec the browser sends: browsers, RTSP and RTMP players see and
// hear the class, and the recording is exact.
func TestEveryCodec_ReachesEveryone(t *testing.T) {
	teacher, student := openBrowser(t, "chromium"), openBrowser(t, "chromium")
	for _, codec := range []string{"VP8", "VP9", "AV1", "H264"} {
		t.Run(codec, func(t *testing.T) { everyone(t, teacher, student, codec) })
	}
}

func everyone(t *testing.T, teacher, student *browser, codec string) {
	g := startGateway(t)
	teacher.t, student.t = t, t
	tp := teacher.open(g.url("/")).tools()
	defer tp.close()
	sp := student.open(g.url("/")).tools()
	defer sp.close()
	began := time.Now()
	pub := tp.publish(publishOptions{URL: g.url("/whip/physics"), Token: g.token("physics", "teacher"), Codec: codec, Source: "clap"})
	view := sp.watch(watchOptions{URL: g.url("/whep/physics"), Token: g.token("physics", "student"), Wait: true})
	seen := sp.sees(view, 30)
	if got := seen.Codec["video"]; got != "video/"+codec {
		t.Errorf("the viewer decodes %s, want video/%s", got, codec)
	}
	players(t, g, codec)
	sent := tp.stats(pub)
	if s := tp.end(pub); s != 200 {
		t.Errorf("DELETE answered %d", s)
	}
	length := time.Since(began).Seconds()
	recorded(t, g, sent.Video.FramesSent, length)
}

// players plays the room by every legacy way at once and checks that there is
// picture and sound.
func players(t *testing.T, g *gateway, codec string) {
	token := g.token("physics", "player")
	rtsp := fmt.Sprintf("rtsp://%s/physics?token=%s", g.addr.RTSP, token)
	ways := map[string][]string{
		"rtsp-tcp": {"-rtsp_transport", "tcp", "-i", rtsp},
		"rtsp-udp": {"-rtsp_transport", "udp", "-i", rtsp},
		"rtmp":     {"-i", fmt.Sprintf("rtmp://%s/live/physics?token=%s", g.addr.RTMP, token)},
	}
	dir := t.TempDir()
	var all sync.WaitGroup
	for way, input := range ways {
		all.Go(func() { // waited for below
			file := filepath.Join(dir, way+".mkv")
			if stderr, err := play(t, 5, file, input...); err != nil {
				t.Errorf("%s: %v: %s", way, err, stderr)
			}
		})
	}
	all.Wait()
	for way := range ways {
		file := filepath.Join(dir, way+".mkv")
		p := probeFile(t, file)
		if v, a := p.frames("video"), p.frames("audio"); v < 60 || a < 100 {
			t.Errorf("%s: %d video and %d audio frames in 5 s", way, v, a)
		}
		offset := skew(t, flashes(t, file), beeps(t, file))
		t.Logf("%s %s: %s+%s, sound minus picture %.0f ms", codec, way, p.codec("video"), p.codec("audio"), offset)
		if math.Abs(offset) > 120 {
			t.Errorf("%s: sound minus picture is %.0f ms", way, offset)
		}
		if way == "rtmp" && (p.codec("video") != "h264" || p.codec("audio") != "aac") {
			t.Errorf("rtmp got %s and %s, want h264 and aac", p.codec("video"), p.codec("audio"))
		}
	}
}

// recorded checks the recording of a class that has just ended: sent is how
// many frames the publisher had sent shortly before, length how long it was, s.
func recorded(t *testing.T, g *gateway, sent int, length float64) {
	l := g.lecture("complete")
	video, videoAt, videoLen := l.track("video")
	audio, audioAt, audioLen := l.track("audio")
	decodes(t, video)
	decodes(t, audio)
	pv := probeFile(t, video)
	frames := 0
	for _, tr := range l.Tracks {
		if tr.Kind == "video" {
			frames += tr.Frames
		}
	}
	if pv.frames("video") != frames {
		t.Errorf("the file has %d frames, the manifest says %d", pv.frames("video"), frames)
	}
	if frames < sent-3 || frames > sent+15 {
		t.Errorf("%d frames recorded of %d sent", frames, sent)
	}
	offset := skew(t, shift(flashes(t, video), videoAt), shift(beeps(t, audio), audioAt))
	t.Logf("recording: %d frames of %d, sound minus picture %.0f ms, video %.3f+%.3f s, audio %.3f+%.3f s of about %.3f s",
		frames, sent, offset, videoAt, videoLen, audioAt, audioLen, length)
	if math.Abs(offset) > 80 {
		t.Errorf("sound minus picture is %.0f ms", offset)
	}
	if d := math.Abs(videoAt + videoLen - audioAt - audioLen); d > 0.1 {
		t.Errorf("video ends at %.3f s, audio at %.3f s", videoAt+videoLen, audioAt+audioLen)
	}
	if got := probeFile(t, audio).seconds(); math.Abs(got-audioLen) > 0.1 {
		t.Errorf("the audio file lasts %.3f s, the manifest says %.3f s", got, audioLen)
	}
	if l.DurationMS/1000 > length+0.2 || l.DurationMS/1000 < length-2.5 {
		t.Errorf("the lecture lasts %.3f s, the class lasted about %.3f s", l.DurationMS/1000, length)
	}
	if strings.Contains(g.log.String(), "panic") {
		t.Error("the gateway's log speaks of a panic")
	}
}

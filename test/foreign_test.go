package test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// aiortc, which shares no code with browsers nor with us, publishes and watches.
func TestAiortc_PublishesAndWatches(t *testing.T) {
	for _, codec := range []string{"VP8", "H264"} {
		t.Run(codec, func(t *testing.T) {
			g := startGateway(t)
			cmd := exec.Command("timeout", "30", "/usr/bin/python3", "aiortc/peer.py", g.url("/whip/physics"), g.url("/whep/physics"), codec, "3")
			cmd.Env = append(os.Environ(), "TEACHER="+g.token("physics", "teacher"), "STUDENT="+g.token("physics", "student"))
			cmd.Stderr = &logBuffer{}
			out, err := cmd.Output()
			var seen struct {
				Video, Audio, Peak int
				States             []string
				Deleted            []int
			}
			if err == nil {
				err = json.Unmarshal(out, &seen)
			}
			if err != nil {
				t.Fatalf("%v: %s", err, cmd.Stderr)
			}
			if seen.Video < 60 || seen.Audio < 100 || seen.Peak < 4000 {
				t.Errorf("it saw %+v", seen)
			}
			if fmt.Sprint(seen.States, seen.Deleted) != "[connected connected] [200 200]" {
				t.Errorf("it ended with %+v", seen)
			}
			l := g.lecture("complete")
			for _, tr := range l.Tracks {
				decodes(t, filepath.Join(l.dir, tr.File))
			}
			if video, _, length := l.track("video"); probeFile(t, video).frames("video") < 60 || length < 2.5 {
				t.Errorf("%.2f s of video are recorded", length)
			}
		})
	}
}

// Firefox publishes its camera and watches; Chromium watches it too.
func TestFirefox_PublishesAndWatches(t *testing.T) {
	g := startGateway(t)
	firefox, chromium := openBrowser(t, "firefox"), openBrowser(t, "chromium")
	fp, cp := firefox.open(g.url("/")).tools(), chromium.open(g.url("/")).tools()
	tp := firefox.open(g.url("/")).tools() // the last one is in front, where Firefox does not slow it down
	pub := tp.publish(publishOptions{URL: g.url("/whip/geology"), Token: g.token("geology", "teacher"), Source: "camera"})
	sending(t, tp, pub)
	watch := watchOptions{URL: g.url("/whep/geology"), Token: g.token("geology", "student"), Wait: true}
	fv, cv := fp.watch(watch), cp.watch(watch)
	t.Logf("first picture after %.0f ms in Firefox, %.0f ms in Chromium", fp.sees(fv, 60).FirstFrame, cp.sees(cv, 30).FirstFrame)
	fp.end(fv)
	cp.end(cv)
	if s := tp.end(pub); s != 200 {
		t.Errorf("DELETE answered %d", s)
	}
	l := g.lecture("complete")
	for _, tr := range l.Tracks {
		decodes(t, filepath.Join(l.dir, tr.File))
	}
}

// GStreamer plays picture and sound over RTSP, by TCP and UDP, and over RTMP,
// and leaves cleanly.
func TestGStreamer_Plays(t *testing.T) {
	g := startGateway(t)
	tp := openBrowser(t, "chromium").open(g.url("/")).tools()
	pub := tp.publish(publishOptions{URL: g.url("/whip/latin"), Token: g.token("latin", "teacher"), Codec: "VP8", Source: "clap"})
	sending(t, tp, pub)
	token := g.token("latin", "player")
	// playbin, for gst-launch itself now and then links but one of two pads that
	// come at once. rtspt and rtspu are its words for RTSP by TCP and by UDP.
	rtsp := func(scheme string) []string {
		return []string{
			"playbin", fmt.Sprintf("uri=%s://%s/latin?token=%s", scheme, g.addr.RTSP, token),
			"video-sink=fakesink name=picture silent=false", "audio-sink=fakesink name=sound silent=false",
		}
	}
	rtmp := strings.Fields(fmt.Sprintf("rtmp2src location=rtmp://%s/live/latin?token=%s ! flvdemux name=s "+
		"s.video ! queue ! decodebin ! fakesink name=picture silent=false "+
		"s.audio ! queue ! decodebin ! fakesink name=sound silent=false", g.addr.RTMP, token))
	for name, pipeline := range map[string][]string{
		"rtsp-tcp": rtsp("rtspt"), "rtsp-udp": rtsp("rtspu"), "rtmp": rtmp,
	} {
		t.Run(name, func(t *testing.T) {
			if took := gstreamer(t, pipeline); took > 8*time.Second {
				t.Errorf("30 pictures and 30 blocks of sound after %v", took)
			} else {
				t.Logf("30 pictures and 30 blocks of sound after %v", took)
			}
		})
	}
	eventually(t, 5*time.Second, "all players are gone", func() error {
		var room struct{ Players int }
		g.call("GET", "/api/rooms/latin", adminKey, nil, &room)
		return want(room.Players == 0, "%d players", room.Players)
	})
	tp.end(pub)
}

// gstreamer runs a pipeline until 30 buffers came to each of the fakesinks
// picture and sound, then interrupts it and returns how long that took.
func gstreamer(t *testing.T, pipeline []string) time.Duration {
	t.Helper()
	cmd := exec.Command("timeout", append([]string{"--foreground", "20", "gst-launch-1.0", "-v"}, pipeline...)...)
	out := must[io.ReadCloser](t)(cmd.StdoutPipe())
	errs := &logBuffer{}
	cmd.Stderr = errs
	began := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var took time.Duration
	picture, sound := 0, 0
	sc := bufio.NewScanner(out)
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		switch line := sc.Text(); {
		case !strings.Contains(line, "last-message = chain"):
		case strings.Contains(line, "GstFakeSink:picture"):
			picture++
		case strings.Contains(line, "GstFakeSink:sound"):
			sound++
		}
		if took == 0 && picture >= 30 && sound >= 30 {
			took = time.Since(began)
			_ = cmd.Process.Signal(syscall.SIGINT)
		}
	}
	err := cmd.Wait()
	if took == 0 {
		t.Fatalf("%d pictures and %d blocks of sound: %v: %s", picture, sound, err, errs)
	}
	if err != nil {
		t.Errorf("it ended with %v: %s", err, errs)
	}
	return took
}

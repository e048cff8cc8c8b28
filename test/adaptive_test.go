package test

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"

	"github.com/lectern/lectern/internal/netsim"
	"github.com/lectern/lectern/internal/peer"
)

// A browser whose network narrows shows a layer that fits within seconds, and
// the best one again when there is room; its picture does not stop, and its
// sound does not either. The layers are made for it, or those of a browser.
func TestLayers_ABrowserFollowsItsNetwork(t *testing.T) {
	t.Run("of a peer", func(t *testing.T) {
		g := startGateway(t)
		qualities(t, g.url("/whip/waves"), adminKey)
		followsItsNetwork(t, g, 180, 720, 20)
	})
	t.Run("of a browser", func(t *testing.T) {
		g := startGateway(t)
		teacher := openBrowser(t, "chromium").open(g.url("/")).tools()
		teacher.publish(publishOptions{URL: g.url("/whip/waves"), Token: adminKey, Codec: "VP8", Width: 960, Height: 540, Encodings: []encoding{
			{RID: "q", Scale: 4, Most: 150_000}, {RID: "h", Scale: 2, Most: 500_000}, {RID: "f", Scale: 1, Most: 1_800_000},
		}})
		followsItsNetwork(t, g, 270, 540, 7) // it seldom needs all that it may use, and has temporal layers
	})
}

// followsItsNetwork watches, at least at so many pictures a second, on a network
// for at most low lines and on one for high.
func followsItsNetwork(t *testing.T, g *gateway, low, high int, fps float64) {
	t.Helper()
	link := func(rate int) netsim.Link {
		return netsim.Link{Rate: rate, Queue: bottleneck, Delay: 20 * time.Millisecond}
	}
	net := newPoor(t, g, netsim.Link{Delay: 20 * time.Millisecond}, link(wide))
	page := openBrowser(t, "chromium").open(net.url("/")).tools()
	id := page.watch(watchOptions{URL: net.url("/whep/waves"), Token: adminKey, Wait: true})
	shown(page, id, high, high, 6*converged) // a browser that publishes begins small
	pause(converged)
	for _, c := range []struct{ rate, least, most int }{{narrow, 1, low}, {wide, high, high}} {
		before := page.stats(id)
		net.relay.SetDown(link(c.rate))
		took := shown(page, id, c.least, c.most, converged)
		pause(converged)
		now := page.stats(id)
		frames, freezes := now.Video.FramesDecoded-before.Video.FramesDecoded, now.Video.FreezeCount-before.Video.FreezeCount
		frozen := now.Video.TotalFreezesDuration - before.Video.TotalFreezesDuration
		sound, lost := now.Audio.PacketsReceived-before.Audio.PacketsReceived, now.Audio.PacketsLost-before.Audio.PacketsLost
		t.Logf("%d kbit/s: %d lines after %s; %d pictures, %d freezes of %.2f s, %d NACK, %d PLI; sound: %d packets, %d lost", c.rate/1000, now.Video.FrameHeight, took,
			frames, freezes, frozen, now.Video.NackCount-before.Video.NackCount, now.Video.PLICount-before.Video.PLICount, sound, lost)
		span := (took + converged).Seconds()
		if now.Video.FrameHeight < c.least || now.Video.FrameHeight > c.most || float64(frames) < fps*span {
			t.Errorf("%d kbit/s: %d pictures in %.1f s, the last of %d lines", c.rate/1000, frames, span, now.Video.FrameHeight)
		}
		if freezes > 4 || frozen > float64(freezes)*layerFreeze.Seconds() {
			t.Errorf("%d kbit/s: %d freezes of %.2f s together", c.rate/1000, freezes, frozen)
		}
		if float64(sound) < 0.95*50*span || lost > sound/50 {
			t.Errorf("%d kbit/s: %d packets of sound in %.1f s, %d lost", c.rate/1000, sound, span, lost)
		}
	}
}

// shown waits until the picture has so many lines, and tells how long it took.
func shown(p *page, id, least, most int, within time.Duration) time.Duration {
	p.b.t.Helper()
	began := time.Now()
	eventually(p.b.t, within, fmt.Sprintf("%d to %d lines are shown", least, most), func() error {
		v := p.stats(id).Video
		return want(v.FrameHeight >= least && v.FrameHeight <= most, "%d lines, %d frames", v.FrameHeight, v.FramesDecoded)
	})
	return time.Since(began).Round(100 * time.Millisecond)
}

// The publisher's best layer stops and comes back: players and the recording go
// on with another size of picture, whatever the codec.
func TestLayers_PlayersAndRecordingCrossThem(t *testing.T) {
	t.Parallel() // it waits more than it works
	for _, mime := range []string{webrtc.MimeTypeVP8, webrtc.MimeTypeH264} {
		t.Run(strings.TrimPrefix(mime, "video/"), func(t *testing.T) {
			g := startGateway(t)
			p := qualitiesOf(t, peer.Options{URL: g.url("/whip/physics"), Token: adminKey}, mime, true)
			s := attendAt(t, g.url("/whep/physics"), adminKey, mime)
			eventually(t, 10*time.Second, "there is a picture", func() error { return want(s.Take().Pictures > 0, "none") })
			pause(2 * time.Second) // the best layer has been reached
			var all sync.WaitGroup
			all.Go(func() { // waited for below
				pause(7 * time.Second)
				p.Pause("h", true)
				pause(5 * time.Second)
				p.Pause("h", false)
			})
			files := playAcross(t, g, 18)
			all.Wait()
			for way, file := range files {
				// What is encoded anew keeps its size.
				acrossSizes(t, way, file, way != "rtmp" || mime == webrtc.MimeTypeH264)
			}
			if err := p.Close(); err != nil {
				t.Error(err)
			}
			l := g.lecture("complete")
			decodesAll(t, l)
			video, _, _ := l.track("video")
			acrossSizes(t, "recording", video, true)
		})
	}
}

// playAcross plays the room in every legacy way for so many seconds and returns
// the files, by way.
func playAcross(t *testing.T, g *gateway, seconds float64) map[string]string {
	t.Helper()
	token := g.token("physics", "player")
	rtsp := fmt.Sprintf("rtsp://%s/physics?token=%s", g.addr.RTSP, token)
	ways := map[string][]string{
		"rtsp": {"-rtsp_transport", "tcp", "-i", rtsp},
		"rtmp": {"-i", fmt.Sprintf("rtmp://%s/live/physics?token=%s", g.addr.RTMP, token)},
	}
	dir, files := t.TempDir(), map[string]string{}
	var all sync.WaitGroup
	for way, input := range ways {
		file := filepath.Join(dir, way+".mkv")
		files[way] = file
		all.Go(func() { // waited for below
			stderr, err := play(t, seconds, file, input...)
			if err != nil || strings.Contains(stderr, "monoton") || strings.Contains(stderr, "rror") {
				t.Errorf("%s: %v: %s", way, err, stderr)
			}
		})
	}
	all.Wait()
	return files
}

// acrossSizes wants a file to decode without a word, and its pictures to go on in
// time, in several sizes or not.
func acrossSizes(t *testing.T, way, file string, several bool) {
	t.Helper()
	decodes(t, file)
	out, stderr, err := tool(time.Minute, "ffprobe", "-v", "error", "-select_streams", "v:0", "-show_entries", "frame=best_effort_timestamp_time,height", "-of", "csv=p=0", file)
	if err != nil {
		t.Fatalf("%s: %v: %s", way, err, stderr)
	}
	last, longest, heights := -1.0, 0.0, map[string]int{}
	for line := range strings.Lines(out) {
		f := strings.Split(strings.Trim(strings.TrimSpace(line), ","), ",")
		if len(f) < 2 {
			continue
		}
		if strings.Contains(f[1], ".") {
			f[0], f[1] = f[1], f[0]
		}
		at := must[float64](t)(strconv.ParseFloat(f[0], 64))
		if last >= 0 {
			longest = max(longest, at-last)
			if at <= last {
				t.Errorf("%s: a picture at %.3f s after %.3f s", way, at, last)
			}
		}
		last = at
		heights[f[1]]++
	}
	t.Logf("%s: heights %v, up to %.2f s, longest gap %.2f s", way, heights, last, longest)
	if longest > 1.5 || last < 14 || (len(heights) > 1) != several {
		t.Errorf("%s: heights %v, up to %.2f s, longest gap %.2f s", way, heights, last, longest)
	}
}

package test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Pictures in several sizes and rates within one stream (scalability modes of
// webrtc-svc), as a browser sends them: browsers show them, choose of them, and
// the recording and players are as of any other picture.
func TestScalable_ReachesEveryone(t *testing.T) {
	teacher, student := openBrowser(t, "chromium"), openBrowser(t, "chromium")
	for _, c := range []struct {
		codec, mode string
		lines       int
	}{{"AV1", "L1T3", 360}, {"AV1", "L2T1", 360}, {"AV1", "L2T3_KEY", 360}, {"VP9", "L1T3", 360}, {"VP9", "L2T3_KEY", 360}, {"VP9", "L3T3", 720}} {
		t.Run(c.codec+" "+c.mode, func(t *testing.T) {
			teacher.t, student.t = t, t
			scalable(t, teacher, student, scale{c.codec, c.mode, c.lines, int(c.mode[1] - '0')})
		})
	}
}

// scale is what is published.
type scale struct {
	codec, mode string
	lines       int
	spatial     int // layers
}

func scalable(t *testing.T, teacher, student *browser, c scale) {
	g := startGateway(t)
	tp := teacher.open(g.url("/")).tools()
	defer tp.close()
	sp := student.open(g.url("/")).tools()
	defer sp.close()
	pub := tp.publish(publishOptions{
		URL: g.url("/whip/physics"), Token: adminKey, Codec: c.codec, Width: c.lines * 16 / 9, Height: c.lines,
		Encodings: []encoding{{Mode: c.mode}},
	})
	watch := func(described bool) int {
		return sp.watch(watchOptions{URL: g.url("/whep/physics"), Token: adminKey, Wait: true, Described: described})
	}
	full, plain := watch(true), watch(false)
	shown(sp, full, c.lines, c.lines, 20*time.Second)
	// Without descriptors no browser decodes more of AV1 than the lowest layer.
	lowest := c.lines >> (c.spatial - 1)
	least := c.lines
	if c.codec == "AV1" {
		least = lowest
	}
	shown(sp, plain, least, least, 20*time.Second)
	smoothly(t, sp, full, plain)
	for _, id := range []int{full, plain} {
		choose(t, sp, id, map[string]any{"mediaId": "0", "maxSpatialLayerId": 0})
	}
	shown(sp, full, lowest, lowest, 5*time.Second)
	shown(sp, plain, lowest, lowest, 5*time.Second)
	smoothly(t, sp, full, plain)
	choose(t, sp, full, map[string]any{})
	shown(sp, full, c.lines, c.lines, 15*time.Second)
	scaledPlayer(t, g, c)
	if now := tp.stats(pub).Video; now.ScalabilityMode != c.mode || now.FrameHeight != c.lines {
		t.Errorf("the browser sent %d lines as %s", now.FrameHeight, now.ScalabilityMode)
	}
	if s := tp.end(pub); s != 200 {
		t.Errorf("DELETE answered %d", s)
	}
	l := g.lecture("complete")
	decodesAll(t, l)
	video, _, _ := l.track("video")
	if got := sizes(t, video); got[fmt.Sprint(c.lines)] < 200 || got[fmt.Sprint(lowest)] > 5 && c.spatial > 1 {
		t.Errorf("the recording has pictures of lines %v", got)
	}
}

// smoothly wants all that is sent to be decoded for a while, without complaint.
// What a busy machine does to one while it does not do to three.
func smoothly(t *testing.T, p *page, ids ...int) {
	t.Helper()
	const while = 4 * time.Second
	var said []string
	for range 3 {
		var before []stats
		for _, id := range ids {
			before = append(before, p.stats(id))
		}
		pause(while)
		good := true
		for i, id := range ids {
			now, was := p.stats(id).Video, before[i].Video
			frames, freezes, calls := now.FramesDecoded-was.FramesDecoded, now.FreezeCount-was.FreezeCount, now.PLICount-was.PLICount
			said = append(said, fmt.Sprintf("viewer %d: %d pictures of %d lines in %s, %d freezes, %d PLI", i, frames, now.FrameHeight, while, freezes, calls))
			good = good && frames >= 60 && freezes == 0 && calls == 0
		}
		if good {
			t.Log(strings.Join(said[len(said)-len(ids):], "; "))
			return
		}
	}
	t.Errorf("none of three times was without fault:\n%s", strings.Join(said, "\n"))
}

// choose asks for a layer.
func choose(t *testing.T, p *page, id int, wish map[string]any) {
	t.Helper()
	var status int
	p.eval("return T.choose(arg)", map[string]any{"id": id, "wish": wish}, &status)
	if status != 200 {
		t.Errorf("choosing %v answered %d", wish, status)
	}
}

// scaledPlayer plays by RTMP, which is encoded anew.
func scaledPlayer(t *testing.T, g *gateway, c scale) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "rtmp.mkv")
	if stderr, err := play(t, 4, file, "-i", fmt.Sprintf("rtmp://%s/live/physics?token=%s", g.addr.RTMP, g.token("physics", "player"))); err != nil {
		t.Errorf("rtmp: %v: %s", err, stderr)
		return
	}
	decodes(t, file)
	got := sizes(t, file)
	if got[fmt.Sprint(c.lines)] < 50 || len(got) != 1 {
		t.Errorf("rtmp: pictures of lines %v", got)
	}
}

// sizes counts the pictures of a file by their lines.
func sizes(t *testing.T, file string) map[string]int {
	t.Helper()
	out, stderr, err := tool(time.Minute, "ffprobe", "-v", "error", "-select_streams", "v:0", "-show_entries", "frame=height", "-of", "csv=p=0", file)
	if err != nil {
		t.Fatalf("%s: %v: %s", filepath.Base(file), err, stderr)
	}
	got := map[string]int{}
	for line := range strings.Lines(out) {
		if line = strings.Trim(strings.TrimSpace(line), ","); line != "" {
			got[line]++
		}
	}
	return got
}

// Our own page takes what it needs to show all of AV1.
func TestScalable_PagesShowAllOfAV1(t *testing.T) {
	g := startGateway(t)
	tp := openBrowser(t, "chromium").open(g.url("/")).tools()
	tp.publish(publishOptions{URL: g.url("/whip/physics"), Token: adminKey, Codec: "AV1", Width: 640, Height: 360, Encodings: []encoding{{Mode: "L2T1"}}})
	student := openBrowser(t, "chromium").open(g.url("/r/physics#key=" + g.token("physics", "student")))
	attend(t, student, "Wei")
	eventually(t, 15*time.Second, "all lines are shown", func() error {
		var lines int
		student.eval(`return Math.max(0, ...[...document.querySelectorAll("video")].map((e) => e.videoHeight))`, nil, &lines)
		return want(lines == 360, "%d lines", lines)
	})
	watching(t, student)
}

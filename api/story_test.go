package api

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	foreigner "github.com/lectern/lectern/internal/peer"
	"github.com/lectern/lectern/room/access"
)

// A real publisher, a real viewer, a recording: over real HTTP and WebRTC, to
// segments that ffmpeg decodes.
func TestStory_PublishWatchRecordPlay(t *testing.T) {
	g := newGateway(t, nil)
	addr := "http://" + g.serve(nil)
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	teacher, student := g.token("algebra", access.Teacher), g.token("algebra", access.Student)
	clip, err := foreigner.MakeClip(t.TempDir(), webrtc.MimeTypeVP8, 300)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	pub, err := foreigner.Publish(ctx, foreigner.Options{URL: addr + "/whip/algebra", Token: teacher}, webrtc.MimeTypeVP8, false)
	if err != nil {
		t.Fatal(err)
	}
	playing, stop := context.WithCancel(ctx)
	played := make(chan error, 1)
	go func() { played <- pub.Play(playing, clip) }() // ended by stop
	packets := make(chan struct{}, 1<<16)
	view, err := foreigner.Watch(ctx, foreigner.Options{URL: addr + "/whep/algebra", Token: student, Wait: true},
		func(webrtc.RTPCodecType, string, *rtp.Packet) { packets <- struct{}{} })
	if err != nil {
		t.Fatal(err)
	}
	for range 300 {
		select {
		case <-packets:
		case <-ctx.Done():
			t.Fatal("the viewer gets nothing")
		}
	}
	var lectures struct{ Lectures []struct{ ID, State string } }
	g.want(200, g.call(student, "GET", "/api/lectures", nil), &lectures)
	base := "/api/lectures/" + lectures.Lectures[0].ID
	if err := view.Close(); err != nil {
		t.Error(err)
	}
	stop()
	<-played // the reason is ours
	if err := pub.Close(true); err != nil {
		t.Error(err)
	}
	g.eventually("the recording is complete", func() bool {
		g.want(200, g.call(student, "GET", "/api/lectures", nil), &lectures)
		return lectures.Lectures[0].State == "complete"
	})
	decodesDASH(g, student, base)
	g.want(404, g.call(student, "HEAD", base+"/download/lecture.avi", nil), nil)
	for path, media := range map[string]string{
		"/download/lecture.webm": "video/webm", "/poster": "image/jpeg", "/download/main-video-1.ivf": "video/x-ivf",
	} {
		g.want(200, g.call(student, "HEAD", base+path, nil), nil)
		resp := g.call(student, "GET", base+path, nil)
		body, err := io.ReadAll(resp.Body)
		if err != nil || resp.Header.Get("Content-Type") != media || int64(len(body)) != resp.ContentLength {
			t.Errorf("%s: got %d bytes of %d, %s, %v", path, len(body), resp.ContentLength, resp.Header.Get("Content-Type"), err)
		}
	}
}

// decodesDASH fetches the first video segment that the manifest names and has
// ffmpeg decode it.
func decodesDASH(g *gateway, token, base string) {
	g.t.Helper()
	resp := g.call(token, "GET", base+"/dash.mpd", nil)
	manifest, err := io.ReadAll(resp.Body)
	if err != nil || resp.Header.Get("Content-Type") != "application/dash+xml" {
		g.t.Fatalf("got %d %s, %v", resp.StatusCode, manifest, err)
	}
	m := regexp.MustCompile(`(?s)<Representation[^>]* id="([^"]*)"[^>]*mimeType="video|mimeType="video.*?<Representation[^>]* id="([^"]*)"`).FindSubmatch(manifest)
	tmpl := regexp.MustCompile(`initialization="([^"]*)" media="([^"]*)"`).FindSubmatch(manifest)
	if m == nil || tmpl == nil {
		g.t.Fatalf("no video in %s", manifest)
	}
	name := strings.NewReplacer("$RepresentationID$", string(m[1])+string(m[2]), "$Time$", "0")
	var media bytes.Buffer
	for _, part := range tmpl[1:] {
		resp := g.call(token, "GET", base+"/"+name.Replace(string(part)), nil)
		if resp.StatusCode != 200 || !strings.Contains(resp.Header.Get("Cache-Control"), "immutable") {
			g.t.Fatalf("%s: got %d, Cache-Control %q\n%s", part, resp.StatusCode, resp.Header.Get("Cache-Control"), manifest)
		}
		if _, err := media.ReadFrom(resp.Body); err != nil {
			g.t.Fatal(err)
		}
	}
	cmd := exec.Command("ffmpeg", "-v", "error", "-xerror", "-i", "-", "-f", "null", "-")
	cmd.Stdin = &media
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		g.t.Errorf("ffmpeg: %v: %s", err, out)
	}
}

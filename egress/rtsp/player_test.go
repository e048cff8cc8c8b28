package rtsp_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/lectern/lectern/egress/rtsp"
	"github.com/lectern/lectern/egress/transcode"
	"github.com/lectern/lectern/stream"
)

func TestServer_RefusesWithTheRightStatus(t *testing.T) {
	f := serve(t)
	publish(t, f.s, record(t, stream.VP8, "10"))
	basic := func(user, pass string) string {
		return "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+pass)) + "\r\n"
	}
	tests := []struct{ name, path, header, want string }{
		{"nothing given", "algebra", "", "401"},
		{"wrong token", "algebra?token=x", "", "401"},
		{"wrong password", "algebra", basic("u", "x"), "401"},
		{"digest", "algebra", "Authorization: Digest username=\"u\", realm=\"r\", nonce=\"n\", uri=\"/\", response=\"0\"\r\n", "401"},
		{"token of another room", "algebra?token=" + otherToken, "", "403"},
		{"no such room", "history?token=" + goodToken, "", "404"},
		{"no such slot", "algebra/screen?token=" + goodToken, "", "404"},
		{"too deep", "algebra/main/x?token=" + goodToken, "", "404"},
		{"no room", "?token=" + goodToken, "", "404"},
		{"unknown codec", "algebra?video=mpeg2&token=" + goodToken, "", "400"},
		{"no encoder", "algebra?audio=aac&token=" + goodToken, "", "415"},
		{"token", "algebra?token=" + goodToken, "", "200"},
		{"token and slot", "algebra/main?token=" + goodToken, "", "200"},
		{"password", "algebra", basic("anyone", goodToken), "200"},
		{"token as user", "algebra", basic(goodToken, ""), "200"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			status, rest := f.describe(t, tt.path, tt.header)
			if got := strings.Fields(status)[1]; got != tt.want {
				t.Errorf("got %q, want %s", status, tt.want)
			}
			if challenged := strings.Contains(rest, `WWW-Authenticate: Basic realm="Lectern"`); challenged != (tt.want == "401") {
				t.Errorf("challenge: got %v in %q", challenged, rest)
			}
		})
	}
}

func TestServer_FFmpegTellsOfAWrongToken(t *testing.T) {
	f := serve(t)
	publish(t, f.s, record(t, stream.VP8, "10"))
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "ffprobe", "-v", "error", f.url("algebra?token=x")).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "401 Unauthorized") {
		t.Errorf("got %v, %q, want 401 Unauthorized", err, out)
	}
}

// Guessing costs connections: two tries each.
func TestServer_SecondWrongTokenEndsTheConnection(t *testing.T) {
	f := serve(t)
	c := dial(t, f, "algebra?token=x")
	_ = c.c.SetDeadline(time.Now().Add(5 * time.Second))
	for i := range 3 {
		fmt.Fprintf(c.c, "DESCRIBE %s RTSP/1.0\r\nCSeq: %d\r\n\r\n", c.url, i+1)
	}
	b, err := io.ReadAll(c.r) // to the end of the connection
	if isTimeout(err) {
		t.Fatal("the connection was not ended")
	}
	if n := strings.Count(string(b), "401 Unauthorized"); n != 2 {
		t.Errorf("got %d answers, want 2", n)
	}
}

func TestServer_NotLiveIsNotFound(t *testing.T) {
	f := serve(t)
	if status, _ := f.describe(t, "algebra?token="+goodToken, ""); !strings.Contains(status, "404") {
		t.Errorf("got %q, want 404", status)
	}
}

func TestServer_PlaysPictureAndSoundInSync(t *testing.T) {
	for _, codec := range []stream.Codec{stream.VP8, stream.H264} {
		c := record(t, codec, "10")
		for _, transport := range []string{"tcp", "udp"} {
			t.Run(codec.Name()+"/"+transport, func(t *testing.T) {
				t.Parallel()
				f := serve(t)
				publish(t, f.s, c)
				out := f.play(t, transport, f.url("algebra?token="+goodToken), "4")
				check(t, out)
				eventually(t, "the player is gone", func() bool { return f.dir.players.Load() == 0 && f.Stats().Feeds == 0 })
				if st := f.s.Stats(); st.Readers != 0 {
					t.Errorf("got %d readers left on the stream, want 0", st.Readers)
				}
			})
		}
	}
}

func TestServer_SharesOneFeed(t *testing.T) {
	f := serve(t)
	publish(t, f.s, record(t, stream.VP8, "10"))
	done := make(chan error, 3)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for range cap(done) {
		go func() {
			done <- exec.CommandContext(ctx, "ffmpeg", "-v", "error", "-rtsp_transport", "tcp",
				"-i", f.url("algebra?token="+goodToken), "-t", "2", "-f", "null", "-").Run()
		}()
	}
	eventually(t, "three players", func() bool { return f.dir.players.Load() == 3 })
	if st, ss := f.Stats(), f.s.Stats(); st.Feeds != 1 || ss.Readers != 1 {
		t.Errorf("got %d feeds and %d readers, want 1 and 1", st.Feeds, ss.Readers)
	}
	for range cap(done) {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func TestServer_DescribesIPv6OverIPv6(t *testing.T) {
	if l, err := net.Listen("tcp", "[::1]:0"); err != nil {
		t.Skip("no IPv6 here")
	} else {
		_ = l.Close()
	}
	f := serve(t, func(c *rtsp.Config) { c.Addr, c.UDP = "[::1]:0", "[::1]:0" })
	publish(t, f.s, record(t, stream.VP8, "10"))
	_, sdp := dial(t, f, "algebra?token="+goodToken).do("DESCRIBE", f.url("algebra?token="+goodToken), "")
	if !strings.Contains(sdp, "c=IN IP6 ::\r\n") || strings.Contains(sdp, "IP4") {
		t.Errorf("got %q", sdp)
	}
}

// The library keeps clients of this name waiting for 1 s with each SETUP.
func TestServer_GStreamerDoesNotWait(t *testing.T) {
	f := serve(t)
	publish(t, f.s, record(t, stream.VP8, "10"))
	c := dial(t, f, "algebra?token="+goodToken)
	c.agent = "GStreamer/1.22.0"
	_, sdp := c.do("DESCRIBE", c.url, "")
	control := regexp.MustCompile(`a=control:(rtsp://\S+)`).FindStringSubmatch(sdp)
	if control == nil {
		t.Fatalf("no control URL in %q", sdp)
	}
	began := time.Now()
	c.do("SETUP", control[1], "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n")
	if took := time.Since(began); took > 500*time.Millisecond {
		t.Errorf("SETUP took %v", took)
	}
}

// A group of pictures that lasts for ever: what a browser sends when nobody
// asks. The joiner must get a fresh keyframe first.
func TestServer_JoinerBeginsWithAKeyframe(t *testing.T) {
	f := serve(t)
	publish(t, f.s, record(t, stream.H264, "1000"))
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if _, err := f.s.Ready(ctx, time.Second); err != nil {
		t.Fatal(err)
	}
	before := f.s.Stats()
	eventually(t, "the group of pictures is old", func() bool { return f.s.Stats().Units > before.Units+80 })
	c := dial(t, f, "algebra?token="+goodToken)
	began := time.Now()
	c.play()
	first := c.video()
	if took := time.Since(began); took > time.Second {
		t.Errorf("first picture after %v, want < 1 s", took)
	} else {
		t.Logf("first picture after %v", took)
	}
	if !keyframeH264(first.Payload) {
		t.Errorf("first video packet % x… is no keyframe", first.Payload[:4])
	}
	if n := f.s.Stats().KeyframeRequests; n != before.KeyframeRequests+1 {
		t.Errorf("got %d keyframe requests, want 1: an old group of pictures puts the player behind", n-before.KeyframeRequests)
	}
}

func TestServer_PublisherReturns(t *testing.T) {
	c := record(t, stream.VP8, "10")
	f := serve(t)
	p := publish(t, f.s, c)
	cl := dial(t, f, "algebra?token="+goodToken)
	cl.play()
	before := cl.video()
	p.close()
	publish(t, f.s, c)
	seq := before.SequenceNumber
	for range 200 {
		u := cl.video()
		if u.SequenceNumber != seq+1 {
			t.Fatalf("got sequence number %d after %d", u.SequenceNumber, seq)
		}
		seq = u.SequenceNumber
	}
}

func TestServer_ChangeOfTracksEndsSessions(t *testing.T) {
	vp8, h264 := record(t, stream.VP8, "10"), record(t, stream.H264, "10")
	tests := []struct {
		name          string
		before, after clip
		kinds         []stream.Kind
	}{
		{"codec", vp8, h264, nil},
		{"no sound any more", vp8, vp8, []stream.Kind{stream.Video}},
		{"no picture any more", vp8, vp8, []stream.Kind{stream.Audio}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := serve(t)
			p := publish(t, f.s, tt.before)
			cl := dial(t, f, "algebra?token="+goodToken)
			cl.play()
			cl.video()
			p.close()
			publish(t, f.s, tt.after, tt.kinds...)
			if !cl.bye() {
				t.Error("got no RTCP BYE before the end")
			}
			eventually(t, "the feed is gone", func() bool { return f.Stats().Feeds == 0 && f.dir.players.Load() == 0 })
		})
	}
}

func TestServer_SoundThatComesLaterEndsSessions(t *testing.T) {
	c := record(t, stream.VP8, "10")
	f := serve(t)
	p := publish(t, f.s, c, stream.Video)
	cl := dial(t, f, "algebra?token="+goodToken)
	cl.play()
	cl.video()
	p.close()
	publish(t, f.s, c)
	if !cl.bye() {
		t.Error("got no RTCP BYE before the end")
	}
}

func TestServer_SlowPlayerIsCut(t *testing.T) {
	c := record(t, stream.VP8, "10")
	f := serve(t, func(cfg *rtsp.Config) { cfg.MaxDrops = 8 })
	p := publish(t, f.s, c)
	cl := dial(t, f, "algebra?token="+goodToken)
	cl.play() // and never reads again
	big := make([]byte, 1100)
	for range 40000 {
		p.write(&p.audio, frame{data: big}, f.s.Since(time.Now()))
		if f.Stats().Cut > 0 {
			break
		}
	}
	eventually(t, "the player is cut", func() bool { return f.Stats().Cut == 1 && f.dir.players.Load() == 0 })
}

func TestServer_BoundsConnections(t *testing.T) {
	f := serve(t, func(cfg *rtsp.Config) { cfg.MaxConnections = 2 })
	var open []net.Conn
	for range 2 {
		c, err := net.Dial("tcp", f.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		open = append(open, c)
	}
	eventually(t, "two connections", func() bool { return f.Stats().Connections == 2 })
	c, err := net.Dial("tcp", f.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := c.Read(make([]byte, 1)); err == nil || isTimeout(err) {
		t.Errorf("got %v from the third connection, want it closed", err)
	}
	_ = open[0].Close()
	eventually(t, "one connection", func() bool { return f.Stats().Connections == 1 })
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

func TestServer_RenditionForWhatPlayersCannotDecode(t *testing.T) {
	h264 := record(t, stream.H264, "10")
	r := stream.New(stream.Config{Name: "rendition"})
	defer r.Close()
	wants, released := make(chan rtsp.Want, 4), make(chan struct{}, 4)
	f := serve(t, func(cfg *rtsp.Config) {
		cfg.Render = func(_ context.Context, src *stream.Stream, w rtsp.Want) (*stream.Stream, func(), error) {
			wants <- w
			return r, func() { released <- struct{}{} }, nil
		}
	})
	publish(t, f.s, record(t, stream.VP9, "10"))
	publish(t, r, h264)
	if _, sdp := f.describe(t, "algebra?token="+goodToken, ""); !strings.Contains(sdp, "H264/90000") || !strings.Contains(sdp, "sprop-parameter-sets=") {
		t.Errorf("got no H.264 with parameter sets in %q", sdp)
	}
	if w := <-wants; w != rtsp.Full {
		t.Errorf("got rendition %v, want Full", w)
	}
	select {
	case <-released:
	case <-time.After(5 * time.Second):
		t.Error("rendition not released after the last player")
	}
	if _, sdp := f.describe(t, "algebra?video=original&token="+goodToken, ""); !strings.Contains(sdp, "VP9/90000") {
		t.Errorf("got no VP9 in %q", sdp)
	}
}

func TestServer_CloseEndsPlayers(t *testing.T) {
	f := serve(t)
	publish(t, f.s, record(t, stream.VP8, "10"))
	cl := dial(t, f, "algebra?token="+goodToken)
	cl.play()
	cl.video()
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if !cl.bye() {
		t.Error("got no RTCP BYE before the end")
	}
	if n := f.dir.players.Load(); n != 0 {
		t.Errorf("got %d players after Close, want 0", n)
	}
	if err := f.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
}

func TestServer_PlaysRenditionInSync(t *testing.T) {
	pool := transcode.New(transcode.Config{IdleStop: -1})
	t.Cleanup(pool.Close)
	if err := pool.Available(); err != nil {
		t.Skip(err)
	}
	f := serve(t, func(cfg *rtsp.Config) {
		cfg.Render = func(ctx context.Context, src *stream.Stream, w rtsp.Want) (*stream.Stream, func(), error) {
			want := transcode.Full
			if w == rtsp.AudioOnly {
				want = transcode.AudioOnly
			}
			r, err := pool.Acquire(ctx, src, want)
			if err != nil {
				return nil, nil, err
			}
			return r.Stream(), r.Release, nil
		}
	})
	publish(t, f.s, record(t, stream.VP9, "10"))
	check(t, f.play(t, "tcp", f.url("algebra?token="+goodToken), "4"))
}

func TestServer_EndOfClassEndsSessions(t *testing.T) {
	f := serve(t)
	f.dir.over = make(chan struct{})
	publish(t, f.s, record(t, stream.VP8, "10"))
	cl := dial(t, f, "algebra?token="+goodToken)
	cl.play()
	cl.video()
	close(f.dir.over)
	if !cl.bye() {
		t.Error("got no RTCP BYE before the end")
	}
	eventually(t, "the feed is gone", func() bool { return f.Stats().Feeds == 0 && f.dir.players.Load() == 0 })
}

package whip_test

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
	"github.com/pion/webrtc/v4/pkg/media"
	"go.uber.org/goleak"

	"github.com/lectern/lectern/ingest/whip"
	"github.com/lectern/lectern/internal/rtc"
	"github.com/lectern/lectern/stream"
	"github.com/lectern/lectern/stream/frame"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// lossy is an interceptor that loses a share of what is sent, repairs too.
type lossy struct {
	interceptor.NoOp
	share float64
	mu    sync.Mutex // guards what follows
	rnd   *rand.Rand
	lost  int
}

func (l *lossy) NewInterceptor(string) (interceptor.Interceptor, error) { return l, nil }

func (l *lossy) BindLocalStream(info *interceptor.StreamInfo, w interceptor.RTPWriter) interceptor.RTPWriter {
	if info.MimeType == webrtc.MimeTypeOpus {
		return w
	}
	return interceptor.RTPWriterFunc(func(h *rtp.Header, payload []byte, a interceptor.Attributes) (int, error) {
		l.mu.Lock()
		lose := l.rnd.Float64() < l.share
		if lose {
			l.lost++
		}
		l.mu.Unlock()
		if lose {
			return len(payload), nil
		}
		return w.Write(h, payload, a)
	})
}

// publisher is a browser: a pion PeerConnection with sound and picture.
type publisher struct {
	t     *testing.T
	pc    *webrtc.PeerConnection
	video *webrtc.TrackLocalStaticSample
	audio *webrtc.TrackLocalStaticSample
	plis  atomic.Int32
	rtcp  sync.WaitGroup
}

// newPublisher returns a publisher of sound and a picture of a MIME type; of
// nothing yet if that is "".
func newPublisher(t *testing.T, mime string, loss *lossy) *publisher {
	t.Helper()
	me, reg := &webrtc.MediaEngine{}, &interceptor.Registry{}
	if err := me.RegisterDefaultCodecs(); err != nil {
		t.Fatal(err)
	}
	if loss != nil {
		reg.Add(loss) // first: next to the wire
	}
	if err := webrtc.RegisterDefaultInterceptors(me, reg); err != nil {
		t.Fatal(err)
	}
	var se webrtc.SettingEngine
	se.SetIncludeLoopbackCandidate(true)
	api := webrtc.NewAPI(webrtc.WithMediaEngine(me), webrtc.WithInterceptorRegistry(reg), webrtc.WithSettingEngine(se))
	pc, err := api.NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		t.Fatal(err)
	}
	p := &publisher{t: t, pc: pc}
	t.Cleanup(func() {
		_ = pc.GracefulClose() // over by now in some tests
		p.rtcp.Wait()
	})
	if mime == "" {
		return p
	}
	p.audio = p.add(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2})
	p.video = p.add(webrtc.RTPCodecCapability{MimeType: mime, ClockRate: 90000})
	return p
}

func (p *publisher) add(c webrtc.RTPCodecCapability) *webrtc.TrackLocalStaticSample {
	p.t.Helper()
	track, err := webrtc.NewTrackLocalStaticSample(c, c.MimeType, "test")
	if err != nil {
		p.t.Fatal(err)
	}
	sender, err := p.pc.AddTrack(track)
	if err != nil {
		p.t.Fatal(err)
	}
	p.rtcp.Go(func() { // ended by the close of pc
		for {
			pkts, _, err := sender.ReadRTCP()
			if err != nil {
				return
			}
			for _, pkt := range pkts {
				if _, ok := pkt.(*rtcp.PictureLossIndication); ok {
					p.plis.Add(1)
				}
			}
		}
	})
	return track
}

// offer returns the offer with all candidates.
func (p *publisher) offer() *rtc.Offer {
	p.t.Helper()
	sdp, err := p.pc.CreateOffer(nil)
	if err != nil {
		p.t.Fatal(err)
	}
	gathered := webrtc.GatheringCompletePromise(p.pc)
	if err := p.pc.SetLocalDescription(sdp); err != nil {
		p.t.Fatal(err)
	}
	<-gathered
	o, err := rtc.ParseOffer([]byte(p.pc.LocalDescription().SDP), rtc.Publish)
	if err != nil {
		p.t.Fatal(err)
	}
	return o
}

// gateway is the other side.
type gateway struct {
	s   *whip.Session
	st  *stream.Stream
	pub *stream.Publication
	r   *stream.Reader
}

// connect answers the offer of p and waits until media can flow.
func connect(t *testing.T, p *publisher) *gateway {
	t.Helper()
	e, err := rtc.Listen(rtc.Config{Addr: "127.0.0.1:0", ConsentTimeout: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	g := &gateway{st: stream.New(stream.Config{Name: "room/main"})}
	g.s = whip.New(whip.Config{Endpoint: e}, p.offer())
	if g.pub, err = g.st.Publish(g.s.Source()); err != nil {
		t.Fatal(err)
	}
	if err := g.s.Start(g.pub); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = g.s.Close(nil)
		g.st.Close()
		if err := e.Close(); err != nil {
			t.Errorf("closing the endpoint: %v", err)
		}
	})
	if g.r, err = g.st.NewReader(stream.ReaderOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := p.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: string(g.s.Answer())}); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "connection", func() bool {
		return g.s.Connected() && p.pc.ConnectionState() == webrtc.PeerConnectionStateConnected
	})
	return g
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited 10 s for: %s", what)
		}
	}
}

// picture is a coded picture that tells its number.
func picture(mime string, n int) []byte {
	body := bytes.Repeat([]byte{byte(n) | 1}, 2500)
	if mime == webrtc.MimeTypeVP8 {
		if n%20 == 0 {
			return append([]byte{0x10, 2, 0, 0x9d, 1, 0x2a, 0x80, 2, 0x68, 1}, body...)
		}
		return append([]byte{0x11, 2, 0}, body...)
	}
	start := []byte{0, 0, 0, 1}
	if n%20 != 0 {
		return append(append(start, 0x61, 0x9a), body...)
	}
	sps := []byte{0x67, 0x42, 0xc0, 0x1f, 0xd9, 0x00, 0x78, 0x02, 0x27, 0xe5, 0x84, 0, 0, 3, 0, 4, 0, 0, 3, 0, 0xc8, 0x3c, 0x60, 0xc9, 0x20}
	out := append(append(append(start, sps...), start...), 0x68, 0xcb, 0x83)
	return append(append(append(out, start...), 0x65, 0x88), body...)
}

// send publishes pictures at 100 a second, with sound, until ctx ends or n are
// sent.
func (p *publisher) send(ctx context.Context, mime string, n int) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for i := 0; n == 0 || i < n; i++ {
		// After the end of pc both fail, which is as well.
		_ = p.video.WriteSample(media.Sample{Data: picture(mime, i), Duration: 10 * time.Millisecond})
		if i%2 == 0 {
			_ = p.audio.WriteSample(media.Sample{Data: []byte{0xf8, byte(i)}, Duration: 20 * time.Millisecond})
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func TestSession_RepairsLoss(t *testing.T) {
	for _, mime := range []string{webrtc.MimeTypeVP8, webrtc.MimeTypeH264} {
		t.Run(mime, func(t *testing.T) {
			const pictures = 120
			loss := &lossy{rnd: rand.New(rand.NewPCG(5, 6))}
			p := newPublisher(t, mime, loss)
			g := connect(t, p)
			loss.mu.Lock()
			loss.share = 0.05
			loss.mu.Unlock()
			var sending sync.WaitGroup
			sending.Go(func() { p.send(t.Context(), mime, pictures+10) }) // some more: the last may be lost
			got := assemble(t, g, pictures)
			sending.Wait()
			for i, au := range got[stream.Video] {
				if want := picture(mime, i); !bytes.Equal(au.Data, want) || au.Keyframe != (i%20 == 0) || au.Lost {
					t.Fatalf("picture %d: got %d bytes, keyframe %v, lost %v", i, len(au.Data), au.Keyframe, au.Lost)
				}
				if i > 0 && au.PTS-got[stream.Video][i-1].PTS > 15*time.Millisecond {
					t.Errorf("picture %d: got %v after the one before", i, au.PTS-got[stream.Video][i-1].PTS)
				}
			}
			for i, au := range got[stream.Audio] {
				if au.Data[1] != byte(2*i) {
					t.Fatalf("sound %d: got % x", i, au.Data)
				}
			}
			st := g.s.Stats()
			if loss.lost < 5 || st.Video.Repaired == 0 || st.Video.Lost != 0 || st.Video.Codec != stream.Codec(mime) {
				t.Errorf("lost %d on the way; got %+v", loss.lost, st.Video)
			}
			t.Logf("%d lost on the way, %d repaired, round trip %v", loss.lost, st.Video.Repaired, st.Video.RTT)
		})
	}
}

// assemble reads until there are n pictures.
func assemble(t *testing.T, g *gateway, n int) (out [2][]*frame.AccessUnit) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
	defer cancel()
	a := frame.NewAssembler()
	for len(out[stream.Video]) < n {
		u, err := g.r.Read(ctx)
		if err != nil {
			t.Fatalf("after %d pictures: %v", len(out[stream.Video]), err)
		}
		if au, ok := a.Push(u); ok {
			out[au.Track.Kind] = append(out[au.Track.Kind], au)
		}
	}
	return out
}

func TestSession_AsksForKeyframes(t *testing.T) {
	p := newPublisher(t, webrtc.MimeTypeVP8, nil)
	g := connect(t, p)
	var sending sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	sending.Go(func() { p.send(ctx, webrtc.MimeTypeVP8, 0) })
	defer sending.Wait()
	defer cancel()
	assemble(t, g, 2)
	before := p.plis.Load()
	waitFor(t, "PLI", func() bool {
		g.st.RequestKeyframe() // again and again: a keyframe just now counts as its answer
		return p.plis.Load() > before
	})
	waitFor(t, "NTP of the sender", func() bool {
		u, err := g.r.Read(ctx)
		return err == nil && time.Since(u.NTP).Abs() < time.Second
	})
}

func TestSession_EndsWithThePeer(t *testing.T) {
	p := newPublisher(t, webrtc.MimeTypeVP8, nil)
	g := connect(t, p)
	if err := p.pc.GracefulClose(); err != nil {
		t.Fatal(err)
	}
	<-g.s.Done()
	if err := g.s.Err(); !errors.Is(err, rtc.ErrPeerClosed) {
		t.Errorf("got %v, want ErrPeerClosed", err)
	}
	if err := g.pub.Err(); err != nil {
		t.Errorf("the publication ended: %v; that is the caller's part", err)
	}
}

func TestSession_EndsWithThePublication(t *testing.T) {
	p := newPublisher(t, webrtc.MimeTypeVP8, nil)
	g := connect(t, p)
	other, err := g.st.Publish(stream.Source{})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	<-g.s.Done()
	if err := g.s.Err(); !errors.Is(err, stream.ErrReplaced) {
		t.Errorf("got %v, want ErrReplaced", err)
	}
}

func TestSession_Close(t *testing.T) {
	p := newPublisher(t, webrtc.MimeTypeVP8, nil)
	g := connect(t, p)
	why := errors.New("deleted")
	if err := g.s.Close(why); err != nil {
		t.Fatal(err)
	}
	<-g.s.Done()
	if err := g.s.Err(); !errors.Is(err, why) {
		t.Errorf("got %v, want %v", err, why)
	}
}

func TestSession_CloseUnstarted(t *testing.T) {
	s := whip.New(whip.Config{}, newPublisher(t, webrtc.MimeTypeVP8, nil).offer())
	if kinds := s.Source().Kinds; len(kinds) != 2 {
		t.Errorf("got kinds %v, want both", kinds)
	}
	if err := s.Close(nil); !errors.Is(err, whip.ErrNotStarted) {
		t.Errorf("got %v, want ErrNotStarted", err)
	}
}

package playback_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"
	"github.com/pion/webrtc/v4/pkg/media/oggreader"
	"go.uber.org/goleak"

	"github.com/lectern/lectern/storage"
	"github.com/lectern/lectern/storage/playback"
	"github.com/lectern/lectern/stream"
	"github.com/lectern/lectern/stream/frame"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// clock is the time of a recording that is made faster than it plays.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) set(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = t
}

// access is one access unit of a clip.
type access struct {
	pts  time.Duration
	data []byte
}

const (
	fps       = 20
	clipTime  = 6 * time.Second
	flash     = "color=black:s=%:r=20,drawbox=c=white:t=fill:enable='lt(mod(t,1),0.1)'"
	beep      = "aevalsrc='0.5*sin(2*PI*880*t)*lt(mod(t,1),0.1)':s=48000"
	encodeVP8 = "-c:v libvpx -deadline realtime -cpu-used 8 -b:v 500k -f ivf"
	encodeVP9 = "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -b:v 500k -f ivf"
	encodeAV1 = "-c:v libaom-av1 -usage realtime -cpu-used 8 -b:v 300k -lag-in-frames 0 -f ivf"
	encode264 = "-c:v libx264 -preset ultrafast -tune zerolatency -profile:v baseline -bsf:v h264_metadata=aud=insert -f h264"
)

func encode(t testing.TB, codec stream.Codec, size string) []access {
	t.Helper()
	how := map[stream.Codec]string{stream.VP8: encodeVP8, stream.VP9: encodeVP9, stream.AV1: encodeAV1, stream.H264: encode264}[codec]
	args := append([]string{"-f", "lavfi", "-t", "6", "-i", strings.Replace(flash, "%", size, 1), "-g", "40", "-pix_fmt", "yuv420p"}, strings.Fields(how)...)
	raw := ffmpeg(t, append(args, "-")...)
	var out []access
	if codec == stream.H264 {
		aud := []byte{0, 0, 0, 1, 9}
		for _, au := range bytes.Split(raw, aud)[1:] {
			out = append(out, access{data: append(bytes.Clone(aud), au...)})
		}
	} else {
		for raw = raw[32:]; len(raw) >= 12; {
			n := 12 + binary.LittleEndian.Uint32(raw)
			out = append(out, access{data: raw[12:n]})
			raw = raw[n:]
		}
	}
	for i := range out {
		out[i].pts = time.Duration(i) * time.Second / fps
	}
	return out
}

func encodeSound(t testing.TB) []access {
	t.Helper()
	raw := ffmpeg(t, "-f", "lavfi", "-t", "6", "-i", beep, "-c:a", "libopus", "-page_duration", "20000", "-f", "ogg", "-")
	r, _, err := oggreader.NewWith(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	var out []access
	for {
		data, _, err := r.ParseNextPage()
		if errors.Is(err, io.EOF) {
			return out[:clipTime/(20*time.Millisecond)]
		}
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.HasPrefix(data, []byte("OpusTags")) {
			out = append(out, access{pts: time.Duration(len(out)) * 20 * time.Millisecond, data: data})
		}
	}
}

func ffmpeg(t testing.TB, args ...string) []byte {
	t.Helper()
	out, err := exec.Command("ffmpeg", append([]string{"-v", "error"}, args...)...).Output()
	if err != nil {
		var ee *exec.ExitError
		if errors.As(err, &ee) {
			t.Fatalf("ffmpeg %v: %v: %s", args, err, ee.Stderr)
		}
		t.Skipf("no ffmpeg: %v", err)
	}
	return out
}

// studio makes a recording out of clips.
type studio struct {
	t      testing.TB
	clock  *clock
	began  time.Time
	store  *storage.Store
	rec    *storage.Recording
	stream *stream.Stream
	lib    *playback.Library
	sound  []access
}

func newStudio(t testing.TB) *studio {
	t.Helper()
	s := &studio{t: t, began: time.Now().Add(-time.Hour).Truncate(time.Millisecond)}
	s.clock = &clock{at: s.began}
	var err error
	s.store, err = storage.Open(context.Background(), storage.Config{Dir: t.TempDir(), Now: s.clock.now, WriteEvery: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	s.stream = stream.New(stream.Config{Name: "algebra/main", Now: s.clock.now})
	if s.rec, err = s.store.Begin("algebra", "Groups", s.began); err != nil {
		t.Fatal(err)
	}
	if err := s.rec.AddStream("main", s.stream); err != nil {
		t.Fatal(err)
	}
	s.lib = playback.New(playback.Config{Store: s.store})
	s.sound = encodeSound(t)
	t.Cleanup(func() {
		s.stream.Close()
		if err := s.store.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// shot is a clip within a publication.
type shot struct {
	at    time.Duration
	codec stream.Codec
	video []access // nil: sound only
	mute  bool
}

// publish sends shots, one after the other, as one publisher.
func (s *studio) publish(shots ...shot) {
	s.t.Helper()
	kinds := []stream.Kind{stream.Video, stream.Audio}
	pub, err := s.stream.Publish(stream.Source{Kinds: kinds})
	if err != nil {
		s.t.Fatal(err)
	}
	// The clock of the tests runs fast: what came before the publisher went is to
	// be written before it goes, as it is at the speed of life.
	defer func() { s.settle(); pub.Close() }()
	audio := &stream.Track{ID: "a", Kind: stream.Audio, Codec: stream.Opus, ClockRate: 48000, Channels: 2}
	tracks := map[stream.Codec]*stream.Track{}
	seq := map[stream.Kind]uint16{}
	for _, sh := range shots {
		tr := tracks[sh.codec]
		if tr == nil {
			tr = &stream.Track{ID: "v", Kind: stream.Video, Codec: sh.codec, ClockRate: 90000}
			tracks[sh.codec] = tr
		}
		pay := map[stream.Codec]rtp.Payloader{
			stream.VP8: &codecs.VP8Payloader{}, stream.VP9: &codecs.VP9Payloader{},
			stream.AV1: &codecs.AV1Payloader{}, stream.H264: &codecs.H264Payloader{},
		}[sh.codec]
		v, a := sh.video, s.sound
		if sh.mute {
			a = nil
		}
		for len(v) > 0 || len(a) > 0 {
			if len(v) == 0 || (len(a) > 0 && a[0].pts < v[0].pts) {
				s.send(pub, audio, &codecs.OpusPayloader{}, sh.at, a[0], seq)
				a = a[1:]
			} else {
				s.send(pub, tr, pay, sh.at, v[0], seq)
				v = v[1:]
			}
		}
	}
}

func (s *studio) send(pub *stream.Publication, tr *stream.Track, pay rtp.Payloader, at time.Duration, u access, seq map[stream.Kind]uint16) {
	pts := at + u.pts
	s.clock.set(s.began.Add(pts))
	payloads := pay.Payload(1150, bytes.Clone(u.data))
	for i, p := range payloads {
		seq[tr.Kind]++
		err := pub.Write(&stream.Unit{
			Track: tr, PTS: pts, Arrival: s.began.Add(pts),
			Keyframe: tr.Kind == stream.Audio || frame.KeyframeStart(tr.Codec, p),
			Packet: &rtp.Packet{Header: rtp.Header{
				Version: 2, Marker: i == len(payloads)-1, SequenceNumber: seq[tr.Kind],
				Timestamp: uint32(int64(pts) * int64(tr.ClockRate) / int64(time.Second)),
			}, Payload: p},
		})
		if err != nil {
			s.t.Fatal(err)
		}
	}
	if s.stream.Stats().Units%500 == 0 {
		s.settle()
	}
}

// settle waits until the recorder has written what was sent.
func (s *studio) settle() {
	s.t.Helper()
	const rest = 25 * time.Millisecond
	last, since := int64(-1), time.Now()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(10 * time.Second); time.Since(since) < rest; {
		<-tick.C
		n := int64(0)
		for _, tr := range s.rec.Manifest().Tracks {
			n += tr.Frames
		}
		if n != last {
			last, since = n, time.Now()
		}
		if time.Now().After(deadline) {
			s.t.Fatal("the recorder does not come to rest")
		}
	}
}

// end ends the recording at a time and opens it.
func (s *studio) end(at time.Duration) *playback.Lecture {
	s.t.Helper()
	s.settle()
	s.clock.set(s.began.Add(at))
	if err := s.rec.End(context.Background()); err != nil {
		s.t.Fatal(err)
	}
	return s.open()
}

func (s *studio) open() *playback.Lecture {
	s.t.Helper()
	x, err := s.lib.Lecture(context.Background(), s.rec.ID())
	if err != nil {
		s.t.Fatal(err)
	}
	return x
}

// write puts data into a file for ffmpeg.
func write(t testing.TB, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// probe is one entry of ffprobe for all packets or frames of a file.
func probe(t testing.TB, file, what, entry string) []float64 {
	t.Helper()
	out, err := exec.Command("ffprobe", "-v", "error", "-show_entries", what+"="+entry, "-of", "csv=p=0", file).CombinedOutput()
	if err != nil {
		t.Fatalf("ffprobe: %v: %s", err, out)
	}
	var vs []float64
	for line := range strings.Lines(string(out)) {
		v, err := strconv.ParseFloat(strings.Trim(line, ", \n"), 64)
		if err != nil {
			t.Fatalf("ffprobe said %q", line)
		}
		vs = append(vs, v)
	}
	return vs
}

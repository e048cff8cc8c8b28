package rtsp_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"
	"github.com/pion/webrtc/v4/pkg/media/oggreader"

	"github.com/lectern/lectern/stream"
)

// frame is one access unit of a clip.
type frame struct {
	pts  time.Duration
	data []byte
	key  bool
}

// clip is some seconds of a black picture that flashes white, and of silence
// that beeps, both for the first tenth of each second.
type clip struct {
	codec        stream.Codec
	video, audio []frame
	length       time.Duration
}

const (
	clipSeconds = "4"
	clipFPS     = 20
	flash       = "color=black:s=320x180:r=20,drawbox=c=white:t=fill:enable='lt(mod(t,1),0.1)'"
	beep        = "aevalsrc='0.5*sin(2*PI*880*t)*lt(mod(t,1),0.1)':s=48000"
)

// record makes a clip with a keyframe each group frames.
func record(t *testing.T, codec stream.Codec, group string) clip {
	t.Helper()
	c := clip{codec: codec, length: 4 * time.Second}
	enc := map[stream.Codec]string{
		stream.VP8:  "-c:v libvpx -deadline realtime -cpu-used 8 -b:v 500k -f ivf",
		stream.VP9:  "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -b:v 500k -f ivf",
		stream.H264: "-c:v libx264 -preset ultrafast -tune zerolatency -profile:v baseline -bsf:v h264_metadata=aud=insert -f h264",
	}[codec]
	raw := ffmpeg(t, append([]string{"-f", "lavfi", "-t", clipSeconds, "-i", flash, "-g", group, "-pix_fmt", "yuv420p"}, append(strings.Fields(enc), "-")...)...)
	if codec == stream.H264 {
		c.video = splitAnnexB(raw)
	} else {
		c.video = splitIVF(raw, codec)
	}
	ogg := ffmpeg(t, "-f", "lavfi", "-t", clipSeconds, "-i", beep, "-c:a", "libopus", "-page_duration", "20000", "-f", "ogg", "-")
	c.audio = splitOgg(t, ogg)
	return c
}

func ffmpeg(t *testing.T, args ...string) []byte {
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

func splitIVF(raw []byte, codec stream.Codec) []frame {
	var fs []frame
	for raw = raw[32:]; len(raw) >= 12; {
		n := binary.LittleEndian.Uint32(raw)
		data := raw[12 : 12+n]
		key := data[0]&1 == 0
		if codec == stream.VP9 {
			key = data[0]&0x04 == 0 // profile 0: frame_marker, profile, show_existing_frame, frame_type
		}
		fs = append(fs, frame{pts: time.Duration(len(fs)) * time.Second / clipFPS, data: data, key: key})
		raw = raw[12+n:]
	}
	return fs
}

func splitAnnexB(raw []byte) []frame {
	var fs []frame
	aud := []byte{0, 0, 0, 1, 9}
	for _, au := range bytes.Split(raw, aud)[1:] {
		data := append(bytes.Clone(aud), au...)
		fs = append(fs, frame{
			pts:  time.Duration(len(fs)) * time.Second / clipFPS,
			data: data,
			key:  bytes.Contains(data, []byte{0, 0, 1, 0x65}),
		})
	}
	return fs
}

func splitOgg(t *testing.T, raw []byte) []frame {
	t.Helper()
	r, _, err := oggreader.NewWith(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	const preSkip = 312 * time.Second / 48000 // libopus at 48 kHz
	var fs []frame
	for {
		data, _, err := r.ParseNextPage()
		if errors.Is(err, io.EOF) {
			return fs
		}
		if err != nil {
			t.Fatal(err)
		}
		if bytes.HasPrefix(data, []byte("OpusTags")) {
			continue
		}
		pts := time.Duration(len(fs))*20*time.Millisecond - preSkip
		fs = append(fs, frame{pts: max(pts, 0), data: data, key: true})
	}
}

// publisher plays a clip into a stream at its natural speed, over and over.
type publisher struct {
	c     clip
	s     *stream.Stream
	pub   *stream.Publication
	again chan struct{} // a keyframe was asked for
	stop  context.CancelFunc
	wg    sync.WaitGroup
	mu    sync.Mutex // held by write
	video packetizer
	audio packetizer
}

type packetizer struct {
	track *stream.Track
	pay   rtp.Payloader
	seq   uint16
}

func publish(t *testing.T, s *stream.Stream, c clip, kinds ...stream.Kind) *publisher {
	t.Helper()
	if len(kinds) == 0 {
		kinds = []stream.Kind{stream.Audio, stream.Video}
	}
	p := &publisher{c: c, s: s, again: make(chan struct{}, 1)}
	p.video = packetizer{track: &stream.Track{ID: "v", Kind: stream.Video, Codec: c.codec, ClockRate: 90000}}
	switch c.codec {
	case stream.VP8:
		p.video.pay = &codecs.VP8Payloader{EnablePictureID: true}
		p.video.pay.Payload(100, []byte{0}) // the payloader leaves out picture id 0
	case stream.VP9:
		p.video.pay = &codecs.VP9Payloader{}
	case stream.H264:
		p.video.pay = &codecs.H264Payloader{}
	}
	p.audio = packetizer{
		track: &stream.Track{ID: "a", Kind: stream.Audio, Codec: stream.Opus, ClockRate: 48000, Channels: 2},
		pay:   &codecs.OpusPayloader{},
		seq:   777,
	}
	var err error
	p.pub, err = s.Publish(stream.Source{Kinds: kinds, RequestKeyframe: func() {
		select {
		case p.again <- struct{}{}:
		default:
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	var ctx context.Context
	ctx, p.stop = context.WithCancel(context.Background())
	p.wg.Go(func() { p.run(ctx, kinds) })
	t.Cleanup(p.close)
	return p
}

func (p *publisher) close() {
	p.stop()
	p.wg.Wait()
	p.pub.Close()
}

// run restarts the clip, which begins with a keyframe, at its end and whenever
// a keyframe is asked for.
func (p *publisher) run(ctx context.Context, kinds []stream.Kind) {
	base := p.s.Since(time.Now())
	for ctx.Err() == nil {
		if p.once(ctx, kinds, base) {
			base += p.c.length
		} else {
			base = p.s.Since(time.Now())
		}
	}
}

// once plays the clip from base on, and reports whether it came to its end.
func (p *publisher) once(ctx context.Context, kinds []stream.Kind, base time.Duration) bool {
	select {
	case <-p.again:
	default:
	}
	v, a := p.c.video, p.c.audio
	for len(v) > 0 && len(a) > 0 {
		from, next, pk := &v, v[0], &p.video
		if a[0].pts < v[0].pts {
			from, next, pk = &a, a[0], &p.audio
		}
		*from = (*from)[1:]
		timer := time.NewTimer(base + next.pts - p.s.Since(time.Now()))
		select {
		case <-timer.C:
		case <-p.again:
			timer.Stop()
			return false
		case <-ctx.Done():
			timer.Stop()
			return false
		}
		for _, k := range kinds {
			if k == pk.track.Kind {
				p.write(pk, next, base)
			}
		}
	}
	return true
}

func (p *publisher) write(pk *packetizer, f frame, base time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	pts := base + f.pts
	payloads := pk.pay.Payload(1150, f.data)
	now := time.Now()
	for i, pl := range payloads {
		key := f.key && i == 0
		if pk.track.Codec == stream.H264 && f.key {
			key = len(pl) > 1 && (pl[0]&0x1f == 24 || pl[0]&0x1f == 5 || pl[0]&0x1f == 28 && pl[1] == 0x85)
		}
		u := &stream.Unit{
			Track: pk.track, PTS: pts, Arrival: now, Keyframe: key || pk.track.Kind == stream.Audio,
			Packet: &rtp.Packet{Header: rtp.Header{
				Version: 2, Marker: i == len(payloads)-1, SequenceNumber: pk.seq,
				Timestamp: uint32(int64(pts) * int64(pk.track.ClockRate) / int64(time.Second)),
			}, Payload: pl},
		}
		pk.seq++
		_ = p.pub.Write(u) // replaced: the test says so
	}
}

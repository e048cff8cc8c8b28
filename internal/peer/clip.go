package peer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/pion/webrtc/v4"
	"github.com/pion/webrtc/v4/pkg/media"
	"github.com/pion/webrtc/v4/pkg/media/h264reader"
	"github.com/pion/webrtc/v4/pkg/media/ivfreader"
	"github.com/pion/webrtc/v4/pkg/media/oggreader"
)

// Clip is a few seconds of encoded picture and sound, to be sent in a loop.
type Clip struct {
	MIME   string
	frames [][]byte // one access unit each
	keys   []int    // indices of keyframes
	audio  [][]byte // Opus packets of 20 ms
}

const clipFPS = 30

// MakeClip encodes a test picture of 720p with ffmpeg: VP8 or H.264 at kbits
// with a keyframe each second, and a tone. dir keeps the files.
func MakeClip(dir, mime string, kbits int) (*Clip, error) {
	return MakeSmallClip(dir, mime, kbits, 720)
}

// MakeSmallClip is MakeClip in another size: height lines, 16:9.
func MakeSmallClip(dir, mime string, kbits, height int) (*Clip, error) {
	c := &Clip{MIME: mime}
	rate := fmt.Sprintf("%dk", kbits)
	video, audio := filepath.Join(dir, "clip.ivf"), filepath.Join(dir, "clip.ogg")
	encode := []string{"-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8", "-auto-alt-ref", "0"}
	if mime == webrtc.MimeTypeH264 {
		video = filepath.Join(dir, "clip.h264")
		// One slice for a picture: readH264 takes each for one.
		encode = []string{"-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-threads", "1", "-profile:v", "baseline"}
	}
	args := append([]string{"-v", "error", "-y", "-f", "lavfi", "-i", fmt.Sprintf("testsrc2=size=%dx%d:rate=30", height*16/9&^1, height), "-t", "4"}, encode...)
	args = append(args, "-b:v", rate, "-maxrate", rate, "-bufsize", rate, "-g", "30", video)
	if err := ffmpeg(args...); err != nil {
		return nil, err
	}
	if err := ffmpeg("-v", "error", "-y", "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000", "-t", "4", "-c:a", "libopus", "-page_duration", "20000", audio); err != nil {
		return nil, err
	}
	read := c.readIVF
	if mime == webrtc.MimeTypeH264 {
		read = c.readH264
	}
	if err := withFile(video, read); err != nil {
		return nil, err
	}
	return c, withFile(audio, c.readOgg)
}

func ffmpeg(args ...string) error {
	if out, err := exec.Command("ffmpeg", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("ffmpeg: %w: %s", err, out)
	}
	return nil
}

func withFile(name string, do func(io.Reader) error) error {
	b, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	if err := do(bytes.NewReader(b)); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read %s: %w", name, err)
	}
	return nil
}

func (c *Clip) readIVF(r io.Reader) error {
	ivf, _, err := ivfreader.NewWith(r)
	if err != nil {
		return err
	}
	for {
		f, _, err := ivf.ParseNextFrame()
		if err != nil {
			return err
		}
		if f[0]&1 == 0 { // VP8: the inverse keyframe bit (RFC 7741, section 4.3)
			c.keys = append(c.keys, len(c.frames))
		}
		c.frames = append(c.frames, f)
	}
}

func (c *Clip) readH264(r io.Reader) error {
	h, err := h264reader.NewReader(r)
	if err != nil {
		return err
	}
	var au []byte
	for {
		n, err := h.NextNAL()
		if err != nil {
			return err
		}
		au = append(append(au, 0, 0, 0, 1), n.Data...)
		if n.UnitType == h264reader.NalUnitTypeCodedSliceIdr || n.UnitType == h264reader.NalUnitTypeCodedSliceNonIdr {
			if n.UnitType == h264reader.NalUnitTypeCodedSliceIdr {
				c.keys = append(c.keys, len(c.frames))
			}
			c.frames = append(c.frames, au)
			au = nil
		}
	}
}

func (c *Clip) readOgg(r io.Reader) error {
	ogg, _, err := oggreader.NewWith(r)
	if err != nil {
		return err
	}
	for {
		p, _, err := ogg.ParseNextPage()
		if err != nil {
			return err
		}
		if !bytes.HasPrefix(p, []byte("OpusTags")) {
			c.audio = append(c.audio, p)
		}
	}
}

// Play sends the clip in a loop, in real time, until ctx ends. A keyframe
// request is answered with the clip's next keyframe at once.
func (p *Publisher) Play(ctx context.Context, c *Clip) error {
	start := time.Now()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	frame, sent, heard := 0, 0, 0
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-p.keys:
			frame = c.nextKey(frame)
			continue
		case <-tick.C:
		}
		now := time.Since(start)
		for ; sent < int(now*clipFPS/time.Second); sent++ {
			data := c.frames[frame]
			if p.Stamp {
				data = stamped(data, 's', time.Now())
			}
			if err := p.Video.WriteSample(media.Sample{Data: data, Duration: time.Second / clipFPS}); err != nil {
				return err
			}
			frame = (frame + 1) % len(c.frames)
		}
		for ; heard < int(now/(20*time.Millisecond)); heard++ {
			if err := p.Audio.WriteSample(media.Sample{Data: c.audio[heard%len(c.audio)], Duration: 20 * time.Millisecond}); err != nil {
				return err
			}
		}
	}
}

func (c *Clip) nextKey(from int) int {
	for _, k := range c.keys {
		if k >= from {
			return k
		}
	}
	return 0
}

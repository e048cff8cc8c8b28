package playback

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/bluenviron/mediacommon/v2/pkg/formats/fmp4"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/mp4"

	"github.com/lectern/lectern/stream"
)

// waitDelay is how long ffmpeg has to end after its input or its context has.
const waitDelay = 5 * time.Second

// run lets ffmpeg work on what feed writes. It waits for one of few tickets
// first. Its output is bounded by limit; more is an error.
func (l *Library) run(ctx context.Context, feed func(io.Writer) error, limit int, args ...string) ([]byte, error) {
	if l.ffmpeg == "" {
		return nil, fmt.Errorf("%w: no ffmpeg", ErrUnsupported)
	}
	select {
	case l.jobs <- struct{}{}:
		defer func() { <-l.jobs }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	ctx, cancel := context.WithTimeout(ctx, jobLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, l.ffmpeg, append([]string{"-v", "error", "-nostdin", "-y"}, args...)...)
	cmd.WaitDelay = waitDelay
	out, complaints := &bounded{left: limit}, &bounded{left: 1 << 12}
	cmd.Stdout, cmd.Stderr = out, complaints
	r, w := io.Pipe()
	cmd.Stdin = r
	done := make(chan error, 1)
	go func() { // ended by the end of the pipe, which is below
		err := feed(w)
		_ = w.CloseWithError(err) // the reader sees it; it never fails
		done <- err
	}()
	err := cmd.Run()
	_ = r.Close() // feed ends, if it has not
	if fed := <-done; fed != nil && !errors.Is(fed, io.ErrClosedPipe) {
		return nil, fed
	}
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, fmt.Errorf("run ffmpeg: %w: %s", err, bytes.TrimSpace(complaints.buf.Bytes()))
	}
	if out.over {
		return nil, fmt.Errorf("run ffmpeg: more than %d bytes", limit)
	}
	return out.buf.Bytes(), nil
}

// bounded keeps the first bytes written to it.
type bounded struct {
	buf  bytes.Buffer
	left int
	over bool
}

// Write never fails.
func (b *bounded) Write(p []byte) (int, error) {
	n := min(len(p), b.left)
	b.left -= n
	b.over = b.over || n < len(p)
	b.buf.Write(p[:n])
	return len(p), nil
}

// mp4Download makes an MP4 that all players take, with its index at the head, of
// fragments or of WebM, in a file that is removed before it is sent.
func (x *Lecture) mp4Download(ctx context.Context, tl *timeline) (*Download, error) {
	codec, err := tl.codec()
	if err != nil {
		return nil, err
	}
	if codec == stream.VP8 {
		return nil, fmt.Errorf("%w: VP8 in MP4", ErrUnsupported)
	}
	dir, err := x.lib.cfg.Store.LectureDir(x.m.ID)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, ".export-"+rand.Text()+".mp4")
	defer func() { _ = os.Remove(path) }() // on Unix the open file stays
	feed := func(w io.Writer) error { return x.writeFragments(w, tl) }
	if codec != stream.H264 {
		feed = func(w io.Writer) error {
			v, err := x.webmFile(tl)
			if err == nil {
				_, err = io.Copy(w, v)
			}
			return err
		}
	}
	if _, err := x.lib.run(ctx, feed, 1<<12, "-i", "pipe:0", "-c", "copy", "-movflags", "+faststart", "-f", "mp4", path); err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open export: %w", err)
	}
	st, err := f.Stat()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open export: %w", err), f.Close())
	}
	return &Download{Name: MP4, MediaType: "video/mp4", Size: st.Size(), ReadSeeker: f, close: f.Close}, nil
}

// writeFragments writes a lecture of H.264 as fragmented MP4.
func (x *Lecture) writeFragments(w io.Writer, tl *timeline) error {
	var tracks []*fmp4.InitTrack
	if len(tl.parts) > 0 {
		c := tl.parts[0].config
		tracks = append(tracks, &fmp4.InitTrack{ID: videoNumber, TimeScale: videoClock, Codec: &mp4.CodecH264{SPS: c.sps, PPS: c.pps}})
	}
	if len(tl.audio) > 0 {
		tracks = append(tracks, &fmp4.InitTrack{ID: audioNumber, TimeScale: audioClock, Codec: &mp4.CodecOpus{ChannelCount: 2}})
	}
	head, err := marshalInit(tracks...)
	if err != nil {
		return err
	}
	if _, err := w.Write(head); err != nil {
		return err
	}
	for _, s := range tl.interleaved() {
		samples, err := x.samples(s.segment)
		if errors.Is(err, ErrBroken) {
			continue // the rest is worth having
		}
		if err != nil {
			return err
		}
		b, err := marshalFragment(int(s.number), samples, s.end)
		if err != nil {
			return err
		}
		if _, err := w.Write(b); err != nil {
			return err
		}
	}
	return nil
}

// Posters.
const (
	posterFile  = "poster.jpg"
	maxPoster   = 4 << 20 // bytes
	posterWidth = 640     // pixels
	posterPart  = 5       // the poster is taken at one fifth of the lecture
)

// Poster returns a picture of the lecture, and keeps it in the folder once the
// recording is complete. It returns ErrNotFound without video, and ErrUnsupported
// without ffmpeg.
func (x *Lecture) Poster(ctx context.Context) (Content, error) {
	c := Content{MediaType: "image/jpeg"}
	if f, err := x.openFile(posterFile); err == nil {
		defer f.Close() // read only
		c.Data, err = io.ReadAll(io.LimitReader(f, maxPoster))
		return c, err
	}
	tl, err := x.slot("")
	if err != nil {
		return Content{}, err
	}
	s, ok := tl.posterSegment()
	if !ok {
		return Content{}, ErrNotFound
	}
	key, err := x.keyframe(s)
	if err != nil {
		return Content{}, err
	}
	c.Data, err = x.lib.run(ctx, func(w io.Writer) error { _, err := w.Write(ivfOf(s.t.codec, key)); return err }, maxPoster,
		"-f", "ivf", "-i", "pipe:0", "-frames:v", "1", "-vf", fmt.Sprintf("scale=min(%d\\,iw):-2", posterWidth),
		"-q:v", "4", "-f", "mjpeg", "pipe:1")
	if err != nil {
		return Content{}, err
	}
	if len(c.Data) == 0 {
		return Content{}, fmt.Errorf("%w: no picture", ErrBroken)
	}
	if !x.Growing() {
		if err := x.keepPoster(c.Data); err != nil {
			x.lib.cfg.Log.Warn("poster not kept", "recording", x.m.ID, "err", err)
		}
	}
	return c, nil
}

// posterSegment is the segment that the poster is taken of.
func (tl *timeline) posterSegment() (segment, bool) {
	at := tl.endMS * videoClock / 1000 / posterPart
	var found segment
	for _, p := range tl.parts {
		for _, s := range p.segments {
			if s.kind == media && (found.t == nil || s.start <= at) {
				found = s
			}
		}
	}
	return found, found.t != nil
}

func (x *Lecture) keyframe(s segment) ([]byte, error) {
	f, err := x.openFile(s.t.info.File)
	if err != nil {
		return nil, err
	}
	defer f.Close() // read only
	return readFrame(f, s.from, s.to)
}

// ivfOf is an IVF file of one frame.
func ivfOf(c stream.Codec, data []byte) []byte {
	fourcc := map[stream.Codec]string{stream.VP8: "VP80", stream.VP9: "VP90", stream.AV1: "AV01", stream.H264: "H264"}[c]
	b := []byte("DKIF\x00\x00\x20\x00" + fourcc)
	b = append(b, make([]byte, ivfHeader-len(b))...)
	binary.LittleEndian.PutUint32(b[16:], videoClock)
	binary.LittleEndian.PutUint32(b[20:], 1)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(data)))
	return append(append(b, make([]byte, 8)...), data...)
}

// keepPoster writes the poster under a temporary name first: others may read.
func (x *Lecture) keepPoster(data []byte) error {
	dir, err := x.lib.cfg.Store.LectureDir(x.m.ID)
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close() // the files in it are closed
	tmp := ".poster-" + rand.Text()
	if err := root.WriteFile(tmp, data, 0o640); err != nil {
		return errors.Join(err, root.Remove(tmp))
	}
	return root.Rename(tmp, posterFile)
}

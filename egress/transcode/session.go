package transcode

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/yutopp/go-flv/tag"

	"github.com/lectern/lectern/stream"
	"github.com/lectern/lectern/stream/frame"
)

const (
	// lead is added to the timestamps that the child sees, so that the priming
	// of its AAC encoder (1024 samples before the first) does not fall below 0.
	lead = time.Second

	// maxJump is the longest gap that a child is told of; after a longer one it
	// is started anew. The encoder would have to make silence for all of it.
	maxJump = 10 * time.Second

	// maxHeld and maxHeldUnits bound the audio that waits for the first keyframe.
	maxHeld      = 3 * time.Second
	maxHeldUnits = 512

	// mute is how long the child may go on without giving anything back for what
	// it is fed.
	mute = 15 * time.Second

	// Short of the first keyframe, this is the size of the picture.
	defaultWidth, defaultHeight = 640, 360

	opusRest = 20 * time.Millisecond // duration of opusSilence

	// fillFirst is how far audio may lag behind video before silence is made in
	// its place, and fillMost to what this grows if that came too soon.
	fillFirst = 600 * time.Millisecond
	fillMost  = 5 * time.Second
)

var (
	errJump = errors.New("transcode: timeline jumped")
	errMute = errors.New("transcode: encoder gives nothing back")
)

// session feeds one child after the other from one Reader: a child must be
// replaced when the picture grows. All but the handlers of its output belong to
// the goroutine of run.
type session struct {
	j    *job
	plan plan
	out  *sink
	ctx  context.Context // ended when a child dies
	fail context.CancelCauseFunc
	wg   sync.WaitGroup

	child         *child
	mux           *matroska
	base          time.Duration // PTS of the input's time lead
	width, height int           // of the picture the child makes

	held     []*frame.AccessUnit // audio before the first keyframe
	lastMS   [2]int64            // of the input, by kind
	newest   time.Duration       // PTS of the input so far
	audioEnd time.Duration       // PTS at which the audio so far ends
	fill     time.Duration
	fedSince time.Duration // PTS at which the output was last seen to live

	lived atomic.Bool // the child has given something back since fedSince
}

// session encodes until ctx ends, the child dies or the tracks change.
func (j *job) session(ctx context.Context, p plan, out *sink) error {
	r, err := j.src.NewReader(stream.ReaderOptions{
		Name: "transcode", Backlog: backlog, KeyframeEvery: keyframeEvery, PerFrame: true,
	})
	if err != nil {
		return err
	}
	defer r.Close()
	s := &session{j: j, plan: p, out: out, fill: fillFirst}
	s.ctx, s.fail = context.WithCancelCause(ctx)
	defer s.fail(nil)
	err = s.run(r)
	if s.child != nil {
		if ctx.Err() != nil && j.ctx.Err() == nil {
			s.child.finish() // the publisher went: show all that there was
		} else {
			s.child.end()
		}
	}
	s.wg.Wait()
	return err
}

// run reads the source and feeds the child.
func (s *session) run(r *stream.Reader) error {
	asm := frame.NewAssembler()
	var batch [64]*stream.Unit
	for {
		n, err := r.ReadBatch(s.ctx, batch[:])
		if err != nil {
			return err
		}
		for _, u := range batch[:n] {
			if !s.j.fits(s.plan, u.Track) {
				return errReplan
			}
			if !s.plan.encodes(u.Track.Kind) {
				continue
			}
			for au, ok := asm.Push(u); ok; au, ok = asm.Next() {
				if err := s.push(au); err != nil {
					return err
				}
			}
		}
	}
}

// push takes the next access unit.
func (s *session) push(au *frame.AccessUnit) error {
	if !s.out.after(au.Track.Kind, au.PTS) {
		return nil // of the cache, and written already by the child before
	}
	if s.child != nil && au.PTS-s.newest > maxJump {
		return errJump
	}
	if s.child == nil || au.Width*au.Height > s.width*s.height {
		if ready, err := s.prepare(au); !ready || err != nil {
			return err
		}
	}
	s.newest = max(s.newest, au.PTS)
	if err := s.checkAlive(); err != nil {
		return err
	}
	if au.Track.Kind == stream.Audio {
		return s.audio(au)
	}
	if err := s.fillAudio(au.PTS, s.fill, s.fill/2); err != nil {
		return err
	}
	return s.write(videoNumber, au.PTS, au.Keyframe, au.Data)
}

// prepare sees to it that there is a child that can take au. It reports false if
// au was put aside or cannot be used.
func (s *session) prepare(au *frame.AccessUnit) (bool, error) {
	width, height := defaultWidth, defaultHeight
	if s.plan.encodes(stream.Video) {
		switch {
		case au.Track.Kind == stream.Video && !au.Keyframe:
			return false, nil
		case au.Track.Kind == stream.Video:
			width, height = pictureSize(au.Width, au.Height)
		case len(s.held) == 0 || au.PTS-s.held[0].PTS < maxHeld && len(s.held) < maxHeldUnits:
			s.held = append(s.held, au)
			return false, nil
		}
	}
	if s.child != nil {
		if width*height <= s.width*s.height {
			return true, nil
		}
		s.child.finish()
		s.child = nil
	}
	return true, s.startChild(width, height, au)
}

// startChild starts a child and gives it what was held before au.
func (s *session) startChild(width, height int, au *frame.AccessUnit) error {
	held := s.held
	s.held = nil
	s.base = au.PTS
	for len(held) > 0 && au.PTS-held[0].PTS > time.Second {
		held = held[1:] // no player shows sound so long before the picture
	}
	if len(held) > 0 {
		s.base = min(s.base, held[0].PTS)
	}
	s.width, s.height = width, height
	s.lastMS, s.newest, s.audioEnd, s.fedSince = [2]int64{-1, -1}, s.base, s.base, s.base
	s.lived.Store(false)

	read := map[int]func(io.Reader) error{}
	base := s.base
	if s.plan.encodes(stream.Audio) {
		read[1] = func(r io.Reader) error {
			return readFLV(r, func(t *tag.FlvTag, b []byte) error { return s.gotAudio(base, t, b) })
		}
	}
	if s.plan.encodes(stream.Video) {
		read[videoFD] = func(r io.Reader) error {
			return readFLV(r, func(t *tag.FlvTag, b []byte) error { return s.gotVideo(base, t, b) })
		}
	}
	c, err := startChild(s.j.pool.ffmpeg, s.j.pool.childArgs(s.plan, width, height), read)
	if err != nil {
		return err
	}
	s.child = c
	s.j.pool.count(func(st *Stats) { st.Started++; st.Children++ })
	s.wg.Go(func() { s.await(c) }) // ended by the child
	s.j.log.Debug("encoder started", "width", width, "height", height)
	if s.mux, err = newMatroska(c, s.plan, width, height); err != nil {
		return s.broken(err)
	}
	for _, a := range held {
		if err := s.audio(a); err != nil {
			return err
		}
	}
	return nil
}

// await waits for the end of a child, and ends the session if the child was not
// told to.
func (s *session) await(c *child) {
	<-c.done
	s.j.pool.count(func(st *Stats) {
		st.Children--
		if c.waitErr != nil {
			st.Died++
		}
	})
	if c.waitErr != nil {
		s.fail(c.waitErr)
	}
}

// audio feeds one Opus packet, and silence where packets are missing.
func (s *session) audio(au *frame.AccessUnit) error {
	if late := s.audioEnd - au.PTS; late > opusRest/2 {
		if late > s.fill/4 {
			// Silence was made too soon: be more patient from now on.
			s.fill = min(2*s.fill, fillMost)
		}
		return nil
	}
	if err := s.fillAudio(au.PTS, 2*opusRest, 0); err != nil {
		return err
	}
	s.audioEnd = au.PTS + frame.OpusDuration(au.Data)
	return s.write(audioNumber, au.PTS, true, au.Data)
}

// fillAudio feeds silence up to short of pts if audio lags behind pts by more
// than lag. Chrome sends little or nothing in silence (DTX, a paused microphone),
// but a player that gets no audio stops.
func (s *session) fillAudio(pts, lag, short time.Duration) error {
	if !s.plan.encodes(stream.Audio) || pts-s.audioEnd <= lag {
		return nil
	}
	// To the nearest packet: a PTS a microsecond too early must not cost 20 ms of
	// silence, since the resampler keeps small holes and they add up.
	for s.audioEnd+opusRest/2 < pts-short {
		// 20 ms of CELT silence (RFC 6716, section 3.1).
		if err := s.write(audioNumber, s.audioEnd, true, []byte{0xf8, 0xff, 0xfe}); err != nil {
			return err
		}
		s.audioEnd += opusRest
	}
	return nil
}

// write feeds one frame.
func (s *session) write(number uint64, pts time.Duration, keyframe bool, data []byte) error {
	kind := stream.Audio
	if number == videoNumber {
		kind = stream.Video
	}
	ms := (pts - s.base + lead).Round(time.Millisecond).Milliseconds()
	ms = max(ms, s.lastMS[kind]+1)
	s.lastMS[kind] = ms
	if err := s.mux.write(number, ms, keyframe, data); err != nil {
		return s.broken(err)
	}
	return nil
}

// broken waits for the reason why the child takes no input.
func (s *session) broken(err error) error {
	s.child.kill()
	<-s.child.done
	return errors.Join(err, s.child.waitErr)
}

// checkAlive finds a child that takes and takes and gives nothing.
func (s *session) checkAlive() error {
	if s.lived.Swap(false) {
		s.fedSince = s.newest
	}
	if s.newest-s.fedSince > mute {
		return errMute
	}
	return nil
}

// gotAudio takes a tag of the child that was fed from base on.
func (s *session) gotAudio(base time.Duration, t *tag.FlvTag, body []byte) error {
	a, ok := t.Data.(*tag.AudioData)
	if !ok {
		return nil
	}
	if a.AACPacketType == tag.AACPacketTypeSequenceHeader {
		s.out.setAudio(body)
		return nil
	}
	s.lived.Store(true)
	return s.out.audio(body, base-lead+time.Duration(t.Timestamp)*time.Millisecond)
}

// gotVideo takes a tag of the child that was fed from base on.
func (s *session) gotVideo(base time.Duration, t *tag.FlvTag, body []byte) error {
	v, ok := t.Data.(*tag.VideoData)
	if !ok {
		return nil
	}
	switch v.AVCPacketType {
	case tag.AVCPacketTypeSequenceHeader:
		return s.out.setVideo(body)
	case tag.AVCPacketTypeNALU:
		s.lived.Store(true)
		pts := base - lead + time.Duration(t.Timestamp)*time.Millisecond
		return s.out.video(body, v.FrameType == tag.FrameTypeKeyFrame, pts)
	}
	return nil
}

// pictureSize is the size of the picture to make of one of w times h: even, and
// not so small that the child must be replaced at each step as browsers ramp up
// (320x180, 480x270, 640x360, ... within ten seconds).
func pictureSize(w, h int) (int, int) {
	const smallest, largest = 360, 1080 // of the shorter side
	w, h = max(w, 16), max(h, 16)
	short := min(w, h)
	to := min(max(short, smallest), largest)
	w, h = w*to/short, h*to/short
	return min(w, 4096) &^ 1, min(h, 4096) &^ 1
}

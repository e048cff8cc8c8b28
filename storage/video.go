package storage

import (
	"time"

	"github.com/lectern/lectern/stream"
	"github.com/lectern/lectern/stream/frame"
)

// Bounds of video files.
const (
	// rotateAfter begins a new file at the next keyframe: the 32-bit duration in
	// the file header ends at 13.25 h, and so does pion's arithmetic.
	rotateAfter = 11*time.Hour + 30*time.Minute
	rotateLimit = 13 * time.Hour
	// maxStep is the longest time for which a frame is taken to last by itself.
	maxStep = 200 * time.Millisecond
	// maxEarly is how long before the lecture the first keyframe may lie: pictures
	// are taken a little before they arrive.
	maxEarly = 500 * time.Millisecond
	// minGap is the shortest stretch that is marked as missing.
	minGap = 200 * time.Millisecond
)

// videoTrack writes the video of one slot: one file after the other.
type videoTrack struct {
	r    *Recording
	slot string
	line line

	cur           *trackFile // nil before the first keyframe
	ivf           *ivfWriter
	codec         stream.Codec
	first         time.Duration // of cur, on the timeline of the lecture
	last          time.Duration // of the newest frame, on the same
	ticks         int64         // of the newest frame
	step          time.Duration // from the frame before
	width, height int           // the largest picture of cur
	nowW, nowH    int           // the present picture
}

// push writes one access unit that lies at the time at.
func (v *videoTrack) push(au *frame.AccessUnit, at time.Duration) error {
	if v.cur != nil && v.mustRotate(au, at) {
		if !au.Keyframe {
			return nil // the stream begins each codec with a keyframe; rotateLimit waits for one
		}
		if err := v.close(at); err != nil {
			return err
		}
	}
	if v.cur == nil {
		if at > -maxEarly {
			at = max(at, 0)
		}
		if !au.Keyframe || au.Width <= 0 || au.Height <= 0 || at < 0 {
			return nil
		}
		if err := v.open(au, at); err != nil {
			return err
		}
	}
	ticks := max(ticksOf(at-v.first), v.ticks+1)
	offset := v.cur.media.size
	if err := v.ivf.write(au.Data, uint32(ticks), au.Keyframe); err != nil {
		return err
	}
	if v.ivf.frames > 1 {
		v.step = min(at-v.last, maxStep)
	}
	v.line.note(v.r, au, at, v.step)
	v.ticks, v.last = ticks, at
	if au.Keyframe {
		if err := v.mark(au, offset); err != nil {
			return err
		}
	}
	v.r.update(v.cur.n, func(t *TrackInfo) {
		t.Frames, t.Bytes = v.ivf.frames, v.cur.media.size
		t.DurationMS = ms(at - v.first + v.step)
	})
	return nil
}

func (v *videoTrack) mustRotate(au *frame.AccessUnit, at time.Duration) bool {
	long := at - v.first
	return au.Track.Codec != v.codec || long > rotateLimit || (long > rotateAfter && au.Keyframe)
}

func (v *videoTrack) open(au *frame.AccessUnit, at time.Duration) error {
	info := TrackInfo{
		Stream: v.slot, Kind: "video", Codec: au.Track.Codec, OffsetMS: ms(at),
		Width: au.Width, Height: au.Height, ClockRate: videoClock,
	}
	cur, err := v.r.newTrack(info, ".ivf")
	if err != nil {
		return err
	}
	v.cur, v.codec, v.first, v.last = cur, au.Track.Codec, at, at
	v.ticks, v.step, v.width, v.height, v.nowW, v.nowH = -1, 0, au.Width, au.Height, 0, 0
	v.ivf, err = newIVFWriter(cur.media, v.codec, au.Width, au.Height)
	return err
}

// mark notes a keyframe in the index, and the size of its picture if it is new.
func (v *videoTrack) mark(au *frame.AccessUnit, offset int64) error {
	e := IndexEntry{Frame: v.ivf.frames - 1, Offset: offset, PTS: v.ticks, Width: au.Width, Height: au.Height}
	if err := v.cur.mark(e); err != nil {
		return err
	}
	if au.Width <= 0 || (au.Width == v.nowW && au.Height == v.nowH) {
		return nil
	}
	v.nowW, v.nowH = au.Width, au.Height
	if au.Width*au.Height > v.width*v.height {
		v.width, v.height = au.Width, au.Height
	}
	v.r.update(v.cur.n, func(t *TrackInfo) {
		t.Width, t.Height = v.width, v.height
		t.Sizes = appendSize(t.Sizes, Size{AtMS: ms(v.last), Width: au.Width, Height: au.Height})
	})
	return nil
}

// tick brings the file header up to date, so that the file can be played while
// it grows and after a kill.
func (v *videoTrack) tick() error {
	if v.cur == nil {
		return nil
	}
	return v.ivf.setHeader(v.width, v.height, ticksOf(v.last-v.first+v.step))
}

// close ends the file. Its last frame lasts up to end if that is near, or if it
// is the end of the lecture.
func (v *videoTrack) close(end time.Duration) error {
	if v.cur == nil {
		return nil
	}
	if end-v.last > maxStep {
		end = v.last + v.step
	}
	return v.closeAt(end)
}

func (v *videoTrack) closeAt(end time.Duration) error {
	cur := v.cur
	v.cur = nil
	duration := max(end-v.first, v.last-v.first+v.step)
	v.r.update(cur.n, func(t *TrackInfo) { t.DurationMS = ms(duration) })
	err := v.ivf.setHeader(v.width, v.height, ticksOf(duration))
	cur.release()
	return err
}

// finish ends the file at the end of the lecture.
func (v *videoTrack) finish(end time.Duration) error {
	if v.cur == nil {
		return nil
	}
	v.line.finish(v.r, end)
	return v.closeAt(end)
}

// ticksOf is d in ticks of the video clock, rounded to the nearest.
func ticksOf(d time.Duration) int64 {
	return int64((d*videoClock + time.Second/2) / time.Second)
}

// ms is d in milliseconds, to the microsecond.
func ms(d time.Duration) float64 { return float64(d.Round(time.Microsecond)) / 1e6 }

// maxSizes bounds the changes of the picture size that a manifest lists. The
// index has them all.
const maxSizes = 1000

func appendSize(sizes []Size, s Size) []Size {
	if len(sizes) >= maxSizes {
		return sizes
	}
	return append(sizes, s)
}

package storage

import (
	"time"

	"github.com/lectern/lectern/stream/frame"
)

const (
	// audioTolerance is how far the file may lie from the timeline before it is
	// corrected. Chromium sends packets of 20 ms: a lost one is filled, jitter
	// of the mapping is not heard.
	audioTolerance = 15 * time.Millisecond
	// audioMarkEvery is the time between two entries of an audio index, in samples.
	audioMarkEvery = 2 * audioClock
	// maxFill is the longest stretch that is filled with silence; after a longer
	// one a new file begins.
	maxFill = 2 * time.Hour
	// silentAfter is for how long nothing comes before the file is filled
	// without waiting for the next packet, up to fillBehind before now.
	silentAfter = 3 * time.Second
	fillBehind  = 2 * time.Second
)

// audioTrack writes the audio of one slot. The length of its files is wall time:
// whatever is missing is filled with silence.
type audioTrack struct {
	r    *Recording
	slot string
	line line

	cur    *trackFile // nil before the first packet
	ogg    *oggWriter
	first  time.Duration // of cur, on the timeline of the lecture
	marked int64         // samples at the newest index entry; <0: none
	filled int64         // samples of silence
}

// push writes one packet that lies at the time at. One that lies before what is
// written by more than the tolerance is dropped.
func (a *audioTrack) push(au *frame.AccessUnit, at time.Duration) error {
	length := frame.OpusDuration(au.Data)
	if length <= 0 || at < 0 {
		return nil
	}
	if a.cur != nil && at-a.end() > maxFill {
		if err := a.close(); err != nil {
			return err
		}
	}
	if a.cur == nil {
		if err := a.open(au, at); err != nil {
			return err
		}
	}
	a.line.note(a.r, au, at, length)
	switch behind := at - a.end(); {
	case behind >= audioTolerance:
		if err := a.fill(behind); err != nil {
			return err
		}
	// A packet that is longer than the tolerance would leave a hole as long as
	// itself, were it dropped earlier.
	case -behind >= max(audioTolerance, length-audioTolerance/3):
		return nil
	}
	if err := a.mark(); err != nil {
		return err
	}
	if err := a.ogg.write(au.Data, samplesOf(length)); err != nil {
		return err
	}
	a.report()
	return nil
}

// end is where the next sample lies.
func (a *audioTrack) end() time.Duration { return a.first + samplesTime(a.ogg.samples) }

func (a *audioTrack) open(au *frame.AccessUnit, at time.Duration) error {
	info := TrackInfo{
		Stream: a.slot, Kind: "audio", Codec: au.Track.Codec, OffsetMS: ms(at),
		ClockRate: audioClock, Channels: 2,
	}
	cur, err := a.r.newTrack(info, ".ogg")
	if err != nil {
		return err
	}
	a.cur, a.first, a.marked, a.filled = cur, at, -1, 0
	a.ogg, err = newOggWriter(cur.media, a.r.store.cfg.Writer)
	return err
}

// fill appends silence, in pieces so that the index has its marks.
func (a *audioTrack) fill(d time.Duration) error {
	for n := samplesOf(d); n >= silenceStep; {
		if err := a.mark(); err != nil {
			return err
		}
		before := a.ogg.samples
		if err := a.ogg.silence(min(n, audioMarkEvery)); err != nil {
			return err
		}
		n -= a.ogg.samples - before
		a.filled += a.ogg.samples - before
	}
	a.report()
	return nil
}

// mark notes the packet that follows in the index if it is time.
func (a *audioTrack) mark() error {
	if a.marked >= 0 && a.ogg.samples-a.marked < audioMarkEvery {
		return nil
	}
	a.marked = a.ogg.samples
	return a.cur.mark(IndexEntry{Frame: a.ogg.packets, Offset: a.cur.media.size, PTS: a.ogg.samples})
}

func (a *audioTrack) report() {
	a.r.update(a.cur.n, func(t *TrackInfo) {
		t.Frames, t.Bytes = a.ogg.packets, a.cur.media.size
		t.DurationMS, t.SilenceMS = ms(samplesTime(a.ogg.samples)), ms(samplesTime(a.filled))
	})
}

// tick fills the file when nothing has come for long: so it can be played
// beside the video while it grows.
func (a *audioTrack) tick(now time.Duration) error {
	if a.cur == nil || now-a.end() < silentAfter || now-a.end() > maxFill {
		return nil
	}
	return a.fill(now - fillBehind - a.end())
}

// finish pads the file to the end of the lecture.
func (a *audioTrack) finish(end time.Duration) error {
	if a.cur == nil {
		return nil
	}
	a.line.finish(a.r, end)
	if missing := end - a.end(); missing > 0 && missing <= maxFill {
		if err := a.fill(missing); err != nil {
			return err
		}
	}
	return a.close()
}

func (a *audioTrack) close() error {
	cur := a.cur
	a.cur = nil
	err := a.ogg.close()
	cur.release()
	return err
}

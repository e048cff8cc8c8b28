package storage_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/lectern/lectern/storage"
	"github.com/lectern/lectern/stream"
)

func TestRecording_BeginsNewFilesBeforeTimesWrap(t *testing.T) {
	video, audio := videoClip(t, stream.VP8, "160x90", 0.5), audioClip(t, beep, 0.5)
	r := newRig(t, storage.Config{})
	pub := r.publish()
	v, a := newFeeder(t, pub, stream.VP8), newFeeder(t, pub, stream.Opus)
	const later = 11*time.Hour + 40*time.Minute
	for _, at := range []time.Duration{0, later} {
		v.jump, a.jump = at > 0, at > 0
		v.clip(video, at)
		a.clip(audio, at)
	}
	eventually(t, "four tracks", func() bool {
		m := r.rec.Manifest()
		return len(m.Tracks) == 4 && m.Tracks[2].Frames >= 15 && m.Tracks[3].Frames >= 15
	})
	m := r.end(later + 500*time.Millisecond)
	for _, id := range []string{"main-video-2", "main-audio-2"} {
		tr := track(t, m, id)
		near(t, id+" offset", tr.OffsetMS, later.Seconds()*1000, 0.1)
		near(t, id+" duration", tr.DurationMS, 500, 20)
		decodes(t, r.path(tr.File))
	}
	near(t, "first video duration", track(t, m, "main-video-1").DurationMS, 500, 1)
}

func TestRecording_AudioGrowsWhileNobodySpeaks(t *testing.T) {
	r := newRig(t, storage.Config{})
	newFeeder(t, r.publish(), stream.Opus).clip(audioClip(t, beep, 0.5), 0)
	r.settle("audio", 25)
	r.clock.add(10 * time.Second)
	eventually(t, "silence up to 2 s before now", func() bool {
		return track(t, r.rec.Manifest(), "main-audio-1").DurationMS >= 7990
	})
	m := r.end(12 * time.Second)
	tr := track(t, m, "main-audio-1")
	near(t, "duration_ms", tr.DurationMS, 12000, 2.5)
	near(t, "silence_ms", tr.SilenceMS, 11500, 20)
	if len(m.Gaps) != 1 || m.Gaps[0].Reason != storage.GapPaused {
		t.Errorf("gaps: got %+v", m.Gaps)
	}
}

func TestRecording_EndsOnceAndRefusesTheRest(t *testing.T) {
	r := newRig(t, storage.Config{})
	if err := r.rec.AddStream("main", r.st); err != nil {
		t.Errorf("same stream again: %v", err)
	}
	if err := r.rec.AddStream("main", stream.New(stream.Config{})); err == nil {
		t.Error("another stream under the same name: got no error")
	}
	if err := r.rec.AddStream("../up", r.st); !errors.Is(err, storage.ErrBadName) {
		t.Errorf("bad name: got %v", err)
	}
	m := r.end(time.Second)
	if err := r.rec.End(context.Background()); err != nil {
		t.Errorf("second end: %v", err)
	}
	if err := r.rec.AddStream("screen", r.st); !errors.Is(err, storage.ErrEnded) {
		t.Errorf("AddStream after the end: got %v", err)
	}
	if len(m.Tracks) != 0 || m.DurationMS != 1000 {
		t.Errorf("manifest: got %+v", m)
	}
}

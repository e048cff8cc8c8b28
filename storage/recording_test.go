package storage_test

import (
	"encoding/binary"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/lectern/lectern/storage"
	"github.com/lectern/lectern/stream"
)

func TestRecording_HasEveryFrameOfEveryCodec(t *testing.T) {
	names := map[stream.Codec]string{stream.VP8: "vp8", stream.VP9: "vp9", stream.AV1: "av1", stream.H264: "h264"}
	for codec, name := range names {
		t.Run(name, func(t *testing.T) {
			c := videoClip(t, codec, "320x180", 2)
			r := newRig(t, storage.Config{})
			pub := r.publish()
			newFeeder(t, pub, codec).clip(c, 123*time.Millisecond)
			r.settle("video", int64(len(c.frames)))
			m := r.end(2123 * time.Millisecond)

			tr := track(t, m, "main-video-1")
			near(t, "offset_ms", tr.OffsetMS, 123, 0.01)
			near(t, "duration_ms", tr.DurationMS, 2000, 0.01)
			if tr.Frames != 60 || tr.Width != 320 || tr.Height != 180 || tr.Codec != codec || m.State != storage.StateComplete {
				t.Errorf("track: got %+v", tr)
			}
			if len(m.Gaps) != 0 {
				t.Errorf("gaps: got %+v", m.Gaps)
			}
			decodes(t, r.path(tr.File))
			p := probe(t, r.path(tr.File))
			if p.Frames != "60" || p.Codec != name || p.TimeBase != "1/90000" || p.Width != 320 || p.Height != 180 {
				t.Errorf("ffprobe: got %+v", p)
			}
			near(t, "ffprobe duration", p.seconds(), 2, 1e-4)
			checkHeader(t, r.path(tr.File), 60, tr.Bytes)
			checkIndex(t, r.path(tr.Index), 2)
		})
	}
}

func checkHeader(t *testing.T, file string, frames uint32, size int64) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got := binary.LittleEndian.Uint32(b[28:]); got != frames {
		t.Errorf("frames in header: got %d, want %d", got, frames)
	}
	if int64(len(b)) != size {
		t.Errorf("bytes in manifest: got %d, want %d", size, len(b))
	}
}

func checkIndex(t *testing.T, file string, keyframes int) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h, es, err := storage.ReadIndex(f)
	if err != nil || len(es) != keyframes || h.ClockRate != 90000 {
		t.Fatalf("index: got %+v %+v %v, want %d keyframes", h, es, err, keyframes)
	}
	if es[0].Offset != 32 || es[1].PTS != 90000 || es[1].Frame != 30 || es[1].Width != 320 {
		t.Errorf("index: got %+v", es)
	}
}

// onset is where the sound of a file begins, as ffmpeg decodes it.
func onset(t *testing.T, file string) time.Duration {
	t.Helper()
	pcm, err := exec.Command("ffmpeg", "-v", "error", "-i", file, "-f", "s16le", "-ac", "1", "-ar", "48000", "-").Output()
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(pcm); i += 2 {
		if v := int16(binary.LittleEndian.Uint16(pcm[i:])); v > 1000 || v < -1000 {
			return time.Duration(i/2) * time.Second / 48000
		}
	}
	t.Fatal("no sound")
	return 0
}

// beep is silence with a tone from 1 s on.
const beep = "aevalsrc=exprs='if(gte(t,1),0.5*sin(2*PI*1000*t),0)':s=48000"

// encoderDelay is how much later ffmpeg's Opus encoder makes the sound: its
// pre-skip of 312 samples, which does not travel in RTP.
const encoderDelay = 6500 * time.Microsecond

func TestRecording_AudioIsNeitherCutNorShifted(t *testing.T) {
	c := audioClip(t, beep, 2)
	r := newRig(t, storage.Config{})
	newFeeder(t, r.publish(), stream.Opus).clip(c, 250*time.Millisecond)
	r.settle("audio", int64(len(c.frames)))
	m := r.end(3 * time.Second)

	tr := track(t, m, "main-audio-1")
	near(t, "offset_ms", tr.OffsetMS, 250, 0.01)
	near(t, "duration_ms", tr.DurationMS, 2750, 2.5)
	decodes(t, r.path(tr.File))
	near(t, "onset", onset(t, r.path(tr.File)).Seconds(), (time.Second + encoderDelay).Seconds(), 0.002)
	near(t, "ffprobe duration", probe(t, r.path(tr.File)).seconds(), 2.75, 0.09)
}

func TestRecording_FillsWhatAudioLacks(t *testing.T) {
	c := audioClip(t, beep, 2)
	tests := []struct {
		name string
		at   func(i int) (pts time.Duration, send bool)
		jump int // packet that is marked as a jump
		gaps int
	}{
		{name: "dtx", at: func(i int) (time.Duration, bool) {
			return time.Duration(i) * 20 * time.Millisecond, i >= 50 || i%20 == 0 // one per 400 ms in silence
		}},
		{name: "pause", jump: 25, gaps: 1, at: func(i int) (time.Duration, bool) {
			if i >= 25 {
				i += 200 // 4 s
			}
			return time.Duration(i) * 20 * time.Millisecond, true
		}},
		{name: "jitter", at: func(i int) (time.Duration, bool) {
			return time.Duration(i)*20*time.Millisecond + time.Duration(i%3)*4*time.Millisecond, true
		}},
		{name: "slow clock", at: func(i int) (time.Duration, bool) {
			return time.Duration(i) * 20500 * time.Microsecond, true // 2.5 %
		}},
		{name: "fast clock", at: func(i int) (time.Duration, bool) {
			return time.Duration(i) * 19500 * time.Microsecond, true
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, storage.Config{})
			f := newFeeder(t, r.publish(), stream.Opus)
			var last time.Duration
			for i, b := range c.frames {
				pts, send := tt.at(i)
				if send {
					f.jump = tt.jump > 0 && i == tt.jump
					f.frame(b, pts)
					last = pts
				}
			}
			eventually(t, "all is written", func() bool {
				ts := r.rec.Manifest().Tracks
				return len(ts) == 1 && ts[0].DurationMS >= last.Seconds()*1000-20
			})
			m := r.end(last + 20*time.Millisecond)
			tr := track(t, m, "main-audio-1")
			near(t, "duration_ms", tr.DurationMS, (last+20*time.Millisecond).Seconds()*1000, 20)
			if len(m.Gaps) != tt.gaps {
				t.Errorf("gaps: got %+v, want %d", m.Gaps, tt.gaps)
			}
			want, _ := tt.at(50)
			near(t, "onset", onset(t, r.path(tr.File)).Seconds(), (want + encoderDelay).Seconds(), 0.02)
			ffmpeg(t, "-i", r.path(tr.File), "-f", "null", "-")
		})
	}
}

func TestRecording_OneFileAcrossALostPublisher(t *testing.T) {
	video, audio := videoClip(t, stream.VP8, "320x180", 1), audioClip(t, beep, 1)
	r := newRig(t, storage.Config{})
	pub := r.publish()
	newFeeder(t, pub, stream.VP8).clip(video, 0)
	newFeeder(t, pub, stream.Opus).clip(audio, 0)
	r.settle("video", 30)
	r.clock.set(r.began.Add(2 * time.Second))
	pub.Close()
	r.clock.set(r.began.Add(11 * time.Second))
	again := r.publish()
	newFeeder(t, again, stream.VP8).clip(video, 11*time.Second)
	newFeeder(t, again, stream.Opus).clip(audio, 11*time.Second)
	r.settle("video", 60)
	eventually(t, "audio", func() bool {
		return track(t, r.rec.Manifest(), "main-audio-1").DurationMS >= 11990
	})
	m := r.end(12 * time.Second)

	if len(m.Tracks) != 2 {
		t.Fatalf("tracks: got %+v", m.Tracks)
	}
	for _, tr := range m.Tracks {
		near(t, tr.ID+" duration", tr.DurationMS, 12000, 20)
		decodes(t, r.path(tr.File))
	}
	if p := probe(t, r.path("main-video-1.ivf")); p.Frames != "60" {
		t.Errorf("frames: got %s, want 60", p.Frames)
	}
	if len(m.Gaps) != 2 {
		t.Fatalf("gaps: got %+v, want one of each kind", m.Gaps)
	}
	for _, g := range m.Gaps {
		if g.Reason != storage.GapPublisherLost {
			t.Errorf("gap: got %+v", g)
		}
		near(t, "gap from", g.FromMS, 1000, 25)
		near(t, "gap to", g.ToMS, 11000, 1)
	}
}

func TestRecording_LastsToTheEndWithoutPublisher(t *testing.T) {
	r := newRig(t, storage.Config{})
	pub := r.publish()
	newFeeder(t, pub, stream.VP8).clip(videoClip(t, stream.VP8, "160x90", 0.5), 0)
	newFeeder(t, pub, stream.Opus).clip(audioClip(t, beep, 0.5), 0)
	r.settle("video", 15)
	r.settle("audio", 25)
	pub.Close()
	m := r.end(8 * time.Second)
	near(t, "video duration", track(t, m, "main-video-1").DurationMS, 8000, 0.1)
	near(t, "audio duration", track(t, m, "main-audio-1").DurationMS, 8000, 2.5)
	near(t, "ffprobe video duration", probe(t, r.path("main-video-1.ivf")).seconds(), 8, 1e-3)
	if len(m.Gaps) != 2 || m.Gaps[0].Reason != storage.GapPublisherLost || m.Gaps[1].Reason != storage.GapPublisherLost {
		t.Errorf("gaps: got %+v", m.Gaps)
	}
}

func TestRecording_ChangesOfSizeAndCodec(t *testing.T) {
	small, large := videoClip(t, stream.VP8, "320x180", 1), videoClip(t, stream.VP8, "640x360", 1)
	h264 := videoClip(t, stream.H264, "640x360", 1)
	r := newRig(t, storage.Config{})
	pub := r.publish()
	f := newFeeder(t, pub, stream.VP8)
	f.clip(large, f.clip(small, 0))
	newFeeder(t, pub, stream.H264).clip(h264, 2500*time.Millisecond)
	r.settle("video", 90)
	m := r.end(3500 * time.Millisecond)

	first, second := track(t, m, "main-video-1"), track(t, m, "main-video-2")
	if len(first.Sizes) != 2 || first.Sizes[1].Width != 640 || first.Width != 640 || first.Height != 360 {
		t.Errorf("sizes: got %+v", first)
	}
	near(t, "size change", first.Sizes[1].AtMS, 1000, 1)
	near(t, "first duration", first.DurationMS, 2000, 1)
	near(t, "second offset", second.OffsetMS, 2500, 0.1)
	near(t, "second duration", second.DurationMS, 1000, 0.1)
	if len(m.Gaps) != 1 || m.Gaps[0].Reason != storage.GapCodecChange {
		t.Errorf("gaps: got %+v", m.Gaps)
	}
	for i, tr := range []storage.TrackInfo{first, second} {
		decodes(t, r.path(tr.File))
		if p := probe(t, r.path(tr.File)); p.Frames != strconv.Itoa(60-30*i) {
			t.Errorf("%s frames: got %s", tr.ID, p.Frames)
		}
	}
}

func TestRecording_LossEndsAtTheNextKeyframe(t *testing.T) {
	c := videoClip(t, stream.VP8, "320x180", 2)
	r := newRig(t, storage.Config{})
	f := newFeeder(t, r.publish(), stream.VP8)
	for i, b := range c.frames {
		if i == 20 {
			f.seq++ // a packet that never came
			continue
		}
		f.frame(b, time.Duration(i)*c.every)
	}
	r.settle("video", 50)
	m := r.end(2 * time.Second)
	tr := track(t, m, "main-video-1")
	decodes(t, r.path(tr.File))
	if tr.Frames != 50 {
		t.Errorf("frames: got %d, want 20 before the loss and 30 from the keyframe", tr.Frames)
	}
	if len(m.Gaps) != 1 || m.Gaps[0].Reason != storage.GapPacketLoss {
		t.Fatalf("gaps: got %+v", m.Gaps)
	}
	near(t, "gap from", m.Gaps[0].FromMS, 667, 1)
	near(t, "gap to", m.Gaps[0].ToMS, 1000, 1)
}

package storage_test

import (
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/lectern/lectern/storage"
	"github.com/lectern/lectern/stream"
)

func TestRecording_OutlivesHostilePackets(t *testing.T) {
	for _, codec := range []stream.Codec{stream.VP8, stream.VP9, stream.AV1, stream.H264, stream.Opus} {
		t.Run(codec.Name(), func(t *testing.T) {
			var c clip
			if codec == stream.Opus {
				c = audioClip(t, beep, 1)
			} else {
				c = videoClip(t, codec, "160x90", 1)
			}
			r := newRig(t, storage.Config{Queue: 16384})
			f := newFeeder(t, r.publish(), codec)
			rnd := rand.New(rand.NewPCG(1, uint64(len(codec))))
			at := f.clip(c, 0)
			for range 10000 {
				p := make([]byte, rnd.IntN(40))
				for i := range p {
					p[i] = byte(rnd.Uint32())
				}
				at += time.Millisecond
				f.unit(p, at, rnd.IntN(2) == 0, rnd.IntN(4) == 0)
			}
			for _, p := range [][]byte{{0x10}, {0x90, 0x80, 0x01}, {}, {0x18, 0xff, 0xff, 0xff, 0xff, 0x0f}} {
				f.unit(p, at, true, true)
			}
			f.seq += 7 // a hole: what was begun is dropped
			end := f.clip(c, at+time.Second)
			kind := codec.Kind().String()
			eventually(t, "clip after the hostile packets", func() bool {
				for _, tr := range r.rec.Manifest().Tracks {
					if tr.Kind == kind && tr.OffsetMS+tr.DurationMS >= (end-c.every).Seconds()*1000-20 {
						return true
					}
				}
				return false
			})
			if err := r.rec.Err(); err != nil {
				t.Errorf("recording failed: %v", err)
			}
			m := r.end(end)
			if m.State != storage.StateComplete || m.Error != "" || len(m.Tracks) == 0 {
				t.Errorf("manifest: got %+v", m)
			}
			for _, tr := range m.Tracks {
				probe(t, r.path(tr.File))
			}
		})
	}
}

func TestRecording_StopsWhenTheDiskIsFull(t *testing.T) {
	r := newRig(t, storage.Config{MinFree: 1 << 62, WriteEvery: time.Millisecond})
	pub := r.publish()
	newFeeder(t, pub, stream.VP8).clip(videoClip(t, stream.VP8, "160x90", 0.5), 0)
	eventually(t, "failure", func() bool { return r.rec.Err() != nil })
	<-r.rec.Failed()
	if err := r.rec.Err(); !errors.Is(err, storage.ErrDiskFull) {
		t.Errorf("err: got %v, want ErrDiskFull", err)
	}
	if err := r.rec.AddStream("screen", r.st); !errors.Is(err, storage.ErrEnded) {
		t.Errorf("AddStream: got %v, want ErrEnded", err)
	}
	// The class goes on.
	newFeeder(t, pub, stream.VP8).clip(videoClip(t, stream.VP8, "160x90", 0.5), time.Second)
	m := r.end(2 * time.Second)
	if m.State != storage.StateComplete || m.Error != "disk full" {
		t.Errorf("manifest: got %s %q", m.State, m.Error)
	}
	decodes(t, r.path("main-video-1.ivf"))
}

package stream_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/rtp"
	"go.uber.org/goleak"

	"github.com/lectern/lectern/stream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func videoTrack(c stream.Codec) *stream.Track {
	return &stream.Track{ID: "v", Kind: stream.Video, Codec: c, ClockRate: 90000}
}

func audioTrack() *stream.Track {
	return &stream.Track{ID: "a", Kind: stream.Audio, Codec: stream.Opus, ClockRate: 48000, Channels: 2}
}

// source publishes on a Stream, one packet per access unit.
type source struct {
	t    testing.TB
	s    *stream.Stream
	pub  *stream.Publication
	v, a *stream.Track
	seq  uint16
	ts   uint32
	asks chan time.Time
}

func publish(t testing.TB, s *stream.Stream, kinds ...stream.Kind) *source {
	t.Helper()
	src := &source{t: t, s: s, v: videoTrack(stream.VP8), a: audioTrack(), asks: make(chan time.Time, 1000)}
	var err error
	src.pub, err = s.Publish(stream.Source{Kinds: kinds, RequestKeyframe: func() {
		select {
		case src.asks <- time.Now():
		default:
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	return src
}

func (s *source) unit(tr *stream.Track, key bool) *stream.Unit {
	s.seq++
	s.ts += 3000
	now := time.Now()
	return &stream.Unit{
		Track: tr, PTS: s.s.Since(now), Arrival: now, Keyframe: key,
		Packet: &rtp.Packet{
			Header:  rtp.Header{SequenceNumber: s.seq, Timestamp: s.ts, Marker: true},
			Payload: []byte{0x10, byte(s.seq), 0},
		},
	}
}

func (s *source) write(u *stream.Unit) *stream.Unit {
	s.t.Helper()
	if err := s.pub.Write(u); err != nil {
		s.t.Fatal(err)
	}
	return u
}

func (s *source) key() *stream.Unit   { return s.write(s.unit(s.v, true)) }
func (s *source) delta() *stream.Unit { return s.write(s.unit(s.v, false)) }
func (s *source) sound() *stream.Unit { return s.write(s.unit(s.a, true)) }

// asked returns how often a keyframe was asked for since the last call.
func (s *source) asked() (n int) {
	for {
		select {
		case <-s.asks:
			n++
		default:
			return n
		}
	}
}

func newReader(t testing.TB, s *stream.Stream, o stream.ReaderOptions) *stream.Reader {
	t.Helper()
	r, err := s.NewReader(o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// drain returns what is queued. It is for bubbles of synctest.
func drain(t testing.TB, r *stream.Reader) (out []*stream.Unit) {
	t.Helper()
	for {
		ctx, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
		u, err := r.Read(ctx)
		cancel()
		if err != nil {
			return out
		}
		out = append(out, u)
	}
}

func checkUnits(t *testing.T, got []*stream.Unit, want ...*stream.Unit) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("got %d units, want %d", len(got), len(want))
	}
	for i := range got {
		if got[i] != want[i] {
			t.Errorf("unit %d: got number %d, want %d", i, got[i].Packet.SequenceNumber, want[i].Packet.SequenceNumber)
		}
	}
}

func TestReader_BeginsWithAKeyframe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := stream.New(stream.Config{})
		src := publish(t, s, stream.Audio, stream.Video)
		src.delta() // before any keyframe: goes nowhere
		src.key()
		r := newReader(t, s, stream.ReaderOptions{})
		src.delta()
		a := src.sound()
		k := src.key()
		d := src.delta()
		checkUnits(t, drain(t, r), a, k, d)
		r.Close()
		if _, err := r.Read(t.Context()); !errors.Is(err, io.EOF) {
			t.Errorf("after Close: got %v, want EOF", err)
		}
	})
}

func TestReader_Backlog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := stream.New(stream.Config{})
		src := publish(t, s)
		src.key()
		k, a, d := src.key(), src.sound(), src.delta()
		time.Sleep(time.Second)
		r := newReader(t, s, stream.ReaderOptions{Backlog: 2 * time.Second})
		late := newReader(t, s, stream.ReaderOptions{Backlog: time.Second / 2})
		next := src.delta()
		checkUnits(t, drain(t, r), k, a, d, next)
		checkUnits(t, drain(t, late))
	})
}

func TestReader_SlowResumesAtKeyframe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := stream.New(stream.Config{})
		src := publish(t, s)
		r := newReader(t, s, stream.ReaderOptions{Queue: 3})
		first := []*stream.Unit{src.key(), src.delta(), src.delta()}
		src.asked()
		time.Sleep(time.Second)
		for range 5 {
			src.delta()
		}
		src.key()
		time.Sleep(time.Second)
		if n := src.asked(); n != 0 {
			t.Errorf("a reader that has stalled asked %d times for a keyframe", n)
		}
		if n := r.Dropped(); n != 6 {
			t.Errorf("got %d dropped, want 6", n)
		}
		checkUnits(t, drain(t, r), first...)
		if n := src.asked(); n != 1 {
			t.Errorf("got %d requests once there is room, want 1", n)
		}
		src.delta()
		k, d := src.key(), src.delta()
		checkUnits(t, drain(t, r), k, d)
		if n := s.Stats().Dropped; n != 7 {
			t.Errorf("got %d dropped in all, want 7", n)
		}
	})
}

func TestReader_PerFrameWakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := stream.New(stream.Config{})
		src := publish(t, s)
		r := newReader(t, s, stream.ReaderOptions{PerFrame: true, Queue: 4})
		var woken int
		var reading sync.WaitGroup
		reading.Go(func() {
			dst := make([]*stream.Unit, 16)
			for {
				if _, err := r.ReadBatch(t.Context(), dst); err != nil {
					return
				}
				woken++
			}
		})
		part := func(key, marker bool) {
			u := src.unit(src.v, key)
			u.Packet.Marker = marker
			if !key {
				src.ts -= 3000
				u.Packet.Timestamp = src.ts
			}
			src.write(u)
			synctest.Wait()
		}
		part(true, false)
		after := woken // the first one is of another timestamp
		part(false, false)
		if woken != after {
			t.Error("woken in the middle of an access unit")
		}
		part(false, true)
		if woken != after+1 {
			t.Errorf("woken %d times at its end, want once", woken-after)
		}
		for range 6 { // an access unit larger than the queue must not hang
			part(false, false)
		}
		if woken == after+1 {
			t.Error("not woken when the queue was full")
		}
		r.Close()
		reading.Wait()
	})
}

func TestReader_Resync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := stream.New(stream.Config{})
		src := publish(t, s)
		r := newReader(t, s, stream.ReaderOptions{})
		src.key()
		src.delta()
		src.asked()
		time.Sleep(time.Second)
		r.Resync()
		if n := src.asked(); n != 1 || r.Dropped() != 2 {
			t.Errorf("got %d requests, %d dropped; want 1, 2", n, r.Dropped())
		}
		src.delta()
		k := src.key()
		checkUnits(t, drain(t, r), k)
	})
}

func TestReader_ReadEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := stream.New(stream.Config{})
		src := publish(t, s)
		r := newReader(t, s, stream.ReaderOptions{})
		ctx, cancel := context.WithCancelCause(t.Context())
		why := errors.New("enough")
		cancel(why)
		if _, err := r.Read(ctx); !errors.Is(err, why) {
			t.Errorf("got %v, want the cause", err)
		}
		k := src.key()
		s.Close()
		checkUnits(t, drain(t, r), k)
		if _, err := r.Read(t.Context()); !errors.Is(err, io.EOF) {
			t.Errorf("got %v, want EOF after the last unit", err)
		}
		r.Close()
		r.Close()
		s.Close()
	})
}

func TestGate_OneRequestPerHalfSecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := stream.New(stream.Config{})
		src := publish(t, s)
		src.key()
		for range 100 {
			s.RequestKeyframe()
		}
		if n := src.asked(); n != 1 {
			t.Errorf("got %d requests at once, want 1", n)
		}
		time.Sleep(stream.KeyframeGate)
		synctest.Wait()
		if n := src.asked(); n != 1 {
			t.Errorf("got %d requests after the gate, want 1 for those that waited", n)
		}
		s.RequestKeyframe()
		src.key()
		time.Sleep(2 * stream.KeyframeGate)
		if n := src.asked(); n != 0 {
			t.Errorf("got %d requests, want none: a keyframe came meanwhile", n)
		}
		if n := s.Stats().KeyframeRequests; n != 2 {
			t.Errorf("counted %d, want 2", n)
		}
	})
}

func TestGate_AsksAgainWhenUnanswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := stream.New(stream.Config{})
		src := publish(t, s)
		src.key()
		s.RequestKeyframe()
		for range 35 {
			time.Sleep(100 * time.Millisecond)
			src.delta()
		}
		if n := src.asked(); n != 4 {
			t.Errorf("got %d requests in 3.5 s, want one a second", n)
		}
		src.key()
		for range 35 {
			time.Sleep(100 * time.Millisecond)
			src.delta()
		}
		if n := src.asked(); n != 0 {
			t.Errorf("got %d requests after the keyframe, want none", n)
		}
	})
}

func TestGate_KeyframeEvery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := stream.New(stream.Config{})
		src := publish(t, s)
		r := newReader(t, s, stream.ReaderOptions{KeyframeEvery: 2 * time.Second})
		for range 100 { // 10 s
			time.Sleep(100 * time.Millisecond)
			if src.asked() > 0 {
				src.key()
			} else {
				src.delta()
			}
		}
		if n := s.Stats().Keyframes; n < 4 || n > 6 {
			t.Errorf("got %d keyframes in 10 s, want 5", n)
		}
		r.Close()
	})
}

// BenchmarkWrite measures the fan-out of one unit. The readers do not read, so
// that the goroutines of a benchmark do not count: their rings are as large as
// they may be and are emptied outside of the measurement.
func BenchmarkWrite(b *testing.B) {
	for _, n := range []int{1, 100, 1000} {
		b.Run(fmt.Sprintf("readers=%d", n), func(b *testing.B) {
			s := stream.New(stream.Config{})
			src := publish(b, s)
			readers := make([]*stream.Reader, n)
			for i := range readers {
				readers[i] = newReader(b, s, stream.ReaderOptions{PerFrame: true})
			}
			const batch = 512
			units := make([]*stream.Unit, batch)
			for i := range units {
				units[i] = src.unit(src.v, i == 0)
			}
			dst := make([]*stream.Unit, batch)
			empty := func() {
				for _, r := range readers {
					if _, err := r.ReadBatch(b.Context(), dst); err != nil {
						b.Fatal(err)
					}
				}
			}
			for range 2 { // grows the rings
				for _, u := range units {
					src.write(u)
				}
				empty()
			}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				src.write(units[i])
				if i++; i == batch {
					i = 0
					b.StopTimer()
					empty()
					b.StartTimer()
				}
			}
		})
	}
}

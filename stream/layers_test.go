package stream_test

import (
	"errors"
	"io"
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lectern/lectern/stream"
)

// layer publishes a layer of src.
func layer(t *testing.T, src *source, id string) *source {
	t.Helper()
	l := &source{t: t, v: videoTrack(stream.VP8), asks: make(chan time.Time, 1000)}
	var err error
	l.pub, err = src.pub.Layer(id, stream.Source{Kinds: []stream.Kind{stream.Video}, RequestKeyframe: func() { l.asks <- time.Now() }})
	if err != nil {
		t.Fatal(err)
	}
	l.s = l.pub.Stream()
	return l
}

// sized writes a keyframe of a size.
func (s *source) sized(w, h uint16) {
	u := s.unit(s.v, true)
	u.Width, u.Height = w, h
	s.write(u)
}

func publishLayers(t *testing.T, s *stream.Stream, ids ...string) *source {
	t.Helper()
	src := &source{t: t, s: s, v: videoTrack(stream.VP8), a: audioTrack()}
	var err error
	if src.pub, err = s.Publish(stream.Source{Layers: ids}); err != nil {
		t.Fatal(err)
	}
	return src
}

func names(s *stream.Stream) (out string) {
	for _, l := range s.Layers() {
		out += l.ID
	}
	return out
}

func TestLayers_AreStreamsOfTheirOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := stream.New(stream.Config{Name: "room/main"})
		main := publishLayers(t, s, "a", "b")
		time.Sleep(time.Second)
		a, b := layer(t, main, "a"), layer(t, main, "b")
		if a.s.Name() != "room/main~a" || a.s.Origin() != s.Origin() || names(s) != "ab" {
			t.Errorf("got %s since %v among %s", a.s.Name(), a.s.Origin(), names(s))
		}
		r := newReader(t, a.s, stream.ReaderOptions{})
		k := a.key()
		b.key()
		checkUnits(t, drain(t, r), k)
		a.s.RequestKeyframe()
		if a.asked() == 0 || b.asked() != 0 {
			t.Error("a request of one layer must reach its publisher, and no other")
		}
		main.pub.Close()
		if err := a.pub.Write(a.unit(a.v, true)); !errors.Is(err, stream.ErrClosed) || a.s.Live() || names(s) != "ab" {
			t.Errorf("after the end of the publication: got %v, layers %s", err, names(s))
		}
		s.Close()
		if _, err := r.Read(t.Context()); !errors.Is(err, io.EOF) || s.Layers() != nil {
			t.Errorf("after Close: got %v", err)
		}
	})
}

func TestLayers_OrderAndChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := stream.New(stream.Config{})
		main := publishLayers(t, s, "a", "b")
		a, b := layer(t, main, "a"), layer(t, main, "b")
		changes := func(what string, want bool, f func()) {
			t.Helper()
			c := s.Changed()
			f()
			select {
			case <-c:
				if !want {
					t.Errorf("%s: Changed was closed", what)
				}
			default:
				if want {
					t.Errorf("%s: Changed was not closed", what)
				}
			}
		}
		changes("a layer begins", true, func() { a.sized(640, 360) })
		changes("another", true, func() { b.sized(320, 180) })
		if names(s) != "ba" {
			t.Errorf("got %s, want the smaller one first", names(s))
		}
		changes("the same size", false, func() { a.sized(640, 360) })
		changes("an unknown size", false, func() { a.key() })
		changes("another size", true, func() { b.sized(1280, 720) })
		if w, h := b.s.Size(); w != 1280 || h != 720 || names(s) != "ab" {
			t.Errorf("got %dx%d, %s", w, h, names(s))
		}
		changes("a pause", true, a.pub.Pause)
		changes("a pause again", false, a.pub.Pause)
		if a.s.Flowing() || !a.s.Live() || !b.s.Flowing() {
			t.Error("want the one that paused live, but not flowing")
		}
		changes("it goes on", true, func() { a.delta() })
		if !a.s.Flowing() {
			t.Error("a layer that was written to does not flow")
		}
		b.sized(640, 360)
		for range 30 {
			time.Sleep(10 * time.Millisecond)
			a.delta()
		}
		if names(s) != "ba" {
			t.Errorf("got %s, want the one with less data first", names(s))
		}
		changes("a layer ends", true, a.pub.Close)
	})
}

func TestLayers_OfTheNextPublisher(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := stream.New(stream.Config{})
		first := publishLayers(t, s, "a", "b")
		a, b := layer(t, first, "a"), layer(t, first, "b")
		ra, rb := newReader(t, a.s, stream.ReaderOptions{}), newReader(t, b.s, stream.ReaderOptions{})
		a.key()
		b.key()
		second := publishLayers(t, s, "b", "c")
		if err := a.pub.Err(); !errors.Is(err, stream.ErrClosed) && !errors.Is(err, stream.ErrReplaced) {
			t.Errorf("a layer of the publisher before: got %v", err)
		}
		again := layer(t, second, "b")
		layer(t, second, "c")
		if again.s != b.s || names(s) != "bc" && names(s) != "cb" {
			t.Errorf("got layers %s, the same %v", names(s), again.s == b.s)
		}
		again.seq, again.ts = 40000, 77
		again.key()
		units := drain(t, rb)
		if len(units) != 2 || units[1].Packet.SequenceNumber != units[0].Packet.SequenceNumber+1 {
			t.Errorf("got %d units of the layer that goes on, want 2 without a hole", len(units))
		}
		if n := len(drain(t, ra)); n != 1 {
			t.Errorf("got %d units of the other", n)
		}
		if _, err := ra.Read(t.Context()); !errors.Is(err, io.EOF) {
			t.Errorf("got %v, want EOF", err)
		}
		publish(t, s)
		if s.Layers() != nil {
			t.Errorf("got %s after a publisher of one quality", names(s))
		}
	})
}

func TestLayers_Bound(t *testing.T) {
	s := stream.New(stream.Config{})
	main := publishLayers(t, s)
	for i := range stream.MaxLayers {
		layer(t, main, string(rune('a'+i)))
	}
	if _, err := main.pub.Layer("x", stream.Source{}); !errors.Is(err, stream.ErrLayers) {
		t.Errorf("got %v, want ErrLayers", err)
	}
	main.pub.Close()
	if _, err := main.pub.Layer("a", stream.Source{}); !errors.Is(err, stream.ErrClosed) {
		t.Errorf("got %v, want ErrClosed", err)
	}
	s.Close()
}

func TestWrite_CrossesLayersAtKeyframes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := stream.New(stream.Config{})
		src := publish(t, s)
		r := newReader(t, s, stream.ReaderOptions{})
		write := func(layer uint8, seq uint16, pid byte, key, marker bool) *stream.Unit {
			u := src.unit(src.v, key)
			u.Layer, u.Packet.SequenceNumber, u.Packet.Marker = layer, seq, marker
			u.Packet.Payload = []byte{0x90, 0xc0, 0x80, pid, pid, 0}
			return src.write(u)
		}
		a := write(0, 10, 1, true, true)
		write(1, 500, 90, false, true) // not without a keyframe
		time.Sleep(300 * time.Microsecond) // nearly the same moment
		b := write(1, 501, 91, true, false)
		c := write(0, 20, 50, true, true) // within a picture
		checkUnits(t, drain(t, r), a, b, c)
		if b.Packet.SequenceNumber != 11 || c.Packet.SequenceNumber != 13 {
			t.Errorf("got numbers %d and %d, want 11, and a hole before 13", b.Packet.SequenceNumber, c.Packet.SequenceNumber)
		}
		if b.Packet.Payload[3] != 2 || b.Packet.Payload[4] != 2 || c.Packet.Payload[3] != 3 {
			t.Errorf("got picture ids % x, % x", b.Packet.Payload, c.Packet.Payload)
		}
		if b.PTS < a.PTS+2*time.Millisecond || c.PTS < b.PTS+2*time.Millisecond || b.Discontinuity || b.Track != a.Track {
			t.Errorf("got PTS %v, %v, %v, discontinuity %v", a.PTS, b.PTS, c.PTS, b.Discontinuity)
		}
	})
}

func TestStream_Rate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := stream.New(stream.Config{})
		src := publish(t, s)
		if r := s.Rate(); r != 0 {
			t.Errorf("got %v before anything", r)
		}
		src.key()
		for range 300 {
			time.Sleep(10 * time.Millisecond)
			src.delta() // 3 bytes
		}
		if r := s.Rate(); math.Abs(r-2400) > 100 {
			t.Errorf("got %.0f bit/s, want 2400", r)
		}
		time.Sleep(1100 * time.Millisecond)
		if r := s.Rate(); r != 0 {
			t.Errorf("got %.0f bit/s after a second of silence", r)
		}
		time.Sleep(time.Hour)
		src.delta()
		if r := s.Rate(); r <= 0 || r > 100 {
			t.Errorf("got %.0f bit/s for one packet", r)
		}
	})
}

// TestLayers_Race has a stream and its layers called at once, for the race
// detector and against locks in the wrong order.
func TestLayers_Race(t *testing.T) {
	s := stream.New(stream.Config{})
	var all sync.WaitGroup
	for range 2 {
		all.Go(func() {
			for range 30 {
				pub, err := s.Publish(stream.Source{Layers: []string{"a"}})
				if err != nil {
					t.Error(err)
					return
				}
				l, err := pub.Layer("a", stream.Source{})
				if err == nil {
					src := &source{t: t, s: s, v: videoTrack(stream.VP8)}
					for i := range 20 {
						u := src.unit(src.v, i%5 == 0)
						u.Width, u.Height = uint16(i), 9
						_ = l.Write(u) // ends with its publication
						l.Pause()
					}
					l.Close()
				}
				pub.Close()
			}
		})
		all.Go(func() {
			for range 200 {
				for _, l := range s.Layers() {
					_, _ = l.Stream.Size()
					_, _ = l.Stream.Rate(), l.Stream.Flowing()
				}
				_ = s.Changed()
			}
		})
	}
	all.Wait()
	s.Close()
}

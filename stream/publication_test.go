package stream_test

import (
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lectern/lectern/stream"
)

func TestPublish_SplicesOntoTheOneBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := stream.New(stream.Config{})
		r := newReader(t, s, stream.ReaderOptions{})
		first := publish(t, s)
		first.key()
		first.sound()
		first.delta()
		time.Sleep(2 * time.Second)
		second := publish(t, s)
		second.seq, second.ts = 40000, 1<<32-100
		if err := first.pub.Err(); !errors.Is(err, stream.ErrReplaced) {
			t.Errorf("first: got %v, want ErrReplaced", err)
		}
		<-first.pub.Done()
		if err := first.pub.Write(first.unit(first.v, true)); !errors.Is(err, stream.ErrReplaced) {
			t.Errorf("Write of the first: got %v, want ErrReplaced", err)
		}
		second.delta() // not before a keyframe
		second.sound()
		second.key()
		second.delta()
		lines := map[stream.Kind][]*stream.Unit{}
		for _, u := range drain(t, r) {
			lines[u.Track.Kind] = append(lines[u.Track.Kind], u)
		}
		v, a := lines[stream.Video], lines[stream.Audio]
		if len(v) != 4 || len(a) != 2 {
			t.Fatalf("got %d video and %d audio units, want 4 and 2", len(v), len(a))
		}
		for i := 1; i < len(v); i++ {
			if v[i].Packet.SequenceNumber != v[i-1].Packet.SequenceNumber+1+b2u(i == 1) {
				t.Errorf("unit %d: got number %d after %d", i, v[i].Packet.SequenceNumber, v[i-1].Packet.SequenceNumber)
			}
		}
		if d := v[2].Packet.Timestamp - v[1].Packet.Timestamp; d != 2*90000 {
			t.Errorf("got %d ticks over the gap of 2 s", d)
		}
		if d := a[1].Packet.Timestamp - a[0].Packet.Timestamp; d != 2*48000 {
			t.Errorf("sound: got %d ticks over the gap of 2 s", d)
		}
		if !v[2].Discontinuity || v[0].Discontinuity || v[3].Discontinuity || !a[1].Discontinuity {
			t.Error("want the first units of the second publisher marked, and no others")
		}
	})
}

// b2u is 1 for true: sound and picture of a test source share their numbers.
func b2u(b bool) uint16 {
	if b {
		return 1
	}
	return 0
}

func TestPublish_VP8PictureIDGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := stream.New(stream.Config{})
		write := func(src *source, key bool, pid uint16, tl0 byte) []byte {
			u := src.unit(src.v, key)
			u.Packet.Payload = []byte{0x90, 0xc0, 0x80 | byte(pid>>8), byte(pid), tl0, 0}
			return src.write(u).Packet.Payload
		}
		first := publish(t, s)
		write(first, true, 0x7ffe, 254)
		if p := write(first, false, 0x7fff, 255); p[2] != 0xff || p[3] != 0xff || p[4] != 255 {
			t.Errorf("first publisher: got % x", p)
		}
		second := publish(t, s)
		if p := write(second, true, 100, 7); p[2] != 0x80 || p[3] != 0 || p[4] != 0 {
			t.Errorf("second publisher: got % x, want id and TL0PICIDX 0", p)
		}
		if p := write(second, false, 101, 8); p[3] != 1 || p[4] != 1 {
			t.Errorf("second publisher: got % x, want 1", p)
		}
	})
}

func TestPublish_VP9PictureIDGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := stream.New(stream.Config{})
		write := func(src *source, pid byte) []byte {
			src.v.Codec = stream.VP9
			u := src.unit(src.v, true)
			u.Packet.Payload = []byte{0xac, pid, 0x00, 9, 0x82}
			return src.write(u).Packet.Payload
		}
		write(publish(t, s), 0x7f)
		if p := write(publish(t, s), 50); p[1] != 0 || p[3] != 10 {
			t.Errorf("got % x, want id 0 and TL0PICIDX 10", p)
		}
	})
}

func TestPublication_CodecChangeLeavesNoHole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := stream.New(stream.Config{})
		src := publish(t, s)
		r := newReader(t, s, stream.ReaderOptions{})
		a := src.key()
		src.v = videoTrack(stream.H264)
		src.delta()
		src.delta()
		if n := src.asked(); n == 0 {
			t.Error("no keyframe asked for")
		}
		b := src.key()
		checkUnits(t, drain(t, r), a, b)
		if b.Packet.SequenceNumber != a.Packet.SequenceNumber+1 || !b.Discontinuity {
			t.Errorf("got number %d after %d, discontinuity %v", b.Packet.SequenceNumber, a.Packet.SequenceNumber, b.Discontinuity)
		}
		if tracks := s.Tracks(); len(tracks) != 1 || tracks[0].Codec != stream.H264 {
			t.Errorf("got tracks %+v", tracks)
		}
	})
}

func TestPublication_DiscontinuityMovesTimestamps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := stream.New(stream.Config{})
		src := publish(t, s)
		a := src.key()
		time.Sleep(4 * time.Second)
		u := src.unit(src.v, false) // 3000 ticks on, and marked 4 s later
		u.Discontinuity = true
		src.write(u)
		if d := u.Packet.Timestamp - a.Packet.Timestamp; d != 4*90000 {
			t.Errorf("got %d ticks, want those of 4 s", d)
		}
		next := src.delta()
		if d := next.Packet.Timestamp - u.Packet.Timestamp; d != 3000 {
			t.Errorf("got %d ticks after it, want 3000", d)
		}
	})
}

func TestPublication_Close(t *testing.T) {
	s := stream.New(stream.Config{})
	src := publish(t, s, stream.Video)
	changed := s.Changed()
	src.pub.Close()
	src.pub.Close()
	<-changed
	<-src.pub.Done()
	if s.Live() || s.Kinds() != nil {
		t.Error("still live")
	}
	if err := src.pub.Write(src.unit(src.v, true)); !errors.Is(err, stream.ErrClosed) {
		t.Errorf("got %v, want ErrClosed", err)
	}
	s.Close()
	if _, err := s.Publish(stream.Source{}); !errors.Is(err, stream.ErrClosed) {
		t.Errorf("Publish: got %v, want ErrClosed", err)
	}
	if _, err := s.NewReader(stream.ReaderOptions{}); !errors.Is(err, stream.ErrClosed) {
		t.Errorf("NewReader: got %v, want ErrClosed", err)
	}
}

func TestReady_WaitsForAllKinds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := stream.New(stream.Config{})
		got := make(chan []*stream.Track, 1)
		go func() {
			tracks, err := s.Ready(t.Context(), time.Second)
			if err != nil {
				t.Error(err)
			}
			got <- tracks
		}()
		synctest.Wait()
		src := publish(t, s, stream.Audio, stream.Video)
		src.sound()
		time.Sleep(500 * time.Millisecond)
		src.delta()
		synctest.Wait()
		if len(got) != 0 {
			t.Fatal("ready without a keyframe")
		}
		src.key()
		if tracks := <-got; len(tracks) != 2 {
			t.Errorf("got %d tracks, want 2", len(tracks))
		}
	})
}

func TestReady_GivesUpASilentKind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := stream.New(stream.Config{})
		first := publish(t, s, stream.Audio, stream.Video)
		first.key()
		began := time.Now()
		time.AfterFunc(500*time.Millisecond, func() {
			publish(t, s, stream.Audio, stream.Video).key() // the time begins anew
		})
		tracks, err := s.Ready(t.Context(), time.Second)
		if err != nil || len(tracks) != 1 || tracks[0].Kind != stream.Video {
			t.Errorf("got %v, %v", tracks, err)
		}
		if d := time.Since(began); d != 1500*time.Millisecond {
			t.Errorf("waited %v, want 1.5 s", d)
		}
	})
}

func TestReady_Closed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := stream.New(stream.Config{})
		time.AfterFunc(time.Second, s.Close)
		if _, err := s.Ready(t.Context(), time.Second); !errors.Is(err, stream.ErrClosed) {
			t.Errorf("got %v, want ErrClosed", err)
		}
	})
}

func TestStream_Keyframe(t *testing.T) {
	s := stream.New(stream.Config{})
	src := publish(t, s)
	src.key()
	k := src.key()
	src.sound()
	src.delta()
	checkUnits(t, s.Keyframe(), k)
	s.Close()
	if got := s.Keyframe(); got != nil {
		t.Errorf("after Close: got %v", got)
	}
}

// TestStream_Race has all methods called at once, for the race detector.
func TestStream_Race(t *testing.T) {
	s := stream.New(stream.Config{})
	var all sync.WaitGroup
	for range 2 {
		all.Go(func() { // publishers that take over from each other
			for range 20 {
				src := publish(t, s, stream.Video)
				for i := range 20 {
					if err := src.pub.Write(src.unit(src.v, i%5 == 0)); err != nil {
						break
					}
				}
				src.pub.Close()
			}
		})
	}
	for range 4 {
		all.Go(func() {
			for range 10 {
				r, err := s.NewReader(stream.ReaderOptions{Queue: 5, Backlog: time.Second, PerFrame: true})
				if err != nil {
					t.Error(err)
					return
				}
				go r.Close() // ends with the line below
				for {
					if _, err := r.Read(t.Context()); err != nil {
						break
					}
				}
				r.Resync()
			}
		})
		all.Go(func() {
			for range 50 {
				s.RequestKeyframe()
				_, _, _ = s.Stats(), s.Tracks(), s.Keyframe()
				_, _, _ = s.Live(), s.Kinds(), s.Changed()
			}
		})
	}
	all.Wait()
	s.Close()
}

// FuzzSplice rewrites arbitrary payloads of VP8 and VP9.
func FuzzSplice(f *testing.F) {
	f.Add([]byte{0x90, 0xc0, 0x80, 1, 2, 0})
	f.Add([]byte{0x90, 0x80, 0x80})
	f.Add([]byte{0xa0, 0xff})
	f.Fuzz(func(t *testing.T, payload []byte) {
		s := stream.New(stream.Config{})
		for _, c := range []stream.Codec{stream.VP8, stream.VP9, stream.VP8, stream.VP9} {
			src := publish(t, s)
			src.v.Codec = c
			u := src.unit(src.v, true)
			u.Packet.Payload = payload
			src.write(u)
		}
		s.Close()
	})
}

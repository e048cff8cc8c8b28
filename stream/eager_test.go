package stream_test

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lectern/lectern/stream"
)

func TestReader_LingerGathersUnitsForOneWakeUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := stream.New(stream.Config{})
		defer s.Close()
		src := publish(t, s, stream.Video)
		r, err := s.NewReader(stream.ReaderOptions{Linger: 200 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		got := make(chan int, 1)
		go func() {
			n, _ := r.ReadBatch(context.Background(), make([]*stream.Unit, 64))
			got <- n
		}()
		synctest.Wait()
		src.key()
		for range 9 {
			time.Sleep(10 * time.Millisecond) // on the clock of the bubble
			src.delta()
		}
		select {
		case n := <-got:
			t.Fatalf("read %d units before the time was over", n)
		default:
		}
		if n := <-got; n != 10 {
			t.Errorf("read %d units, want all 10", n)
		}
	})
}

func TestReader_LingerEndsWhenTheQueueIsHalfFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := stream.New(stream.Config{})
		defer s.Close()
		src := publish(t, s, stream.Video)
		r, err := s.NewReader(stream.ReaderOptions{Linger: time.Hour, Queue: 8})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		began := time.Now()
		got := make(chan int, 1)
		go func() {
			n, _ := r.ReadBatch(context.Background(), make([]*stream.Unit, 64))
			got <- n
		}()
		synctest.Wait()
		src.key()
		for range 4 {
			src.delta()
		}
		if n := <-got; n != 5 || time.Since(began) > time.Minute {
			t.Errorf("read %d units after %v, want 5 at once", n, time.Since(began))
		}
	})
}

func TestReader_CloseEndsLinger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := stream.New(stream.Config{})
		defer s.Close()
		src := publish(t, s, stream.Video)
		r, err := s.NewReader(stream.ReaderOptions{Linger: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		ended := make(chan error, 2)
		go func() {
			for range 2 {
				_, err := r.ReadBatch(context.Background(), make([]*stream.Unit, 64))
				ended <- err
			}
		}()
		synctest.Wait()
		src.key()
		synctest.Wait()
		r.Close()
		if err := <-ended; err != nil {
			t.Errorf("what was queued: got %v", err)
		}
		if err := <-ended; !errors.Is(err, io.EOF) || time.Since(began) > time.Minute {
			t.Errorf("got %v after %v, want the end at once", err, time.Since(began))
		}
	})
}

func TestReader_OnReadyServesOnTheGoroutineOfThePublisher(t *testing.T) {
	s := stream.New(stream.Config{})
	defer s.Close()
	src := publish(t, s, stream.Video)
	var r *stream.Reader
	var calls, units int
	few := true
	batch := make([]*stream.Unit, 16)
	r, err := s.NewReader(stream.ReaderOptions{PerFrame: true, OnReady: func() bool {
		calls++
		if few {
			units += r.TryReadBatch(batch)
		}
		return few
	}})
	if err != nil {
		t.Fatal(err)
	}
	first := src.unit(src.v, true)
	first.Packet.Marker = false
	src.write(first)
	calls, units = 0, 0 // a first packet of a new timestamp may call
	rest := src.unit(src.v, false)
	rest.Packet.Timestamp = first.Packet.Timestamp
	src.write(rest)
	if calls != 1 || units == 0 {
		t.Errorf("at the end of the access unit: got %d calls and %d units", calls, units)
	}
	if n := r.TryReadBatch(batch); n != 0 {
		t.Errorf("%d units are left", n)
	}

	few = false
	src.delta()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := r.Wait(ctx); err != nil {
		t.Fatalf("the reader was not woken: %v", err)
	}
	if n := r.TryReadBatch(batch); n != 1 {
		t.Errorf("got %d units, want the one that was left", n)
	}

	r.Close()
	calls = 0
	src.delta()
	if calls != 0 {
		t.Error("a closed reader was called")
	}
	for err = r.Wait(ctx); err == nil; err = r.Wait(ctx) {
	}
	if !errors.Is(err, io.EOF) {
		t.Errorf("after Close: got %v, want io.EOF", err)
	}
}

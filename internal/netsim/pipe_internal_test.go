package netsim

import (
	"encoding/binary"
	"math"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// arrival is a packet that came out of a pipe.
type arrival struct {
	n     int
	after time.Duration // since it went in
}

// drive pushes packets of size bytes, one each gap, through a pipe, and returns
// what came out, in order. It runs in no time.
func drive(t *testing.T, l Link, packets, size int, gap time.Duration) (out []arrival, s Stats) {
	t.Helper()
	synctest.Test(t, func(*testing.T) {
		p := newPipe(l, 7)
		var mu sync.Mutex
		var wait sync.WaitGroup
		wait.Go(p.run)
		sent := make([]time.Time, packets)
		data := make([]byte, size)
		for i := range packets {
			binary.BigEndian.PutUint32(data, uint32(i))
			sent[i] = time.Now()
			p.push(time.Now(), data, func(b []byte) error {
				mu.Lock()
				defer mu.Unlock()
				n := int(binary.BigEndian.Uint32(b))
				out = append(out, arrival{n, time.Since(sent[n])})
				return nil
			})
			time.Sleep(gap) // of the bubble
		}
		time.Sleep(time.Minute)
		p.close()
		wait.Wait()
		s = p.stats()
	})
	return out, s
}

func numbers(all []arrival) []int {
	out := make([]int, len(all))
	for i, a := range all {
		out[i] = a.n
	}
	return out
}

func TestPipe_PassesEverythingAtOnceByDefault(t *testing.T) {
	out, s := drive(t, Link{}, 1000, 100, time.Millisecond)
	if len(out) != 1000 || !slices.IsSorted(numbers(out)) || s.Passed != 1000 || s.PassedBytes != 100000 {
		t.Errorf("got %d packets, %+v", len(out), s)
	}
	for _, a := range out {
		if a.after > 0 {
			t.Fatalf("packet %d took %v", a.n, a.after)
		}
	}
}

func TestPipe_LosesThePartItIsToldAlsoInBursts(t *testing.T) {
	const packets = 100000
	for name, l := range map[string]Link{
		"alone": {Loss: .05}, "in bursts of 4": {Loss: .05, Burst: 4}, "nearly all": {Loss: .9, Burst: 10}, "all": {Loss: 1, Burst: 3},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPipe(l, 1)
			lost, bursts, before := 0, 0, false
			for range packets {
				now := p.loseLocked()
				if now {
					lost++
					if !before {
						bursts++
					}
				}
				before = now
			}
			if got := float64(lost) / packets; math.Abs(got-l.Loss) > .1*l.Loss {
				t.Errorf("lost %.4f of all, want %.4f", got, l.Loss)
			}
			if got := float64(lost) / float64(bursts); l.Loss == .05 && math.Abs(got-max(1.05, l.Burst)) > .2 {
				t.Errorf("%.2f in a row, want %.0f", got, l.Burst)
			}
		})
	}
}

func TestPipe_OneSeedMakesOneSeriesOfDecisions(t *testing.T) {
	l := Link{Loss: .1, Burst: 2, Delay: 20 * time.Millisecond, Jitter: 10 * time.Millisecond, Reorder: .1, Duplicate: .1}
	a, sa := drive(t, l, 2000, 200, time.Millisecond)
	b, sb := drive(t, l, 2000, 200, time.Millisecond)
	if !slices.Equal(a, b) || sa != sb {
		t.Errorf("two runs differ: %+v, %+v", sa, sb)
	}
}

func TestPipe_DelaysWithJitterButKeepsTheOrder(t *testing.T) {
	out, _ := drive(t, Link{Delay: 40 * time.Millisecond, Jitter: 30 * time.Millisecond}, 2000, 100, 20*time.Millisecond)
	if len(out) != 2000 || !slices.IsSorted(numbers(out)) {
		t.Fatalf("%d packets, in order: %v", len(out), slices.IsSorted(numbers(out)))
	}
	least, most := time.Hour, time.Duration(0)
	for _, a := range out {
		least, most = min(least, a.after), max(most, a.after)
	}
	if least < 40*time.Millisecond || most > 70*time.Millisecond || most-least < 20*time.Millisecond {
		t.Errorf("packets took %v to %v", least, most)
	}
}

func TestPipe_HoldsPacketsBackSoThatOthersOvertake(t *testing.T) {
	out, s := drive(t, Link{Reorder: .05, ReorderBy: 5 * time.Millisecond}, 2000, 100, time.Millisecond)
	if len(out) != 2000 || slices.IsSorted(numbers(out)) {
		t.Fatalf("%d packets, in order: %v", len(out), slices.IsSorted(numbers(out)))
	}
	if s.Reordered < 50 || s.Reordered > 150 {
		t.Errorf("%d held back, want about 100", s.Reordered)
	}
	for i, a := range out {
		if d := a.n - i; d < -6 || d > 6 {
			t.Fatalf("packet %d came as number %d", a.n, i)
		}
	}
}

func TestPipe_DoublesPackets(t *testing.T) {
	out, s := drive(t, Link{Duplicate: .1}, 2000, 100, time.Millisecond)
	if s.Duplicated < 140 || s.Duplicated > 260 || len(out) != 2000+int(s.Duplicated) {
		t.Errorf("%d came, %+v", len(out), s)
	}
}

// 1000 packets of 1000 bytes in a second are 8 Mbit/s; the line takes one, and
// holds 50 ms of it.
func TestPipe_BandwidthIsBoundedAndTheQueueTailDropped(t *testing.T) {
	out, s := drive(t, Link{Rate: 1_000_000, Queue: 6250}, 1000, 1000, time.Millisecond)
	if len(out) < 125 || len(out) > 135 || s.Overflowed != 1000-uint64(len(out)) {
		t.Errorf("%d came, %+v", len(out), s)
	}
	if !slices.IsSorted(numbers(out)) {
		t.Error("the order is lost")
	}
	for _, a := range out {
		if a.after < 8*time.Millisecond || a.after > 50*time.Millisecond {
			t.Fatalf("packet %d took %v", a.n, a.after)
		}
	}
}

func TestPipe_ChangesWhileRunning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPipe(Link{Rate: 80_000}, 1)
		var wait sync.WaitGroup
		wait.Go(p.run)
		came := make(chan byte, 10)
		push := func(b byte) {
			p.push(time.Now(), append(make([]byte, 999), b), func(d []byte) error { came <- d[999]; return nil })
		}
		push(1) // leaves after 100 ms
		p.set(Link{})
		push(2) // at once, but not before the one that waits
		time.Sleep(99 * time.Millisecond)
		if len(came) != 0 {
			t.Error("a packet overtook one that waits for bandwidth")
		}
		time.Sleep(2 * time.Millisecond)
		if len(came) != 2 || <-came != 1 {
			t.Error("both should have come in their order")
		}
		p.set(Link{Loss: 1})
		push(3)
		time.Sleep(time.Second)
		if len(came) != 1 || p.stats().Lost != 1 {
			t.Errorf("%d came, %+v", len(came), p.stats())
		}
		p.close()
		p.close()
		wait.Wait()
	})
}

func TestPipe_HoldsNoMoreThanItsBound(t *testing.T) {
	p := newPipe(Link{Delay: time.Hour}, 1)
	for range maxHeld + 10 {
		p.push(time.Now(), []byte{1}, func([]byte) error { return nil })
	}
	if s := p.stats(); s.Refused != 10 || len(p.held) != maxHeld {
		t.Errorf("holds %d, %+v", len(p.held), s)
	}
}

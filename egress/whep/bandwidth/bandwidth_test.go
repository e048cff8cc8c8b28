package bandwidth_test

import (
	"math"
	"testing"
	"time"

	"github.com/pion/rtcp"

	"github.com/lectern/lectern/egress/whep/bandwidth"
)

const s = time.Second

func low() []float64 { return []float64{150e3, 500e3, 1500e3} }

func TestEstimator_FollowsStepsDownAndUp(t *testing.T) {
	for _, jitter := range []time.Duration{0, 5 * time.Millisecond, 20 * time.Millisecond} {
		for _, loss := range []float64{0, 0.02} {
			w := newWorld(link{rate: steps(0*s, 3e6, 15*s, 400e3, 35*s, 3e6), buffer: 60000, jitter: jitter, loss: loss}, low()...)
			w.run(50 * s)
			for _, tt := range []struct {
				from, to time.Duration
				layer    int
			}{{0, 15 * s, 2}, {15 * s, 35 * s, 0}, {35 * s, 50 * s, 2}} {
				layer, since := w.layerFrom(tt.from, tt.to)
				if layer != tt.layer || since-tt.from > 5*s {
					t.Errorf("jitter %v, loss %v, from %v: got layer %d since %v, want %d", jitter, loss, tt.from, layer, since, tt.layer)
				}
			}
			if n := w.switches(0, 50*s); n > 6 {
				t.Errorf("jitter %v: %d switches", jitter, n)
			}
			if got := w.standing(18*s, 50*s); got > 100*time.Millisecond {
				t.Errorf("jitter %v, loss %v: a queue of more than 200 ms stood for %v", jitter, loss, got)
			}
			if w.dropped > 0 {
				t.Errorf("jitter %v: probes cost %d packets of media", jitter, w.dropped)
			}
			if e := w.sampleAt(15*s + 500*time.Millisecond); e.rate > 700e3 {
				t.Errorf("jitter %v: %.0f bit/s half a second after the step down", jitter, e.rate)
			}
		}
	}
}

func TestEstimator_KeepsWhatFits(t *testing.T) {
	for _, tt := range []struct {
		name   string
		link   link
		layer  int
		atMost int // switches after the first 10 s
	}{
		{"narrow", link{rate: constant(400e3), buffer: 30000, jitter: 10 * time.Millisecond}, 0, 0},
		{"one megabit", link{rate: constant(1e6), buffer: 60000, jitter: 20 * time.Millisecond}, 1, 0},
		{"short queue", link{rate: constant(1e6), buffer: 20000}, 1, 0},
		{"ten percent lost by chance", link{rate: constant(10e6), buffer: 100000, jitter: 10 * time.Millisecond, loss: 0.10}, 2, 2},
		{"feedback lost", link{rate: constant(2.5e6), buffer: 100000, jitter: 10 * time.Millisecond, noBack: 0.3}, 2, 0},
		{"far away", link{rate: constant(3e6), buffer: 100000, delay: func(time.Duration) time.Duration { return 150 * time.Millisecond }}, 2, 0},
		{"policer", link{rate: constant(1e6), buffer: 4400}, 1, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(tt.link, low()...)
			w.run(60 * s)
			if layer, since := w.layerFrom(0, 60*s); layer != tt.layer || since > 30*s {
				t.Errorf("got layer %d since %v, want %d", layer, since, tt.layer)
			}
			if n := w.switches(10*s, 60*s); n > tt.atMost {
				t.Errorf("%d switches, want at most %d", n, tt.atMost)
			}
			if got := w.standing(5*s, 60*s); got > 300*time.Millisecond {
				t.Errorf("a queue of more than 200 ms stood for %v", got)
			}
		})
	}
}

func TestEstimator_MakesRoomForOthersAndComesBack(t *testing.T) {
	w := newWorld(link{rate: constant(3e6), cross: steps(0*s, 0.0, 15*s, 2e6, 30*s, 0.0), buffer: 80000}, low()...)
	w.run(45 * s)
	for _, tt := range []struct {
		from, to time.Duration
		layer    int
	}{{15 * s, 30 * s, 1}, {30 * s, 45 * s, 2}} {
		if layer, since := w.layerFrom(tt.from, tt.to); layer != tt.layer || since-tt.from > 5*s {
			t.Errorf("from %v: got layer %d since %v, want %d", tt.from, layer, since, tt.layer)
		}
	}
}

// Another way through the network takes longer, and carries as much.
func TestEstimator_ALongerWayIsNoCongestion(t *testing.T) {
	w := newWorld(link{rate: constant(10e6), buffer: 100000, jitter: 5 * time.Millisecond, delay: func(at time.Duration) time.Duration {
		if at > 15*s {
			return 90 * time.Millisecond
		}
		return 20 * time.Millisecond
	}}, low()...)
	w.run(40 * s)
	if layer, since := w.layerFrom(15*s, 40*s); layer != 2 || since > 21*s {
		t.Errorf("got layer %d since %v", layer, since)
	}
}

// A radio link that changes each few hundred milliseconds between 0.8 and 2.4
// Mbit/s: the viewer stays with what always fits, or moves rarely.
func TestEstimator_RadioLink(t *testing.T) {
	rate := func(at time.Duration) float64 {
		x := at.Seconds()
		return 1.6e6 + 0.5e6*math.Sin(x*1.7) + 0.3e6*math.Sin(x*9.1)
	}
	w := newWorld(link{rate: rate, buffer: 100000, jitter: 15 * time.Millisecond, loss: 0.01}, low()...)
	w.run(60 * s)
	if n := w.switches(5*s, 60*s); n > 24 {
		t.Errorf("%d switches in 55 s", n)
	}
	if got := w.standing(5*s, 60*s); got > 700*time.Millisecond {
		t.Errorf("a queue of more than 200 ms stood for %v", got)
	}
	low := 0
	for _, x := range w.between(5*s, 60*s) {
		if x.layer == 0 {
			low++
		}
	}
	if low > 550 { // of 5500
		t.Errorf("the lowest layer for %d0 ms", low)
	}
}

// A viewer whose picture was stopped finds out when the network carries it again,
// and not before.
func TestEstimator_ProbesOutOfAPause(t *testing.T) {
	w := newWorld(link{rate: steps(0*s, 60e3, 30*s, 400e3), buffer: 30000, jitter: 5 * time.Millisecond}, 150e3)
	w.run(5 * s)
	w.muted, w.wants = true, 150e3
	w.run(40 * s)
	if got := w.sampleAt(29 * s).rate; got > 90e3 {
		t.Errorf("got %.0f of 60000 bit/s", got)
	}
	if got := w.sampleAt(35 * s).rate; got < 130e3 {
		t.Errorf("got %.0f five seconds after it got better", got)
	}
}

func TestEstimator_SilenceLowersIt(t *testing.T) {
	e := bandwidth.New(2e6)
	at := time.Unix(0, 0)
	for i := range 400 {
		e.Sent(uint16(i), 1000, at, false)
		if i == 0 {
			e.Feedback(&rtcp.TransportLayerCC{PacketStatusCount: 1, PacketChunks: []rtcp.PacketStatusChunk{&rtcp.RunLengthChunk{RunLength: 1}}}, at)
		}
		at = at.Add(10 * time.Millisecond)
		e.Estimate(at)
	}
	if got := e.Estimate(at); got.Rate > 1e6 || got.State != bandwidth.Congested {
		t.Errorf("got %+v after four seconds without feedback", got)
	}
}

func TestReports_DownOnLossAndUpWithCaution(t *testing.T) {
	r := bandwidth.NewReports(2e6)
	at := time.Unix(0, 0)
	tell := func(n int, loss float64, rtt time.Duration, sending float64) float64 {
		for range n {
			at = at.Add(s)
			r.Report(bandwidth.Report{Loss: loss, RTT: rtt, Sending: sending, Most: 2e6}, at)
		}
		return r.Estimate().Rate
	}
	if got := tell(1, 0.3, 0, 1.5e6); got != 2e6 {
		t.Errorf("one bad report: got %v", got)
	}
	down := tell(2, 0.3, 0, 1.5e6)
	if down > 0.9e6 || r.Estimate().State != bandwidth.Congested {
		t.Errorf("loss of 30 %%: got %v", down)
	}
	if got := tell(5, 0, 0, 500e3); got != down {
		t.Errorf("grew at once, to %v", got)
	}
	if got := tell(40, 0, 50*time.Millisecond, 500e3); got != 2e6 {
		t.Errorf("after a good time: got %v", got)
	}
	tell(3, 0.9, 0, 2e6)
	if got := tell(23, 0, 50*time.Millisecond, 1.9e6); got < 1.9e6 {
		t.Errorf("although 1.9 Mbit/s arrive: got %v", got)
	}
	if got := tell(3, 0, 900*time.Millisecond, 1.5e6); got > 1.3e6 {
		t.Errorf("a queue of 850 ms: got %v", got)
	}
}

// FuzzFeedback: nothing that a viewer can report makes the estimate leave its
// bounds, or takes long.
func FuzzFeedback(f *testing.F) {
	seed := func(fb *rtcp.TransportLayerCC) {
		fb.Header = rtcp.Header{Count: rtcp.FormatTCC, Type: rtcp.TypeTransportSpecificFeedback}
		fb.Header.Length = fb.Len()/4 - 1
		if b, err := fb.Marshal(); err == nil {
			f.Add(b, uint16(100))
		}
	}
	seed(&rtcp.TransportLayerCC{
		BaseSequenceNumber: 90, PacketStatusCount: 3, ReferenceTime: 5,
		PacketChunks: []rtcp.PacketStatusChunk{&rtcp.RunLengthChunk{PacketStatusSymbol: rtcp.TypeTCCPacketReceivedSmallDelta, RunLength: 3}},
		RecvDeltas:   []*rtcp.RecvDelta{{Type: 1, Delta: 250}, {Type: 1, Delta: 500}, {Type: 1, Delta: 0}},
	})
	seed(&rtcp.TransportLayerCC{
		BaseSequenceNumber: 65535, PacketStatusCount: 65535, ReferenceTime: 1<<24 - 1,
		PacketChunks: []rtcp.PacketStatusChunk{&rtcp.RunLengthChunk{RunLength: 8191}, &rtcp.StatusVectorChunk{Type: 1, SymbolSize: 1, SymbolList: []uint16{2, 0, 0, 2, 0, 0, 0}}},
		RecvDeltas:   []*rtcp.RecvDelta{{Type: 2, Delta: -8192000}, {Type: 2, Delta: 8191750}},
	})
	f.Fuzz(func(t *testing.T, raw []byte, last uint16) {
		pkts, err := rtcp.Unmarshal(raw)
		if err != nil {
			return
		}
		e := bandwidth.New(1e6)
		at := time.Unix(0, 0)
		for i := range uint16(200) {
			e.Sent(last-200+i, 1000, at, i%7 == 0)
			at = at.Add(time.Millisecond)
		}
		for range 2 {
			for _, p := range pkts {
				if fb, ok := p.(*rtcp.TransportLayerCC); ok {
					e.Feedback(fb, at)
				}
			}
			at = at.Add(time.Hour)
			e.Sent(last, 1000, at, false)
			if r := e.Probe(5e6, at); math.IsNaN(r) || r < 0 || r > 2*bandwidth.Most {
				t.Fatalf("probe at %v", r)
			}
			if got := e.Estimate(at); !(got.Rate >= bandwidth.Least && got.Rate <= bandwidth.Most) || got.Loss < 0 || got.Loss > 1 || got.Queue < 0 {
				t.Fatalf("got %+v", got)
			}
		}
	})
}

func TestFeedback_MadeUpByHandIsHarmless(t *testing.T) {
	e := bandwidth.New(1e6)
	at := time.Unix(0, 0)
	e.Feedback(&rtcp.TransportLayerCC{PacketStatusCount: 9}, at) // before anything was sent
	e.Sent(1, 1000, at, false)
	var run *rtcp.RunLengthChunk
	var vector *rtcp.StatusVectorChunk
	for _, chunks := range [][]rtcp.PacketStatusChunk{nil, {nil}, {run}, {vector}, {&rtcp.RunLengthChunk{PacketStatusSymbol: 1, RunLength: 65535}}, {&rtcp.RunLengthChunk{PacketStatusSymbol: 9, RunLength: 2}}} {
		for _, deltas := range [][]*rtcp.RecvDelta{nil, {nil}, {{Delta: math.MaxInt64}}, {{Delta: math.MinInt64}}} {
			e.Feedback(&rtcp.TransportLayerCC{BaseSequenceNumber: 1, PacketStatusCount: 65535, ReferenceTime: math.MaxUint32, PacketChunks: chunks, RecvDeltas: deltas}, at)
		}
	}
	if got := e.Estimate(at).Rate; got != 1e6 {
		t.Errorf("got %v", got)
	}
}

package bandwidth_test

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/pion/interceptor/pkg/twcc"
	"github.com/pion/rtcp"

	"github.com/lectern/lectern/egress/whep/bandwidth"
)

// link is a network with one narrow place: a queue of bytes that drops at its
// end. It moves in steps of a millisecond.
type link struct {
	rate   func(t time.Duration) float64 // bit/s
	cross  func(t time.Duration) float64 // bit/s of others that share it
	delay  func(t time.Duration) time.Duration
	buffer int           // bytes
	loss   float64       // by chance, 0 to 1
	jitter time.Duration // most
	noBack float64       // loss of feedback
}

// sentPacket is one in the queue of the link.
type simPacket struct {
	seq   uint16
	bytes int
	probe bool
	other bool
}

// world runs a sender, a link and a viewer.
type world struct {
	link
	rng    *rand.Rand
	est    *bandwidth.Estimator
	layers []float64
	now    time.Duration
	start  time.Time

	queue  []simPacket
	queued int
	credit float64
	crossC float64
	seq    uint16
	onWay  []onWay
	back   []report
	rec    *twcc.Recorder
	nextFB time.Duration

	muted     bool    // no media, but probes
	wants     float64 // of a muted world
	layer     int
	fitsSince time.Duration
	fits      int
	pacer     float64
	backlog   int
	padding   float64

	samples   []sample
	mediaLost int
	media     int
	dropped   int // of media, by a full queue while a probe was on
}

type onWay struct {
	at  time.Duration
	seq uint16
}

type report struct {
	at   time.Duration
	pkts []rtcp.Packet
}

// sample is the state of the world each 10 ms.
type sample struct {
	at    time.Duration
	layer int
	rate  float64
	queue time.Duration
	state bandwidth.State
}

func newWorld(l link, layers ...float64) *world {
	if l.cross == nil {
		l.cross = func(time.Duration) float64 { return 0 }
	}
	if l.delay == nil {
		l.delay = func(time.Duration) time.Duration { return 20 * time.Millisecond }
	}
	return &world{
		link: l, rng: rand.New(rand.NewPCG(1, 2)), est: bandwidth.New(800e3), layers: layers,
		start: time.Unix(1e9, 0), rec: twcc.NewRecorder(1), seq: 65000,
	}
}

const packetBytes = 1100

func (w *world) run(until time.Duration) {
	for ; w.now < until; w.now += time.Millisecond {
		w.send()
		w.drain()
		w.deliver()
		if w.now%(10*time.Millisecond) == 0 {
			w.choose()
			e := w.est.Estimate(w.start.Add(w.now))
			wait := time.Duration(float64(w.queued) * 8 / max(w.rate(w.now), 1) * float64(time.Second))
			w.samples = append(w.samples, sample{w.now, w.layer, e.Rate, wait, e.State})
		}
	}
}

// choose takes the highest layer that fits with a margin for 1.5 s, and lower
// ones at once. It has no memory of what failed, and so waits longer than it
// would have to.
func (w *world) choose() {
	e := w.est.Estimate(w.start.Add(w.now))
	best := 0
	for i, r := range w.layers {
		if 1.15*r <= e.Rate {
			best = i
		}
	}
	for w.layer > 0 && w.layers[w.layer] > e.Rate {
		w.layer--
	}
	if best != w.fits || best <= w.layer {
		if best < w.fits || best <= w.layer || w.fits <= w.layer {
			w.fitsSince = w.now
		}
		w.fits = best
	}
	if w.fits > w.layer && w.now-w.fitsSince >= 1500*time.Millisecond {
		w.layer = w.fits
	}
}

// want is the rate that the highest layer needs.
func (w *world) want() float64 {
	if w.muted {
		return w.wants
	}
	if w.layer == len(w.layers)-1 {
		return 0
	}
	return 1.15 * w.layers[len(w.layers)-1]
}

// send puts frames, keyframes of five times the size each 3 s, paced, and the
// packets of probes on the way.
func (w *world) send() {
	rate := w.layers[w.layer]
	if w.muted {
		rate = 0
	}
	if w.now%(33*time.Millisecond) == 0 {
		size := rate / 8 * 0.033 * 0.95
		if w.now%(2970*time.Millisecond) == 0 {
			size *= 5
		}
		w.backlog += int(size)
	}
	sent := 0
	w.pacer = min(w.pacer+2.5*rate/8e3, packetBytes)
	for w.backlog > 0 && w.pacer > 0 {
		n := min(w.backlog, packetBytes)
		w.put(n, false)
		w.backlog -= n
		w.pacer -= float64(n)
		sent += n
	}
	want := w.want()
	if want == 0 || w.now%(5*time.Millisecond) != 0 {
		w.padding -= float64(sent)
		return
	}
	probe := w.est.Probe(want, w.start.Add(w.now))
	if probe == 0 {
		w.padding = 0
		return
	}
	w.padding = max(w.padding+probe/8*0.005, -3*packetBytes) - float64(sent)
	for w.padding >= packetBytes {
		w.put(packetBytes, true)
		w.padding -= packetBytes
	}
}

func (w *world) put(bytes int, probe bool) {
	w.est.Sent(w.seq, bytes, w.start.Add(w.now), probe)
	if !probe {
		w.media++
	}
	w.enqueue(simPacket{seq: w.seq, bytes: bytes, probe: probe})
	w.seq++
}

func (w *world) enqueue(p simPacket) {
	if w.queued+p.bytes > w.buffer {
		if !p.probe && !p.other {
			w.mediaLost++
			if w.est.Estimate(w.start.Add(w.now)).State == bandwidth.Probing {
				w.dropped++
			}
		}
		return
	}
	w.queue = append(w.queue, p)
	w.queued += p.bytes
}

func (w *world) drain() {
	w.crossC += w.cross(w.now) / 8e3
	for w.crossC >= packetBytes {
		w.crossC -= packetBytes
		w.enqueue(simPacket{bytes: packetBytes, other: true})
	}
	w.credit += w.rate(w.now) / 8e3
	for len(w.queue) > 0 && w.credit >= float64(w.queue[0].bytes) {
		p := w.queue[0]
		w.queue = w.queue[1:]
		w.queued -= p.bytes
		w.credit -= float64(p.bytes)
		if p.other {
			continue
		}
		if w.rng.Float64() < w.loss {
			if !p.probe {
				w.mediaLost++
			}
			continue
		}
		at := w.now + w.delay(w.now) + time.Duration(w.rng.Float64()*float64(w.jitter))
		w.onWay = append(w.onWay, onWay{at, p.seq})
	}
	if len(w.queue) == 0 {
		w.credit = min(w.credit, packetBytes)
	}
}

// deliver hands packets to the viewer, which reports each 100 ms.
func (w *world) deliver() {
	slices.SortStableFunc(w.onWay, func(a, b onWay) int { return int(a.at - b.at) })
	for len(w.onWay) > 0 && w.onWay[0].at <= w.now {
		// A clock of its own, 100 ppm fast.
		w.rec.Record(1, w.onWay[0].seq, 5e9+int64(float64(w.onWay[0].at.Microseconds())*1.0001))
		w.onWay = w.onWay[1:]
	}
	if w.now >= w.nextFB {
		w.nextFB = w.now + 100*time.Millisecond
		if pkts := w.rec.BuildFeedbackPacket(); w.rng.Float64() >= w.noBack {
			w.back = append(w.back, report{w.now + w.delay(w.now), pkts})
		}
	}
	for len(w.back) > 0 && w.back[0].at <= w.now {
		for _, p := range w.back[0].pkts {
			if fb, ok := p.(*rtcp.TransportLayerCC); ok {
				w.est.Feedback(fb, w.start.Add(w.now))
			}
		}
		w.back = w.back[1:]
	}
}

// layerFrom is since when the layer at the end of the span is kept.
func (w *world) layerFrom(from, to time.Duration) (layer int, since time.Duration) {
	s := w.between(from, to)
	layer = s[len(s)-1].layer
	for i := len(s) - 1; i >= 0 && s[i].layer == layer; i-- {
		since = s[i].at
	}
	return layer, since
}

func (w *world) between(from, to time.Duration) []sample {
	var out []sample
	for _, s := range w.samples {
		if s.at >= from && s.at < to {
			out = append(out, s)
		}
	}
	return out
}

// switches counts the changes of layer.
func (w *world) switches(from, to time.Duration) int {
	n := 0
	s := w.between(from, to)
	for i := 1; i < len(s); i++ {
		if s[i].layer != s[i-1].layer {
			n++
		}
	}
	return n
}

// standing is the longest time for which the queue was above 200 ms.
func (w *world) standing(from, to time.Duration) time.Duration {
	var most, since time.Duration
	over := false
	for _, s := range w.between(from, to) {
		if s.queue < 200*time.Millisecond {
			over = false
			continue
		}
		if !over {
			over, since = true, s.at
		}
		most = max(most, s.at-since+10*time.Millisecond)
	}
	return most
}

func steps(at ...any) func(time.Duration) float64 {
	return func(t time.Duration) float64 {
		rate := 0.0
		for i := 0; i+1 < len(at); i += 2 {
			if from, ok := at[i].(time.Duration); ok && t >= from {
				rate, _ = at[i+1].(float64)
			}
		}
		return rate
	}
}

func constant(rate float64) func(time.Duration) float64 {
	return func(time.Duration) float64 { return rate }
}

// sampleAt is the state at a time.
func (w *world) sampleAt(at time.Duration) sample { return w.between(at, at+20*time.Millisecond)[0] }

package ingest

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"

	"github.com/lectern/lectern/stream"
)

const (
	tickEvery   = 20 * time.Millisecond  // while packets wait
	minTick     = 2 * time.Millisecond   // at least between two rounds of it
	idleEvery   = 200 * time.Millisecond // while none does: each wake-up costs
	reportEvery = time.Second

	// A source is only taken for replaced by another SSRC of its kind when it
	// has been silent for this long: else two sources would tear it apart.
	silentSource = 200 * time.Millisecond
)

// Config configures a Publisher.
type Config struct {
	// Kinds are those that the publisher announced.
	Kinds []stream.Kind

	// Layers are the ids of the qualities of the picture that the publisher sends
	// beside each other (simulcast), in its order; nil or one: a single quality.
	// Those past stream.MaxLayers are not taken.
	Layers []string

	// Feedback takes reports and requests to the publisher: receiver reports,
	// NACK, PLI. It is called from one goroutine and should not block for long.
	// Nil: the publisher takes none.
	Feedback func([]rtcp.Packet)

	// NACK says for which kinds, by stream.Kind, the publisher repairs losses.
	NACK [2]bool

	Now func() time.Time // nil: time.Now; the clock of the arrivals
}

// Publisher turns the RTP packets of one publisher into units of a Stream. Its
// methods may be called from any goroutine.
//
// Make it, publish its Source, Start it with the outcome, push packets, Close it.
type Publisher struct {
	cfg  Config
	now  func() time.Time
	kick chan struct{} // capacity 1: feedback is due before the next tick

	inputs   []*input  // the sound, then the picture or its layers
	selector *selector // nil without layers

	started atomic.Bool
	stop    chan struct{}
	done    chan struct{} // the goroutine has ended
	ended   chan struct{} // see Done

	mu       sync.Mutex // guards what follows
	stream   *stream.Stream
	pub      *stream.Publication
	timeline *Timeline
	tracks   int
	closed   bool
	err      error
	sender   uint32 // SSRC of the feedback
	reportAt time.Time
	idle     bool // the goroutine sleeps for idleEvery
	nacks    []uint16
}

// NewPublisher returns a Publisher that drops what comes until Start.
func NewPublisher(cfg Config) *Publisher {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Layers = cfg.Layers[:min(len(cfg.Layers), stream.MaxLayers)]; len(cfg.Layers) == 1 {
		cfg.Layers = nil
	}
	p := &Publisher{
		cfg:   cfg,
		now:   cfg.Now,
		kick:  make(chan struct{}, 1),
		stop:  make(chan struct{}),
		done:  make(chan struct{}),
		ended: make(chan struct{}),
	}
	p.inputs = newInputs(p, cfg.Layers)
	if len(cfg.Layers) > 0 {
		p.selector = newSelector(p, p.inputs[1:])
	}
	return p
}

// Source is what to publish.
func (p *Publisher) Source() stream.Source {
	return stream.Source{Kinds: p.cfg.Kinds, Layers: p.cfg.Layers, RequestKeyframe: p.RequestKeyframe}
}

// RequestKeyframe asks the publisher for a keyframe (PLI), with layers for one of
// that which the main stream carries. It does not block. It is for the stream,
// which limits the rate; others ask the Stream.
func (p *Publisher) RequestKeyframe() {
	if p.selector != nil && p.started.Load() {
		p.selector.requestKeyframe()
		return
	}
	for _, in := range p.inputs[1:] {
		in.ask()
	}
}

func (p *Publisher) wake() {
	select {
	case p.kick <- struct{}{}:
	default:
	}
}

// ErrStarted says that Start was called twice, or after Close.
var ErrStarted = errors.New("ingest: publisher already started")

// Start begins to write to pub, which stays the caller's to close. ssrc is the
// sender of the feedback.
func (p *Publisher) Start(pub *stream.Publication, ssrc uint32) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.pub != nil {
		return ErrStarted
	}
	p.pub, p.stream, p.sender = pub, pub.Stream(), ssrc
	p.timeline = NewTimeline(p.stream.Since)
	if err := p.publishLayers(pub); err != nil {
		return err
	}
	p.started.Store(true)
	go p.run() // ended by Close, which waits for it
	return nil
}

// publishLayers opens the ways from the inputs to the streams.
func (p *Publisher) publishLayers(pub *stream.Publication) error {
	for _, in := range p.inputs {
		in.pub = pub
		if in.id == "" {
			continue
		}
		var err error
		source := stream.Source{Kinds: []stream.Kind{stream.Video}, RequestKeyframe: in.ask}
		if in.pub, err = pub.Layer(in.id, source); err != nil {
			return fmt.Errorf("start publisher: %w", err)
		}
	}
	return nil
}

// PushRTP is Push of a packet without a descriptor.
func (p *Publisher) PushRTP(f *Format, layer int, pkt *rtp.Packet, arrival time.Time) {
	p.Push(layer, Packet{Packet: pkt, Format: f, Arrival: arrival})
}

// Push takes one packet as it came: late, doubled, out of order. It owns what
// pkt refers to. Its Format must be the same pointer for all packets of a
// payload type. layer is the index into Config.Layers, 0 for a single quality
// and for sound; packets of another one are dropped.
func (p *Publisher) Push(layer int, pkt Packet) {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := layer + int(pkt.Format.Codec.Kind()) // see newInputs
	if p.pub == nil || p.closed || p.err != nil || layer < 0 || at >= len(p.inputs) {
		return
	}
	in := p.inputs[at]
	l := in.open(pkt.Format, pkt.SSRC, pkt.Arrival)
	if l == nil {
		return
	}
	l.heard = pkt.Arrival
	if in.id != "" {
		p.selector.arrived(in, pkt)
	}
	l.recv.Push(pkt)
	if l.recv.Missing() && l.due(pkt.Arrival) || p.idle && (l.recv.Waiting() || l.clock.Waiting()) {
		p.idle = false
		p.wake()
	}
}

// PushRTCP takes what the publisher reports.
func (p *Publisher) PushRTCP(pkts []rtcp.Packet, arrival time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, pkt := range pkts {
		sr, ok := pkt.(*rtcp.SenderReport)
		if !ok {
			continue
		}
		for _, in := range p.inputs {
			l := in.lane
			if l == nil || l.ssrc != sr.SSRC {
				continue
			}
			l.recv.SenderReport(sr.NTPTime, arrival)
			if sr.NTPTime != 0 {
				l.clock.SenderReport(ntpTime(sr.NTPTime), sr.RTPTime)
			}
		}
	}
}

// ntpTime is the time of a 64-bit NTP timestamp: seconds since 1900 and their
// fraction. Those of era 1, from 2036 on, have their top bit clear (RFC 4330,
// section 3).
func ntpTime(ntp uint64) time.Time {
	const epoch = 2208988800 // 1970 in seconds since 1900
	seconds := int64(ntp >> 32)
	if ntp>>63 == 0 {
		seconds += 1 << 32
	}
	return time.Unix(seconds-epoch, int64((ntp&0xffffffff)*uint64(time.Second)>>32)).UTC()
}

// Done is closed when nothing more can be written: the publication has ended,
// or Close was called. Err then tells why.
func (p *Publisher) Done() <-chan struct{} { return p.ended }

// Err is nil until Done; then stream.ErrReplaced or stream.ErrClosed.
func (p *Publisher) Err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// failLocked ends the Publisher with the error of its publication.
func (p *Publisher) failLocked(err error) {
	if p.err == nil {
		p.err = err
		close(p.ended)
	}
}

// Close writes out what waits, and ends. It is idempotent and returns when the
// goroutine has ended.
func (p *Publisher) Close() {
	p.mu.Lock()
	if !p.closed {
		p.closed = true
		for _, in := range p.inputs {
			if in.lane != nil {
				in.lane.flush()
			}
		}
		if p.selector != nil {
			p.selector.flush()
		}
		p.failLocked(stream.ErrClosed)
		close(p.stop)
	}
	p.mu.Unlock()
	if p.started.Load() {
		<-p.done
	}
}

// Stats returns the counters of a kind; all sources that came one after the
// other, and all layers, together. SSRC, codec and delays are those of the layer
// that the main stream carries.
func (p *Publisher) Stats(kind stream.Kind) Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	if kind == stream.Audio || p.selector == nil {
		return p.inputs[kind].stats()
	}
	sum := p.inputs[1+max(p.selector.carried.Load(), 0)].stats()
	total := ReceiverStats{RTT: sum.RTT}
	sum.KeyframeRequests = 0
	for _, in := range p.inputs[1:] {
		s := in.stats()
		total = total.plus(s.ReceiverStats)
		sum.KeyframeRequests += s.KeyframeRequests
	}
	sum.ReceiverStats = total
	return sum
}

// LayerStats returns the counters of each layer, in the order of Config.Layers;
// nil for a single quality.
func (p *Publisher) LayerStats() []Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.selector == nil {
		return nil
	}
	var out []Stats
	for _, in := range p.inputs[1:] {
		s := in.stats()
		s.Layer = in.id
		out = append(out, s)
	}
	return out
}

// Stats are the counters of a kind.
type Stats struct {
	ReceiverStats
	Layer            string // id; "" for all together
	SSRC             uint32
	Codec            stream.Codec // "" before the first packet
	Jitter           time.Duration
	KeyframeRequests uint64 // PLIs sent
}

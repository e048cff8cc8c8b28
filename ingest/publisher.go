package ingest

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"

	"github.com/lectern/lectern/stream"
)

const (
	tickEvery   = 20 * time.Millisecond  // while packets wait
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
	ssrc atomic.Uint32 // of the video, 0 before the first packet
	pli  atomic.Bool   // a keyframe is to be asked for
	asks atomic.Uint64

	started atomic.Bool
	stop    chan struct{}
	done    chan struct{} // the goroutine has ended
	ended   chan struct{} // see Done

	mu       sync.Mutex // guards what follows
	stream   *stream.Stream
	pub      *stream.Publication
	timeline *Timeline
	lanes    [2]*lane // by stream.Kind
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
	return &Publisher{
		cfg:   cfg,
		now:   cfg.Now,
		kick:  make(chan struct{}, 1),
		stop:  make(chan struct{}),
		done:  make(chan struct{}),
		ended: make(chan struct{}),
	}
}

// Source is what to publish.
func (p *Publisher) Source() stream.Source {
	return stream.Source{Kinds: p.cfg.Kinds, RequestKeyframe: p.RequestKeyframe}
}

// RequestKeyframe asks the publisher for a keyframe (PLI). It does not block. It
// is for the stream, which limits the rate; others ask the Stream.
func (p *Publisher) RequestKeyframe() {
	p.pli.Store(true)
	p.wake()
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
	p.started.Store(true)
	go p.run() // ended by Close, which waits for it
	return nil
}

// PushRTP takes one packet as it came: late, doubled, out of order. It owns pkt.
// f must be the same pointer for all packets of a payload type.
func (p *Publisher) PushRTP(f *Format, pkt *rtp.Packet, arrival time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pub == nil || p.closed || p.err != nil {
		return
	}
	l := p.laneLocked(f, pkt.SSRC, arrival)
	if l == nil {
		return
	}
	l.heard = arrival
	l.recv.Push(Packet{Packet: pkt, Format: f, Arrival: arrival})
	if l.recv.Missing() && l.due(arrival) || p.idle && (l.recv.Waiting() || l.clock.Waiting()) {
		p.idle = false
		p.wake()
	}
}

// laneLocked returns the lane of a packet, or nil if it must be dropped.
func (p *Publisher) laneLocked(f *Format, ssrc uint32, arrival time.Time) *lane {
	kind := f.Codec.Kind()
	old := p.lanes[kind]
	if old != nil && old.ssrc == ssrc {
		return old
	}
	if old != nil && arrival.Sub(old.heard) < silentSource {
		return nil
	}
	l := &lane{p: p, kind: kind, ssrc: ssrc}
	if old != nil {
		old.flush()
		p.timeline.Remove(old.clock)
		l.before, l.spliced = old.total(), true
		l.recv = NewReceiver(ReceiverConfig{NACK: p.cfg.NACK[kind], NextSeq: old.recv.NextSeq(), Out: l.order})
	} else {
		l.recv = NewReceiver(ReceiverConfig{NACK: p.cfg.NACK[kind], Out: l.order})
	}
	l.clock = p.timeline.NewClock(f.ClockRate, l.write)
	p.lanes[kind] = l
	if kind == stream.Video {
		p.ssrc.Store(ssrc)
	}
	return l
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
		for _, l := range p.lanes {
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
		for _, l := range p.lanes {
			if l != nil {
				l.flush()
			}
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
// other together.
func (p *Publisher) Stats(kind stream.Kind) Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.lanes[kind]
	if l == nil {
		return Stats{}
	}
	s := Stats{ReceiverStats: l.total(), SSRC: l.ssrc, Jitter: l.recv.Jitter(l.format)}
	if kind == stream.Video {
		s.KeyframeRequests = p.asks.Load()
	}
	if l.track != nil {
		s.Codec = l.track.Codec
	}
	return s
}

// Stats are the counters of a kind.
type Stats struct {
	ReceiverStats
	SSRC             uint32
	Codec            stream.Codec // "" before the first packet
	Jitter           time.Duration
	KeyframeRequests uint64 // PLIs sent
}

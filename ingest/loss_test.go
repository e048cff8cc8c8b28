package ingest_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"

	"github.com/lectern/lectern/ingest"
	"github.com/lectern/lectern/stream"
)

// leg is the network of a publisher, and the publisher: 30 pictures a second of
// ten packets each, keyframes of thirty, sent over 10 ms. It sends again what is
// asked for, but not twice within a round trip, as browsers do.
type leg struct {
	t      *testing.T
	loss   float64 // of either way
	eager  bool    // sends again as often as it is asked, as simple senders do
	delay  time.Duration
	jitter time.Duration // more, at random; the network keeps order
	rnd    *rand.Rand

	p *ingest.Publisher

	mu      sync.Mutex // guards what follows
	clear   time.Time  // before then nothing arrives
	sent    map[uint16]*rtp.Packet
	resent  map[uint16]time.Time
	began   map[uint32]time.Time // when the end of a picture was sent, by its time
	plis    int
	added   []time.Duration // delay of whole pictures by ordering and repairs
	frozen  time.Duration   // longest time without another whole picture
	freezes int             // times of more than 300 ms without
	last    time.Time
	broken  bool
	got     int
	lastSeq uint16
	key     bool
	nack    int // packets asked for
}

const legPackets, legKeyPackets = 10, 30

func (n *leg) lost() bool { return n.rnd.Float64() < n.loss }

// later calls f after the delay of the network, unless it is lost.
func (n *leg) later(f func()) {
	if n.lost() {
		return
	}
	at := time.Now().Add(n.delay)
	if n.jitter > 0 {
		at = at.Add(time.Duration(n.rnd.Int64N(int64(n.jitter))))
	}
	if !at.After(n.clear) {
		at = n.clear.Add(10 * time.Microsecond)
	}
	n.clear = at
	time.AfterFunc(time.Until(at), f)
}

func (n *leg) push(pkt *rtp.Packet) {
	c := *pkt
	c.Payload = slices.Clone(pkt.Payload)
	n.later(func() { n.p.PushRTP(vp8Format, 0, &c, time.Now()) })
}

// feedback takes what the ingest says, on its way back.
func (n *leg) feedback(pkts []rtcp.Packet) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.lost() {
		return
	}
	back := n.delay
	if n.jitter > 0 {
		back += time.Duration(n.rnd.Int64N(int64(n.jitter)))
	}
	time.AfterFunc(back, func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		for _, p := range pkts {
			switch p := p.(type) {
			case *rtcp.PictureLossIndication:
				n.plis++
				n.key = true
			case *rtcp.TransportLayerNack:
				for _, pair := range p.Nacks {
					n.resend(pair.PacketList())
				}
			}
		}
	})
}

func (n *leg) resend(seqs []uint16) {
	for _, seq := range seqs {
		n.nack++
		if pkt := n.sent[seq]; pkt != nil && (n.eager || time.Since(n.resent[seq]) >= 2*n.delay+5*ms) {
			n.resent[seq] = time.Now()
			n.push(pkt)
		}
	}
}

// unit takes what comes out.
func (n *leg) unit(u *stream.Unit) {
	n.mu.Lock()
	defer n.mu.Unlock()
	ts := u.Packet.Timestamp
	if n.got > 0 && u.Packet.SequenceNumber != n.lastSeq+1 {
		n.broken = true
	}
	if u.Keyframe {
		n.broken = false
	}
	n.got++
	n.lastSeq = u.Packet.SequenceNumber
	if !u.Packet.Marker || n.broken {
		return
	}
	now := time.Now()
	n.added = append(n.added, now.Sub(n.began[ts])-n.delay)
	if !n.last.IsZero() {
		n.frozen = max(n.frozen, now.Sub(n.last))
		if now.Sub(n.last) > 300*ms {
			n.freezes++
		}
	}
	n.last = now
}

// run sends for d, and returns the pictures that were not whole.
func (n *leg) run(d time.Duration) (missed int) {
	n.sent, n.resent, n.began = map[uint16]*rtp.Packet{}, map[uint16]time.Time{}, map[uint32]time.Time{}
	s := stream.New(stream.Config{})
	n.p = ingest.NewPublisher(ingest.Config{
		Kinds: []stream.Kind{stream.Video}, NACK: [2]bool{stream.Video: true}, Feedback: n.feedback,
	})
	pub, err := s.Publish(n.p.Source())
	if err != nil {
		n.t.Fatal(err)
	}
	if err := n.p.Start(pub, 1); err != nil {
		n.t.Fatal(err)
	}
	var r *stream.Reader
	dst := make([]*stream.Unit, 512)
	if r, err = s.NewReader(stream.ReaderOptions{OnReady: func() bool {
		for _, u := range dst[:r.TryReadBatch(dst)] {
			n.unit(u)
		}
		return true
	}}); err != nil {
		n.t.Fatal(err)
	}
	pictures := int(d / frameTime)
	seq, loss := uint16(0), n.loss
	n.key, n.loss = true, 0 // what comes first decides about nothing
	start := time.Now()
	for i := range pictures {
		if i == 30 {
			n.mu.Lock()
			n.loss = loss
			n.mu.Unlock()
		}
		n.mu.Lock()
		key := n.key
		n.key = false
		n.mu.Unlock()
		packets := legPackets
		if key {
			packets = legKeyPackets
		}
		for k := range packets {
			payload := []byte{0x10, 1, 0}
			if key {
				payload[1] = 0
			}
			if k > 0 {
				payload[0] = 0
			}
			seq++
			pkt := &rtp.Packet{
				Header:  rtp.Header{SSRC: 5, SequenceNumber: seq, Timestamp: uint32(i+1) * 3000, Marker: k == packets-1},
				Payload: payload,
			}
			n.mu.Lock()
			n.sent[seq] = pkt
			if pkt.Marker {
				n.began[pkt.Timestamp] = time.Now()
			}
			n.push(pkt)
			delete(n.sent, seq-600)
			n.mu.Unlock()
			time.Sleep(10 * ms / time.Duration(packets))
		}
		time.Sleep(time.Until(start.Add(time.Duration(i+1) * frameTime)))
	}
	time.Sleep(time.Second)
	n.p.Close()
	pub.Close()
	s.Close()
	return pictures - len(n.added)
}

func (n *leg) percentile(p int) time.Duration {
	slices.Sort(n.added)
	return n.added[min(len(n.added)*p/100, len(n.added)-1)]
}

func TestPublisher_DelayByLoss(t *testing.T) {
	for _, tt := range []struct {
		loss          float64
		delay, jitter time.Duration
		p95, most     time.Duration // of what is added
		frozen        time.Duration // 0: any
	}{
		{0, 40 * ms, 0, 0, 0, 35 * ms},
		{0, 40 * ms, 20 * ms, 20 * ms, 20 * ms, 60 * ms},
		{0.05, 5 * ms, 0, 40 * ms, 150 * ms, 150 * ms},
		{0.05, 40 * ms, 0, 150 * ms, 300 * ms, 300 * ms},
		{0.05, 40 * ms, 10 * ms, 170 * ms, 350 * ms, 400 * ms},
		{0.02, 80 * ms, 0, 200 * ms, 400 * ms, 0},
	} {
		t.Run(fmt.Sprintf("loss %.2f delay %v jitter %v", tt.loss, tt.delay, tt.jitter), func(t *testing.T) {
			for seed := range uint64(2) {
				synctest.Test(t, func(t *testing.T) {
					n := &leg{t: t, loss: tt.loss, delay: tt.delay, jitter: tt.jitter, rnd: rand.New(rand.NewPCG(seed, 9))}
					missed := n.run(20 * time.Second)
					p50, p95, most := n.percentile(50), n.percentile(95), n.percentile(100)
					t.Logf("added p50 %v, p95 %v, most %v; frozen %v, missed %d, PLI %d, NACK %d", p50, p95, most, n.frozen, missed, n.plis, n.nack)
					if p95 > tt.p95 || most > tt.most || tt.frozen > 0 && n.frozen > tt.frozen {
						t.Errorf("want p95 %v, most %v, frozen %v at most", tt.p95, tt.most, tt.frozen)
					}
				})
			}
		})
	}
}

// Where both ways lose packets a repair may be lost twice, or thrice. The picture
// goes on with the repair that comes then, not with the next keyframe.
func TestPublisher_RepairsLostAgain(t *testing.T) {
	for name, tt := range map[string]struct {
		loss    float64
		jitter  time.Duration
		eager   bool
		frozen  time.Duration // at most
		freezes int           // of more than 300 ms, in three minutes
	}{
		"5 % and 40 ms":                   {0.05, 0, false, 450 * ms, 5},
		"5 %, 40 ms, jitter":              {0.05, 10 * ms, false, 480 * ms, 8},
		"5 %, 40 ms, jitter, simple peer": {0.05, 10 * ms, true, 330 * ms, 2},
		"10 % and 40 ms":                  {0.1, 0, false, 600 * ms, 20},
	} {
		t.Run(name, func(t *testing.T) {
			var frozen time.Duration
			freezes, plis := 0, 0
			for seed := range uint64(6) {
				synctest.Test(t, func(t *testing.T) {
					n := &leg{t: t, loss: tt.loss, delay: 40 * ms, jitter: tt.jitter, eager: tt.eager, rnd: rand.New(rand.NewPCG(seed, 77))}
					n.run(30 * time.Second)
					frozen, freezes, plis = max(frozen, n.frozen), freezes+n.freezes, plis+n.plis
				})
			}
			t.Logf("longest freeze %v, %d of more than 300 ms, %d PLI", frozen, freezes, plis)
			if frozen > tt.frozen || freezes > tt.freezes {
				t.Errorf("want %v and %d at most", tt.frozen, tt.freezes)
			}
			if plis > 6*30 {
				t.Errorf("%d keyframes asked for in three minutes", plis)
			}
		})
	}
}

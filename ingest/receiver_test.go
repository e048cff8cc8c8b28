package ingest_test

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/pion/rtp"

	"github.com/lectern/lectern/ingest"
	"github.com/lectern/lectern/stream"
)

var vp8Format = &ingest.Format{Codec: stream.VP8, ClockRate: 90000}

// vp8Packet is a VP8 packet of which the last byte tells its number.
func vp8Packet(seq uint16) *rtp.Packet {
	return &rtp.Packet{
		Header:  rtp.Header{SequenceNumber: seq, Timestamp: uint32(seq) * 3000, Marker: true},
		Payload: []byte{0x10, byte(seq >> 8), byte(seq)},
	}
}

func number(p ingest.Packet) uint16 {
	return uint16(p.Payload[1])<<8 | uint16(p.Payload[2])
}

// line is a Receiver with a clock that the test sets.
type line struct {
	*ingest.Receiver
	now time.Time
	out []ingest.Packet
}

func newLine(nack bool) *line {
	l := &line{now: origin}
	l.Receiver = ingest.NewReceiver(ingest.ReceiverConfig{NACK: nack, NextSeq: 100, Out: func(p ingest.Packet) {
		l.out = append(l.out, p)
	}})
	return l
}

func (l *line) push(seqs ...uint16) {
	for _, seq := range seqs {
		l.Push(ingest.Packet{Packet: vp8Packet(seq), Format: vp8Format, Arrival: l.now})
	}
}

func (l *line) pass(d time.Duration) {
	l.now = l.now.Add(d)
	l.Tick(l.now)
}

func (l *line) numbers() []uint16 {
	var out []uint16
	for _, p := range l.out {
		out = append(out, number(p))
	}
	return out
}

func checkSame(t *testing.T, what string, got, want []uint16) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func TestReceiver_PassesInOrderAtOnce(t *testing.T) {
	l := newLine(true)
	for seq := uint16(65530); seq != 6; seq++ {
		l.push(seq)
		if got := l.out[len(l.out)-1]; number(got) != seq {
			t.Fatalf("got %d, want %d", number(got), seq)
		}
	}
	for i, p := range l.out {
		if p.SequenceNumber != uint16(100+i) || p.Lost != 0 {
			t.Errorf("packet %d: got number %d, %d lost", i, p.SequenceNumber, p.Lost)
		}
	}
}

func TestReceiver_DropsDuplicatesOfProbes(t *testing.T) {
	l := newLine(true)
	var want []uint16
	for seq := uint16(1); seq <= 300; seq++ {
		l.push(seq)
		want = append(want, seq)
		if seq%50 == 0 { // a probe: packets of the last second, in order, tenfold
			for range 10 {
				for old := seq - 40; old <= seq; old++ {
					l.push(old)
				}
			}
		}
	}
	checkSame(t, "came out", l.numbers(), want)
	if st := l.Stats(); st.Duplicates != 6*10*41 || st.Received != 300 || st.Lost != 0 {
		t.Errorf("got %+v", st)
	}
}

func TestReceiver_Reorders(t *testing.T) {
	l := newLine(false)
	l.push(10, 12, 13, 11, 15, 14, 16)
	checkSame(t, "came out", l.numbers(), []uint16{10, 11, 12, 13, 14, 15, 16})
}

func TestReceiver_AsksAgainAndRepairs(t *testing.T) {
	l := newLine(true)
	l.push(10, 12)
	checkSame(t, "one later packet may be out of order", l.NACKs(nil, l.now), nil)
	l.push(13)
	checkSame(t, "two later packets", l.NACKs(nil, l.now), []uint16{11})
	checkSame(t, "asked just now", l.NACKs(nil, l.now), nil)
	l.pass(5 * ms)
	checkSame(t, "too soon", l.NACKs(nil, l.now), nil)
	l.pass(75 * ms)
	checkSame(t, "later", l.NACKs(nil, l.now), []uint16{11})
	l.push(11)
	checkSame(t, "came out", l.numbers(), []uint16{10, 11, 12, 13})
	if st := l.Stats(); st.Repaired != 1 || st.Lost != 0 || st.NACKed != 2 {
		t.Errorf("got %+v", st)
	}
}

func TestReceiver_AsksAfterAWhile(t *testing.T) {
	l := newLine(true)
	l.push(10, 12)
	l.pass(20 * ms)
	checkSame(t, "asked for", l.NACKs(nil, l.now), []uint16{11})
}

func TestReceiver_GivesUpInTime(t *testing.T) {
	for name, nack := range map[string]bool{"with repairs": true, "without": false} {
		l := newLine(nack)
		l.push(10, 12, 13)
		asked := l.now
		for len(l.out) == 1 && l.now.Sub(asked) < time.Second {
			l.NACKs(nil, l.now)
			l.pass(10 * ms)
		}
		if d := l.now.Sub(asked); d < 50*ms || d > 310*ms {
			t.Errorf("%s: given up after %v", name, d)
		}
		checkSame(t, name+": came out", l.numbers(), []uint16{10, 12, 13})
		if p := l.out[1]; p.Lost != 1 || p.SequenceNumber != 102 {
			t.Errorf("%s: got %d lost before number %d, want 1 before 102", name, p.Lost, p.SequenceNumber)
		}
		l.push(11)
		if st := l.Stats(); st.Late != 1 || st.Lost != 1 || len(l.out) != 3 {
			t.Errorf("%s: got %+v", name, st)
		}
	}
}

// A publisher that never repairs anything is not waited for that long.
func TestReceiver_NobodyRepairs(t *testing.T) {
	l := newLine(true)
	l.push(10)
	for n := range uint16(10) {
		l.push(12+3*n, 13+3*n) // the one before them is lost
		asked, out := l.now, len(l.out)
		for len(l.out) == out && l.now.Sub(asked) < time.Second {
			l.NACKs(nil, l.now)
			l.pass(10 * ms)
		}
		if d := l.now.Sub(asked); n == 9 && d > 130*ms {
			t.Errorf("after %d losses without a repair: given up after %v", n, d)
		}
	}
}

func TestReceiver_EmptyPacketsLeaveNoHole(t *testing.T) {
	l := newLine(true)
	empty := func(seq uint16, payload ...byte) {
		p := vp8Packet(seq)
		p.Payload = payload
		l.Push(ingest.Packet{Packet: p, Format: vp8Format, Arrival: l.now})
	}
	l.push(10)
	empty(11)
	empty(12, 0x90, 0x80, 0x01)
	l.push(14)
	empty(13)
	checkSame(t, "came out", l.numbers(), []uint16{10, 14})
	if p := l.out[1]; p.SequenceNumber != 101 || p.Lost != 0 {
		t.Errorf("got number %d, %d lost; want 101, none", p.SequenceNumber, p.Lost)
	}
}

func TestReceiver_BurstOfLoss(t *testing.T) {
	l := newLine(true)
	l.push(10)
	for seq := uint16(2000); seq < 2100; seq++ {
		l.push(seq)
	}
	for range 40 {
		l.NACKs(nil, l.now)
		l.pass(20 * ms)
	}
	if len(l.out) != 101 || l.out[1].Lost != 1989 {
		t.Fatalf("got %d packets, %d lost before the second", len(l.out), l.out[1].Lost)
	}
	if hole := l.out[1].SequenceNumber - l.out[0].SequenceNumber; hole < 2 || hole > 100 {
		t.Errorf("got a hole of %d", hole)
	}
}

func TestReceiver_OtherNumbering(t *testing.T) {
	l := newLine(true)
	l.push(10, 11, 30000)
	if len(l.out) != 2 {
		t.Fatalf("one wild packet came out: %v", l.numbers())
	}
	l.push(12, 40000, 40001, 40002)
	checkSame(t, "came out", l.numbers(), []uint16{10, 11, 12, 40001, 40002})
	if p := l.out[3]; p.Lost == 0 || p.SequenceNumber == l.out[2].SequenceNumber+1 {
		t.Errorf("got no hole before %d", p.SequenceNumber)
	}
}

func TestReceiver_Report(t *testing.T) {
	l := newLine(true)
	l.SenderReport(0x1122334455667788, l.now)
	for i, seq := range []uint16{65533, 65534, 0, 1, 2, 4} { // 65535 and 3 are lost
		l.now = origin.Add(time.Duration(i) * 40 * ms)
		l.push(seq)
	}
	l.now = l.now.Add(20 * ms)
	l.NACKs(nil, l.now)
	l.push(3) // a repair: does not count
	r, ok := l.Report(7, l.now.Add(480*ms))
	if !ok || r.SSRC != 7 || r.TotalLost != 2 || r.FractionLost != 2*256/8 || r.LastSequenceNumber != 1<<16+4 {
		t.Errorf("got %+v, %v", r, ok)
	}
	if r.LastSenderReport != 0x33445566 || r.Delay != 65536*7/10 {
		t.Errorf("got last report %x, delay %d", r.LastSenderReport, r.Delay)
	}
	if r.Jitter == 0 || r.Jitter > 90*10 {
		t.Errorf("got jitter %d", r.Jitter)
	}
	if r, _ := l.Report(7, l.now); r.FractionLost != 0 || r.TotalLost != 2 {
		t.Errorf("second: got %+v", r)
	}
}

// What comes out is a subsequence in order, without duplicates, whatever the
// network does; and all of it if everything arrives in time.
func TestReceiver_RandomNetwork(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	for round := range 50 {
		l := newLine(true)
		first := uint16(rnd.Uint32())
		var want []uint16
		type late struct {
			at  time.Time
			seq uint16
		}
		var queue []late
		for i := range 2000 {
			seq := first + uint16(i)
			want = append(want, seq)
			if i > 0 && rnd.IntN(10) == 0 {
				queue = append(queue, late{l.now.Add(time.Duration(rnd.IntN(50)) * ms), seq})
			} else {
				l.push(seq)
			}
			l.pass(3 * ms)
			for _, n := range l.NACKs(nil, l.now) {
				queue = append(queue, late{l.now.Add(20 * ms), n})
			}
			queue = slices.DeleteFunc(queue, func(q late) bool {
				if due := !q.at.After(l.now); !due {
					return false
				}
				l.push(q.seq)
				return true
			})
		}
		for _, q := range queue {
			l.push(q.seq)
		}
		if !slices.Equal(l.numbers(), want) || l.Stats().Lost != 0 {
			t.Fatalf("round %d: got %d packets, %d lost", round, len(l.out), l.Stats().Lost)
		}
	}
}

func BenchmarkReceiver_InOrder(b *testing.B) {
	r := ingest.NewReceiver(ingest.ReceiverConfig{NACK: true, Out: func(ingest.Packet) {}})
	p := vp8Packet(0)
	now := time.Now()
	b.ReportAllocs()
	seq := uint16(0)
	for b.Loop() {
		p.SequenceNumber = seq
		seq++
		r.Push(ingest.Packet{Packet: p, Format: vp8Format, Arrival: now})
	}
}

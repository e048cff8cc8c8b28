package peer

import (
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
)

// picture makes the packets of one picture of VP8, each second apart.
func picture(seq uint16, n int, key bool, layer byte, sent time.Time) []*rtp.Packet {
	frame := make([]byte, n*100)
	if !key {
		frame[0] = 1
	}
	frame = stamped(frame, layer, sent)
	var out []*rtp.Packet
	for i := range n {
		end := (i + 1) * 100
		if i == n-1 {
			end = len(frame)
		}
		descriptor := byte(0)
		if i == 0 {
			descriptor = 0x10
		}
		out = append(out, &rtp.Packet{
			Header:  rtp.Header{SequenceNumber: seq + uint16(i), Timestamp: uint32(sent.UnixMilli() * 90), Marker: i == n-1},
			Payload: append([]byte{descriptor}, frame[i*100:end]...),
		})
	}
	return out
}

func TestPlayout_ShowsWhatIsWholeAndSkipsAtAKeyframe(t *testing.T) {
	start := time.Unix(1000, 0)
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	p := NewPlayout(webrtc.MimeTypeVP8)
	feed := func(ms int, pkts ...*rtp.Packet) {
		for _, k := range pkts {
			p.add(k, at(ms))
		}
	}
	first, second, third := picture(65534, 4, true, 'a', at(0)), picture(2, 2, false, 'a', at(33)), picture(4, 2, false, 'a', at(66))
	key := picture(6, 3, true, 'b', at(500))
	feed(10, picture(65530, 2, false, 'a', at(0))...) // nothing to begin with
	feed(20, first...)
	feed(53, second[0])
	feed(86, third...)
	if p.seen.Pictures != 1 {
		t.Fatalf("%d pictures, want 1: the second is not whole", p.seen.Pictures)
	}
	feed(120, second[1], second[1]) // repaired, and doubled
	if p.seen.Pictures != 3 {
		t.Fatalf("%d pictures, want 3", p.seen.Pictures)
	}
	feed(540, key[1:]...) // its first packet is missing
	if p.seen.Skipped != 0 {
		t.Fatal("went on with a keyframe that is not whole")
	}
	feed(550, key[0])
	feed(560, picture(10, 1, false, 'b', at(540))...) // 9 is missing
	feed(600, picture(11, 2, true, 'c', at(590))...)
	s := p.Take()
	if s.Pictures != 5 || s.Skipped != 1 || s.Longest < 430*time.Millisecond || s.Over300 < 1 {
		t.Errorf("got %+v", s)
	}
	if got := s.Latencies[0]; got != 20*time.Millisecond {
		t.Errorf("the first picture took %v", got)
	}
	if len(s.Switches) != 3 || s.Switches[1].Layer != 'b' || s.Switches[2].Layer != 'c' {
		t.Errorf("got switches %v", s.Switches)
	}
	if got := s.Latency(1); got != s.Latency(.99) || got < 50*time.Millisecond {
		t.Errorf("latencies %v", s.Latencies)
	}
}

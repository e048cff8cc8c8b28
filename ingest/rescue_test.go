package ingest_test

import (
	"testing"
	"time"

	"github.com/pion/rtp"

	"github.com/lectern/lectern/ingest"
)

// repairing returns a line on which a repair has come, after 40 ms, so that more
// are waited for; 310 to 313 are out. Its packets are no keyframes.
func repairing(t *testing.T) *line {
	t.Helper()
	l := newLine(true)
	l.push(310, 312, 313)
	checkSame(t, "asked for", l.NACKs(nil, l.now), []uint16{311})
	l.pass(40 * ms)
	l.push(311)
	checkSame(t, "came out", l.numbers(), []uint16{310, 311, 312, 313})
	l.out = nil
	return l
}

// wait lets time pass, and counts how often was asked, and whether a keyframe is
// wanted.
func (l *line) wait(d time.Duration) (asked int, doubt bool) {
	for end := l.now.Add(d); l.now.Before(end); {
		asked += len(l.NACKs(nil, l.now))
		doubt = l.Doubtful() || doubt
		l.pass(10 * ms)
	}
	return asked, doubt
}

func TestReceiver_WaitsForARepairThatIsLostAgain(t *testing.T) {
	l := repairing(t)
	l.push(315, 316, 317)
	asked, doubt := l.wait(600 * ms)
	if len(l.out) != 0 || asked < 8 || asked > 14 || !doubt {
		t.Errorf("got %v, asked %d times, doubt %t; want none, 8 to 14 times, doubt", l.numbers(), asked, doubt)
	}
	l.push(314)
	checkSame(t, "came out", l.numbers(), []uint16{314, 315, 316, 317})
}

func TestReceiver_WaitsForNothingForEver(t *testing.T) {
	l := repairing(t)
	l.push(315, 316, 317)
	began := l.now
	for len(l.out) == 0 && l.now.Sub(began) < 5*time.Second {
		l.wait(10 * ms)
	}
	if d := l.now.Sub(began); d < time.Second || d > 1300*ms {
		t.Errorf("given up after %v", d)
	}
	checkSame(t, "came out", l.numbers(), []uint16{315, 316, 317})
}

// picture pushes the packets of a picture from number seq on; those of lost stay out.
func (l *line) picture(f *ingest.Format, seq uint16, payloads [][]byte, lost ...uint16) {
	for i, p := range payloads {
		n := seq + uint16(i)
		h := rtp.Header{SequenceNumber: n, Timestamp: uint32(seq) * 3000, Marker: i == len(payloads)-1}
		if len(lost) == 0 || lost[0] != n {
			l.Push(ingest.Packet{Packet: &rtp.Packet{Header: h, Payload: p}, Format: f, Arrival: l.now})
		}
	}
}

var (
	keyVP8  = [][]byte{{0x10, 0, 1}, {0, 0, 2}, {0, 0, 3}}
	keyH264 = [][]byte{{9, 0xf0}, []byte(spsHD), {0x68, 1}, {0x65, 0x88, 0}}
)

// A keyframe behind the hole ends the wait, once it is whole, and once the repair
// is in doubt.
func TestReceiver_GoesOnWithAKeyframe(t *testing.T) {
	for name, tc := range map[string]struct {
		f     *ingest.Format
		key   [][]byte
		delta []byte
	}{
		"VP8":  {vp8Format, keyVP8, []byte{0x10, 1, 1}},
		"H264": {h264Format, keyH264, []byte{0x61, 0x9a}},
	} {
		t.Run(name, func(t *testing.T) {
			l := repairing(t)
			l.picture(tc.f, 315, [][]byte{tc.delta})
			l.picture(tc.f, 316, tc.key)
			l.wait(50 * ms)
			if len(l.out) != 0 {
				t.Fatalf("%d packets came out while a repair was likely", len(l.out))
			}
			l.wait(100 * ms)
			if len(l.out) != 1+len(tc.key) || l.out[0].Lost != 1 {
				t.Fatalf("got %d packets, want a hole, the picture after it and the keyframe", len(l.out))
			}
		})
	}
}

func TestReceiver_WaitsForTheWholeKeyframe(t *testing.T) {
	for name, tc := range map[string]struct {
		f    *ingest.Format
		key  [][]byte
		lost uint16
	}{
		"VP8, the middle":      {vp8Format, keyVP8, 317},
		"VP8, the end":         {vp8Format, keyVP8, 318},
		"H264, the SPS":        {h264Format, keyH264, 317},
		"H264, what precedes":  {h264Format, keyH264, 316},
		"H264, the last slice": {h264Format, keyH264, 319},
	} {
		t.Run(name, func(t *testing.T) {
			l := repairing(t)
			l.push(315)
			l.picture(tc.f, 316, tc.key, tc.lost)
			if _, doubt := l.wait(400 * ms); len(l.out) != 0 || !doubt && tc.lost == 317 {
				t.Fatalf("%d packets came out, doubt %t", len(l.out), doubt)
			}
			l.Push(ingest.Packet{Packet: &rtp.Packet{Header: rtp.Header{
				SequenceNumber: tc.lost, Timestamp: 316 * 3000, Marker: int(tc.lost) == 315+len(tc.key),
			}, Payload: tc.key[tc.lost-316]}, Format: tc.f, Arrival: l.now})
			if len(l.out) != 1+len(tc.key) {
				t.Errorf("got %d packets when it was whole, want %d", len(l.out), 1+len(tc.key))
			}
		})
	}
}

// Once a keyframe is on its way no other is asked for.
func TestReceiver_NoDoubtBeforeAKeyframe(t *testing.T) {
	l := repairing(t)
	l.push(315)
	l.picture(vp8Format, 316, keyVP8)
	if _, doubt := l.wait(200 * ms); doubt || len(l.out) != 4 {
		t.Errorf("doubt %t, %d packets", doubt, len(l.out))
	}
}

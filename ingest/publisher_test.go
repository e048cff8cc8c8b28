package ingest_test

import (
	"context"
	"encoding/binary"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"go.uber.org/goleak"

	"github.com/lectern/lectern/ingest"
	"github.com/lectern/lectern/stream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var h264Format = &ingest.Format{Codec: stream.H264, ClockRate: 90000, FMTP: "packetization-mode=1"}

// bench is a Publisher on a Stream with a Reader, in the time of synctest.
type bench struct {
	t    *testing.T
	s    *stream.Stream
	pub  *stream.Publication
	p    *ingest.Publisher
	r    *stream.Reader
	sent chan rtcp.Packet
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t, s: stream.New(stream.Config{}), sent: make(chan rtcp.Packet, 1000)}
	b.p = ingest.NewPublisher(ingest.Config{
		Kinds: []stream.Kind{stream.Audio, stream.Video},
		NACK:  [2]bool{stream.Video: true},
		Feedback: func(pkts []rtcp.Packet) {
			for _, p := range pkts {
				b.sent <- p
			}
		},
	})
	var err error
	if b.pub, err = b.s.Publish(b.p.Source()); err != nil {
		t.Fatal(err)
	}
	if err := b.p.Start(b.pub, 99); err != nil {
		t.Fatal(err)
	}
	if b.r, err = b.s.NewReader(stream.ReaderOptions{}); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *bench) close() {
	b.p.Close()
	b.pub.Close()
	b.s.Close()
}

// picture pushes a VP8 picture of one packet.
func (b *bench) picture(ssrc uint32, seq uint16, key bool) {
	frame := []byte{0x10, 1, 0, 0}
	if key {
		frame[1] = 0
	}
	b.push(vp8Format, ssrc, seq, uint32(seq)*3000, frame)
}

func (b *bench) push(f *ingest.Format, ssrc uint32, seq uint16, ts uint32, payload []byte) {
	b.p.PushRTP(f, 0, &rtp.Packet{
		Header:  rtp.Header{SSRC: ssrc, SequenceNumber: seq, Timestamp: ts, Marker: true},
		Payload: payload,
	}, time.Now())
}

// read returns the units that are there.
func (b *bench) read() []*stream.Unit {
	b.t.Helper()
	var out []*stream.Unit
	ctx, cancel := context.WithTimeout(b.t.Context(), time.Millisecond)
	defer cancel()
	for {
		u, err := b.r.Read(ctx)
		if err != nil {
			return out
		}
		out = append(out, u)
	}
}

// feedback returns what was sent and empties it.
func feedback[P rtcp.Packet](b *bench) []P {
	synctest.Wait()
	var out []P
	for {
		select {
		case p := <-b.sent:
			if p, ok := p.(P); ok {
				out = append(out, p)
			}
		default:
			return out
		}
	}
}

func TestPublisher_WritesUnits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		defer b.close()
		time.Sleep(time.Second)
		b.push(opusFormat, 1, 7, 960, []byte{0xf8, 1})
		b.picture(2, 1, true)
		b.picture(2, 2, false)
		units := b.read()
		if len(units) != 3 {
			t.Fatalf("got %d units, want 3", len(units))
		}
		a, v := units[0], units[1]
		if a.Track.Codec != stream.Opus || a.Track.Channels != 2 || !a.Keyframe || a.PTS != time.Second {
			t.Errorf("got audio %+v of %+v", a, a.Track)
		}
		if v.Track.Codec != stream.VP8 || !v.Keyframe || v.PTS != time.Second || units[2].Keyframe || units[2].Track != v.Track {
			t.Errorf("got video %+v of %+v", v, v.Track)
		}
		if d := units[2].PTS - v.PTS; d < 30*ms || d > 36*ms {
			t.Errorf("got %v between pictures, want 33 ms", d)
		}
	})
}

func TestPublisher_AsksForRepairsThenForAKeyframe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		defer b.close()
		b.picture(2, 1, true)
		time.Sleep(2 * time.Second)
		feedback[*rtcp.PictureLossIndication](b)
		b.picture(2, 3, false)
		b.picture(2, 4, false)
		nacks := feedback[*rtcp.TransportLayerNack](b)
		if len(nacks) != 1 || nacks[0].SenderSSRC != 99 || nacks[0].MediaSSRC != 2 || nacks[0].Nacks[0].PacketID != 2 {
			t.Fatalf("got %v, want one NACK of 2 at once", nacks)
		}
		time.Sleep(time.Second)
		if plis := feedback[*rtcp.PictureLossIndication](b); len(plis) < 1 || len(plis) > 2 || plis[0].MediaSSRC != 2 {
			t.Errorf("got %v, want a PLI, and one more as none answers", plis)
		}
		units := b.read()
		if len(units) != 3 || units[1].Packet.SequenceNumber != units[0].Packet.SequenceNumber+2 {
			t.Errorf("got %d units, want a hole after the first of 3", len(units))
		}
		if st := b.p.Stats(stream.Video); st.Lost != 1 || st.KeyframeRequests == 0 || st.Codec != stream.VP8 {
			t.Errorf("got %+v", st)
		}
	})
}

func TestPublisher_Reports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		defer b.close()
		b.p.PushRTCP([]rtcp.Packet{&rtcp.SenderReport{SSRC: 1}}, time.Now()) // before any packet
		b.push(opusFormat, 1, 7, 960, []byte{0xf8, 1})
		b.picture(2, 1, true)
		wall := time.Date(2030, 1, 1, 0, 0, 0, 500e6, time.UTC)
		b.p.PushRTCP([]rtcp.Packet{&rtcp.SenderReport{SSRC: 1, NTPTime: ntp(wall), RTPTime: 960}}, time.Now())
		time.Sleep(3 * time.Second)
		rrs := feedback[*rtcp.ReceiverReport](b)
		if len(rrs) < 2 || len(rrs) > 4 || len(rrs[0].Reports) != 2 || rrs[0].SSRC != 99 {
			t.Fatalf("got %v, want one report a second on two sources", rrs)
		}
		if got := rrs[0].Reports[0].LastSenderReport; got != uint32(ntp(wall)>>16) {
			t.Errorf("got last report %x", got)
		}
		b.push(opusFormat, 1, 8, 960*2, []byte{0xf8, 1})
		time.Sleep(100 * ms)
		units := b.read()
		// The pause was taken for one: the wall clock moved on as well.
		if got := units[len(units)-1].NTP.Sub(wall); got < 2900*ms || got > 3100*ms {
			t.Errorf("got NTP %v after the report, want 3 s", got)
		}
	})
}

func ntp(at time.Time) uint64 {
	return uint64(at.Unix()+2208988800)<<32 | uint64(at.Nanosecond())<<32/1e9
}

func TestPublisher_CodecChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		defer b.close()
		b.picture(2, 1, true)
		b.push(h264Format, 2, 2, 6000, []byte{0x61, 0x9a, 1}) // not yet a keyframe
		b.push(h264Format, 2, 3, 9000, []byte{0x67, 0x42, 0xc0, 0x1f})
		b.push(h264Format, 2, 4, 9000, []byte{0x65, 0x88, 1})
		units := b.read()
		if len(units) != 3 {
			t.Fatalf("got %d units, want 3", len(units))
		}
		if units[1].Track == units[0].Track || units[1].Track.Codec != stream.H264 || units[1].Track.FMTP != h264Format.FMTP {
			t.Errorf("got track %+v", units[1].Track)
		}
		if !units[1].Keyframe || units[2].Keyframe {
			t.Error("want only the first packet of the keyframe marked")
		}
		for i, u := range units {
			if i > 0 && u.Packet.SequenceNumber != units[i-1].Packet.SequenceNumber+1 {
				t.Errorf("unit %d: got a hole", i)
			}
		}
	})
}

func TestPublisher_AnotherSSRC(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		defer b.close()
		b.picture(2, 1, true)
		b.picture(3, 1000, true) // two at once: the first one counts
		b.picture(2, 2, false)
		time.Sleep(300 * ms)
		b.picture(3, 1009, true)
		b.picture(2, 3, false)
		b.picture(3, 1010, false)
		units := b.read()
		if len(units) != 4 {
			t.Fatalf("got %d units, want 4", len(units))
		}
		if u := units[2]; !u.Discontinuity || u.Track == units[1].Track || u.Packet.SequenceNumber != units[1].Packet.SequenceNumber+1 {
			t.Errorf("got %+v, want a discontinuity without a hole", u)
		}
		if st := b.p.Stats(stream.Video); st.Received != 4 || st.SSRC != 3 {
			t.Errorf("got %+v", st)
		}
	})
}

func TestPublisher_EndsWithItsPublication(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		defer b.close()
		other, err := b.s.Publish(stream.Source{})
		if err != nil {
			t.Fatal(err)
		}
		defer other.Close()
		<-b.p.Done()
		if err := b.p.Err(); !errors.Is(err, stream.ErrReplaced) {
			t.Errorf("got %v, want ErrReplaced", err)
		}
		b.picture(2, 1, true)
		if err := b.p.Start(other, 1); !errors.Is(err, ingest.ErrStarted) {
			t.Errorf("second Start: got %v, want ErrStarted", err)
		}
	})
}

func TestPublisher_CloseWritesWhatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.picture(2, 1, true)
		b.picture(2, 3, false)
		b.p.Close()
		if got := len(b.read()); got != 2 {
			t.Errorf("got %d units, want 2", got)
		}
		b.close()
	})
}

func TestPublisher_CloseUnstarted(t *testing.T) {
	p := ingest.NewPublisher(ingest.Config{})
	p.PushRTP(opusFormat, 0, &rtp.Packet{}, time.Now())
	p.RequestKeyframe()
	p.Close()
	p.Close()
	<-p.Done()
}

// FuzzPublisher feeds packets and reports made of the input.
func FuzzPublisher(f *testing.F) {
	f.Add([]byte{0, 0, 1, 0, 0, 0, 0, 10, 3, 0x10, 0, 0})
	f.Add([]byte{2, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 200, 2, 1, 2, 1, 0, 0, 9, 9, 9, 9, 0, 1, 1})
	f.Fuzz(func(t *testing.T, in []byte) {
		s := stream.New(stream.Config{})
		p := ingest.NewPublisher(ingest.Config{NACK: [2]bool{true, true}})
		pub, err := s.Publish(p.Source())
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Start(pub, 1); err != nil {
			t.Fatal(err)
		}
		r, err := s.NewReader(stream.ReaderOptions{Queue: 1 << 14})
		if err != nil {
			t.Fatal(err)
		}
		now := time.Now()
		formats := []*ingest.Format{
			opusFormat, vp8Format, h264Format,
			{Codec: stream.VP9, ClockRate: 90000},
			{Codec: stream.AV1, ClockRate: 90000},
			{Codec: stream.AAC},
		}
		for len(in) >= 9 {
			head, size := in[:9], int(in[8])
			in = in[9:]
			size = min(size, len(in))
			now = now.Add(time.Duration(head[7]) * 7 * time.Millisecond)
			ts := binary.BigEndian.Uint32(head[3:])
			if head[0]&0x80 != 0 {
				p.PushRTCP([]rtcp.Packet{&rtcp.SenderReport{
					SSRC: uint32(head[0] & 3), NTPTime: uint64(ts) << 30, RTPTime: ts ^ uint32(head[7])<<24,
				}}, now)
				continue
			}
			p.PushRTP(formats[int(head[0]>>2)%len(formats)], int(head[0]>>1&1), &rtp.Packet{
				Header:  rtp.Header{SSRC: uint32(head[0] & 3), SequenceNumber: binary.BigEndian.Uint16(head[1:]), Timestamp: ts},
				Payload: append([]byte(nil), in[:size]...),
			}, now)
			in = in[size:]
		}
		p.Close()
		s.Close()
		var last [2]time.Duration
		for {
			u, err := r.Read(t.Context())
			if err != nil {
				return
			}
			if u.PTS < last[u.Track.Kind] || u.PTS < 0 {
				t.Fatalf("PTS went back from %v to %v", last[u.Track.Kind], u.PTS)
			}
			last[u.Track.Kind] = u.PTS
		}
	})
}

package rtc

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"testing"

	"github.com/pion/rtp"
	"github.com/pion/srtp/v3"
)

var profiles = []struct {
	profile   srtp.ProtectionProfile
	key, salt int
}{
	{srtp.ProtectionProfileAeadAes128Gcm, 16, 12},
	{srtp.ProtectionProfileAeadAes256Gcm, 32, 12},
	{srtp.ProtectionProfileAes128CmHmacSha1_80, 16, 14},
}

func sequence(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(7*i + n)
	}
	return b
}

// Another implementation must open what we seal, across the turn of the
// sequence number and back.
func TestSeal_IsOpenedByAnother(t *testing.T) {
	for _, p := range profiles {
		t.Run(p.profile.String(), func(t *testing.T) {
			key, salt := sequence(p.key), sequence(p.salt)
			out, err := newOutbound(p.profile, key, salt, []outStream{{ssrc: 10}, {ssrc: 20}})
			if err != nil {
				t.Fatal(err)
			}
			in, err := srtp.CreateContext(key, salt, p.profile)
			if err != nil {
				t.Fatal(err)
			}
			buf := make([]byte, 0, maxRTPBytes)
			for i, seq := range []uint16{65533, 65534, 0, 65535, 1, 30000, 60000, 2, 1} {
				for _, ssrc := range []uint32{10, 20} {
					h := Header{PayloadType: 96, SequenceNumber: seq, Timestamp: uint32(i), SSRC: ssrc, Marker: i%2 == 0}
					packet, err := out.seal(buf, &h, []byte{1, 2}, sequence(i*100))
					if err != nil {
						t.Fatalf("seal %d: %v", seq, err)
					}
					plain, err := in.DecryptRTP(nil, packet, nil)
					if err != nil {
						t.Fatalf("open %d: %v", seq, err)
					}
					var got rtp.Packet
					if err := got.Unmarshal(plain); err != nil {
						t.Fatal(err)
					}
					if got.SequenceNumber != seq || got.SSRC != ssrc || got.PayloadType != 96 || got.Timestamp != uint32(i) || got.Marker != h.Marker {
						t.Errorf("got header %v, want %+v", got.Header, h)
					}
					if want := append([]byte{1, 2}, sequence(i*100)...); !bytes.Equal(got.Payload, want) {
						t.Errorf("packet %d: got %d bytes, want %d", seq, len(got.Payload), len(want))
					}
				}
			}
		})
	}
}

func TestSeal_Refuses(t *testing.T) {
	out, err := newOutbound(profiles[0].profile, sequence(16), sequence(12), []outStream{{ssrc: 1}})
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 0, 100)
	if _, err := out.seal(buf, &Header{SSRC: 2}, nil, nil); !errors.Is(err, errUnknownSSRC) {
		t.Errorf("unknown SSRC: got %v", err)
	}
	if _, err := out.seal(buf, &Header{SSRC: 1, SequenceNumber: 5}, nil, nil); err != nil {
		t.Errorf("first packet: got %v", err)
	}
	if _, err := out.seal(buf, &Header{SSRC: 1, SequenceNumber: 65000}, nil, nil); !errors.Is(err, errTooOld) {
		t.Errorf("before the first packet: got %v", err)
	}
}

// fakeViewer is a session with keys and a path to a socket that nobody reads.
func fakeViewer(b testing.TB, e *Endpoint, profile int) *Session {
	b.Helper()
	sink, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = sink.Close() })
	p := profiles[profile]
	out, err := newOutbound(p.profile, sequence(p.key), sequence(p.salt), []outStream{{ssrc: 1, ext: extensionIDs{transport: 3}}, {ssrc: 2, ext: extensionIDs{transport: 3}}})
	if err != nil {
		b.Fatal(err)
	}
	s := &Session{e: e}
	s.out.Store(out)
	to := addrPortOf(sink.LocalAddr())
	s.path.Store(&path{addr: to, udp: net.UDPAddrFromAddrPort(to)})
	return s
}

func newTestEndpoint(b testing.TB) *Endpoint {
	b.Helper()
	e, err := Listen(Config{Addr: "127.0.0.1:0", DisableTCP: true})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = e.Close() })
	return e
}

// writeFrame writes a frame of the usual mix, 10 packets, and an Opus packet,
// with numbers of the transport if they are wanted.
func writeFrame(b *Batch, s *Session, seq uint16, payload []byte, counted bool) {
	for i := range uint16(10) {
		body := payload
		if i == 9 {
			body = payload[:400]
		}
		b.Write(s, Header{PayloadType: 96, SequenceNumber: seq*10 + i, Timestamp: uint32(seq) * 3000, SSRC: 1, Marker: i == 9, Transport: counted, TransportSeq: 11*seq + i}, nil, body)
	}
	b.Write(s, Header{PayloadType: 111, SequenceNumber: seq, SSRC: 2, Transport: counted, TransportSeq: 11*seq + 10}, nil, payload[:120])
}

func TestBatch_DoesNotAllocate(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes pools forget on purpose")
	}
	e := newTestEndpoint(t)
	for i, p := range profiles {
		s := fakeViewer(t, e, i)
		b := e.NewBatch()
		payload := sequence(1100)
		seq := uint16(0)
		got := testing.AllocsPerRun(200, func() {
			writeFrame(b, s, seq, payload, seq%2 == 0)
			b.Flush()
			seq++
		})
		if got > 0 {
			t.Errorf("%v: got %.1f allocations for 11 packets, want 0", p.profile, got)
		}
	}
	if st := e.Stats(); st.PacketsDropped != 0 {
		t.Errorf("got %d dropped", st.PacketsDropped)
	}
}

// A path whose kernel refuses segments must get its packets all the same.
func TestBatch_FallsBackToSinglePackets(t *testing.T) {
	e := newTestEndpoint(t)
	s := fakeViewer(t, e, 0)
	b := e.NewBatch()
	b.Write(s, Header{SSRC: 1}, nil, sequence(100))
	b.Write(s, Header{SSRC: 1, SequenceNumber: 1}, nil, sequence(100))
	if b.n != 1 {
		t.Fatalf("got %d messages for two packets, want 1", b.n)
	}
	// As a refusal leaves it.
	s.path.Load().single.Store(true)
	b.Write(s, Header{SSRC: 1, SequenceNumber: 2}, nil, sequence(100))
	if b.n != 2 {
		t.Errorf("got %d messages, want 2: one may not grow any more", b.n)
	}
	b.Flush()
	if st := e.Stats(); st.MessagesSent != 2 || st.PacketsSent != 3 || st.PacketsDropped != 0 {
		t.Errorf("got %+v", st)
	}
}

func BenchmarkSeal(b *testing.B) {
	for _, p := range profiles {
		b.Run(p.profile.String(), func(b *testing.B) {
			out, err := newOutbound(p.profile, sequence(p.key), sequence(p.salt), []outStream{{ssrc: 1, ext: extensionIDs{transport: 3}}})
			if err != nil {
				b.Fatal(err)
			}
			buf, payload := make([]byte, 0, maxRTPBytes), sequence(1100)
			b.ReportAllocs()
			b.SetBytes(int64(len(payload)))
			var seq uint16
			for b.Loop() {
				if _, err := out.seal(buf, &Header{SSRC: 1, SequenceNumber: seq}, nil, payload); err != nil {
					b.Fatal(err)
				}
				seq++
			}
		})
	}
}

// BenchmarkBatch is the way of a frame of 10 packets and an Opus packet to a
// viewer on loopback, in ns per packet; the kernel drops it at the full socket.
func BenchmarkBatch(b *testing.B) {
	for _, way := range []struct{ single, counted bool }{{false, false}, {false, true}, {true, false}} {
		b.Run(fmt.Sprintf("single=%v/counted=%v", way.single, way.counted), func(b *testing.B) {
			e := newTestEndpoint(b)
			batch, payload := e.NewBatch(), sequence(1100)
			var viewers []*Session
			for range 10 {
				s := fakeViewer(b, e, 0)
				s.path.Load().single.Store(way.single)
				viewers = append(viewers, s)
			}
			var seq uint16
			b.ReportAllocs()
			for b.Loop() {
				for _, s := range viewers {
					writeFrame(batch, s, seq, payload, way.counted)
				}
				batch.Flush()
				seq++
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/110, "ns/packet")
		})
	}
}

// The extension must be authentic but readable, and absent where it was not
// negotiated.
func TestSeal_TransportSequence(t *testing.T) {
	for _, p := range profiles {
		for _, id := range []uint8{3, 200} {
			out, err := newOutbound(p.profile, sequence(p.key), sequence(p.salt), []outStream{{ssrc: 10, ext: extensionIDs{transport: id}}, {ssrc: 20}})
			if err != nil {
				t.Fatal(err)
			}
			in, err := srtp.CreateContext(sequence(p.key), sequence(p.salt), p.profile)
			if err != nil {
				t.Fatal(err)
			}
			buf := bytes.Repeat([]byte{0xff}, maxRTPBytes)[:0]
			for i, tc := range []struct {
				ssrc      uint32
				transport bool
				want      bool
			}{{10, true, true}, {10, false, false}, {20, true, false}, {10, true, true}} {
				h := Header{SSRC: tc.ssrc, SequenceNumber: uint16(i), Transport: tc.transport, TransportSeq: 0xabcd}
				packet, err := out.seal(buf, &h, []byte{1, 2}, sequence(100))
				if err != nil {
					t.Fatal(err)
				}
				spoilt := bytes.Clone(packet)
				spoilt[17%(len(packet)-rtpHeaderBytes)] ^= 1 // in the extension, if there is one
				if _, err := in.DecryptRTP(nil, spoilt, nil); err == nil {
					t.Errorf("%v: a spoilt header is taken", p.profile)
				}
				plain, err := in.DecryptRTP(nil, packet, nil)
				if err != nil {
					t.Fatalf("%v: %v", p.profile, err)
				}
				var got rtp.Packet
				if err := got.Unmarshal(plain); err != nil {
					t.Fatal(err)
				}
				ext := got.GetExtension(id)
				if got.Extension != tc.want || tc.want && !bytes.Equal(ext, []byte{0xab, 0xcd}) || len(got.GetExtensionIDs()) > 1 {
					t.Errorf("%v, id %d, packet %d: got extension %v: % x", p.profile, id, i, got.Extension, ext)
				}
				if want := append([]byte{1, 2}, sequence(100)...); !bytes.Equal(got.Payload, want) {
					t.Errorf("%v, packet %d: got payload % x", p.profile, i, got.Payload)
				}
			}
		}
	}
}

// A packet without the extension is what it was before there was one.
func TestSeal_WithoutExtensionIsPlain(t *testing.T) {
	seal := func(id uint8) []byte {
		out, err := newOutbound(profiles[0].profile, sequence(16), sequence(12), []outStream{{ssrc: 1, ext: extensionIDs{transport: id}}})
		if err != nil {
			t.Fatal(err)
		}
		packet, err := out.seal(make([]byte, 0, 200), &Header{SSRC: 1, SequenceNumber: 7, PayloadType: 96, Timestamp: 9}, nil, sequence(50))
		if err != nil {
			t.Fatal(err)
		}
		return packet
	}
	plain := seal(0)
	if !bytes.Equal(plain, seal(3)) || len(plain) != rtpHeaderBytes+50+maxTagBytes || plain[0] != 0x80 {
		t.Errorf("got % x", plain)
	}
}

package storage

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"testing"
	"time"

	"github.com/lectern/lectern/stream"
	"github.com/pion/rtp"
)

// beginInside is a recording with one slot, and its publisher.
func beginInside(t testing.TB) (*Recording, *stream.Publication) {
	t.Helper()
	s, err := Open(context.Background(), Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	r, err := s.Begin("algebra", "", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	st := stream.New(stream.Config{})
	t.Cleanup(st.Close)
	if err := r.AddStream("main", st); err != nil {
		t.Fatal(err)
	}
	pub, err := st.Publish(stream.Source{})
	if err != nil {
		t.Fatal(err)
	}
	return r, pub
}

// packet is one Opus packet, number n.
func packet(tr *stream.Track, n int, payload []byte) *stream.Unit {
	return &stream.Unit{
		Track: tr, Keyframe: true, PTS: time.Duration(n) * 20 * time.Millisecond, Arrival: time.Now(),
		Packet: &rtp.Packet{
			Header:  rtp.Header{Version: 2, Marker: true, SequenceNumber: uint16(n), Timestamp: uint32(n) * 960},
			Payload: payload,
		},
	}
}

func silent() []byte { return []byte{0xfc, 0xff, 0xfe} }

func opusTrack() *stream.Track {
	return &stream.Track{ID: "a", Kind: stream.Audio, Codec: stream.Opus, ClockRate: 48000, Channels: 2}
}

func TestRecording_StopsAtAWriteError(t *testing.T) {
	r, pub := beginInside(t)
	tr := opusTrack()
	broken := false
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for n := 0; ; n++ {
		if err := pub.Write(packet(tr, n, silent())); err != nil {
			t.Fatal(err) // the publisher must not notice
		}
		select {
		case <-r.Failed():
			err := r.Err()
			if !errors.Is(err, os.ErrClosed) || r.Manifest().Error != "write error" {
				t.Errorf("err: got %v, manifest says %q", err, r.Manifest().Error)
			}
			return
		case <-deadline:
			t.Fatal("no failure within 10 s")
		case <-tick.C:
		}
		r.mu.Lock()
		if !broken && len(r.files) > 0 {
			broken = true
			_ = r.files[0].f.Close() // as a disk that goes away
		}
		r.mu.Unlock()
	}
}

func TestSlot_SurvivesAPanic(t *testing.T) {
	r, pub := beginInside(t)
	r.mu.Lock()
	s := r.slots["main"]
	r.mu.Unlock()
	// Ends the goroutine of the slot, which alone may call push.
	if err := r.End(context.Background()); err != nil {
		t.Fatal(err)
	}
	for i := range maxPanics {
		if err := s.push(nil); err != nil {
			t.Fatalf("panic %d: got %v", i, err)
		}
	}
	if err := s.push(nil); err == nil {
		t.Error("one panic too many: got no error")
	}
	pub.Close()
}

func FuzzReadIndex(f *testing.F) {
	head := indexLine(IndexHead{Version: 1, Track: "main-video-1", Codec: stream.VP8, ClockRate: 90000})
	f.Add(append(head, indexLine(IndexEntry{Frame: 0, Offset: 32})...))
	f.Add([]byte("{\"version\":1,\"clock_rate\":1}\n{\"frame\":0}\n{\"frame\":0}\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		_, es, size, err := readIndex(bytes.NewReader(b))
		if err != nil {
			return
		}
		if size > int64(len(b)) {
			t.Fatalf("read %d of %d bytes", size, len(b))
		}
		last := IndexEntry{Frame: -1, Offset: -1, PTS: -1}
		for _, e := range es {
			if e.Frame <= last.Frame || e.Offset <= last.Offset || e.PTS <= last.PTS {
				t.Fatalf("%+v does not follow %+v", e, last)
			}
			last = e
		}
	})
}

func FuzzScanIVF(f *testing.F) {
	file := append(make([]byte, ivfHeaderSize), 1, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0x10)
	f.Add(file, int64(32))
	f.Fuzz(func(t *testing.T, b []byte, offset int64) {
		for _, c := range []stream.Codec{stream.VP8, stream.VP9, stream.AV1, stream.H264} {
			for _, keys := range [][]IndexEntry{nil, {{Offset: offset & 0xffff}}} {
				s, err := scanIVF(bytes.NewReader(b), int64(len(b)), c, keys)
				if err != nil {
					t.Fatalf("%v", err)
				}
				if s.frames > 0 && s.size > int64(len(b)) {
					t.Fatalf("%d of %d bytes", s.size, len(b))
				}
			}
		}
	})
}

func FuzzScanOgg(f *testing.F) {
	m := &mediaFile{}
	o := &oggPage{head: append([]byte("OggS"), make([]byte, 23)...)}
	f.Add(append(m.buf, o.head...), int64(0))
	f.Fuzz(func(t *testing.T, b []byte, offset int64) {
		for _, marks := range [][]IndexEntry{nil, {{Offset: offset & 0xffff}}} {
			s := scanOgg(bytes.NewReader(b), int64(len(b)), marks)
			if s.packets > 0 && s.size > int64(len(b)) {
				t.Fatalf("%d of %d bytes", s.size, len(b))
			}
		}
	})
}

func FuzzReadManifest(f *testing.F) {
	f.Add([]byte(`{"version":1,"id":"x","tracks":[{"id":"main-video-1"}],"new":{}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := ReadManifest(bytes.NewReader(b))
		if err != nil {
			return
		}
		if _, err := json.Marshal(m); err != nil {
			t.Fatalf("%v", err)
		}
	})
}

func FuzzTimedLine(f *testing.F) {
	f.Add([]byte(`{"type":"say","at":1800000000000}`))
	f.Add([]byte(`{"t":1}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		out, err := timedLine(b, time.UnixMilli(0), time.Second)
		if err != nil {
			return
		}
		var v struct {
			T json.RawMessage `json:"t"`
		}
		if json.Unmarshal(out, &v) != nil || v.T == nil || bytes.Count(out, []byte("\n")) != 1 {
			t.Fatalf("%q of %q", out, b)
		}
	})
}

func FuzzCleanFileName(f *testing.F) {
	f.Add("../../a\x00b.tar.gz")
	f.Fuzz(func(t *testing.T, s string) {
		got := cleanFileName(s, 40)
		if got == "" || len(got) > 40 || bytes.ContainsAny([]byte(got), "/\\\x00\n") {
			t.Fatalf("%q of %q", got, s)
		}
	})
}

// BenchmarkRecord is the work for one second of a 2.5 Mbit/s picture: 30 frames
// of 10 kB in packets of 1200 bytes, and 50 packets of Opus.
func BenchmarkRecord(b *testing.B) {
	r, pub := beginInside(b)
	video := &stream.Track{ID: "v", Kind: stream.Video, Codec: stream.VP8, ClockRate: 90000}
	audio := opusTrack()
	var seq uint16
	frameNo, packetNo := 0, 0
	second := func() {
		for i := range 30 {
			pts := time.Duration(frameNo) * time.Second / 30
			for p := range 9 {
				payload := make([]byte, 1158)
				if p == 0 {
					// A start of partition 0; a keyframe of 1280x720, or not.
					copy(payload, []byte{0x10, 0x10, 2, 0, 0x9d, 0x01, 0x2a, 0x00, 0x05, 0xd0, 0x02})
					if i > 0 {
						payload[1] = 0x11
					}
				}
				u := &stream.Unit{Track: video, PTS: pts, Arrival: time.Now(), Keyframe: i == 0 && p == 0, Packet: &rtp.Packet{
					Header:  rtp.Header{Version: 2, SequenceNumber: seq, Timestamp: uint32(frameNo) * 3000, Marker: p == 8},
					Payload: payload,
				}}
				seq++
				if err := pub.Write(u); err != nil {
					b.Fatal(err)
				}
			}
			frameNo++
		}
		for range 50 {
			if err := pub.Write(packet(audio, packetNo, append(silent(), make([]byte, 80)...))); err != nil {
				b.Fatal(err)
			}
			packetNo++
		}
	}
	for b.Loop() {
		second()
		waitFrames(b, r, int64(frameNo))
	}
	b.SetBytes(2_500_000 / 8)
}

func waitFrames(b *testing.B, r *Recording, n int64) {
	tick := time.NewTicker(50 * time.Microsecond)
	defer tick.Stop()
	for range 100_000 {
		r.mu.Lock()
		have := int64(0)
		for i := range r.man.Tracks {
			if r.man.Tracks[i].Kind == "video" {
				have += r.man.Tracks[i].Frames
			}
		}
		r.mu.Unlock()
		if have >= n {
			return
		}
		<-tick.C
	}
	b.Fatal("recording does not keep up")
}

var _ io.Writer = (*mediaFile)(nil)

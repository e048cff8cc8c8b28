package rtmp

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/lectern/lectern/internal/rtmp"
	"github.com/lectern/lectern/stream"
)

func newTestFeed(t *testing.T) *feed {
	t.Helper()
	s := stream.New(stream.Config{Name: "test"})
	f, err := newFeed(s, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.close(); s.Close() })
	f.complete = true
	return f
}

func next(t *testing.T, p *player) rtmp.Message {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	m, err := p.Next(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestPlayer_LaggingSkipsToKeyframe leaves a player behind by more than maxLag.
func TestPlayer_LaggingSkipsToKeyframe(t *testing.T) {
	f := newTestFeed(t)
	video, audio := &config{header: []byte("v")}, &config{header: []byte("a")}
	at := func(i int) time.Duration { return time.Duration(i) * 40 * time.Millisecond }
	add := func(i int) {
		f.add(&tag{kind: stream.Video, pts: at(i), keyframe: i%50 == 0, body: []byte{byte(i)}, config: video})
		f.add(&tag{kind: stream.Audio, pts: at(i), keyframe: true, body: []byte{0xff}, config: audio})
	}
	add(0)
	p := newPlayer(f, nil)
	// The first tag brings audio with it only afterwards.
	for _, want := range []rtmp.Kind{rtmp.Metadata, rtmp.Video, rtmp.Audio, rtmp.Video, rtmp.Audio} {
		if m := next(t, p); m.Kind != want || m.Timestamp != 0 {
			t.Errorf("got kind %d at %d ms, want kind %d at 0", m.Kind, m.Timestamp, want)
		}
	}
	for i := 1; i < 170; i++ {
		add(i)
	}
	m := next(t, p)
	if m.Kind != rtmp.Video || m.Body[0] != 150 || m.Timestamp != uint32(at(150).Milliseconds()) || p.skips != 1 {
		t.Errorf("got kind %d, picture %d at %d ms, %d skips", m.Kind, m.Body[0], m.Timestamp, p.skips)
	}
}

// TestPlayer_NewConfigIsSent changes the parameter sets.
func TestPlayer_NewConfigIsSent(t *testing.T) {
	f := newTestFeed(t)
	one, two := &config{header: []byte("1")}, &config{header: []byte("2")}
	f.add(&tag{kind: stream.Video, pts: 0, keyframe: true, body: []byte("x"), config: one})
	f.add(&tag{kind: stream.Video, pts: time.Second, keyframe: true, body: []byte("y"), config: two})
	f.add(&tag{kind: stream.Video, pts: time.Second / 2, body: []byte("z"), config: two})
	p := newPlayer(f, nil)
	p.next, p.started = 0, true
	var got string
	var last uint32
	for range 5 {
		m := next(t, p)
		got += string(m.Body)
		if m.Timestamp < last {
			t.Errorf("time goes back from %d to %d", last, m.Timestamp)
		}
		last = m.Timestamp
	}
	if got != "1x2yz" {
		t.Errorf("got %q", got)
	}
}

// TestFeed_IsBounded adds more than a feed keeps.
func TestFeed_IsBounded(t *testing.T) {
	f := newTestFeed(t)
	c := &config{}
	for i := range 100 {
		f.add(&tag{kind: stream.Video, pts: time.Duration(i), keyframe: i == 0, body: make([]byte, 1<<20), config: c})
	}
	if f.bytes > maxTagBytes || len(f.tags) > maxTagBytes>>20 || f.hasKey {
		t.Errorf("%d bytes in %d tags, keyframe %t", f.bytes, len(f.tags), f.hasKey)
	}
}

func FuzzAudioConfig(f *testing.F) {
	f.Add("streamtype=5;profile-level-id=1;mode=AAC-hbr; config=1190")
	f.Fuzz(func(t *testing.T, s string) {
		if b := audioConfig(s); b != nil && len(b) < 2 {
			t.Errorf("got % x", b)
		}
	})
}

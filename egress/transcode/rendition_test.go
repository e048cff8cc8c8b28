package transcode_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/lectern/lectern/egress/transcode"
	"github.com/lectern/lectern/internal/clip"
	"github.com/lectern/lectern/stream"
	"github.com/lectern/lectern/stream/frame"
)

// testLog writes the log of the package into that of the test.
func testLog(t *testing.T) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo}))
}

func newPool(t *testing.T, cfg transcode.Config) *transcode.Pool {
	t.Helper()
	cfg.Log = testLog(t)
	p := transcode.New(cfg)
	t.Cleanup(p.Close)
	if err := p.Available(); err != nil {
		t.Skip(err)
	}
	return p
}

// publish plays c on s until the test ends or the returned function is called,
// which waits.
func publish(t *testing.T, s *stream.Stream, c *clip.Clip, o clip.Options) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = clip.Publish(ctx, s, c, o)
	}()
	stop = func() { cancel(); <-done }
	t.Cleanup(stop)
	return stop
}

func acquire(t *testing.T, p *transcode.Pool, src *stream.Stream, w ...transcode.Want) *transcode.Rendition {
	t.Helper()
	r, err := p.Acquire(t.Context(), src, w...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Release)
	return r
}

// collect reads access units until enough says so.
func collect(t *testing.T, s *stream.Stream, limit time.Duration, enough func(au *frame.AccessUnit) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	r, err := s.NewReader(stream.ReaderOptions{Name: "test"})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	asm := frame.NewAssembler()
	for {
		u, err := r.Read(ctx)
		if err != nil {
			t.Fatalf("reading rendition: %v", err)
		}
		if len(u.Packet.Payload) > 1400 {
			t.Errorf("payload of %d bytes", len(u.Packet.Payload))
		}
		for au, ok := asm.Push(u); ok; au, ok = asm.Next() {
			if enough(au) {
				return
			}
		}
	}
}

func TestRendition_EveryCodecBecomesH264AndAAC(t *testing.T) {
	for _, codec := range []stream.Codec{stream.VP8, stream.VP9, stream.AV1, stream.H264} {
		t.Run(codec.Name(), func(t *testing.T) {
			t.Parallel()
			c := clip.Make(t, clip.Spec{Video: codec, Audio: true})
			p := newPool(t, transcode.Config{})
			src := stream.New(stream.Config{Name: "room/main"})
			defer src.Close()
			publish(t, src, c, clip.Options{})
			began := time.Now()
			r := acquire(t, p, src)
			var first, pictures, sounds int
			var last [2]time.Duration
			collect(t, r.Stream(), 10*time.Second, func(au *frame.AccessUnit) bool {
				if first == 0 {
					first = int(time.Since(began).Milliseconds())
				}
				if au.PTS <= last[au.Track.Kind] && last[au.Track.Kind] > 0 {
					t.Errorf("%s: PTS %v after %v", au.Track.Kind, au.PTS, last[au.Track.Kind])
				}
				last[au.Track.Kind] = au.PTS
				switch au.Track.Codec {
				case stream.H264:
					pictures++
				case stream.AAC:
					sounds++
				default:
					t.Errorf("codec %s", au.Track.Codec)
				}
				return pictures > 40 && sounds > 60
			})
			lag := src.Since(time.Now()) - last[stream.Video]
			t.Logf("first unit after %d ms, lag %v", first, lag)
			if !r.Stream().Origin().Equal(src.Origin()) {
				t.Error("origin differs from that of the source")
			}
		})
	}
}

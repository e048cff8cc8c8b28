package whip_test

import (
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"

	"github.com/lectern/lectern/ingest"
	"github.com/lectern/lectern/internal/clip"
	"github.com/lectern/lectern/storage"
	"github.com/lectern/lectern/stream"
)

// A publisher with layers loses its best one, then all but the lowest, and gets
// them back: what is recorded is one picture that any decoder takes.
func TestRecording_OfLayersThatComeAndGo(t *testing.T) {
	for _, codec := range []stream.Codec{stream.VP8, stream.H264} {
		t.Run(codec.Name(), func(t *testing.T) {
			t.Parallel()
			const length = 9 * time.Second
			layers := []*clip.Clip{
				clip.Make(t, clip.Spec{Video: codec, Width: 160, Height: 90, Length: length, Bitrate: "80k"}),
				clip.Make(t, clip.Spec{Video: codec, Width: 320, Height: 180, Length: length, Bitrate: "150k"}),
				clip.Make(t, clip.Spec{Video: codec, Width: 640, Height: 360, Length: length, Bitrate: "300k"}),
			}
			on := func(layer int, at time.Duration) bool {
				switch layer {
				case 2:
					return at < 2*time.Second || at >= 5*time.Second
				case 1:
					return at < 3*time.Second || at >= 4*time.Second
				}
				return true
			}
			file, units := record(t, codec, layers, on)
			out, err := exec.Command("ffmpeg", "-hide_banner", "-v", "warning", "-xerror", "-nostdin",
				"-err_detect", "explode", "-i", file, "-f", "null", "-").CombinedOutput()
			if err != nil || strings.Contains(string(out), "rror") {
				t.Errorf("decoding: %v: %s", err, out)
			}
			carried := map[uint8]int{}
			for _, u := range units {
				carried[u.Layer]++
			}
			if len(carried) != 3 || units[len(units)-1].Layer != 2 {
				t.Errorf("got units of layers %v, the last of %d; want all three, the best in the end", carried, units[len(units)-1].Layer)
			}
			out, err = exec.Command("ffprobe", "-v", "error", "-select_streams", "v", "-show_entries",
				"frame=best_effort_timestamp_time,width", "-of", "csv=p=0", file).Output()
			if err != nil {
				t.Fatal(err)
			}
			checkPictures(t, string(out), length)
		})
	}
}

// checkPictures takes lines of "time,width" (in either order).
func checkPictures(t *testing.T, lines string, length time.Duration) {
	t.Helper()
	widths := map[string]int{}
	last, n := -1.0, 0
	for line := range strings.Lines(lines) {
		f := strings.Split(strings.Trim(strings.TrimSpace(line), ","), ",")
		if len(f) < 2 {
			continue
		}
		if strings.Contains(f[1], ".") {
			f[0], f[1] = f[1], f[0]
		}
		at, err := strconv.ParseFloat(f[0], 64)
		if err != nil {
			t.Fatalf("got line %q", line)
		}
		if n > 0 && (at <= last || at-last > 1.1) {
			t.Errorf("picture %d: at %.3f s after %.3f s", n, at, last)
		}
		last = at
		widths[f[1]]++
		n++
	}
	if len(widths) != 3 || last < length.Seconds()-1 {
		t.Errorf("got pictures of widths %v up to %.3f s", widths, last)
	}
}

// record publishes layers in the time of their pictures, and returns the file of
// the picture and the units of the main stream.
func record(t *testing.T, codec stream.Codec, layers []*clip.Clip, on func(int, time.Duration) bool) (string, []*stream.Unit) {
	t.Helper()
	began := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	var ns atomic.Int64
	ns.Store(began.UnixNano())
	now := func() time.Time { return time.Unix(0, ns.Load()).UTC() }
	store, err := storage.Open(t.Context(), storage.Config{Dir: t.TempDir(), Now: now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	rec, err := store.Begin("algebra", "Layers", began)
	if err != nil {
		t.Fatal(err)
	}
	st := stream.New(stream.Config{Name: "algebra/main", Now: now})
	t.Cleanup(st.Close)
	if err := rec.AddStream("main", st); err != nil {
		t.Fatal(err)
	}
	r, err := st.NewReader(stream.ReaderOptions{Queue: 1 << 14})
	if err != nil {
		t.Fatal(err)
	}
	p := ingest.NewPublisher(ingest.Config{Kinds: []stream.Kind{stream.Video}, Layers: []string{"q", "h", "f"}, Now: now})
	pub, err := st.Publish(p.Source())
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(pub, 1); err != nil {
		t.Fatal(err)
	}
	push(p, codec, layers, func(layer int, at time.Duration) bool {
		ns.Store(began.Add(at + time.Duration(layer)*2*time.Millisecond).UnixNano())
		return on(layer, at)
	})
	p.Close()
	pub.Close()
	end := layers[0].Spec.Length
	ns.Store(began.Add(end).UnixNano())
	if err := rec.End(t.Context()); err != nil {
		t.Fatal(err)
	}
	units := make([]*stream.Unit, 1<<14)
	units = units[:r.TryReadBatch(units)]
	r.Close()
	tracks := rec.Manifest().Tracks
	if len(tracks) != 1 {
		t.Fatalf("got %d tracks, want one", len(tracks))
	}
	return filepath.Join(rec.Dir(), tracks[0].File), units
}

// push sends picture by picture, the layers of each one after the other.
func push(p *ingest.Publisher, codec stream.Codec, layers []*clip.Clip, on func(int, time.Duration) bool) {
	f := &ingest.Format{Codec: codec, ClockRate: 90000}
	seq := make([]uint16, len(layers))
	payloaders := make([]rtp.Payloader, len(layers))
	for l := range layers {
		payloaders[l] = &codecs.VP8Payloader{EnablePictureID: true}
		if codec == stream.H264 {
			payloaders[l] = &codecs.H264Payloader{}
		}
	}
	base := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	for i := range layers[0].Frames {
		for l, c := range layers {
			fr := c.Frames[i]
			if !on(l, fr.PTS) {
				continue
			}
			payloads := payloaders[l].Payload(1200, fr.Data)
			for k, b := range payloads {
				seq[l]++
				p.PushRTP(f, l, &rtp.Packet{
					Header: rtp.Header{
						Version: 2, SSRC: uint32(l + 1), SequenceNumber: seq[l], Marker: k == len(payloads)-1,
						Timestamp: uint32(l)*1e9 + uint32(fr.PTS.Microseconds()*9/100),
					},
					Payload: b,
				}, base.Add(fr.PTS+time.Duration(l)*2*time.Millisecond))
			}
		}
	}
}

package playback_test

import (
	"bytes"
	"errors"
	"image/jpeg"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/lectern/lectern/storage/playback"
	"github.com/lectern/lectern/stream"
)

// film is a lecture of 20 s with two sizes and a hole.
func film(t *testing.T, codec stream.Codec) (*studio, *playback.Lecture) {
	t.Helper()
	s := newStudio(t)
	s.publish(shot{at: 500 * time.Millisecond, codec: codec, video: encode(t, codec, "320x180")})
	s.publish(shot{at: 12500 * time.Millisecond, codec: codec, video: encode(t, codec, "640x360")})
	return s, s.end(20 * time.Second)
}

func TestLecture_Download(t *testing.T) {
	tests := []struct {
		codec   stream.Codec
		name    string
		formats []string
	}{
		{stream.VP8, playback.WebM, []string{playback.WebM}},
		{stream.VP9, playback.WebM, []string{playback.WebM, playback.MP4}},
		{stream.AV1, playback.MP4, []string{playback.WebM, playback.MP4}},
		{stream.H264, playback.MP4, []string{playback.MP4}},
	}
	for _, tt := range tests {
		t.Run(tt.codec.Name(), func(t *testing.T) {
			_, x := film(t, tt.codec)
			if got := x.Formats(""); !slices.Equal(got, tt.formats) {
				t.Errorf("got formats %v, want %v", got, tt.formats)
			}
			d, err := x.Download(t.Context(), tt.name, "")
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			data, err := io.ReadAll(d)
			if err != nil || int64(len(data)) != d.Size {
				t.Fatalf("got %d bytes of %d, %v", len(data), d.Size, err)
			}
			file := write(t, tt.name, data)
			decode(t, file)
			if got := probe(t, file, "format", "duration")[0]; !near(got, 20, 0.1) {
				t.Errorf("got a duration of %.3f s, want 20", got)
			}
			flashes, beeps := flashTimes(t, file), beepTimes(t, file)
			if !slices.ContainsFunc(flashes, func(f float64) bool { return near(f, 15.5, 0.02) }) ||
				!slices.ContainsFunc(beeps, func(b float64) bool { return near(b, 15.51, 0.03) }) {
				t.Errorf("flash or beep at 15.5 s is missing: %.3f, %.3f", flashes, beeps)
			}
		})
	}
}

func TestLecture_DownloadInPieces(t *testing.T) {
	_, x := film(t, stream.VP9)
	open := func() *playback.Download {
		d, err := x.Download(t.Context(), playback.WebM, "main")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = d.Close() })
		return d
	}
	whole, err := io.ReadAll(open())
	if err != nil {
		t.Fatal(err)
	}
	d := open()
	for _, at := range []int64{0, 17, 5000, d.Size / 2, d.Size - 1, 4096} {
		if _, err := d.Seek(at, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, min(3000, d.Size-at))
		if _, err := io.ReadFull(d, got); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, whole[at:at+int64(len(got))]) {
			t.Errorf("what is read from %d on differs", at)
		}
	}
	// The index must lead to the picture: ffmpeg seeks by it.
	file := write(t, "seek.webm", whole)
	out := ffmpeg(t, "-ss", "15.5", "-i", file, "-frames:v", "1", "-vf", "signalstats,metadata=print:key=lavfi.signalstats.YAVG:file=-", "-f", "null", "-")
	if m := reLuma.FindSubmatch(out); m == nil || m[1][0] != '2' {
		t.Errorf("at 15.5 s: got %s, want a white picture", out)
	}
}

func TestLecture_DownloadRefusals(t *testing.T) {
	s, x := film(t, stream.VP8)
	tests := []struct {
		name string
		want error
	}{
		{playback.MP4, playback.ErrUnsupported},
		{"../" + s.rec.ID() + "/manifest.json", playback.ErrNotFound},
		{"lecture.avi", playback.ErrNotFound},
		{"", playback.ErrNotFound},
		{"catalogue.db", playback.ErrNotFound},
	}
	for _, tt := range tests {
		if _, err := x.Download(t.Context(), tt.name, ""); !errors.Is(err, tt.want) {
			t.Errorf("%q: got %v, want %v", tt.name, err, tt.want)
		}
	}
	d, err := x.Download(t.Context(), "main-video-1.ivf", "")
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if data, err := io.ReadAll(d); err != nil || int64(len(data)) != d.Size || string(data[:4]) != "DKIF" {
		t.Errorf("got %d bytes of %d, %v", len(data), d.Size, err)
	}
}

func TestLecture_Poster(t *testing.T) {
	for _, codec := range []stream.Codec{stream.VP8, stream.H264} {
		t.Run(codec.Name(), func(t *testing.T) {
			s, x := film(t, codec)
			c, err := x.Poster(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			img, err := jpeg.Decode(bytes.NewReader(c.Data))
			if err != nil {
				t.Fatal(err)
			}
			if b := img.Bounds(); b.Dx() != 320 || b.Dy() != 180 {
				t.Errorf("got a picture of %v, want 320x180", b)
			}
			kept, err := os.ReadFile(filepath.Join(s.rec.Dir(), "poster.jpg"))
			if err != nil || !bytes.Equal(kept, c.Data) {
				t.Errorf("kept %d bytes of %d: %v", len(kept), len(c.Data), err)
			}
			if again, err := x.Poster(t.Context()); err != nil || !bytes.Equal(again.Data, c.Data) {
				t.Errorf("another poster the second time: %v", err)
			}
		})
	}
}

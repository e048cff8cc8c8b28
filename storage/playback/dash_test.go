package playback_test

import (
	"encoding/xml"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/lectern/lectern/storage/playback"
	"github.com/lectern/lectern/stream"
)

// manifest is an MPD as a player reads it.
type manifest struct {
	Type    string `xml:"type,attr"`
	Total   string `xml:"mediaPresentationDuration,attr"`
	Periods []struct {
		Start string `xml:"start,attr"`
		Sets  []struct {
			Mime           string `xml:"mimeType,attr"`
			Representation struct {
				ID       string `xml:"id,attr"`
				Codecs   string `xml:"codecs,attr"`
				Width    int    `xml:"width,attr"`
				Template struct {
					Timescale float64 `xml:"timescale,attr"`
					Init      string  `xml:"initialization,attr"`
					Media     string  `xml:"media,attr"`
					S         []struct {
						T *int64 `xml:"t,attr"`
						D int64  `xml:"d,attr"`
						R int    `xml:"r,attr"`
					} `xml:"SegmentTimeline>S"`
				} `xml:"SegmentTemplate"`
			} `xml:"Representation"`
		} `xml:"AdaptationSet"`
	} `xml:"Period"`
}

// fetched is one set of one period: what a player would feed to its buffer.
type fetched struct {
	period, mime, id, codecs string
	width                    int
	from, to                 float64 // s
	data                     []byte
	segments                 []string
}

// fetch plays the part of a player: manifest, init and all segments.
func fetch(t *testing.T, x *playback.Lecture) (manifest, []fetched) {
	t.Helper()
	c, err := x.MPD("")
	if err != nil {
		t.Fatal(err)
	}
	var m manifest
	if err := xml.Unmarshal(c.Data, &m); err != nil {
		t.Fatal(err)
	}
	var all []fetched
	for _, p := range m.Periods {
		for _, set := range p.Sets {
			tp := set.Representation.Template
			f := fetched{period: p.Start, mime: set.Mime, id: set.Representation.ID, codecs: set.Representation.Codecs, width: set.Representation.Width}
			get := func(template string, at int64) {
				path := strings.NewReplacer("$RepresentationID$", f.id, "$Time$", fmt.Sprint(at)).Replace(template)
				c, err := x.Media(strings.TrimPrefix(path, "media/"))
				if err != nil {
					t.Fatalf("%s: %v", path, err)
				}
				f.data = append(f.data, c.Data...)
				f.segments = append(f.segments, path)
			}
			get(tp.Init, 0)
			at := int64(-1)
			for _, s := range tp.S {
				if s.T != nil {
					if at >= 0 && *s.T != at {
						t.Errorf("%s: hole from %d to %d", f.id, at, *s.T)
					}
					at = *s.T
				}
				for range s.R + 1 {
					if len(f.segments) == 1 {
						f.from = float64(at) / tp.Timescale
					}
					get(tp.Media, at)
					at += s.D
				}
			}
			f.to = float64(at) / tp.Timescale
			all = append(all, f)
		}
	}
	return m, all
}

func (f *fetched) file(t *testing.T) string {
	return write(t, "part."+f.mime[strings.Index(f.mime, "/")+1:], f.data)
}

func near(a, b, tolerance float64) bool { return math.Abs(a-b) <= tolerance }

// A lecture with a late start, two sizes, a publisher that goes and returns, and
// an end without publisher: no holes, and sound in time with the picture.
func TestLecture_PlaysWithoutHoles(t *testing.T) {
	for _, codec := range []stream.Codec{stream.VP8, stream.H264, stream.VP9, stream.AV1} {
		t.Run(codec.Name(), func(t *testing.T) {
			s := newStudio(t)
			small, large := encode(t, codec, "320x180"), encode(t, codec, "640x360")
			s.publish(shot{at: 500 * time.Millisecond, codec: codec, video: small}, shot{at: 6500 * time.Millisecond, codec: codec, video: large})
			s.publish(shot{at: 26 * time.Second, codec: codec, video: small})
			x := s.end(40 * time.Second)
			m, sets := fetch(t, x)
			if m.Type != "static" || m.Total != "PT40S" || len(m.Periods) != 3 {
				t.Errorf("got %s of %s with %d periods, want static of PT40S with 3", m.Type, m.Total, len(m.Periods))
			}
			checkSets(t, codec, sets)
		})
	}
}

func checkSets(t *testing.T, codec stream.Codec, sets []fetched) {
	t.Helper()
	container := "webm"
	if codec == stream.H264 {
		container = "mp4"
	}
	var flashes, beeps []float64
	frames, videoEnd := 0, 0.0
	for _, f := range sets {
		file := f.file(t)
		decode(t, file)
		if !strings.HasSuffix(f.mime, container) {
			t.Errorf("%s: got %s, want %s", f.id, f.mime, container)
		}
		if f.mime[:5] == "video" {
			if !near(f.from, videoEnd, 0.001) {
				t.Errorf("%s: video from %.3f, want %.3f", f.id, f.from, videoEnd)
			}
			videoEnd = f.to
			pts := probe(t, file, "packet", "pts_time")
			frames += len(pts)
			if !near(pts[0], f.from, 0.0015) {
				t.Errorf("%s: first picture at %.4f, announced %.4f", f.id, pts[0], f.from)
			}
			flashes = append(flashes, flashTimes(t, file)...)
		} else {
			beeps = append(beeps, beepTimes(t, file)...)
		}
	}
	if !near(videoEnd, 40, 0.001) {
		t.Errorf("video up to %.3f s, want 40", videoEnd)
	}
	// 360 of the clips; stills: 1 before, from 13.45 to 26, from 33 to 40.
	if want := 360 + 1 + 2 + 1; frames < want-1 || frames > want+1 {
		t.Errorf("got %d pictures, want about %d", frames, want)
	}
	t.Logf("flashes %.3f beeps %.3f", flashes, beeps)
	matched := 0
	for _, f := range flashes {
		for _, b := range beeps {
			if near(f, b, 0.4) {
				matched++
				if !near(f, b, 0.03) {
					t.Errorf("flash at %.3f, beep at %.3f", f, b)
				}
			}
		}
	}
	if matched < 15 {
		t.Errorf("got %d pairs of flash and beep, want at least 15: %v, %v", matched, flashes, beeps)
	}
}

func TestLecture_Growing(t *testing.T) {
	s := newStudio(t)
	if _, err := s.open().MPD(""); !errors.Is(err, playback.ErrNotReady) {
		t.Errorf("before the first segment: got %v, want ErrNotReady", err)
	}
	small := encode(t, stream.VP8, "320x180")
	s.publish(shot{at: 300 * time.Millisecond, codec: stream.VP8, video: small})
	s.settle()
	lib := playback.New(playback.Config{Store: s.store}) // without the cache of the other
	x, err := lib.Lecture(t.Context(), s.rec.ID())
	if err != nil {
		t.Fatal(err)
	}
	m, before := fetch(t, x)
	if m.Type != "dynamic" || m.Total != "" {
		t.Errorf("got %s of %q, want dynamic without duration", m.Type, m.Total)
	}
	if f := before[0]; !near(f.to, 4.3, 0.01) {
		t.Errorf("video up to %.3f, want 4.3: the last group of pictures is not whole", f.to)
	}
	s.publish(shot{at: 6300 * time.Millisecond, codec: stream.VP8, video: encode(t, stream.VP8, "640x360")})
	_, after := fetch(t, s.end(12300*time.Millisecond))
	for i, f := range before {
		g := after[i]
		if f.id != g.id || string(g.data[:len(f.data)]) != string(f.data) {
			t.Errorf("%s: what was sent before the end is not what is sent after it", f.id)
		}
	}
}

func TestLecture_SoundOnly(t *testing.T) {
	s := newStudio(t)
	s.publish(shot{at: time.Second, codec: stream.VP8})
	_, sets := fetch(t, s.end(9*time.Second))
	if len(sets) != 1 || sets[0].mime != "audio/webm" || !near(sets[0].to, 9, 0.001) || sets[0].from != 0 {
		t.Fatalf("got %+v, want one of sound, 0 to 9 s", sets)
	}
	decode(t, sets[0].file(t))
}

// Audio ends up to 2.5 ms before the lecture. No packet is so short.
func TestLecture_EndsBetweenPackets(t *testing.T) {
	for _, c := range []struct {
		codec stream.Codec
		extra time.Duration
	}{{stream.VP8, 2 * time.Millisecond}, {stream.H264, 1700 * time.Microsecond}} {
		s := newStudio(t)
		s.publish(shot{codec: c.codec, video: encode(t, c.codec, "160x90")})
		_, sets := fetch(t, s.end(clipTime+c.extra))
		for _, f := range sets {
			decode(t, f.file(t))
		}
	}
}

func TestLecture_CodecChange(t *testing.T) {
	s := newStudio(t)
	s.publish(shot{codec: stream.VP8, video: encode(t, stream.VP8, "320x180")})
	s.publish(shot{at: 6 * time.Second, codec: stream.H264, video: encode(t, stream.H264, "320x180")})
	m, sets := fetch(t, s.end(12*time.Second))
	if len(m.Periods) != 2 {
		t.Fatalf("got %d periods, want 2", len(m.Periods))
	}
	var got []string
	for _, f := range sets {
		decode(t, f.file(t))
		got = append(got, f.mime+" "+f.codecs)
	}
	want := "video/webm vp8, audio/webm opus, video/mp4 avc1.42C00C, audio/webm opus"
	if g := strings.Join(got, ", "); g != want {
		t.Errorf("got %s, want %s", g, want)
	}
}

func TestLecture_UnknownNamesAreNotFound(t *testing.T) {
	s := newStudio(t)
	s.publish(shot{codec: stream.VP8, video: encode(t, stream.VP8, "320x180")})
	x := s.end(6 * time.Second)
	for _, path := range []string{
		"", "/", "main-video-1.0", "main-video-1.0/", "main-video-1.0/1.webm", "main-video-1.0/0.mp4", "main-video-1.0/x.webm",
		"../manifest.json", "main-video-1.9/init.webm", "main.audio/init.mp4", "main-video-1.0/0.webm/x", "main-video-1.0/-1.webm",
	} {
		if _, err := x.Media(path); !errors.Is(err, playback.ErrNotFound) {
			t.Errorf("%q: got %v, want ErrNotFound", path, err)
		}
	}
	if _, err := x.MPD("screen"); !errors.Is(err, playback.ErrNotFound) {
		t.Errorf("got %v, want ErrNotFound", err)
	}
	if _, err := x.Media("main-video-1.0/0.webm"); err != nil {
		t.Errorf("the first segment: %v", err)
	}
}

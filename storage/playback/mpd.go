package playback

import (
	"encoding/xml"
	"fmt"
	"strconv"
	"time"
)

// Elements of the manifest (ISO/IEC 23009-1), as far as they are used.
type mpd struct {
	XMLName      xml.Name   `xml:"urn:mpeg:dash:schema:mpd:2011 MPD"`
	Profiles     string     `xml:"profiles,attr"`
	Type         string     `xml:"type,attr"`
	Duration     string     `xml:"mediaPresentationDuration,attr,omitempty"`
	MinBuffer    string     `xml:"minBufferTime,attr"`
	Available    string     `xml:"availabilityStartTime,attr,omitempty"`
	Published    string     `xml:"publishTime,attr,omitempty"`
	UpdatePeriod string     `xml:"minimumUpdatePeriod,attr,omitempty"`
	Delay        string     `xml:"suggestedPresentationDelay,attr,omitempty"`
	Periods      []period   `xml:"Period"`
	Clock        *utcTiming `xml:"UTCTiming"`
}

type utcTiming struct {
	Scheme string `xml:"schemeIdUri,attr"`
	Value  string `xml:"value,attr"`
}

type period struct {
	ID       string          `xml:"id,attr"`
	Start    string          `xml:"start,attr"`
	Duration string          `xml:"duration,attr,omitempty"`
	Sets     []adaptationSet `xml:"AdaptationSet"`
}

type adaptationSet struct {
	ID             int            `xml:"id,attr"`
	ContentType    string         `xml:"contentType,attr"`
	MimeType       string         `xml:"mimeType,attr"`
	Aligned        bool           `xml:"segmentAlignment,attr"`
	SAP            int            `xml:"startWithSAP,attr"`
	Representation representation `xml:"Representation"`
}

type representation struct {
	ID           string          `xml:"id,attr"`
	Codecs       string          `xml:"codecs,attr"`
	Bandwidth    int64           `xml:"bandwidth,attr"` // bit/s
	Width        int             `xml:"width,attr,omitempty"`
	Height       int             `xml:"height,attr,omitempty"`
	SamplingRate int             `xml:"audioSamplingRate,attr,omitempty"`
	Template     segmentTemplate `xml:"SegmentTemplate"`
}

type segmentTemplate struct {
	Timescale int64      `xml:"timescale,attr"`
	Offset    int64      `xml:"presentationTimeOffset,attr"`
	Init      string     `xml:"initialization,attr"`
	Media     string     `xml:"media,attr"`
	Timeline  []timeSpan `xml:"SegmentTimeline>S"`
}

type timeSpan struct {
	Time     *int64 `xml:"t,attr"` // nil: where the one before ends
	Duration int64  `xml:"d,attr"`
	Repeat   int    `xml:"r,attr,omitempty"`
}

const (
	// updateEvery is how often players fetch the manifest of a growing lecture.
	updateEvery = 2 * time.Second
	// liveDelay is how far behind the newest segment players stay.
	liveDelay = 4 * time.Second

	// Bandwidths that are announced when nothing better is known, in bit/s.
	defaultVideoRate, audioRate = 1_000_000, 64_000
)

// MPD returns the DASH manifest of a slot ("": main) with addresses relative to
// its own: media/{representation}/{init or time}.{webm or mp4}. Of a recording
// that grows it is a dynamic one, whose player can go back to the begin. It
// returns ErrNotFound or ErrNotReady.
func (x *Lecture) MPD(slot string) (Content, error) {
	tl, err := x.slot(slot)
	if err != nil {
		return Content{}, err
	}
	if tl.pending && x.Growing() {
		// A set that appears in a later manifest is not taken up by players.
		return Content{}, ErrNotReady
	}
	m := mpd{Profiles: "urn:mpeg:dash:profile:isoff-live:2011", Type: "static", MinBuffer: "PT2S"}
	if x.Growing() {
		now := time.Now().UTC().Format(time.RFC3339Nano)
		m.Type, m.Published = "dynamic", now
		m.Available = x.m.StartedAt.UTC().Format(time.RFC3339Nano)
		m.UpdatePeriod, m.Delay = duration(updateEvery.Milliseconds()), duration(liveDelay.Milliseconds())
		m.Clock = &utcTiming{Scheme: "urn:mpeg:dash:utc:direct:2014", Value: now}
	} else {
		m.Duration = duration(tl.endMS)
	}
	m.Periods = tl.periods(x.Growing())
	b, err := xml.Marshal(m)
	if err != nil {
		return Content{}, fmt.Errorf("marshal mpd: %w", err)
	}
	return Content{MediaType: "application/dash+xml", Data: append([]byte(xml.Header), b...)}, nil
}

// duration is a number of ms as XML wants it.
func duration(ms int64) string {
	return "PT" + strconv.FormatFloat(float64(ms)/1000, 'f', -1, 64) + "S"
}

// periods makes one period of each part. There is always a picture in it if there
// is one in the lecture: after a period without, Shaka shows none any more.
func (tl *timeline) periods(growing bool) []period {
	if len(tl.parts) == 0 {
		p := period{ID: "0", Start: duration(0), Sets: []adaptationSet{tl.audioSet(0, tl.endMS+1)}}
		return []period{p}
	}
	var out []period
	for i, p := range tl.parts {
		start := scale(p.start(), 1000, videoClock)
		end := max(tl.endMS, scale(p.end(), 1000, videoClock))
		last := i == len(tl.parts)-1
		if !last {
			end = scale(tl.parts[i+1].start(), 1000, videoClock)
		}
		if end <= start {
			continue
		}
		d := period{ID: p.id, Start: duration(start)}
		if !last || !growing {
			d.Duration = duration(end - start)
		}
		d.Sets = append(d.Sets, p.set(start))
		if last {
			end++ // whatever audio there is
		}
		if set := tl.audioSet(start, end); len(set.Representation.Template.Timeline) > 0 {
			d.Sets = append(d.Sets, set)
		}
		out = append(out, d)
	}
	return out
}

func template(mp4 bool, timescale, offset int64) segmentTemplate {
	ext := extension(mp4)
	return segmentTemplate{
		Timescale: timescale, Offset: offset,
		Init:  "media/$RepresentationID$/" + initName + "." + ext,
		Media: "media/$RepresentationID$/$Time$." + ext,
	}
}

// set describes a part whose period begins at start, in ms.
func (p *part) set(start int64) adaptationSet {
	r := representation{
		ID: p.id, Codecs: p.config.codecs, Bandwidth: p.bandwidth(), Width: p.width, Height: p.height,
		Template: template(p.mp4(), p.timescale(), scale(start, p.timescale(), 1000)),
	}
	r.Template.Timeline = spans(p.segments, p.timescale(), videoClock)
	return adaptationSet{ID: 1, ContentType: "video", MimeType: "video/" + extension(p.mp4()), Aligned: true, SAP: 1, Representation: r}
}

func (p *part) bandwidth() int64 {
	bits := p.t.size * 8
	if ticks := p.t.end - p.t.base; ticks > 0 && bits > 0 {
		return max(bits*videoClock/ticks, 1)
	}
	return defaultVideoRate
}

// audioSet describes what plays from start to end, in ms.
func (tl *timeline) audioSet(start, end int64) adaptationSet {
	from, to := 0, len(tl.audio)
	for from < to && scale(tl.audio[from].end, 1000, audioClock) <= start {
		from++
	}
	for to > from && scale(tl.audio[to-1].start, 1000, audioClock) >= end {
		to--
	}
	r := representation{
		ID: tl.audioID, Codecs: "opus", Bandwidth: audioRate, SamplingRate: audioClock,
		Template: template(tl.mp4, tl.timescale(), scale(start, tl.timescale(), 1000)),
	}
	r.Template.Timeline = spans(tl.audio[from:to], tl.timescale(), audioClock)
	return adaptationSet{ID: 2, ContentType: "audio", MimeType: "audio/" + extension(tl.mp4), Aligned: true, SAP: 1, Representation: r}
}

// spans is a list of segments, equal ones in a row as one.
func spans(segs []segment, timescale, clock int64) []timeSpan {
	var out []timeSpan
	next := int64(-1)
	for _, s := range segs {
		start, end := scale(s.start, timescale, clock), scale(s.end, timescale, clock)
		d := end - start
		switch n := len(out); {
		case d <= 0:
			continue
		case start == next && out[n-1].Duration == d:
			out[n-1].Repeat++
		case start == next:
			out = append(out, timeSpan{Duration: d})
		default:
			out = append(out, timeSpan{Time: &start, Duration: d})
		}
		next = end
	}
	return out
}

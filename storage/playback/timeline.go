package playback

import (
	"fmt"
	"math"
	"slices"

	"github.com/lectern/lectern/storage"
	"github.com/lectern/lectern/stream"
)

// Lengths, in seconds.
const (
	// minSegment is the shortest segment but at the end of a part: keyframes are
	// asked for each 2 s, and come a little early or late.
	minSegment = 1.9
	// maxFill is the longest segment of what fills a hole. Players drop what lies
	// 30 s behind, and can fetch again only whole segments.
	maxFill = 10
	// minFill is the shortest one that is worth a segment.
	minFill = 1
	// longSegment is the length from which the end of a segment is looked at.
	longSegment = 6
	// longFrame is the longest time for which a frame stays before a still
	// picture takes over. Screens that do not change send one frame a second.
	longFrame = 3
	// hold is how long the last frame before a hole stays.
	hold = 1

	maxParts = 4000 // of one slot; more changes of size stay within a part
)

// kind tells what a segment is made of.
type kind uint8

const (
	media  kind = iota // what was recorded
	still              // one keyframe
	silent             // silence
)

// segment is a piece of a track that a player fetches at once. It begins with a
// keyframe. Times are in ticks of its clock on the timeline of the lecture.
type segment struct {
	kind       kind
	t          *track // nil for silence
	start, end int64
	from, to   int64 // of the file, in bytes; still: to bounds the keyframe
	key        int64 // still: offset of the keyframe; media: of the last keyframe
}

// part is a stretch of video that one decoder configuration fits. It fills the
// timeline from its start to that of the next.
type part struct {
	id            string // of the representation
	t             *track
	config        *config
	width, height int
	segments      []segment
}

// start is where the part begins.
func (p *part) start() int64 { return p.segments[0].start }

// end is where the part ends so far.
func (p *part) end() int64 { return p.segments[len(p.segments)-1].end }

// timeline is what a slot shows.
type timeline struct {
	slot    string
	parts   []*part   // of video; empty: no video
	audio   []segment // empty: no audio
	audioID string    // of the representation
	mp4     bool      // the container of the audio
	pending bool      // there is a track without a segment yet
	endMS   int64
}

// build makes the timelines of all slots.
func (x *Lecture) build() {
	x.slots = make(map[string]*timeline)
	tracks := make(map[string][]*track)
	for _, info := range x.m.Tracks {
		t, err := x.openTrack(info)
		if err != nil {
			x.lib.cfg.Log.Warn("track cannot be played", "recording", x.m.ID, "track", info.ID, "err", err)
			continue
		}
		tracks[info.Stream] = append(tracks[info.Stream], t)
	}
	for slot, ts := range tracks {
		if tl := x.timeline(slot, ts); tl != nil {
			x.slots[slot] = tl
		}
	}
}

// timeline makes the timeline of one slot; nil if it has nothing to play.
func (x *Lecture) timeline(slot string, ts []*track) *timeline {
	slices.SortStableFunc(ts, func(a, b *track) int {
		return int(math.Copysign(1, a.info.OffsetMS-b.info.OffsetMS))
	})
	var video, audio []*track
	end := 0.0 // ms
	for _, t := range ts {
		end = max(end, t.info.OffsetMS+t.info.DurationMS)
		if t.codec == stream.Opus {
			audio = append(audio, t)
		} else {
			video = append(video, t)
		}
	}
	if d := x.m.DurationMS; d > 0 && !x.Growing() {
		end = min(d, maxLecture*1000) // all tracks end together: players seek no farther than the shortest
	}
	tl := &timeline{slot: slot, audioID: slot + ".audio", endMS: int64(end)}
	for i, t := range video {
		tl.parts = x.addParts(tl.parts, t, x.Growing() && i == len(video)-1)
	}
	for i, t := range audio {
		tl.audio = x.addAudio(tl.audio, t, x.Growing() && i == len(audio)-1)
	}
	tl.pending = (len(video) > 0 && len(tl.parts) == 0) || (len(audio) > 0 && len(tl.audio) == 0)
	if !x.Growing() {
		tl.finish()
	}
	if len(tl.parts) == 0 && len(tl.audio) == 0 {
		return nil
	}
	tl.mp4 = len(tl.parts) > 0
	for _, p := range tl.parts {
		tl.mp4 = tl.mp4 && p.t.codec == stream.H264
	}
	return tl
}

// addParts appends the parts of a track. open says that the track still grows,
// so that its last segment is not yet whole.
func (x *Lecture) addParts(parts []*part, t *track, open bool) []*part {
	first := len(parts)
	for i := 0; i < len(t.marks); {
		j := i + 1
		for j < len(t.marks) && (sameSize(t.marks[i], t.marks[j]) || len(parts) >= maxParts) {
			j++
		}
		p, err := x.newPart(t, i, len(parts)-first)
		if err != nil {
			x.lib.cfg.Log.Warn("part cannot be played", "recording", x.m.ID, "track", t.info.ID, "err", err)
		} else if p.segments = x.cut(t, i, j, open); len(p.segments) > 0 {
			parts = joinParts(parts, p)
		}
		i = j
	}
	return parts
}

func sameSize(a, b storage.IndexEntry) bool {
	return b.Width == 0 || (a.Width == b.Width && a.Height == b.Height)
}

func (x *Lecture) newPart(t *track, mark, n int) (*part, error) {
	m := t.marks[mark]
	c, err := x.memo.config(place{t.info.File, m.Offset}, func() (*config, error) {
		f, err := x.openFile(t.info.File)
		if err != nil {
			return nil, err
		}
		defer f.Close() // read only
		key, err := readFrame(f, m.Offset, t.size)
		if err != nil {
			return nil, err
		}
		return configOf(t.codec, key)
	})
	if err != nil {
		return nil, err
	}
	p := &part{id: fmt.Sprintf("%s.%d", t.info.ID, n), t: t, config: c, width: m.Width, height: m.Height}
	if p.width <= 0 || p.height <= 0 {
		p.width, p.height = max(t.info.Width, 1), max(t.info.Height, 1)
	}
	return p, nil
}

// cut makes segments of the marks i..j of a video track.
func (x *Lecture) cut(t *track, i, j int, open bool) []segment {
	var out []segment
	for i < j {
		k := i + 1
		for k < j && t.marks[k].PTS-t.marks[i].PTS < int64(minSegment*videoClock) {
			k++
		}
		s := segment{
			t: t, start: t.base + t.marks[i].PTS, end: t.end,
			from: t.marks[i].Offset, to: t.offsetAfter(k - 1), key: t.marks[k-1].Offset,
		}
		if k < len(t.marks) {
			s.end = t.base + t.marks[k].PTS
		} else if open {
			return out
		}
		if s.end > s.start {
			out = append(out, x.splitStill(s)...)
		}
		i = k
	}
	return out
}

// splitStill looks into a long segment, and puts still pictures where its last
// frame would stay for long: a publisher that went and came back.
func (x *Lecture) splitStill(s segment) []segment {
	if s.end-s.start <= longSegment*videoClock {
		return []segment{s}
	}
	last := x.memo.end(place{s.t.info.File, s.from}, func() int64 {
		f, err := x.openFile(s.t.info.File)
		if err != nil {
			return -1
		}
		defer f.Close() // read only
		return lastFrame(f, s.from, s.to)
	})
	if last < 0 || s.end-s.t.base-last <= longFrame*videoClock {
		return []segment{s}
	}
	end := s.end
	s.end = max(s.t.base+last, s.start) + hold*videoClock
	return fill([]segment{s}, s.end, end)
}

// fill appends still pictures (or silence) after the last segment.
func fill(segs []segment, from, to int64) []segment {
	s := segs[len(segs)-1]
	clock := int64(audioClock)
	if s.t != nil && s.t.clock == videoClock {
		clock = videoClock
		s = segment{kind: still, t: s.t, from: s.key, to: s.to, key: s.key}
	} else {
		s = segment{kind: silent}
	}
	for from < to {
		s.start, s.end = from, min(from+maxFill*clock, to)
		if to-s.end < minFill*clock {
			s.end = to
		}
		segs, from = append(segs, s), s.end
	}
	return segs
}

// joinParts appends p to parts and closes the hole before it, if there is one.
func joinParts(parts []*part, p *part) []*part {
	if len(parts) == 0 {
		if at := p.start(); at > 0 {
			first := p.segments[0]
			lead := fill([]segment{{t: first.t, key: first.from, to: first.to}}, 0, at)[1:]
			p.segments = append(lead, p.segments...)
		}
		return append(parts, p)
	}
	parts = trimParts(parts, p.start())
	if n := len(parts); n > 0 {
		parts[n-1].extend(p.start())
	}
	return append(parts, p)
}

// trimParts cuts off what lies behind end.
func trimParts(parts []*part, end int64) []*part {
	for n := len(parts); n > 0; n = len(parts) {
		last := parts[n-1]
		if last.segments = trim(last.segments, end); len(last.segments) > 0 {
			break
		}
		parts = parts[:n-1]
	}
	return parts
}

func trim(segs []segment, end int64) []segment {
	for n := len(segs); n > 0 && segs[n-1].start >= end; n = len(segs) {
		segs = segs[:n-1]
	}
	if n := len(segs); n > 0 {
		segs[n-1].end = min(segs[n-1].end, end)
	}
	return segs
}

// extend makes the part last up to end.
func (p *part) extend(end int64) {
	last := &p.segments[len(p.segments)-1]
	if hole := end - last.end; hole > longFrame*videoClock {
		p.segments = fill(p.segments, last.end, end)
	} else if hole > 0 {
		last.end = end
	}
}

// addAudio appends the segments of an audio track, with silence before them.
func (x *Lecture) addAudio(segs []segment, t *track, open bool) []segment {
	var own []segment
	for i, m := range t.marks {
		s := segment{t: t, start: t.base + m.PTS, end: t.end, from: m.Offset, to: t.offsetAfter(i)}
		if i+1 < len(t.marks) {
			s.end = t.base + t.marks[i+1].PTS
		} else if open {
			break
		}
		if s.end > s.start {
			own = append(own, s)
		}
	}
	if len(own) == 0 {
		return segs
	}
	segs = trim(segs, own[0].start)
	return append(fillSilence(segs, own[0].start), own...)
}

// fillSilence makes the audio last up to end. A hole too short for a packet has
// no segment of its own: players would get an error for it at every end.
func fillSilence(segs []segment, end int64) []segment {
	n := len(segs)
	switch {
	case n == 0 && end >= silenceStep:
		return fill([]segment{{kind: silent}}, 0, end)[1:]
	case n == 0:
		return segs
	case end-segs[n-1].end >= silenceStep:
		return fill(segs, segs[n-1].end, end)
	}
	segs[n-1].end = max(segs[n-1].end, end)
	return segs
}

// finish makes all tracks end with the lecture.
func (tl *timeline) finish() {
	if tl.parts = trimParts(tl.parts, tl.endMS*videoClock/1000); len(tl.parts) > 0 {
		tl.parts[len(tl.parts)-1].extend(tl.endMS * videoClock / 1000)
	}
	if tl.audio = trim(tl.audio, tl.endMS*audioClock/1000); len(tl.audio) > 0 {
		tl.audio = fillSilence(tl.audio, tl.endMS*audioClock/1000)
	}
}

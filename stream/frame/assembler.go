package frame

import (
	"slices"
	"time"

	"github.com/lectern/lectern/stream"
)

// maxAccessUnit bounds the memory of one picture in bytes: a publisher that
// never ends a picture must not fill the machine. A 4K keyframe has about 1 MiB.
const maxAccessUnit = 8 << 20

// Assembler makes access units of the units of one Reader, audio and video. It
// is not goroutine-safe.
//
// Only whole access units come out: one with a hole, or whose end was not seen,
// is dropped, and video then waits for the next keyframe. The first access unit
// after a loss carries the mark Lost.
type Assembler struct {
	lanes  [2]lane // by stream.Kind
	ready  []*AccessUnit
	broken uint64
}

// lane is the state of one kind.
type lane struct {
	track   *stream.Track
	builder builder // of the codec; nil for audio
	audio   aacFragment

	seq    uint16 // of the last unit
	ts     uint32 // of the last unit
	marker bool   // the last unit had it

	au     AccessUnit // under way, if open
	open   bool
	lost   bool // a hole since the last access unit came out
	jumped bool // a discontinuity since then
	wait   bool // video: for the next keyframe
	hole   bool // the wait is because of a loss
	missTS uint32
	missed bool // missTS is counted in broken already
}

// builder puts the payloads of one access unit of a codec together.
type builder interface {
	// starts says whether a payload can be the first of an access unit.
	// boundary is true if it is known to follow the end of another.
	starts(payload []byte, boundary bool) bool
	// skip looks at a payload that is not used: parameter sets are kept.
	skip(payload []byte)
	// add takes the next payload, of which there is no hole before. It reports
	// false if the payload does not fit what came before.
	add(payload []byte) bool
	// size is how many bytes there are so far.
	size() int
	// pictured says whether there is picture data so far. A marker before it
	// does not count: some publishers set one on the parameter sets.
	pictured() bool
	// finish returns the picture and begins anew. It reports false if the
	// picture is not whole. No data means that there was nothing to show.
	finish() (picture, bool)
	reset()
}

// picture is the outcome of a builder. The caller owns data.
type picture struct {
	data     []byte
	keyframe bool
	w, h     int // of keyframes
}

// NewAssembler returns an Assembler that has seen nothing yet.
func NewAssembler() *Assembler { return &Assembler{} }

// Broken counts the video access units that were lost to holes, those that
// waited for a keyframe afterwards included.
func (a *Assembler) Broken() uint64 { return a.broken }

// Push takes the next unit of the Reader and returns the access unit that it
// completed, if any. u is not kept.
func (a *Assembler) Push(u *stream.Unit) (*AccessUnit, bool) {
	l := &a.lanes[u.Track.Kind]
	contiguous := true
	if l.track != u.Track {
		a.changeTrack(l, u)
	} else if u.Packet.SequenceNumber != l.seq+1 {
		contiguous = false
		a.noteHole(l)
	}
	l.jumped = l.jumped || u.Discontinuity
	if u.Track.Kind == stream.Audio {
		a.pushAudio(l, u)
	} else {
		a.pushVideo(l, u, contiguous)
	}
	l.seq, l.ts, l.marker = u.Packet.SequenceNumber, u.Packet.Timestamp, u.Packet.Marker
	return a.Next()
}

// Next returns a further access unit that the last Push completed. There can be
// more than one only if an audio packet holds several frames, or a publisher
// leaves out the marker bit; without Next they come out with later calls of Push.
func (a *Assembler) Next() (*AccessUnit, bool) {
	if len(a.ready) == 0 {
		return nil, false
	}
	au := a.ready[0]
	a.ready = slices.Delete(a.ready, 0, 1)
	return au, true
}

// changeTrack begins with the track of u, whose first packet begins an access
// unit: the stream and the Reader see to that.
func (a *Assembler) changeTrack(l *lane, u *stream.Unit) {
	a.drop(l)
	l.track, l.builder, l.audio = u.Track, newBuilder(u.Track), aacFragment{}
	l.wait, l.hole = u.Track.Kind == stream.Video, false
	l.marker = true
}

// noteHole drops what was under way: packets before this one are lost for good.
func (a *Assembler) noteHole(l *lane) {
	l.lost = true
	l.audio = aacFragment{}
	if l.track.Kind == stream.Video {
		a.drop(l)
		l.wait, l.hole = true, true
	}
}

// drop gives up the access unit that is under way.
func (a *Assembler) drop(l *lane) {
	if !l.open {
		return
	}
	l.open = false
	l.lost = true
	l.builder.reset()
	a.miss(l, l.au.Timestamp)
}

// miss counts the access unit ts as broken, once.
func (a *Assembler) miss(l *lane, ts uint32) {
	if l.missed && l.missTS == ts {
		return
	}
	l.missed, l.missTS = true, ts
	a.broken++
}

// spoil drops the access unit ts, of which something is wrong.
func (a *Assembler) spoil(l *lane, ts uint32) {
	a.drop(l)
	a.miss(l, ts)
	l.lost, l.wait, l.hole = true, true, true
}

func (a *Assembler) pushVideo(l *lane, u *stream.Unit, contiguous bool) {
	if l.builder == nil {
		return
	}
	p := u.Packet
	if l.open && p.Timestamp != l.au.Timestamp {
		// No marker came, but no hole either: the next access unit ends this one.
		a.finish(l)
	}
	if !Empty(u.Track.Codec, p.Payload) {
		boundary := contiguous && (l.marker || p.Timestamp != l.ts)
		a.addVideo(l, u, boundary)
	}
	if l.open && p.Marker && l.builder.pictured() {
		a.finish(l)
	}
}

func (a *Assembler) addVideo(l *lane, u *stream.Unit, boundary bool) {
	p := u.Packet
	if !l.open {
		begins := l.builder.starts(p.Payload, boundary)
		if l.wait && (!begins || !KeyframeStart(u.Track.Codec, p.Payload)) {
			if l.hole {
				a.miss(l, p.Timestamp)
			}
			l.builder.skip(p.Payload)
			return
		}
		if !begins {
			a.spoil(l, p.Timestamp)
			return
		}
		l.open = true
		l.au = AccessUnit{Track: u.Track, PTS: u.PTS, NTP: u.NTP, Timestamp: p.Timestamp}
	}
	l.au.Arrival = u.Arrival
	if !l.builder.add(p.Payload) || l.builder.size() > maxAccessUnit {
		a.spoil(l, p.Timestamp)
	}
}

// finish hands the access unit under way out, if it is whole.
func (a *Assembler) finish(l *lane) {
	pic, ok := l.builder.finish()
	if !ok {
		a.spoil(l, l.au.Timestamp)
		return
	}
	l.open = false
	if len(pic.data) == 0 {
		return
	}
	if l.wait && !pic.keyframe {
		if l.hole {
			a.miss(l, l.au.Timestamp)
		}
		return
	}
	l.wait, l.hole = false, false
	au := l.au
	au.Data, au.Keyframe, au.Width, au.Height = pic.data, pic.keyframe, pic.w, pic.h
	a.emit(l, au)
}

func (a *Assembler) emit(l *lane, au AccessUnit) {
	au.Lost, au.Discontinuity = l.lost, l.jumped
	l.lost, l.jumped = false, false
	a.ready = append(a.ready, &au)
}

func (a *Assembler) pushAudio(l *lane, u *stream.Unit) {
	p := u.Packet
	if len(p.Payload) == 0 {
		return
	}
	au := AccessUnit{
		Track: u.Track, PTS: u.PTS, NTP: u.NTP, Arrival: u.Arrival, Timestamp: p.Timestamp, Keyframe: true,
	}
	if u.Track.Codec != stream.AAC {
		au.Data = slices.Clone(p.Payload)
		a.emit(l, au)
		return
	}
	frames, ok := l.audio.push(p.Payload, p.Marker)
	if !ok {
		l.lost = true
		return
	}
	for i, f := range frames {
		au.Data = slices.Clone(f)
		a.emit(l, au)
		if i == 0 {
			au.NTP = time.Time{}
		}
		au.Timestamp += aacSamples
		if u.Track.ClockRate > 0 {
			au.PTS += aacSamples * time.Second / time.Duration(u.Track.ClockRate)
		}
	}
}

func newBuilder(t *stream.Track) builder {
	switch t.Codec {
	case stream.VP8:
		return &vp8Builder{}
	case stream.VP9:
		return &vp9Builder{}
	case stream.AV1:
		return &av1Builder{}
	case stream.H264:
		return newH264Builder(t.FMTP)
	}
	return nil
}

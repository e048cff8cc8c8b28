package ingest

import (
	"strconv"
	"time"

	"github.com/lectern/lectern/stream"
	"github.com/lectern/lectern/stream/frame"
)

// lane is the way of one kind of media through a Publisher: receiver, then
// clock, then the stream. It is guarded by the lock of the Publisher.
type lane struct {
	p     *Publisher
	kind  stream.Kind
	ssrc  uint32
	recv  *Receiver
	clock *Clock
	heard time.Time // when the last packet came

	format  *Format // of track
	track   *stream.Track
	spliced bool   // follows another source: its first unit is a discontinuity
	key     bool   // keyTS is set
	keyTS   uint32 // of the newest keyframe

	before ReceiverStats // of the sources before this one
}

// order takes the packets of the Receiver.
func (l *lane) order(p Packet) {
	if p.Lost > 0 && l.kind == stream.Video {
		// The stream limits the rate, and asks until a keyframe comes.
		l.p.stream.RequestKeyframe()
	}
	l.clock.Push(p)
}

// write takes the packets of the Clock.
func (l *lane) write(p Packet, s Stamp) {
	if l.format != p.Format {
		l.begin(p.Format)
	}
	u := &stream.Unit{
		Track:         l.track,
		Packet:        p.Packet,
		PTS:           s.PTS,
		NTP:           s.NTP,
		Arrival:       p.Arrival,
		Keyframe:      l.keyframe(p),
		Discontinuity: s.Discontinuity || l.spliced,
	}
	p.Extension, p.Extensions, p.Padding, p.PaddingSize = false, nil, false, 0
	l.spliced = false
	if err := l.p.pub.Write(u); err != nil {
		l.p.failLocked(err)
	}
}

// keyframe says whether p is the first packet of a keyframe. With H.264 several
// packets of one access unit look like that.
func (l *lane) keyframe(p Packet) bool {
	if l.kind == stream.Audio {
		return true
	}
	if l.key && l.keyTS == p.Timestamp || !frame.KeyframeStart(p.Format.Codec, p.Payload) {
		return false
	}
	l.key, l.keyTS = true, p.Timestamp
	return true
}

// begin starts a track: the first one, or one with another codec.
func (l *lane) begin(f *Format) {
	l.p.tracks++
	l.format, l.key = f, false
	l.track = &stream.Track{
		ID:        l.kind.String() + "-" + strconv.Itoa(l.p.tracks),
		Kind:      l.kind,
		Codec:     f.Codec,
		ClockRate: f.ClockRate,
		Channels:  f.Channels,
		FMTP:      f.FMTP,
	}
}

func (l *lane) flush() {
	l.recv.Flush()
	l.clock.Flush()
}

// due says whether something is to be asked for now.
func (l *lane) due(now time.Time) bool { return l.recv.gaps.ready(l.recv.highest, now) }

// total is the sum over all sources of the kind.
func (l *lane) total() ReceiverStats {
	s, b := l.recv.Stats(), l.before
	s.Received += b.Received
	s.Bytes += b.Bytes
	s.Duplicates += b.Duplicates
	s.Empty += b.Empty
	s.Late += b.Late
	s.Lost += b.Lost
	s.Repaired += b.Repaired
	s.NACKed += b.NACKed
	return s
}

package ingest

import (
	"strconv"
	"time"

	"github.com/lectern/lectern/stream"
	"github.com/lectern/lectern/stream/frame"
)

// lane is the way of one source through a Publisher: receiver, then clock, then
// the stream. It is guarded by the lock of the Publisher.
type lane struct {
	in    *input
	ssrc  uint32
	recv  *Receiver
	clock *Clock
	heard time.Time // when the last packet came

	format  *Format // of track
	track   *stream.Track
	spliced bool   // follows another source: its first unit is a discontinuity
	key     bool   // keyTS is set
	keyTS   uint32 // of the newest keyframe

	temporal, spatial uint8 // of the last packet

	before ReceiverStats // of the sources before this one
}

// order takes the packets of the Receiver.
func (l *lane) order(p Packet) {
	if p.Lost > 0 && l.in.kind == stream.Video && !l.recv.rescue.under {
		// The stream limits the rate, and asks until a keyframe comes.
		l.in.pub.Stream().RequestKeyframe()
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
		Keyframe:      true,
		Discontinuity: s.Discontinuity || l.spliced,
		Descriptor:    p.Descriptor,
	}
	if l.in.kind == stream.Video {
		l.describe(u)
	}
	p.Extension, p.Extensions, p.Padding, p.PaddingSize = false, nil, false, 0
	l.spliced = false
	if err := l.in.write(u); err != nil {
		l.in.p.failLocked(err)
	}
}

// describe tells what u, of video, is: with what its payload says of itself.
func (l *lane) describe(u *stream.Unit) {
	i := frame.Inspect(l.format.Codec, u.Packet.Payload)
	if i.Continues {
		i.Temporal, i.Spatial = l.temporal, l.spatial
	}
	l.temporal, l.spatial = i.Temporal, i.Spatial
	u.Temporal, u.Spatial, u.Switch = i.Temporal, i.Spatial, i.Switch
	u.EndOfLayer = i.EndOfLayer || u.Packet.Marker || stream.EndsFrame(u.Descriptor)
	// With H.264 several packets of one access unit look like its first.
	u.Keyframe = i.Keyframe && (!l.key || l.keyTS != u.Packet.Timestamp)
	if u.Keyframe {
		l.key, l.keyTS = true, u.Packet.Timestamp
		u.Width, u.Height = i.Width, i.Height
	}
}

// begin starts a track: the first one, or one with another codec.
func (l *lane) begin(f *Format) {
	l.format, l.key = f, false
	l.track = l.in.p.newTrack(l.in.kind, f)
}

// newTrack returns a track with an id of its own.
func (p *Publisher) newTrack(kind stream.Kind, f *Format) *stream.Track {
	p.tracks++
	return &stream.Track{
		ID:        kind.String() + "-" + strconv.Itoa(p.tracks),
		Kind:      kind,
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
	return l.recv.Stats().plus(l.before)
}

// plus adds the counters of b to those of s.
func (s ReceiverStats) plus(b ReceiverStats) ReceiverStats {
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

// Package ingest is what a way in is: it takes RTP packets as they come from a
// network (late, twice, or not at all) and makes units of a stream of them.
//
// A Publisher does all of it for one publication. It has a Receiver per track,
// which orders, deduplicates and asks again for what is missing, and a Timeline
// with one Clock per track, which maps RTP timestamps onto the one clock of the
// stream. Nothing here knows WebRTC: whoever has RTP packets can use it.
package ingest

import (
	"time"

	"github.com/pion/rtp"

	"github.com/lectern/lectern/stream"
)

// Format is what a payload type stands for. A publisher keeps one value per
// payload type and hands in its address: another address is another track.
type Format struct {
	Codec     stream.Codec
	ClockRate uint32 // Hz
	Channels  uint16 // audio only
	FMTP      string // format parameters as in a=fmtp
}

// Packet is one RTP packet on its way through the ingest.
type Packet struct {
	*rtp.Packet
	Format  *Format
	Arrival time.Time

	// Descriptor is the dependency descriptor of AV1, or nil; see
	// stream.Unit.Descriptor.
	Descriptor []byte

	// Lost counts the packets before this one that were lost for good. It is
	// set by the Receiver.
	Lost int
}

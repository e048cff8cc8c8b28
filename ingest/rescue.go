package ingest

import (
	"github.com/lectern/lectern/stream"
	"github.com/lectern/lectern/stream/frame"
)

// rescue is the newest keyframe behind missing packets. When it is whole the
// picture can go on with it, whatever is missing before.
type rescue struct {
	at    int64 // extended sequence number of its first packet, as far as known; 0: none
	ts    uint32
	under bool // packets come out that a keyframe follows at once
}

// note takes a packet that waits, and says whether the keyframe may be whole
// with it.
func (k *rescue) note(ext int64, p Packet) bool {
	c := p.Format.Codec
	if c.Kind() != stream.Video {
		return false
	}
	if k.at > 0 && k.ts == p.Timestamp {
		return true
	}
	if ext < k.at || !frame.KeyframeStart(c, p.Payload) {
		return false
	}
	k.at, k.ts = ext, p.Timestamp
	return true
}

// needs returns the first packet that the keyframe needs, as far as known. It may
// be missing.
func (r *Receiver) needs() int64 {
	k := &r.rescue
	if k.at <= r.next || !r.of(k.at, k.ts) {
		return k.at
	}
	for k.at > r.next && r.of(k.at-1, k.ts) {
		k.at--
	}
	if r.at(k.at).Format.Codec == stream.H264 && k.at > r.next && r.at(k.at-1).Packet == nil {
		// What tells a keyframe of H264 need not stand in its first packet.
		return k.at - 1
	}
	return k.at
}

// rescued says whether a whole keyframe waits.
func (r *Receiver) rescued() bool {
	k := &r.rescue
	if k.at <= r.next || r.needs() < k.at {
		return false
	}
	for ext := k.at; ext <= r.highest && r.of(ext, k.ts); ext++ {
		if r.at(ext).Marker {
			return true
		}
	}
	return false
}

// of says whether packet ext waits and is of the picture with timestamp ts.
func (r *Receiver) of(ext int64, ts uint32) bool {
	p := r.at(ext)
	return p.Packet != nil && p.Timestamp == ts
}

// toKeyframe lets out what waits before the keyframe, without what is missing,
// and goes on with it.
func (r *Receiver) toKeyframe() {
	r.rescue.under = true
	for r.next < r.rescue.at {
		r.skip()
	}
	r.release()
	r.rescue.under = false
}

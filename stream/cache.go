package stream

import "time"

// cache holds the group of pictures since the newest keyframe, with the audio
// that came meanwhile, for readers that join. It shares the units.
type cache struct {
	units []*Unit
	bytes int
	full  bool // a bound was passed: nothing is kept until the next keyframe
}

// add appends u; a new keyframe empties the cache first.
func (c *cache) add(u *Unit) {
	if u.Track.Kind == Video && u.Keyframe && !c.sameFrame(u) {
		// A fresh slice, not units[:0]: readers hold the old one.
		c.units, c.bytes, c.full = make([]*Unit, 0, 256), 0, false
	}
	if c.full || c.units == nil {
		return
	}
	if len(c.units) >= maxCacheUnits || c.bytes+len(u.Packet.Payload) > maxCacheBytes {
		c.units, c.bytes, c.full = nil, 0, true
		return
	}
	c.units = append(c.units, u)
	c.bytes += len(u.Packet.Payload)
}

// sameFrame says whether u goes on with the keyframe that the cache begins
// with: H.264 parameter sets and the IDR after them are both marked.
func (c *cache) sameFrame(u *Unit) bool {
	return len(c.units) > 0 && c.units[0].Track == u.Track && c.units[0].Packet.Timestamp == u.Packet.Timestamp
}

// age is how long ago the keyframe came; very long when there is none.
func (c *cache) age(now time.Time) time.Duration {
	if len(c.units) == 0 {
		return 1<<63 - 1
	}
	return now.Sub(c.units[0].Arrival)
}

func (c *cache) keyframe() []*Unit {
	var out []*Unit
	for _, u := range c.units {
		if u.Track == c.units[0].Track && u.Packet.Timestamp == c.units[0].Packet.Timestamp {
			out = append(out, u)
		}
	}
	return out
}

func (c *cache) reset() { *c = cache{} }

package room

import (
	"slices"
	"strings"
	"time"

	"github.com/lectern/lectern/stream"
)

// Snapshot is the state of a room at one moment.
type Snapshot struct {
	Name    string       `json:"name"`
	State   string       `json:"state"` // StateIdle, StateLive or StateInterrupted
	Class   *Class       `json:"class"` // nil: none is on
	Streams []StreamInfo `json:"streams"`
	People  int          `json:"people"`  // members, each counted once
	Viewers int          `json:"viewers"` // over WHEP
	Players int          `json:"players"` // over RTMP and RTSP
	Waiting int          `json:"waiting"` // viewers of streams that are not live
	Now     time.Time    `json:"now"`
}

// StreamInfo describes one slot.
type StreamInfo struct {
	Slot    string         `json:"slot"`
	Live    bool           `json:"live"`
	Tracks  []TrackInfo    `json:"tracks"`
	Viewers int            `json:"viewers"`
	Players map[string]int `json:"players"` // by kind: "rtmp", "rtsp"
}

// TrackInfo describes one track.
type TrackInfo struct {
	Kind  string `json:"kind"`  // "audio" or "video"
	Codec string `json:"codec"` // "VP8", "opus"
}

// Snapshot returns the present state.
func (r *Room) Snapshot() Snapshot {
	s, streams := r.snapshot()
	for i := range s.Streams {
		info := &s.Streams[i]
		st := streams[info.Slot]
		info.Live = st.Live()
		for _, t := range st.Tracks() {
			info.Tracks = append(info.Tracks, TrackInfo{Kind: t.Kind.String(), Codec: t.Codec.Name()})
		}
		if !info.Live {
			s.Waiting += info.Viewers
		}
	}
	return s
}

// snapshot is Snapshot without what the streams know.
func (r *Room) snapshot() (Snapshot, map[string]*stream.Stream) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := Snapshot{
		Name: r.name, State: r.stateLocked(), People: len(r.people.byID),
		Streams: make([]StreamInfo, 0, len(r.streams)), Now: time.Now(),
	}
	if r.class != nil {
		c := r.class.Class
		s.Class = &c
	}
	streams := make(map[string]*stream.Stream, len(r.streams))
	for slot, st := range r.streams {
		streams[slot] = st
		info := StreamInfo{
			Slot: slot, Tracks: []TrackInfo{}, Viewers: r.viewers[slot],
			Players: map[string]int{"rtmp": 0, "rtsp": 0},
		}
		for key, n := range r.players {
			if key.slot == slot {
				info.Players[key.kind] = n
				s.Players += n
			}
		}
		s.Viewers += info.Viewers
		s.Streams = append(s.Streams, info)
	}
	slices.SortFunc(s.Streams, func(a, b StreamInfo) int { return strings.Compare(a.Slot, b.Slot) })
	return s, streams
}

// Viewers is how many watch a slot over WHEP.
func (r *Room) Viewers(slot string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.viewers[slot]
}

// AddViewer counts one WHEP viewer of a slot until release is called, once or
// more often.
func (r *Room) AddViewer(slot string) (release func()) {
	return count(r, r.viewers, slot)
}

// AddPlayer counts one player of a slot, of kind "rtmp" or "rtsp", until release
// is called, once or more often.
func (r *Room) AddPlayer(kind, slot string) (release func()) {
	return count(r, r.players, playerKey{slot: slot, kind: kind})
}

func count[K comparable](r *Room, counts map[K]int, key K) (release func()) {
	r.mu.Lock()
	counts[key]++
	r.mu.Unlock()
	released := false
	return func() {
		r.mu.Lock()
		if !released {
			released = true
			if counts[key]--; counts[key] == 0 {
				delete(counts, key)
			}
			r.usedAt = time.Now()
		}
		r.mu.Unlock()
		r.nudge()
	}
}

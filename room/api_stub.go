package room

import (
	"context"
	"time"

	"github.com/lectern/lectern/stream"
)

const todo = "not built yet"

func newMemoryLog() EventLog { panic(todo) }

// The states of a room.
const (
	StateIdle        = "idle"
	StateLive        = "live"
	StateInterrupted = "interrupted"
)

// What began a class.
const (
	OriginStudio = "studio"
	OriginWHIP   = "whip"
)

// Class is what happens in a room between its beginning and its end.
type Class struct {
	ID        string    `json:"id"`
	Title     string    `json:"title"`
	Origin    string    `json:"origin"` // OriginStudio or OriginWHIP
	StartedAt time.Time `json:"started_at"`
	State     string    `json:"-"`          // StateLive or StateInterrupted
	Recording bool      `json:"recording"`  // is being recorded at this moment
	LectureID string    `json:"lecture_id"` // of the recording; "" without one
}

// ClassOptions are the wishes of who starts a class.
type ClassOptions struct {
	Title  string
	Record bool
}

// Snapshot is the state of a room at one moment.
type Snapshot struct {
	Name    string       `json:"name"`
	State   string       `json:"state"`
	Class   *Class       `json:"class"`
	Streams []StreamInfo `json:"streams"`
	People  int          `json:"people"`
	Viewers int          `json:"viewers"` // WHEP
	Players int          `json:"players"` // RTMP and RTSP
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

// Hub holds all rooms.
type Hub struct{}

func NewHub(cfg Config) *Hub                     { panic(todo) }
func (h *Hub) Room(name string) (*Room, error)   { panic(todo) }
func (h *Hub) Lookup(name string) (*Room, bool)  { panic(todo) }
func (h *Hub) List() []*Room                     { panic(todo) }
func (h *Hub) Restore(ctx context.Context) error { panic(todo) }
func (h *Hub) Drain()                            { panic(todo) }
func (h *Hub) Close(ctx context.Context) error   { panic(todo) }

// Room is the place of a class.
type Room struct{}

func (r *Room) Name() string                                                           { panic(todo) }
func (r *Room) Stream(slot string) (*stream.Stream, error)                             { panic(todo) }
func (r *Room) LookupStream(slot string) (*stream.Stream, bool)                        { panic(todo) }
func (r *Room) Publish(id Identity, slot string, src stream.Source) (*Hold, error)     { panic(todo) }
func (r *Room) StartClass(by Identity, o ClassOptions) (Class, error)                  { panic(todo) }
func (r *Room) EndClass(by Identity, why string) error                                 { panic(todo) }
func (r *Room) Class() (Class, bool)                                                   { panic(todo) }
func (r *Room) Join(id Identity, o JoinOptions) (*Member, error)                       { panic(todo) }
func (r *Room) Events(ctx context.Context, since uint64, limit int) ([]Line, error)    { panic(todo) }
func (r *Room) AddViewer(slot string) (release func())                                 { panic(todo) }
func (r *Room) AddPlayer(kind, slot string) (release func())                           { panic(todo) }
func (r *Room) Snapshot() Snapshot                                                     { panic(todo) }
func (r *Room) ShareFile(ctx context.Context, by Identity, f FileInfo) (uint64, error) { panic(todo) }
func (r *Room) OpenFile(ctx context.Context, id string) (File, FileInfo, error)        { panic(todo) }

// Hold is a publisher's hold of a slot.
type Hold struct{}

func (h *Hold) Publication() *stream.Publication { panic(todo) }
func (h *Hold) Stream() *stream.Stream           { panic(todo) }
func (h *Hold) Release(clean bool)               { panic(todo) }

// JoinOptions are what a client says when it enters.
type JoinOptions struct {
	Since uint64 // last seq that it has seen; 0: none
	Name  string // replaces the name of the identity
	Lang  string // BCP 47, as told
}

// Member is one connection of one person.
type Member struct{}

func (m *Member) Next(ctx context.Context) (Line, error)                    { panic(todo) }
func (m *Member) Say(ctx context.Context, ref, text string) (uint64, error) { panic(todo) }
func (m *Member) RaiseHand(ctx context.Context, ref string, up bool, who string) (uint64, error) {
	panic(todo)
}
func (m *Member) Leave() { panic(todo) }

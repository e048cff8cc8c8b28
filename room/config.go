package room

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"time"

	"github.com/lectern/lectern/stream"
)

// Config configures a Hub. Zero values mean the defaults named; the functions
// and interfaces may be nil where it says so.
type Config struct {
	Log *slog.Logger // nil: slog.DiscardHandler

	// Grace is how long a lost publisher may take to come back before a class
	// that was begun by publishing ends. Default 30 s.
	Grace time.Duration
	// Idle is how long a class that was begun in the studio may be without a
	// publisher before it ends by itself. Default 2 h.
	Idle time.Duration
	// DropAfter is how long a room without class, people, publishers and
	// watchers stays in memory. Its history stays in the EventLog. Default 10 min.
	DropAfter time.Duration
	// LeaveDelay is how long somebody who lost the connection stays in the
	// roster. Default 10 s.
	LeaveDelay time.Duration

	// NoRecord switches recording off for every class.
	NoRecord bool
	Limits   Limits

	// BeginLecture begins a recording whose timeline starts at at. Nil: nothing
	// is recorded.
	BeginLecture func(room, title string, at time.Time) (Lecture, error)
	// ResumeLecture goes on with a recording that a crash or a restart has cut.
	// Nil, or an error: a new one is begun.
	ResumeLecture func(ctx context.Context, id string) (Lecture, error)

	// Policy tells what the students of a room may do, each time that one asks;
	// it must not block. Nil: talk and share files.
	Policy func(room string) Policy

	Events  EventLog   // nil: kept in memory only
	Classes ClassStore // nil: classes do not survive a restart
	Files   FileStore  // nil: no file sharing

	// FileURL returns where a file is fetched over HTTP. Default
	// "/api/rooms/{room}/files/{id}".
	FileURL func(room, id string) string
}

// Limits are the bounds of one room. Zero values mean the defaults named.
type Limits struct {
	Rooms       int     // in the hub; default 1000, and as many again for publishers
	Slots       int     // streams in a room; default 16
	Connections int     // members' connections in a room; default 1000
	Queue       int     // events that wait for one connection; default 256
	History     int     // past events that a joiner gets; default 500
	TextBytes   int     // of one thing said; default 16384
	NameChars   int     // of a name; default 64
	MemberRate  float64 // requests per second and member; default 10
	MemberBurst int     // default 40
	RoomRate    float64 // requests per second and room; default 200
	RoomBurst   int     // default 400
	FileBytes   int64   // size of one file; default 256 MiB
}

func (c Config) withDefaults() Config {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Events == nil {
		c.Events = newMemoryLog()
	}
	if c.FileURL == nil {
		c.FileURL = func(room, id string) string { return "/api/rooms/" + room + "/files/" + id }
	}
	setDefault(&c.Grace, 30*time.Second)
	setDefault(&c.Idle, 2*time.Hour)
	setDefault(&c.DropAfter, 10*time.Minute)
	setDefault(&c.LeaveDelay, 10*time.Second)
	l := &c.Limits
	setDefault(&l.Rooms, 1000)
	setDefault(&l.Slots, 16)
	setDefault(&l.Connections, 1000)
	setDefault(&l.Queue, 256)
	setDefault(&l.History, 500)
	setDefault(&l.TextBytes, 16<<10)
	setDefault(&l.NameChars, 64)
	setDefault(&l.MemberRate, 10)
	setDefault(&l.MemberBurst, 40)
	setDefault(&l.RoomRate, 200)
	setDefault(&l.RoomBurst, 400)
	setDefault(&l.FileBytes, 256<<20)
	return c
}

func setDefault[T comparable](v *T, value T) {
	var zero T
	if *v == zero {
		*v = value
	}
}

// Lecture is a recording that grows. All its methods may be called from any
// goroutine; Event and AddFile may come after End and then return an error.
type Lecture interface {
	ID() string
	// AddStream records s, which has or will have a publisher, as slot. It is
	// called once for each Stream; after a restart, with a new Stream of a
	// known slot.
	AddStream(slot string, s *stream.Stream) error
	// AddFile keeps a file that was shared during the lecture.
	AddFile(f FileInfo) error
	// Event appends one event, a JSON object without newline that has "t", ms
	// on the timeline of the lecture.
	Event(line []byte) error
	// Failed is closed when the recording has stopped because of an error,
	// which Err then returns. A nil channel is a promise that it never does.
	Failed() <-chan struct{}
	Err() error
	// End closes the recording and makes it complete, within 2 s.
	End(ctx context.Context) error
}

// EventLog keeps the events of rooms. Append is called by one goroutine per
// room, the other methods by any.
type EventLog interface {
	// Append keeps lines, whose seqs go on from Last by 1, before it returns.
	// When it fails, none of them or the first few are kept.
	Append(ctx context.Context, room string, lines []Line) error
	// Find returns the seq of the line with that key, 0 if there is none.
	Find(ctx context.Context, room, key string) (uint64, error)
	// Since returns at most limit lines with a seq above after, oldest first.
	Since(ctx context.Context, room string, after uint64, limit int) ([]Line, error)
	// Last returns the highest seq of the room, 0 if it has none.
	Last(ctx context.Context, room string) (uint64, error)
}

// ClassStore keeps what a room must know of its class after a crash.
type ClassStore interface {
	// SaveClass replaces the state of the class of a room, a JSON object.
	SaveClass(ctx context.Context, room string, state json.RawMessage) error
	// DeleteClass forgets it. No class is no error.
	DeleteClass(ctx context.Context, room string) error
	// LoadClasses returns the state of all rooms that have one.
	LoadClasses(ctx context.Context) (map[string]json.RawMessage, error)
}

// FileStore keeps the files that are shared in rooms.
type FileStore interface {
	// BeginUpload begins to store a file, or goes on with an interrupted upload
	// of the same room, member, ClientID, size and digest, which it takes over:
	// the one before then gets ErrReplaced. Errors: ErrFileTooLarge, ErrQuota,
	// ErrBadFile, ErrBusy.
	BeginUpload(ctx context.Context, room string, head FileHead) (Upload, error)
	// OpenFile opens a stored file, or returns ErrFileNotFound.
	OpenFile(ctx context.Context, room, id string) (File, FileInfo, error)
}

// Upload is a file that comes in. One goroutine uses it.
type Upload interface {
	// Offset is the number of bytes that are there already.
	Offset() int64
	// Stored returns the file if it is complete already.
	Stored() (FileInfo, bool)
	// Append writes p, which begins at offset == Offset(). Errors: ErrReplaced,
	// ErrQuota.
	Append(offset int64, p []byte) error
	// Commit checks size and digest and stores the file. ErrDigest: nothing is
	// left of it.
	Commit(ctx context.Context) (FileInfo, error)
	// Abort removes the upload and its bytes.
	Abort(ctx context.Context) error
	// Close ends the upload; what has come stays for a resumption. After
	// Commit or Abort it does nothing.
	Close() error
}

// File is an open stored file.
type File interface {
	io.ReaderAt
	io.Closer
}

// FileHead announces a file.
type FileHead struct {
	ClientID  string // what the sender calls it; unique per member
	By        string // member id
	Name      string // to be shown; never a path
	Size      int64  // bytes
	SHA256    string // 64 hexadecimal digits
	MediaType string
}

// FileInfo describes a shared file.
type FileInfo struct {
	ID        string    `json:"id"`
	Name      string    `json:"name"` // to be shown; never a path
	Size      int64     `json:"size"` // bytes
	SHA256    string    `json:"sha256"`
	MediaType string    `json:"media_type"`
	By        string    `json:"by"` // member id
	At        time.Time `json:"at"`
	URL       string    `json:"url,omitempty"`
}

// Package datachannel is the wire form of a room: the chat and files channels
// on the peer connection of a publisher or a viewer (see docs/PROTOCOL.md).
package datachannel

import (
	"context"
	"log/slog"

	"github.com/lectern/lectern/room"
)

// Protocol is the name and version of what is spoken, as in DATA_CHANNEL_OPEN
// (RFC 8832, section 5.1).
const Protocol = "lectern.v1"

// The labels of the channels.
const (
	LabelChat  = "chat"
	LabelFiles = "files"
)

// Channel is an open data channel, ordered and reliable. ReadMessage is called
// by one goroutine, the writing methods by one other, Close by any.
type Channel interface {
	Label() string
	Protocol() string
	// ReadMessage waits for the next message. io.EOF: the peer has closed the
	// channel. io.ErrShortBuffer: p is too small.
	ReadMessage(p []byte) (n int, isText bool, err error)
	WriteText(p []byte) error
	WriteBinary(p []byte) error
	BufferedAmount() uint64 // bytes
	// WaitLow waits until little is buffered.
	WaitLow(ctx context.Context) error
	Close() error
}

// Config configures a Session.
type Config struct {
	Log  *slog.Logger // nil: slog.DiscardHandler
	Room *room.Room
	Who  room.Identity
	// FileURL returns where a file of the room is fetched over HTTP. Nil:
	// "/api/rooms/{room}/files/{id}".
	FileURL func(room, id string) string
}

// Session is the data side of one peer connection.
type Session struct{ cfg Config }

// New returns the Session of a peer connection whose bearer is cfg.Who.
func New(cfg Config) *Session { return &Session{cfg: cfg} }

// Serve serves ch by its label until the peer closes it or ctx ends, and closes
// it.
func (s *Session) Serve(ctx context.Context, ch Channel) error { panic("not built yet") }

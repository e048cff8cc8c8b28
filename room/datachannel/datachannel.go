// Package datachannel is the wire form of a room: the chat and files channels
// on the peer connection of a publisher or a viewer (see docs/PROTOCOL.md).
package datachannel

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/lectern/lectern/internal/rtc"
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

// ErrUnknown says that a channel has another label or protocol than ours.
var ErrUnknown = errors.New("datachannel: unknown channel")

const (
	// helloWait is how long a client may be silent before it is taken for one
	// that says hello without having anything to say.
	helloWait = 5 * time.Second

	// stallWait is how long a client may leave what we send unread.
	stallWait = 60 * time.Second

	// lowWater is how much may wait in a channel before we wait. More would
	// only make chat wait behind files.
	lowWater = 256 << 10 // bytes

	// What a client may send, bad messages included. Beyond it is read more
	// slowly. On files, acks are many.
	chatRate, chatBurst   = 100, 400 // text messages per second
	filesRate, filesBurst = 1000, 2000
)

// Channel is an open data channel, ordered and reliable; *rtc.DataChannel is
// one. ReadMessage is called by one goroutine, the other methods by any.
type Channel interface {
	Label() string
	Protocol() string
	// ReadMessage waits for the next message. io.EOF: the channel is closed.
	// rtc.ErrMessageTooLarge: the message did not fit into p and is lost.
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
	Who  room.Identity // bearer of the peer connection's token
}

// Session is the data side of one peer connection. Its methods may be called
// from any goroutine.
type Session struct {
	room *room.Room
	log  *slog.Logger

	known chan struct{} // closed when who has joined

	mu      sync.Mutex // guards what follows
	who     room.Identity
	settled bool // known is closed
}

// New returns the Session of a peer connection.
func New(cfg Config) *Session {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Session{room: cfg.Room, log: cfg.Log, who: cfg.Who, known: make(chan struct{})}
}

// Serve serves ch by its label until the peer closes it, ctx ends or the room is
// closed, and closes it. A clean end is no error. Errors: ErrUnknown, or what
// went wrong with the channel or the peer.
func (s *Session) Serve(ctx context.Context, ch Channel) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	// ReadMessage knows no context: closing the channel ends it.
	stop := context.AfterFunc(ctx, func() { _ = ch.Close() })
	defer func() {
		stop()
		_ = ch.Close() // nothing is left to lose
	}()
	if ch.Protocol() != Protocol {
		_ = ch.WriteText(refusal(codeUnsupported, "this server speaks "+Protocol))
		return fmt.Errorf("%w: protocol %.32q", ErrUnknown, ch.Protocol())
	}
	l := link{ch: ch, cancel: cancel}
	var err error
	switch ch.Label() {
	case LabelChat:
		l.limiter = rate.NewLimiter(chatRate, chatBurst)
		err = s.serveChat(ctx, l)
	case LabelFiles:
		l.limiter = rate.NewLimiter(filesRate, filesBurst)
		err = s.serveFiles(ctx, l)
	default:
		return fmt.Errorf("%w: label %.32q", ErrUnknown, ch.Label())
	}
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, rtc.ErrClosed),
		errors.Is(err, room.ErrClosed), errors.Is(err, context.Canceled):
		return nil
	}
	return err
}

// identify returns who joins. An invitation is one token for many students: each
// page has a secret that tells it apart. A teacher is who the token says, as when
// publishing.
func (s *Session) identify(h hello) room.Identity {
	s.mu.Lock()
	defer s.mu.Unlock()
	who := s.who
	if !s.settled {
		who = who.Page(h.Key)
	}
	return who
}

// settle keeps who has joined, with the name that the room has made of the one in
// hello.
func (s *Session) settle(you room.Person) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.who.ID, s.who.Name = you.ID, you.Name
	if !s.settled {
		s.settled = true
		close(s.known)
	}
}

// admitted says whether who is at the other end may be in the room.
func (s *Session) admitted() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.room.Admits(s.who)
}

// identity is who is at the other end. It waits a little for the chat channel to
// tell.
func (s *Session) identity(ctx context.Context) room.Identity {
	t := time.NewTimer(helloWait)
	defer t.Stop()
	select {
	case <-s.known:
	case <-t.C:
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.who
}

// link is a channel that is being served.
type link struct {
	ch      Channel
	cancel  context.CancelCauseFunc // ends the service of the channel
	limiter *rate.Limiter
}

// read waits for the next message. tooLarge: there was one, and it is lost.
func (l link) read(ctx context.Context, p []byte) (msg []byte, isText, tooLarge bool, err error) {
	n, isText, err := l.ch.ReadMessage(p)
	if errors.Is(err, rtc.ErrMessageTooLarge) {
		return nil, true, true, l.wait(ctx)
	}
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return nil, false, false, fmt.Errorf("reading from the channel: %w", err)
	}
	if isText {
		err = l.wait(ctx)
	}
	return p[:n], isText, false, err
}

func (l link) wait(ctx context.Context) error {
	if err := l.limiter.Wait(ctx); err != nil {
		return fmt.Errorf("waiting for a noisy client: %w", err)
	}
	return nil
}

// write sends a message once little enough waits before it.
func (l link) write(ctx context.Context, msg []byte, isText bool) error {
	if l.ch.BufferedAmount() > lowWater {
		wait, cancel := context.WithTimeout(ctx, stallWait)
		defer cancel()
		if err := l.ch.WaitLow(wait); err != nil {
			return fmt.Errorf("waiting for the peer to read: %w", err)
		}
	}
	var err error
	if isText {
		err = l.ch.WriteText(msg)
	} else {
		err = l.ch.WriteBinary(msg)
	}
	if err != nil {
		return fmt.Errorf("writing to the channel: %w", err)
	}
	return nil
}

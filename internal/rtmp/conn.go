package rtmp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	rtmplib "github.com/yutopp/go-rtmp"
	"github.com/yutopp/go-rtmp/message"

	"github.com/lectern/lectern/internal/sender"
)

const (
	// outChunkSize lets nearly every picture go out as one chunk, which is one
	// write.
	outChunkSize = 64 << 10

	// Chunk stream ids that we send on; 2 is for control messages. The order in
	// which players expect them does not matter, but one kind must keep to one.
	controlID, audioID, dataID, videoID = 2, 4, 5, 6

	// maxDiscard is what a player may send while it plays: at first, and further
	// in each second (bytes). Acknowledgements are 16 bytes each.
	maxDiscard     = 256 << 10
	maxDiscardRate = 4 << 10

	// farewell is how long the last message may take to get out.
	farewell = 2 * time.Second

	// leaving is how long a player that has said that it leaves may take to close
	// the connection.
	leaving = 250 * time.Millisecond

	// quiet is how long the library must have written nothing to be done; it
	// writes the parts of a message one right after the other.
	quiet = 40 * time.Millisecond

	// sendBuffer is what the kernel may hold for one player, bytes (Linux takes
	// twice as much). A large keyframe fits; more would only hide for minutes
	// that a player of a thin stream no longer reads.
	sendBuffer = 128 << 10
)

// conn is one connection. The library reads and writes through it. Its reader
// goroutine calls the handler methods below and Read; as soon as a player plays,
// Read never lets go of that goroutine, so that pump is the only one to write.
type conn struct {
	net.Conn
	rtmplib.DefaultHandler
	s      *Server
	remote netip.AddrPort
	in     *inbound
	lib    *rtmplib.Conn
	ctx    context.Context // the lifetime of the connection
	cancel context.CancelCauseFunc
	once   sync.Once // of Close
	last   chan struct{}
	said   sync.Once // of last

	from    netip.Addr // that it counts for
	since   time.Time
	playing atomic.Bool

	writing atomic.Bool  // the library is in Write
	written atomic.Int64 // ns since the epoch, of the end of the last Write

	// What follows belongs to the reader goroutine of the library.
	app, tcURL string
	source     Source // of the player, once accepted
	streamID   uint32
	began      time.Time
}

var errGone = errors.New("rtmp: connection ended")

func newConn(s *Server, nc net.Conn) *conn {
	c := &conn{Conn: nc, s: s, last: make(chan struct{}), since: time.Now()}
	c.in = newInbound(nc)
	c.ctx, c.cancel = context.WithCancelCause(context.Background())
	if a, ok := nc.RemoteAddr().(*net.TCPAddr); ok {
		c.remote = a.AddrPort()
		c.from = sender.Of(c.remote.Addr())
	}
	if t, ok := nc.(*net.TCPConn); ok {
		// Neither is worth refusing a player for.
		_ = t.SetNoDelay(true)
		_ = t.SetWriteBuffer(sendBuffer)
	}
	if err := nc.SetReadDeadline(time.Now().Add(s.cfg.SetupTimeout)); err != nil {
		c.cancel(err)
	}
	return c
}

func (c *conn) libConfig() *rtmplib.ConnConfig {
	return &rtmplib.ConnConfig{
		Handler: c,
		// Many players echo something else than what they got.
		SkipHandshakeVerification: true,
		WriterBufferSize:          outChunkSize + 64,
		ControlState: rtmplib.StreamControlStateConfig{
			// Ours from the start: changing it later is a race in the library. The
			// peer is told in OnConnect, before anything of that size is sent.
			DefaultChunkSize:  outChunkSize,
			MaxChunkStreams:   maxChannels + 8,
			MaxMessageStreams: 8,
		},
	}
}

// Read is called by the library for input.
func (c *conn) Read(p []byte) (int, error) {
	if c.ctx.Err() != nil {
		return 0, io.EOF
	}
	if c.source != nil {
		return 0, c.play()
	}
	n, err := c.in.Read(p)
	if errors.Is(err, errInbound) {
		c.s.log.Debug("rtmp peer refused", "remote", c.remote.String(), "err", err)
	}
	return n, err
}

// Write is called by the library for output.
func (c *conn) Write(p []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(c.s.cfg.WriteTimeout)); err != nil {
		c.cancel(err)
		return 0, err
	}
	c.writing.Store(true)
	n, err := c.Conn.Write(p)
	c.written.Store(time.Now().UnixNano())
	c.writing.Store(false)
	if err != nil {
		// The library would only tell with the next message, or never.
		c.cancel(fmt.Errorf("writing to player: %w", err))
		c.abort()
		return n, err
	}
	if c.ctx.Err() == nil && bytes.Contains(p, []byte(codeUnpublish)) {
		c.said.Do(func() { close(c.last) })
	}
	return n, nil
}

// Close is called by the library when it is done with the connection.
func (c *conn) Close() error {
	c.cancel(errGone)
	err := c.Conn.Close()
	c.once.Do(func() {
		if c.source != nil {
			c.source.Close() // it never came to play
		}
		c.s.forget(c)
	})
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// abort ends the connection; the library finds out by itself.
func (c *conn) abort() {
	c.cancel(errGone)
	_ = c.Conn.Close() // whatever is unsent is lost
}

// OnServe implements rtmplib.Handler.
func (c *conn) OnServe(lib *rtmplib.Conn) {
	c.lib = lib
	// inbound makes one chunk of each message.
	if err := lib.GetChunkStreamer().PeerState().SetChunkSize(maxChunkSize); err != nil {
		c.cancel(err)
	}
}

// OnConnect implements rtmplib.Handler.
func (c *conn) OnConnect(_ uint32, cmd *message.NetConnectionConnect) error {
	c.app, c.tcURL = cmd.Command.App, cmd.Command.TCURL
	return c.send(controlID, 0, 0, &message.SetChunkSize{ChunkSize: outChunkSize})
}

// OnPublish implements rtmplib.Handler.
func (c *conn) OnPublish(sc *rtmplib.StreamContext, _ uint32, _ *message.NetStreamPublish) error {
	// Publish.Failed follows anyway, without a reason.
	_ = c.send(controlID+1, sc.StreamID, 0, status("error", codeBadName, "nobody publishes by RTMP, publish by WHIP"))
	return ErrDenied
}

// OnPlay implements rtmplib.Handler. The library tells the player that it may
// play when OnPlay returns; pump begins with the Read after that.
func (c *conn) OnPlay(sc *rtmplib.StreamContext, _ uint32, cmd *message.NetStreamPlay) error {
	if c.source != nil {
		return fmt.Errorf("%w: second play", ErrDenied)
	}
	r := Request{Remote: c.remote}
	r.Path, r.Query = parseTarget(c.tcURL, c.app, cmd.StreamName)
	r.User, r.Password = parseUser(c.tcURL)
	src, err := c.s.cfg.Handler.OnPlay(c.ctx, r)
	if err != nil {
		code, text := codeFailed, "not possible now"
		switch {
		case errors.Is(err, ErrNotFound):
			code, text = codeNotFound, "no such stream, or not live"
		case errors.Is(err, ErrDenied):
			text = "not allowed"
		}
		if r := new(Refusal); errors.As(err, &r) {
			text = r.Text[:min(len(r.Text), maxWords)]
		}
		_ = c.send(controlID+1, sc.StreamID, 0, status("error", code, text)) // Play.Failed follows anyway
		return err
	}
	c.source, c.streamID, c.began = src, sc.StreamID, time.Now()
	c.playing.Store(true)
	return c.SetReadDeadline(time.Time{})
}

// send hands one message to the library, which writes it later. It must not be
// called by two goroutines at once.
func (c *conn) send(id int, streamID, timestamp uint32, m message.Message) error {
	select {
	case <-c.lib.GetChunkStreamer().Done():
		return errGone // another message would hang
	default:
	}
	return c.lib.Write(c.ctx, id, timestamp, &rtmplib.ChunkMessage{StreamID: streamID, Message: m})
}

// play runs the pump until the player or the source ends. Meanwhile it throws
// away what the player says.
func (c *conn) play() error {
	src := c.source
	var left atomic.Bool // the player has said so
	done := make(chan struct{})
	go func() { // ended by ctx or by the source; waited for below
		defer close(done)
		defer src.Close()
		err := c.pump(src)
		if err != nil && !errors.Is(err, io.EOF) && c.ctx.Err() == nil {
			c.s.log.Debug("rtmp play ended", "remote", c.remote.String(), "err", err)
		}
		if !left.Load() {
			c.abort()
		}
	}()
	if c.discard() {
		left.Store(true)
		c.cancel(errGone)
		c.awaitClose()
	}
	c.abort()
	<-done
	c.source = nil
	return io.EOF
}

// discard reads until the connection ends, the player says that it leaves, or
// sends more than any player has reason to. It reports whether it leaves.
func (c *conn) discard() (left bool) {
	var total float64
	buf := make([]byte, 2048)
	for {
		n, err := c.in.r.Read(buf)
		if err != nil {
			return false
		}
		total += float64(n)
		if total > maxDiscard+maxDiscardRate*time.Since(c.began).Seconds() {
			return false
		}
		if bytes.Contains(buf[:n], []byte("deleteStream")) || bytes.Contains(buf[:n], []byte("closeStream")) {
			return true
		}
	}
}

// awaitClose lets a player that leaves close the connection itself. librtmp, of
// which GStreamer's rtmpsrc is made, reads on another thread than it leaves on:
// it crashes when we close first, and its thread wakes only when we close.
func (c *conn) awaitClose() {
	if c.SetReadDeadline(time.Now().Add(leaving)) == nil {
		_, _ = io.CopyN(io.Discard, c.in.r, maxDiscard) // ends with the connection
	}
}

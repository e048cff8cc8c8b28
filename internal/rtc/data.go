package rtc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/pion/datachannel"
	"github.com/pion/dtls/v3"
	"github.com/pion/sctp"
)

const (
	// receiveWindow bounds what waits to be read in a session. At 50 ms it lets
	// 10 MB/s pass, and it holds the largest message twice.
	receiveWindow = 512 << 10
	sctpMTU       = 1191 // bytes: a DTLS record of 1200 less its overhead, as browsers have it
	maxChannels   = 16   // open at a time, per session
	maxLabelBytes = 256
	bufferLimit   = 1 << 20   // bytes that may wait to be sent, per channel
	bufferLow     = 256 << 10 // bytes at which WaitLow returns
)

// DataChannel is a channel that the peer has opened. Its methods may be called
// from any goroutine, ReadMessage from one at a time.
//
// What the peer sends waits in a window that all channels of a session share
// (512 KiB): an owner that does not read a channel stops them all, and the peer
// with them, but no other session. So read it, or Close it. What we send waits
// in a buffer of at most 1 MiB per channel.
type DataChannel struct {
	dc   *datachannel.DataChannel
	max  int           // bytes per message that the peer takes
	low  chan struct{} // capacity 1: the buffer is low
	end  chan struct{} // closed: the channel is
	once sync.Once
}

// Label returns the label the peer gave.
func (d *DataChannel) Label() string { return d.dc.Label }

// Protocol returns the subprotocol the peer named.
func (d *DataChannel) Protocol() string { return d.dc.Protocol }

// ReadMessage waits for a message and copies it into buf. io.EOF: the channel
// was closed, by either side. ErrMessageTooLarge: the message does not fit into
// buf (MaxMessageSize always does); it is lost, and the channel goes on.
func (d *DataChannel) ReadMessage(buf []byte) (n int, isText bool, err error) {
	n, isText, err = d.dc.ReadDataChannel(buf)
	if err == nil {
		return n, isText, nil
	}
	if errors.Is(err, io.ErrShortBuffer) {
		// The message stays at the head of the queue until it is read.
		if _, _, err = d.dc.ReadDataChannel(make([]byte, 2*receiveWindow)); err == nil {
			return 0, false, ErrMessageTooLarge
		}
	}
	// Whatever it is, nothing more comes: the association ended, or either side
	// closed the channel.
	d.finish()
	return 0, false, io.EOF
}

// WriteText sends a text message. It does not block: ErrBufferFull says that
// too much is waiting, and WaitLow when there is room again. Other errors are
// ErrMessageTooLarge, which is also due if the peer takes less than
// MaxMessageSize, and ErrClosed.
func (d *DataChannel) WriteText(b []byte) error { return d.write(b, true) }

// WriteBinary sends a binary message, as WriteText does.
func (d *DataChannel) WriteBinary(b []byte) error { return d.write(b, false) }

func (d *DataChannel) write(b []byte, text bool) error {
	if len(b) > d.max {
		return ErrMessageTooLarge
	}
	select {
	case <-d.end:
		return ErrClosed
	default:
	}
	// Two writers at once may pass the limit by a message each: a bound all the same.
	if d.dc.BufferedAmount()+uint64(len(b)) > bufferLimit {
		return ErrBufferFull
	}
	if _, err := d.dc.WriteDataChannel(b, text); err != nil {
		return fmt.Errorf("%w: %w", ErrClosed, err)
	}
	return nil
}

// BufferedAmount returns how many bytes wait to be sent or acknowledged.
func (d *DataChannel) BufferedAmount() uint64 { return d.dc.BufferedAmount() }

// WaitLow waits until at most 256 KiB are waiting. It returns io.EOF once the
// channel is closed, or the cause of ctx.
func (d *DataChannel) WaitLow(ctx context.Context) error {
	for {
		select {
		case <-d.end:
			return io.EOF
		default:
		}
		if d.dc.BufferedAmount() <= bufferLow {
			return nil
		}
		select {
		case <-d.low:
		case <-d.end:
			return io.EOF
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// Done is closed when the channel is, by either side or with the session.
func (d *DataChannel) Done() <-chan struct{} { return d.end }

// Close closes the channel; the peer sees it close. What was written before is
// still sent. A ReadMessage that waits returns io.EOF.
func (d *DataChannel) Close() error {
	d.finish()
	if err := d.dc.Close(); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("closing data channel %q: %w", d.dc.Label, err)
	}
	// The peer may be slow to close its half, or never do it.
	if err := d.dc.SetReadDeadline(time.Unix(1, 0)); err != nil {
		return fmt.Errorf("closing data channel %q: %w", d.dc.Label, err)
	}
	return nil
}

func (d *DataChannel) finish() { d.once.Do(func() { close(d.end) }) }

// signalLow wakes one WaitLow; it looks again for itself.
func (d *DataChannel) signalLow() {
	select {
	case d.low <- struct{}{}:
	default:
	}
}

// serveData runs SCTP until the session or the peer ends.
func (s *Session) serveData(conn *dtls.Conn) {
	assoc, err := sctp.ServerWithOptions(
		sctp.WithNetConn(conn), sctp.WithLoggerFactory(logFactory{s.log}), sctp.WithMTU(sctpMTU),
		sctp.WithMaxMessageSize(MaxMessageSize), sctp.WithMaxReceiveBufferSize(receiveWindow))
	if err != nil {
		s.End(s.peerEnd(err))
		return
	}
	var open channels
	for {
		stream, err := assoc.AcceptStream()
		if err != nil {
			break
		}
		s.accept(stream, &open)
	}
	open.finish()
	s.End(ErrPeerClosed)      // unless there was a reason before
	if assoc.Close() != nil { // waits for its goroutines
		s.log.Debug("data channels ended with an error", "err", s.Err())
	}
}

// accept reads the peer's request to open a channel and hands the channel on.
func (s *Session) accept(stream *sctp.Stream, open *channels) {
	dc, err := datachannel.Server(stream, &datachannel.Config{LoggerFactory: logFactory{s.log}})
	if err != nil {
		s.log.Debug("data channel not opened", "err", err)
		_ = stream.Close() // it is useless, whatever this returns
		return
	}
	d := &DataChannel{dc: dc, max: s.maxMessage(), low: make(chan struct{}, 1), end: make(chan struct{})}
	if s.cfg.OnDataChannel == nil || len(dc.Label) > maxLabelBytes || len(dc.Protocol) > maxLabelBytes || !open.add(d) {
		if err := d.Close(); err != nil {
			s.log.Debug("data channel not refused", "err", err)
		}
		return
	}
	dc.SetBufferedAmountLowThreshold(bufferLow)
	dc.OnBufferedAmountLow(d.signalLow)
	s.cfg.OnDataChannel(d)
}

// maxMessage is what the peer takes (RFC 8841, section 6), and not more than we
// do.
func (s *Session) maxMessage() int {
	sec := s.offer.section(application)
	if sec.maxMessage == 0 || sec.maxMessage > MaxMessageSize {
		return MaxMessageSize
	}
	return sec.maxMessage
}

// channels are those open in one session. It belongs to the accepting goroutine.
type channels struct{ open []*DataChannel }

// add enters d; false if there are too many.
func (c *channels) add(d *DataChannel) bool {
	kept := c.open[:0]
	for _, o := range c.open {
		select {
		case <-o.end:
		default:
			kept = append(kept, o)
		}
	}
	clear(c.open[len(kept):])
	c.open = kept
	if len(c.open) >= maxChannels {
		return false
	}
	c.open = append(c.open, d)
	return true
}

func (c *channels) finish() {
	for _, d := range c.open {
		d.finish()
	}
}

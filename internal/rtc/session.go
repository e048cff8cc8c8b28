package rtc

import (
	"context"
	"log/slog"
	"net/netip"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
)

// SessionConfig describes a session. The callbacks are optional. OnRTP and
// OnRTCP are called from the goroutine that reads the socket, one at a time per
// session: they must not block, and must not call Close (End is fine).
type SessionConfig struct {
	Offer *Offer // required
	Log   *slog.Logger

	// OnRTP gets a publisher's packets: decrypted, not replayed, repairs put
	// back into their place (RFC 4588), without header extensions and padding.
	// They are neither ordered nor free of duplicates. The callee owns p.
	OnRTP func(p *rtp.Packet, c Codec, arrival time.Time)
	// OnRTCP gets what the peer reports. The callee owns pkts.
	OnRTCP func(pkts []rtcp.Packet, arrival time.Time)
	// OnDataChannel gets each channel the peer opens; it must not block. Without
	// it channels are closed at once.
	OnDataChannel func(ch *DataChannel)
	// OnConnected is called once, when media can flow.
	OnConnected func()
	// OnClosed is called once, as the last of all callbacks, with what Err
	// returns. It must not call Close.
	OnClosed func(err error)
}

// Session is the connection with one peer. All methods may be called from any
// goroutine.
type Session struct{}

// NewSession answers the offer and starts the session: ICE, DTLS and SCTP go on
// in the background until the session ends.
func (e *Endpoint) NewSession(cfg SessionConfig) (*Session, error) { panic("unfinished") }

// Answer returns the SDP answer with all candidates. Do not change it.
func (s *Session) Answer() []byte { panic("unfinished") }

// ETag returns the strong entity tag of the present ICE session, with its
// quotes (RFC 9725, section 4.3). A restart changes it.
func (s *Session) ETag() string { panic("unfinished") }

// HasData says whether data channels were negotiated.
func (s *Session) HasData() bool { panic("unfinished") }

// Codecs returns the negotiated codecs of kind (Audio or Video), in the order of
// the answer.
func (s *Session) Codecs(kind string) []Codec { panic("unfinished") }

// SSRC returns the SSRC that packets of kind must bear on their way to a
// viewer; for a publisher, the SSRC of our reports. 0 if kind was not negotiated.
func (s *Session) SSRC(kind string) uint32 { panic("unfinished") }

// RTXSSRC returns the SSRC of repairs of kind to a viewer, 0 without RTX.
func (s *Session) RTXSSRC(kind string) uint32 { panic("unfinished") }

// RemoteSSRC returns the SSRC of a publisher's media of kind, the latest one
// seen; 0 if there was none yet.
func (s *Session) RemoteSSRC(kind string) uint32 { panic("unfinished") }

// PatchTrickle adds the candidates of an ICE fragment (RFC 8840). Candidates of
// unknown transports and names that cannot be resolved are ignored. The error is
// an *OfferError for a bad fragment, or ErrClosed.
func (s *Session) PatchTrickle(frag []byte) error { panic("unfinished") }

// Restart restarts ICE (RFC 9725, section 4.3.3) with the credentials and
// candidates of frag, and returns our own as a fragment, and the new tag. Media
// and data channels go on. After an error the old ICE session lives on.
func (s *Session) Restart(ctx context.Context, frag []byte) (answer []byte, etag string, err error) {
	panic("unfinished")
}

// WriteRTCP sends reports or feedback. It does not block.
func (s *Session) WriteRTCP(pkts []rtcp.Packet) error { panic("unfinished") }

// End ends the session without waiting for it: Err will return reason, or
// ErrClosed if reason is nil. Later calls change nothing. It may be called from
// callbacks.
func (s *Session) End(reason error) { panic("unfinished") }

// Close ends the session as End does and waits until the peer was told (DTLS
// close_notify) and all goroutines of the session are gone. It always returns
// nil. It must not be called from a callback.
func (s *Session) Close(reason error) error { panic("unfinished") }

// Done is closed when the session is over, after OnClosed.
func (s *Session) Done() <-chan struct{} { panic("unfinished") }

// Err returns why the session ended; nil as long as it has not.
func (s *Session) Err() error { panic("unfinished") }

// Connected says whether media can flow.
func (s *Session) Connected() bool { panic("unfinished") }

// Stats returns the counters.
func (s *Session) Stats() SessionStats { panic("unfinished") }

// DataChannel is a reliable or unreliable channel that the peer has opened. Its
// methods may be called from any goroutine, ReadMessage from one at a time.
//
// What the peer sends waits in a window that all channels of a session share
// (512 KiB): an owner that does not read a channel stops them all, and the peer
// with them, but no other session. So read it, or Close it. What we send waits
// in a buffer of at most 1 MiB per channel.
type DataChannel struct{}

// Label returns the label the peer gave.
func (d *DataChannel) Label() string { panic("unfinished") }

// Protocol returns the subprotocol the peer named.
func (d *DataChannel) Protocol() string { panic("unfinished") }

// ReadMessage waits for a message and copies it into buf. io.EOF: the channel
// was closed, by either side. ErrMessageTooLarge: the message does not fit into
// buf (MaxMessageSize always does); it is lost, and the channel goes on.
func (d *DataChannel) ReadMessage(buf []byte) (n int, isText bool, err error) { panic("unfinished") }

// WriteText sends a text message. It does not block: ErrBufferFull says that
// too much is waiting, and WaitLow when there is room again.
func (d *DataChannel) WriteText(b []byte) error { panic("unfinished") }

// WriteBinary sends a binary message, as WriteText does.
func (d *DataChannel) WriteBinary(b []byte) error { panic("unfinished") }

// BufferedAmount returns how many bytes wait to be sent or acknowledged.
func (d *DataChannel) BufferedAmount() uint64 { panic("unfinished") }

// WaitLow waits until at most 256 KiB are waiting. It returns io.EOF once the
// channel is closed, or the cause of ctx.
func (d *DataChannel) WaitLow(ctx context.Context) error { panic("unfinished") }

// Close closes the channel; the peer sees it close.
func (d *DataChannel) Close() error { panic("unfinished") }

// Batch collects packets for viewers. It belongs to one goroutine. Write all
// that one viewer gets of a burst, then the next viewer's, then Flush.
type Batch struct{}

// NewBatch returns an empty batch.
func (e *Endpoint) NewBatch() *Batch { panic("unfinished") }

// Write seals one packet for s. prefix (two bytes for RTX, or nil) and payload
// together are the RTP payload; both may be used again after the return.
// Packets to a session without keys or path are dropped and counted.
func (b *Batch) Write(s *Session, h Header, prefix, payload []byte) { panic("unfinished") }

// Flush sends what was written.
func (b *Batch) Flush() { panic("unfinished") }

// Endpoint is the socket that all peers share.
type Endpoint struct{}

// Listen opens the sockets.
func Listen(cfg Config) (*Endpoint, error) { panic("unfinished") }

// Addr returns the address of the UDP socket.
func (e *Endpoint) Addr() netip.AddrPort { panic("unfinished") }

// Close ends all sessions, then closes the sockets.
func (e *Endpoint) Close() error { panic("unfinished") }

// Stats returns the counters.
func (e *Endpoint) Stats() EndpointStats { panic("unfinished") }

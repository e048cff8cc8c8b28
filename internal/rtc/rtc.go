// Package rtc is the WebRTC side of the gateway: one UDP socket (and one TCP
// listener on the same port number) for all peers, the offer and answer of a
// peer, and its session: full ICE, DTLS as the passive side, SRTP and data
// channels. It knows nothing of rooms, streams and HTTP.
//
// A peer either publishes (it sends media to us) or views (we send media to
// it). Packets of publishers are decrypted on the goroutine that read them and
// handed to a callback. Packets to viewers are sealed straight into the send
// buffer of a [Batch], which puts all that one viewer gets of a burst into as
// few messages to the kernel as it can.
package rtc

import (
	"errors"
	"log/slog"
	"net/netip"
	"time"

	"github.com/pion/rtp"
)

var (
	// ErrClosed: the session or the endpoint is closed.
	ErrClosed = errors.New("rtc: closed")
	// ErrConnectTimeout: ICE and DTLS were not done within ConnectTimeout.
	ErrConnectTimeout = errors.New("rtc: not connected in time")
	// ErrConsentLost: the peer has not answered checks for ConsentTimeout
	// (RFC 7675).
	ErrConsentLost = errors.New("rtc: peer no longer answers")
	// ErrPeerClosed: the peer has closed its side (DTLS close_notify).
	ErrPeerClosed = errors.New("rtc: closed by the peer")
	// ErrFingerprint: the certificate of the peer is not the one that its offer
	// names.
	ErrFingerprint = errors.New("rtc: certificate does not match the offer")
	// ErrNotConnected: the session has no keys yet.
	ErrNotConnected = errors.New("rtc: not connected")
	// ErrNoPath: the session is limited to a transport that the endpoint lacks.
	ErrNoPath = errors.New("rtc: no such path here")
	// ErrBufferFull: so much is waiting on the data channel that the message was
	// not taken.
	ErrBufferFull = errors.New("rtc: data channel buffer is full")
	// ErrMessageTooLarge: a data channel message exceeds MaxMessageSize, or the
	// buffer it should be read into.
	ErrMessageTooLarge = errors.New("rtc: message too large")
)

// MaxMessageSize is the largest data channel message, in bytes, either way. It
// is announced in the answer (RFC 8841, section 6).
const MaxMessageSize = 262144

// Config says how an Endpoint listens. The zero value listens on an ephemeral
// port of all addresses.
type Config struct {
	// Addr is the UDP address, as ":8189" or "192.0.2.1:8189". ICE-TCP listens
	// on the same port number.
	Addr string
	// AdvertiseIPs are offered as candidates before the addresses of the
	// interfaces: the public addresses of a 1:1 NAT. The port is ours.
	AdvertiseIPs []netip.Addr
	// Hosts are offered like AdvertiseIPs, behind them: addresses, or names that
	// are looked up at the start and then every minute. The last good answer
	// counts.
	Hosts []string
	// Interfaces are the network interfaces whose addresses are offered; none
	// named: all. ExcludeInterfaces are left out. A * at the end of a name stands
	// for any rest.
	Interfaces, ExcludeInterfaces []string
	// Networks bounds the addresses of interfaces that are offered; empty: all.
	// ExcludeNetworks are left out: 0.0.0.0/0 and ::/0 leave AdvertiseIPs and
	// Hosts alone.
	Networks, ExcludeNetworks []netip.Prefix
	// ICELite makes the endpoint an ICE-lite agent (RFC 8445, section 2.5): it
	// answers checks, but makes none. It needs a reachable address.
	ICELite bool
	// DisableTCP switches ICE-TCP (RFC 6544) off.
	DisableTCP bool
	// ConnectTimeout bounds the time from the answer to the finished DTLS
	// handshake. Default 15 s.
	ConnectTimeout time.Duration
	// ConsentTimeout is how long a peer may leave checks unanswered before its
	// session ends (RFC 7675). Default 10 s.
	ConsentTimeout time.Duration
	// NoGSO sends each packet in a message of its own, NoBatch each message with
	// a call of its own, as systems do that lack these: for tests and diagnosis.
	NoGSO, NoBatch bool
	// Log gets the few lines that no caller can get as an error. Default: none.
	Log *slog.Logger
}

func (c Config) withDefaults() Config {
	if c.ConnectTimeout <= 0 {
		c.ConnectTimeout = 15 * time.Second
	}
	if c.ConsentTimeout <= 0 {
		c.ConsentTimeout = 10 * time.Second
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

// Direction is the way media goes.
type Direction int

// The directions.
const (
	Publish Direction = iota + 1 // the peer sends, we receive
	View                         // we send, the peer receives
	Probe                        // no media, only data channels: a test of the path
)

// String returns "publish", "view" or "probe".
func (d Direction) String() string {
	switch d {
	case Publish:
		return "publish"
	case View:
		return "view"
	case Probe:
		return "probe"
	}
	return "unknown"
}

// The kinds of media, as in an m-line.
const (
	Audio = "audio"
	Video = "video"
)

// Codec is a negotiated codec. MimeType is spelt "video/VP8", "video/VP9",
// "video/AV1", "video/H264" or "audio/opus".
type Codec struct {
	MimeType       string
	ClockRate      uint32 // Hz
	Channels       uint16 // of audio, else 0
	FMTP           string // of audio as in the answer, of video as in the offer; "" if none
	PayloadType    uint8
	RTXPayloadType uint8 // of repairs (RFC 4588); 0 if not negotiated
}

// Header is what a viewer's packet differs in. The rest of the RTP header is
// always the same: version 2, no padding, no contributors, and no extensions but
// those below.
type Header struct {
	PayloadType    uint8
	SequenceNumber uint16
	Timestamp      uint32
	SSRC           uint32
	Marker         bool
	// Transport adds TransportSeq as a header extension, if the viewer has
	// offered to take it with media of this kind (Session.TransportCC). Every
	// packet of the session, repairs too, must have a number of its own, one
	// more than the packet before.
	Transport    bool
	TransportSeq uint16
	// Descriptor is the dependency descriptor of the packet, if the viewer takes
	// such (Session.TakesDescriptor); nil for none. FrameOffset is added to the
	// number of the frame in it: where a source begins another, numbers must go on.
	Descriptor  []byte
	FrameOffset uint16
}

// Inbound is a packet from a publisher.
type Inbound struct {
	Packet  *rtp.Packet // the callee's
	Codec   Codec
	Layer   int // of video: index into Offer.Layers; 0 without simulcast
	Arrival time.Time
	// Descriptor is the dependency descriptor of AV1, as it came; nil if it came
	// without. Viewers need it as soon as there are several spatial layers.
	Descriptor []byte // the callee's
}

// EndpointStats are counters since Listen.
type EndpointStats struct {
	Sessions        int    // open now
	PacketsSent     uint64 // RTP packets to viewers
	BytesSent       uint64 // of these, with SRTP overhead
	MessagesSent    uint64 // UDP messages they went out in; less than packets thanks to GSO
	PacketsDropped  uint64 // not sent: no path, a full TCP queue or a kernel error
	PacketsReceived uint64 // UDP messages
}

// SessionStats are counters since NewSession.
type SessionStats struct {
	PacketsSent     uint64 // RTP
	BytesSent       uint64 // RTP payload bytes, without header and SRTP overhead
	PacketsDropped  uint64 // to the peer: no path or a full TCP queue
	PacketsReceived uint64 // RTP handed to OnRTP
	BytesReceived   uint64 // RTP payload bytes handed to OnRTP
	Repairs         uint64 // of PacketsReceived: came by RTX
	Discarded       uint64 // received, but replayed, not authentic, malformed or of an unknown payload type
	Unassigned      uint64 // received, but of no layer that was negotiated, or not known of which
	Remote          netip.AddrPort
	TCP             bool   // media goes over ICE-TCP
	Profile         string // SRTP protection profile, "" before the handshake
}

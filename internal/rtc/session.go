package rtc

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/rtcp"
)

// SessionConfig describes a session. The callbacks are optional. OnRTP and
// OnRTCP are called from the goroutine that reads the socket, one at a time per
// session: they must not block, and must not call Close (End is fine).
type SessionConfig struct {
	Offer *Offer // required
	// Paths limits the transports, and with them the candidates of the answer and
	// of restarts. Default: all.
	Paths Paths
	// Log gets what no caller can get as an error. Default: that of the endpoint.
	Log *slog.Logger

	// OnRTP gets a publisher's packets: decrypted, not replayed, repairs put
	// back into their place (RFC 4588), without header extensions and padding. A
	// packet that was nothing but padding comes with an empty payload.
	// They are neither ordered nor free of duplicates.
	OnRTP func(Inbound)
	// OnRTCP gets what the peer reports. The callee owns pkts.
	OnRTCP func(pkts []rtcp.Packet, arrival time.Time)
	// OnDataChannel gets each channel the peer opens; it must not block. Without
	// it channels are closed at once.
	OnDataChannel func(ch *DataChannel)
	// OnConnected is called once, when media can flow. It must not block.
	OnConnected func()
	// OnClosed is called once, as the last of all callbacks, with what Err
	// returns. It must not call Close.
	OnClosed func(err error)
}

// Session is the connection with one peer. All methods may be called from any
// goroutine.
type Session struct {
	e     *Endpoint
	cfg   SessionConfig
	log   *slog.Logger
	offer *Offer
	agent *ice.Agent
	ssrc  map[string]uint32 // of media, by kind
	rtx   map[string]uint32 // of repairs, by kind

	ctx    context.Context // of the session's life; its cause is the reason of the end
	cancel context.CancelCauseFunc
	done   chan struct{}
	wg     sync.WaitGroup // of the goroutines that run while connected

	answer      []byte
	etag        atomic.Pointer[string]
	signal      sync.Mutex // serialises trickle and restart; guards what follows
	remote      credentials
	remoteCount int      // candidates of it that the agent has got
	remoteLines []string // candidates of it that wait until ICE starts
	started     bool     // ICE has

	deadline atomic.Pointer[time.Timer] // of a restart; nil: none under way

	tried    sync.Mutex // guards what follows
	offered  []string   // in words
	received []heardOf

	path       atomic.Pointer[path]
	hasPath    chan struct{} // closed with the first path
	pathMu     sync.Mutex    // serialises changes of path; guards what follows
	pathClosed bool

	out       atomic.Pointer[outbound] // nil before the handshake
	in        inbound
	connected atomic.Bool
	count     sessionCounters
}

type sessionCounters struct {
	packetsSent, bytesSent, packetsDropped                         atomic.Uint64
	packetsReceived, bytesReceived, repairs, discarded, unassigned atomic.Uint64
}

// consentEvery is how often the agent asks for consent; a few answers may be
// lost before ConsentTimeout.
const consentEvery = 2 * time.Second

// NewSession answers the offer and starts the session: ICE, DTLS and SCTP go on
// in the background until the session ends. The error is ErrClosed if the
// endpoint is closed, ErrNoPath if it has none of cfg.Paths, and an
// *OfferError if the offer does not suit it.
func (e *Endpoint) NewSession(cfg SessionConfig) (*Session, error) {
	if cfg.Offer == nil {
		return nil, errors.New("rtc: NewSession without an offer")
	}
	if cfg.Log == nil {
		cfg.Log = e.log
	}
	s := &Session{
		e: e, cfg: cfg, log: cfg.Log, offer: cfg.Offer, remote: cfg.Offer.ice, remoteLines: slices.Clone(cfg.Offer.candidates),
		ssrc: map[string]uint32{}, rtx: map[string]uint32{},
		done: make(chan struct{}), hasPath: make(chan struct{}),
	}
	s.ctx, s.cancel = context.WithCancelCause(context.Background())
	s.chooseSSRCs()
	s.note(cfg.Offer.candidates)
	s.in.init(s)
	switch {
	case !s.usesUDP() && !s.usesTCP():
		return nil, ErrNoPath
	case s.offer.lite && e.cfg.ICELite:
		return nil, refuse(CodeUnsupportedICE, "two ICE-lite agents cannot connect")
	}
	view, err := e.hosts.view()
	if err != nil {
		return nil, err
	}
	if err := s.newAgent(view); err != nil {
		return nil, err
	}
	local, err := s.gather()
	if err == nil {
		s.answer = s.writeAnswer(local, view)
		if !e.add(s) {
			err = ErrClosed
		}
	}
	if err != nil {
		s.cancel(err)
		_ = s.agent.GracefulClose() // always nil
		return nil, err
	}
	s.newTag()
	go s.run() // ended by End; Close waits for done
	return s, nil
}

// newAgent makes the ICE agent.
func (s *Session) newAgent(view *hostView) error {
	var networks []ice.NetworkType
	opts := []ice.AgentOption{
		ice.WithNet(view.net), ice.WithIPFilter(view.isAgentAddr), ice.WithIncludeLoopback(),
		ice.WithCandidateTypes([]ice.CandidateType{ice.CandidateTypeHost}),
		ice.WithMulticastDNSMode(ice.MulticastDNSModeDisabled),
		ice.WithDisableActiveTCP(), // calling back is not our part
		ice.WithBindingRequestHandler(s.nominated),
		ice.WithICELite(s.e.cfg.ICELite), ice.WithLoggerFactory(logFactory{s.log}),
		// The session ends when the agent is disconnected (see stateChanged). The
		// agent's own end must come later than ConnectTimeout, for it counts both
		// from the start.
		ice.WithDisconnectedTimeout(s.e.cfg.ConsentTimeout), ice.WithFailedTimeout(s.e.cfg.ConnectTimeout),
		ice.WithKeepaliveInterval(min(consentEvery, s.e.cfg.ConsentTimeout/4)),
	}
	if s.usesUDP() {
		networks = append(networks, ice.NetworkTypeUDP4, ice.NetworkTypeUDP6)
		opts = append(opts, ice.WithUDPMux(oneAddrMux{s.e.mux, view.listenAddrs(s.e.udp.local.Port())}))
	}
	if s.usesTCP() {
		networks = append(networks, ice.NetworkTypeTCP4, ice.NetworkTypeTCP6)
		opts = append(opts, ice.WithTCPMux(agentTCPMux{s.e.tcp, s}))
	}
	agent, err := ice.NewAgentWithOptions(append(opts, ice.WithNetworkTypes(networks))...)
	if err != nil {
		return fmt.Errorf("making an ICE agent: %w", err)
	}
	s.agent = agent
	// Neither can fail: they store the function.
	_ = agent.OnSelectedCandidatePairChange(s.selected)
	_ = agent.OnConnectionStateChange(s.stateChanged)
	return nil
}

func (s *Session) usesUDP() bool { return s.cfg.Paths.allows(PathUDP) }

func (s *Session) usesTCP() bool { return s.e.tcp != nil && s.cfg.Paths.allows(PathTCP) }

// stateChanged follows consent: lack of answers for ConsentTimeout shows as
// disconnected.
func (s *Session) stateChanged(state ice.ConnectionState) {
	switch state {
	case ice.ConnectionStateDisconnected, ice.ConnectionStateFailed:
		// Before the first connection connect sees to it, and says more.
		if s.connected.Load() {
			s.End(ErrConsentLost)
		}
	}
}

// chooseSSRCs picks one for each kind, and one for the repairs to a viewer.
func (s *Session) chooseSSRCs() {
	used := map[uint32]bool{0: true}
	choose := func() uint32 {
		for {
			var b [4]byte
			_, _ = rand.Read(b[:]) // never fails
			if n := binary.BigEndian.Uint32(b[:]); !used[n] {
				used[n] = true
				return n
			}
		}
	}
	for _, sec := range s.offer.sections {
		if sec.kind == application {
			continue
		}
		s.ssrc[sec.kind] = choose()
		if s.offer.dir == View && slices.ContainsFunc(sec.codecs, func(c offeredCodec) bool { return c.RTXPayloadType != 0 }) {
			s.rtx[sec.kind] = choose()
		}
	}
}

// Answer returns the SDP answer with all candidates. Do not change it.
func (s *Session) Answer() []byte { return s.answer }

// ETag returns the strong entity tag of the present ICE session, with its
// quotes (RFC 9725, section 4.3). A restart changes it.
func (s *Session) ETag() string { return *s.etag.Load() }

func (s *Session) newTag() string {
	tag := `"` + rand.Text() + `"`
	s.etag.Store(&tag)
	return tag
}

// Direction returns the direction of media.
func (s *Session) Direction() Direction { return s.offer.dir }

// HasData says whether data channels were negotiated.
func (s *Session) HasData() bool { return s.offer.HasData() }

// Codecs returns the negotiated codecs of kind (Audio or Video), in the order of
// the answer; nil if kind was not negotiated.
func (s *Session) Codecs(kind string) []Codec { return s.offer.Codecs(kind) }

// SSRC returns the SSRC that packets of kind must bear on their way to a
// viewer; for a publisher, the SSRC of our reports. 0 if kind was not negotiated.
func (s *Session) SSRC(kind string) uint32 { return s.ssrc[kind] }

// RTXSSRC returns the SSRC of repairs of kind to a viewer, 0 without RTX.
func (s *Session) RTXSSRC(kind string) uint32 { return s.rtx[kind] }

// RemoteSSRC returns the SSRC of a publisher's media of kind, the latest one
// seen; 0 if there was none yet.
func (s *Session) RemoteSSRC(kind string) uint32 { return s.in.remoteSSRC(kind) }

// LayerSSRC returns the SSRC of the publisher's layer, an index into
// Offer.Layers: what feedback on this layer must name. 0 if nothing of the layer
// has come yet, or if there is no such layer. Without simulcast layer 0 is all
// of the video.
func (s *Session) LayerSSRC(layer int) uint32 { return s.in.layerSSRC(layer) }

// TransportCC says whether a viewer reports the arrival of packets that bear a
// transport-wide sequence number: set Header.Transport then, and OnRTCP gets
// *rtcp.TransportLayerCC.
func (s *Session) TransportCC() bool {
	return s.CountsTransport(Video) || s.offer.section(Video) == nil && s.CountsTransport(Audio)
}

// CountsTransport says for one kind of media (Audio or Video) what TransportCC
// says for the session: to packets of a kind that does not count, no extension
// is added, and they must not take a number.
func (s *Session) CountsTransport(kind string) bool { return s.offer.transportCC(kind) }

// TakesDescriptor says whether a viewer takes dependency descriptors
// (Header.Descriptor) with its video.
func (s *Session) TakesDescriptor() bool {
	sec := s.offer.section(Video)
	return s.offer.dir == View && sec != nil && sec.extensionIDs().descriptor != 0
}

// WriteRTCP sends reports or feedback. It does not block. It returns
// ErrNotConnected before the handshake and after the end.
func (s *Session) WriteRTCP(pkts []rtcp.Packet) error {
	out := s.out.Load()
	if out == nil || s.path.Load() == nil {
		return ErrNotConnected
	}
	sealed, err := out.sealRTCP(pkts)
	if err != nil {
		return err
	}
	s.transmit(sealed)
	return nil
}

// Connected says whether media can flow.
func (s *Session) Connected() bool { return s.connected.Load() && s.ctx.Err() == nil }

// Stats returns the counters.
func (s *Session) Stats() SessionStats {
	st := SessionStats{
		PacketsSent:     s.count.packetsSent.Load(),
		BytesSent:       s.count.bytesSent.Load(),
		PacketsDropped:  s.count.packetsDropped.Load(),
		PacketsReceived: s.count.packetsReceived.Load(),
		BytesReceived:   s.count.bytesReceived.Load(),
		Repairs:         s.count.repairs.Load(),
		Discarded:       s.count.discarded.Load(),
		Unassigned:      s.count.unassigned.Load(),
	}
	if p := s.path.Load(); p != nil {
		st.Remote, st.TCP = p.addr, p.tcp != nil
	}
	if out := s.out.Load(); out != nil {
		st.Profile = out.profile
	}
	return st
}

// End ends the session without waiting for it: Err will return reason, or
// ErrClosed if reason is nil. Later calls change nothing. It may be called from
// callbacks.
func (s *Session) End(reason error) {
	if reason == nil {
		reason = ErrClosed
	}
	s.cancel(reason)
}

// Close ends the session as End does and waits until the peer was told (DTLS
// close_notify) and all goroutines of the session are gone. It always returns
// nil. It must not be called from a callback.
func (s *Session) Close(reason error) error {
	s.End(reason)
	<-s.done
	return nil
}

// Done is closed when the session is over, after OnClosed.
func (s *Session) Done() <-chan struct{} { return s.done }

// Err returns why the session ended or is about to; nil while it lives.
func (s *Session) Err() error { return context.Cause(s.ctx) }

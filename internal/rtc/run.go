package rtc

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/pion/dtls/v3"
	dtlsnet "github.com/pion/dtls/v3/pkg/net"
	"github.com/pion/ice/v4"
	"github.com/pion/rtcp"
	"github.com/pion/srtp/v3"
)

const (
	// dtlsFlight is the first interval between repeated flights; the default of
	// 1 s makes a single lost packet felt.
	dtlsFlight = 200 * time.Millisecond
	// lateHandshake is what a handshake may still take when the session has
	// ended: a round trip, not a repeated flight.
	lateHandshake = 300 * time.Millisecond

	dtlsMTU = 1200 // bytes, as browsers have it
	// feedbackEvery is what congestion control of browsers expects.
	feedbackEvery = 100 * time.Millisecond
)

// run is the session's life.
func (s *Session) run() {
	conn, err := s.connect()
	if err != nil {
		s.End(err)
		s.logFailure(err)
	} else {
		s.connected.Store(true)
		if s.cfg.OnConnected != nil {
			s.cfg.OnConnected()
		}
		s.serve(conn)
		<-s.ctx.Done()
	}
	s.finish(conn)
}

// logFailure leaves a word for the operator about a peer that could not be
// reached: it is the first thing to look at when a firewall is in the way.
func (s *Session) logFailure(err error) {
	var failed *ConnectError
	if errors.As(err, &failed) {
		s.log.Warn("peer never connected", "stage", failed.Stage, "err", failed.Reason, "offered", failed.Offered, "received", failed.Received)
	}
}

// finish tears everything down, tells the peer, and waits.
func (s *Session) finish(conn *dtls.Conn) {
	s.setDeadline(nil)
	s.in.stop()
	if conn != nil {
		_ = conn.Close() // sends close_notify; the transport may be gone already
	}
	s.closePath()
	_ = s.agent.GracefulClose() // always nil
	s.wg.Wait()
	s.e.remove(s)
	if s.cfg.OnClosed != nil {
		s.cfg.OnClosed(s.Err())
	}
	close(s.done)
}

// The stages of a ConnectError.
const (
	stageICE  = "ice"
	stageDTLS = "dtls"
)

// connect does ICE and DTLS. It returns the connection even with an error, if
// there is one to close.
func (s *Session) connect() (*dtls.Conn, error) {
	ctx, cancel := context.WithTimeoutCause(s.ctx, s.e.cfg.ConnectTimeout, ErrConnectTimeout)
	defer cancel()
	conn, err := s.startICE()
	if err != nil {
		return nil, fmt.Errorf("starting ICE: %w", err)
	}
	if err := s.agent.AwaitConnect(ctx); err != nil {
		return nil, s.whyNot(ctx, stageICE, err)
	}
	secure, err := s.handshake(ctx, &iceConn{Conn: conn, s: s, local: orNoAddr(conn.LocalAddr()), remote: orNoAddr(conn.RemoteAddr())})
	if err != nil {
		return secure, s.whyNot(ctx, stageDTLS, err)
	}
	// The agent tells of its choice on a goroutine of its own.
	select {
	case <-s.hasPath:
	case <-ctx.Done():
		return secure, s.whyNot(ctx, stageICE, ctx.Err())
	}
	if s.offer.dir == Probe {
		return secure, nil
	}
	out, in, err := newContexts(secure, s.outgoing())
	if err != nil {
		return secure, s.whyNot(ctx, stageDTLS, err)
	}
	s.in.start(in)
	s.out.Store(out)
	return secure, nil
}

// startICE begins the checks, with what a restart may have brought already.
func (s *Session) startICE() (*ice.Conn, error) {
	s.signal.Lock()
	defer s.signal.Unlock()
	start := s.agent.StartAccept
	if s.offer.lite {
		// A lite peer makes no checks and nominates nothing (RFC 8445, section
		// 6.1.1): that is for us to do.
		start = s.agent.StartDial
	}
	conn, err := start(s.remote.ufrag, s.remote.pwd)
	if err == nil {
		s.started = true
		s.addCandidates(s.remoteLines)
	}
	return conn, err
}

// orNoAddr stands in when a restart has just undone the selection.
func orNoAddr(a net.Addr) net.Addr {
	if a == nil {
		return &net.UDPAddr{}
	}
	return a
}

// whyNot tells why the session does not come about. The reason of an owner who
// has ended it is handed on as it is.
func (s *Session) whyNot(ctx context.Context, stage string, err error) error {
	if cause := context.Cause(s.ctx); cause != nil {
		return cause
	}
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	e := &ConnectError{Stage: stage, cause: err}
	e.Offered, e.Received = s.Candidates()
	switch {
	case stage == stageICE:
		e.Reason = "no candidate pair answered"
	case errors.Is(err, ErrConnectTimeout):
		e.Reason = "the handshake was not finished in time"
	case errors.Is(err, ErrFingerprint):
		e.Reason = "the certificate does not match the offer"
	default:
		e.Reason = err.Error()
	}
	return e
}

func (s *Session) outgoing() []outStream {
	var out []outStream
	for _, ids := range []map[string]uint32{s.ssrc, s.rtx} {
		for kind, id := range ids {
			out = append(out, outStream{ssrc: id, ext: s.offer.section(kind).extensionIDs()})
		}
	}
	return out
}

// handshake is DTLS as the server: it is we who choose the SRTP profile then,
// and AES-GCM costs a quarter of AES-CM with HMAC-SHA1.
func (s *Session) handshake(ctx context.Context, transport *iceConn) (*dtls.Conn, error) {
	mismatch := false
	opts := []dtls.ServerOption{
		dtls.WithCertificates(s.e.cert),
		dtls.WithExtendedMasterSecret(dtls.RequireExtendedMasterSecret),
		// The certificate is self-signed; the offer vouches for it.
		dtls.WithClientAuth(dtls.RequireAnyClientCert), dtls.WithInsecureSkipVerify(true),
		dtls.WithVerifyPeerCertificate(func(raw [][]byte, _ [][]*x509.Certificate) error {
			if len(raw) > 0 && slices.ContainsFunc(s.offer.fingerprints, func(f fingerprint) bool { return f.matches(raw[0]) }) {
				return nil
			}
			mismatch = true
			return ErrFingerprint
		}),
		// ICE has verified the address: the cookie would cost a round trip for nothing.
		dtls.WithInsecureSkipVerifyHello(true),
		dtls.WithFlightInterval(dtlsFlight), dtls.WithMTU(dtlsMTU), dtls.WithLoggerFactory(logFactory{s.log}),
	}
	// A probe needs no SRTP, but one that offers it is refused by the library if
	// we know none.
	opts = append(opts, dtls.WithSRTPProtectionProfiles(
		dtls.SRTP_AEAD_AES_128_GCM, dtls.SRTP_AEAD_AES_256_GCM, dtls.SRTP_AES128_CM_HMAC_SHA1_80))
	conn, err := dtls.ServerWithOptions(dtlsnet.PacketConnFromConn(transport), transport.RemoteAddr(), opts...)
	if err != nil {
		return nil, err
	}
	if err := s.shake(ctx, conn); err != nil {
		if mismatch {
			err = ErrFingerprint
		}
		return conn, err
	}
	return conn, nil
}

// shake does the handshake. One that is under way when the session ends gets a
// moment to finish: the peer may be done already, and only a connection that
// stands can tell it of the end.
func (s *Session) shake(ctx context.Context, conn *dtls.Conn) error {
	late, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	stop := context.AfterFunc(ctx, func() {
		t := time.NewTimer(lateHandshake)
		defer t.Stop()
		select {
		case <-t.C:
			cancel(context.Cause(ctx))
		case <-late.Done():
		}
	})
	defer stop()
	return conn.HandshakeContext(late)
}

// serve starts what runs while the session is connected.
func (s *Session) serve(conn *dtls.Conn) {
	if s.HasData() {
		s.wg.Go(func() { s.serveData(conn) }) // ended by closing conn
	} else {
		s.wg.Go(func() { s.awaitEnd(conn) }) // ended by closing conn
	}
	if s.in.recorder != nil {
		s.wg.Go(s.sendFeedback) // ended by ctx
	}
}

// awaitEnd reads until the peer closes DTLS: without data channels there is
// nothing else to come.
func (s *Session) awaitEnd(conn *dtls.Conn) {
	buf := make([]byte, datagramMax)
	for {
		if _, err := conn.Read(buf); err != nil {
			s.End(s.peerEnd(err))
			return
		}
	}
}

// peerEnd tells the peer's goodbye from an accident.
func (s *Session) peerEnd(err error) error {
	if s.ctx.Err() != nil || err == nil || errors.Is(err, net.ErrClosed) {
		return ErrClosed // it was us; the reason is set already
	}
	return ErrPeerClosed
}

// sendFeedback sends transport-wide feedback to a publisher.
func (s *Session) sendFeedback() {
	tick := time.NewTicker(feedbackEvery)
	defer tick.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-tick.C:
		}
		for _, p := range s.in.feedback() {
			if err := s.WriteRTCP([]rtcp.Packet{p}); err != nil {
				s.log.Debug("transport-wide feedback not sent", "err", err)
			}
		}
	}
}

// start makes the session receive.
func (in *inbound) start(ctx *srtp.Context) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.ctx = ctx
}

// stop ends all callbacks: when it returns, none runs, and none will.
func (in *inbound) stop() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.ctx = nil
}

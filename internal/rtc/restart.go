package rtc

import (
	"fmt"

	"github.com/pion/ice/v4"
)

// gather makes the agent open its sockets, which are there already, and returns
// our credentials. The agent's candidates are not those of the answer: see
// hostView.
func (s *Session) gather() (credentials, error) {
	gathered := make(chan struct{})
	// Cannot fail: it stores the function.
	_ = s.agent.OnCandidate(func(c ice.Candidate) {
		if c == nil {
			close(gathered)
		}
	})
	if err := s.agent.GatherCandidates(); err != nil {
		return credentials{}, fmt.Errorf("gathering candidates: %w", err)
	}
	select {
	case <-gathered:
	case <-s.ctx.Done():
		return credentials{}, s.Err()
	}
	ufrag, pwd, err := s.agent.GetLocalUserCredentials()
	if err != nil {
		return credentials{}, fmt.Errorf("reading ICE credentials: %w", err)
	}
	return credentials{ufrag, pwd}, nil
}

// addCandidates gives the agent candidates of the peer. A lite agent has no use
// for them. None is needed: the peer's checks make known where it is; but with
// them our checks can open a NAT on our side.
func (s *Session) addCandidates(lines []string) {
	s.note(lines)
	if s.e.cfg.ICELite {
		return
	}
	for _, c := range remoteCandidates(lines) {
		if err := s.agent.AddRemoteCandidate(c); err != nil {
			s.log.Debug("candidate not used", "err", err)
		}
	}
}

// PatchTrickle adds the candidates of an ICE fragment (RFC 8840). Candidates of
// unknown transports and names that cannot be resolved are ignored, and so are
// those of another ICE session. The error is an *OfferError for a bad fragment,
// ErrNewCredentials for one that must be taken as a restart, or ErrClosed.
func (s *Session) PatchTrickle(frag []byte) error {
	f, err := parseFragment(frag)
	if err != nil {
		return err
	}
	if s.ctx.Err() != nil {
		return ErrClosed
	}
	s.signal.Lock()
	defer s.signal.Unlock()
	if f.ice.ufrag != "" && f.ice.ufrag != s.remote.ufrag {
		if f.ice.pwd != "" {
			return ErrNewCredentials
		}
		return nil
	}
	s.addCandidates(f.candidates)
	return nil
}

// Restart restarts ICE (RFC 9725, section 4.3.3) with the credentials and
// candidates of frag, and returns our own as a fragment, and the new tag. Media
// and data channels go on. The error is an *OfferError for a bad fragment, or
// for one without new credentials, and the ICE session is as before; or
// ErrClosed or ErrNotConnected, before the first connection.
func (s *Session) Restart(frag []byte) (answerFrag []byte, etag string, err error) {
	f, err := parseFragment(frag)
	if err != nil {
		return nil, "", err
	}
	if err := f.ice.check(); err != nil {
		return nil, "", err
	}
	s.signal.Lock()
	defer s.signal.Unlock()
	switch {
	case s.ctx.Err() != nil:
		return nil, "", ErrClosed
	case !s.connected.Load():
		return nil, "", ErrNotConnected
	case f.ice.ufrag == s.remote.ufrag:
		return nil, "", refuse(CodeBadFragment, "a restart needs a new ice-ufrag and ice-pwd")
	}
	view, err := s.e.hosts.view()
	if err != nil {
		return nil, "", err
	}
	if err := s.agent.Restart("", ""); err != nil {
		return nil, "", fmt.Errorf("restarting ICE: %w", err)
	}
	s.remote = f.ice
	if err := s.agent.SetRemoteCredentials(f.ice.ufrag, f.ice.pwd); err != nil {
		return nil, "", fmt.Errorf("restarting ICE: %w", err)
	}
	local, err := s.gather()
	if err != nil {
		return nil, "", fmt.Errorf("restarting ICE: %w", err)
	}
	s.addCandidates(f.candidates)
	return s.writeFragment(local, view), s.newTag(), nil
}

// writeFragment writes our side of a restart, in the shape that the peer's
// fragments have: one m-line, that of the bundle.
func (s *Session) writeFragment(local credentials, view *hostView) []byte {
	first := s.offer.tagged()
	w := &sdpWriter{}
	s.writeICEOptions(w)
	w.line("a=group:BUNDLE%s", s.mids())
	if first.kind == application {
		w.line("m=application 9 %s webrtc-datachannel", first.proto)
	} else {
		w.line("m=%s 9 %s%s", first.kind, first.proto, first.payloadTypes())
	}
	w.line("a=mid:%s", first.mid)
	w.line("a=ice-ufrag:%s", local.ufrag)
	w.line("a=ice-pwd:%s", local.pwd)
	s.writeCandidates(w, view)
	return []byte(w.String())
}

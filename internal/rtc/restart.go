package rtc

import (
	"fmt"
	"slices"
	"time"

	"github.com/pion/ice/v4"
)

// maxRemoteCandidates is what is taken of the peer in one ICE session.
const maxRemoteCandidates = 64

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
// them our checks can open a NAT on our side. There is a bound to them for each
// ICE session: every one costs a row of checks.
func (s *Session) addCandidates(lines []string) {
	if s.e.cfg.ICELite {
		return
	}
	for _, c := range remoteCandidates(lines) {
		if s.remoteCount++; s.remoteCount > maxRemoteCandidates {
			return
		}
		if err := s.agent.AddRemoteCandidate(c); err != nil {
			s.log.Debug("candidate not used", "err", err)
		}
	}
}

// PatchTrickle adds the candidates of an ICE fragment (RFC 8840). Candidates of
// unknown transports and names that cannot be resolved are ignored, and so are
// those that name another ICE session. The error is an *OfferError, for a bad
// fragment (CodeBadFragment, CodeBadICE) or for one with the credentials of
// another ICE session (CodeUnknownUfrag); or ErrClosed.
func (s *Session) PatchTrickle(frag []byte) error {
	f, err := parseFragment(frag)
	if err != nil {
		return err
	}
	if s.ctx.Err() != nil {
		return ErrClosed
	}
	part := f.section(s.offer)
	s.signal.Lock()
	defer s.signal.Unlock()
	switch {
	case part.ice.ufrag == "" || part.ice.ufrag == s.remote.ufrag:
		if part.ice.pwd != "" && part.ice.pwd != s.remote.pwd {
			return refuse(CodeUnknownUfrag, "the ice-pwd is not that of this ICE session")
		}
	case slices.Contains(s.offer.ufrags, part.ice.ufrag):
		return nil // of an m-line that was bundled, or of before a restart
	default:
		return refuse(CodeUnknownUfrag, "the ice-ufrag is not that of this ICE session; a restart needs If-Match: *")
	}
	lines := ofUfrag(part.candidates, s.remote.ufrag)
	s.note(lines)
	if !s.started {
		if len(s.remoteLines) < maxRemoteCandidates {
			s.remoteLines = append(s.remoteLines, lines...)
		}
		return nil
	}
	s.addCandidates(lines)
	return nil
}

// Restart restarts ICE (RFC 9725, section 4.3.3) with the credentials and
// candidates of frag, and returns our own as a fragment, and the new tag. Media
// and data channels go on; before the first connection the checks begin anew.
// The error is an *OfferError for a bad fragment, or for one without new
// credentials, and the ICE session is as before; or ErrClosed. A session that
// does not connect by the new credentials within ConnectTimeout ends.
func (s *Session) Restart(frag []byte) (answerFrag []byte, etag string, err error) {
	f, err := parseFragment(frag)
	if err != nil {
		return nil, "", err
	}
	part := f.section(s.offer)
	if err := part.ice.check(); err != nil {
		return nil, "", err
	}
	s.signal.Lock()
	defer s.signal.Unlock()
	switch {
	case s.ctx.Err() != nil:
		return nil, "", ErrClosed
	case part.ice.ufrag == s.remote.ufrag || part.ice.pwd == s.remote.pwd:
		return nil, "", refuse(CodeBadFragment, "a restart needs a new ice-ufrag and ice-pwd")
	}
	view, err := s.e.hosts.view()
	if err != nil {
		return nil, "", err
	}
	lines := ofUfrag(part.candidates, part.ice.ufrag)
	local, err := s.restartAgentLocked(part.ice, lines)
	if err != nil {
		if s.ctx.Err() != nil {
			return nil, "", ErrClosed
		}
		return nil, "", fmt.Errorf("restarting ICE: %w", err)
	}
	return s.writeFragment(local, view), s.newTag(), nil
}

// restartAgentLocked forgets the old credentials and candidates of both sides.
// The path stays until another is selected.
func (s *Session) restartAgentLocked(remote credentials, lines []string) (credentials, error) {
	if err := s.agent.Restart("", ""); err != nil {
		return credentials{}, err
	}
	s.remote, s.remoteCount = remote, 0
	s.forget()
	s.note(lines)
	if err := s.agent.SetRemoteCredentials(remote.ufrag, remote.pwd); err != nil {
		return credentials{}, err
	}
	local, err := s.gather()
	if err != nil {
		return credentials{}, err
	}
	if !s.started {
		s.remoteLines = lines
		return local, nil
	}
	s.addCandidates(lines)
	if s.connected.Load() {
		// The agent itself would try for longer, and asks nobody for consent
		// meanwhile.
		s.setDeadline(time.AfterFunc(s.e.cfg.ConnectTimeout, func() { s.End(ErrConsentLost) }))
	}
	return local, nil
}

// setDeadline replaces the timer that ends a session whose restart leads nowhere;
// nil: ICE has selected a pair.
func (s *Session) setDeadline(t *time.Timer) {
	if old := s.deadline.Swap(t); old != nil {
		old.Stop()
	}
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

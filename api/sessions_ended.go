package api

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/lectern/lectern/internal/rtc"
	"github.com/lectern/lectern/room/access"
	"github.com/lectern/lectern/stream"
)

// Bounds of the memory of sessions that have ended: a page that comes back from
// a tunnel may want to know why.
const (
	keepEnded = 10 * time.Minute
	maxEnded  = 2048 // above it the oldest are forgotten
)

// remains is what is known of a session that has ended.
type remains struct {
	address
	reason string
	detail string
	at     time.Time
}

// graveyard remembers the latest ends. It is guarded by the registry.
type graveyard struct {
	byID  map[string]*remains
	order []string // ids, oldest first
}

func newGraveyard() graveyard { return graveyard{byID: make(map[string]*remains)} }

// bury remembers why s has ended; the first reason counts.
func (g *graveyard) bury(s *session, why error, now time.Time) {
	if g.byID[s.id] != nil {
		return
	}
	for len(g.order) > 0 && (len(g.order) >= maxEnded || now.Sub(g.byID[g.order[0]].at) > keepEnded) {
		delete(g.byID, g.order[0])
		g.order = g.order[1:]
	}
	e := &remains{address: s.address, at: now}
	e.reason, e.detail = endReason(why)
	g.byID[s.id] = e
	g.order = append(g.order, s.id)
}

func (g *graveyard) find(id string, now time.Time) *remains {
	e := g.byID[id]
	if e == nil || now.Sub(e.at) > keepEnded {
		return nil
	}
	return e
}

// gone is the answer about a session that has ended, to whoever might have used
// it.
func (e *remains) gone() *apiError {
	answer := fail(http.StatusNotFound, "session_ended", e.detail)
	answer.reason = e.reason
	return answer
}

// errNoSession is the answer where there is nothing to tell.
func errNoSession() *apiError {
	return fail(http.StatusNotFound, "no_such_session", "There is no such session, or it has ended.")
}

// inWords lists candidates.
func inWords(candidates []string) string {
	if len(candidates) == 0 {
		return "none"
	}
	return strings.Join(candidates, ", ")
}

// endReason puts why a session ended into a word for programs, which never
// changes its meaning, and a sentence for people.
func endReason(why error) (reason, detail string) {
	var connect *rtc.ConnectError
	if errors.As(why, &connect) {
		return connect.Stage + "_failed", fmt.Sprintf("The connection never came about: %s. Offered: %s. Received: %s.",
			connect.Reason, inWords(connect.Offered), inWords(connect.Received))
	}
	for _, k := range []struct {
		err            error
		reason, detail string
	}{
		{errDeleted, "deleted", "The session was ended by its owner."},
		{errShutdown, "shutdown", "The server was stopped."},
		{rtc.ErrClosed, "shutdown", "The server was stopped."},
		{access.ErrExpired, "token_expired", "The token has expired."},
		{access.ErrRevoked, "token_revoked", "The token was taken back."},
		{access.ErrRoomClosed, "room_closed", "The room was closed."},
		{stream.ErrReplaced, "taken_over", "Somebody else, or another device, has taken the stream over."},
		{stream.ErrClosed, "shutdown", "The server was stopped."},
		{rtc.ErrConnectTimeout, "ice_failed", "The connection never came about."},
		{rtc.ErrConsentLost, "consent_lost", "The other side no longer answers."},
		{rtc.ErrPeerClosed, "peer_closed", "The other side closed the connection."},
		{rtc.ErrFingerprint, "dtls_failed", "The certificate is not the one that the offer names."},
	} {
		if errors.Is(why, k.err) {
			return k.reason, k.detail
		}
	}
	return "lost", "The connection broke."
}

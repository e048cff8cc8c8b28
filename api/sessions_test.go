package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lectern/lectern/internal/rtc"
	"github.com/lectern/lectern/room/access"
	"github.com/lectern/lectern/stream"
)

// fakePeer is a peer without network.
type fakePeer struct {
	done chan struct{}

	mu  sync.Mutex // guards what follows
	err error
}

func newFakePeer() *fakePeer { return &fakePeer{done: make(chan struct{})} }

func (p *fakePeer) Answer() []byte                 { return []byte("answer") }
func (p *fakePeer) ETag() string                   { return `"tag"` }
func (p *fakePeer) PatchTrickle(frag []byte) error { return nil }
func (p *fakePeer) Done() <-chan struct{}          { return p.done }
func (p *fakePeer) Restart([]byte) ([]byte, string, error) {
	return []byte("frag"), `"tag2"`, nil
}

func (p *fakePeer) Close(reason error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		p.err = reason
		close(p.done)
	}
	return nil
}

func (p *fakePeer) Err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// fakeRights is an authority that takes rights back when it is told to.
type fakeRights struct {
	mu    sync.Mutex // guards what follows
	ended map[string]func(error)
}

func (f *fakeRights) Watch(c access.Claims, ended func(error)) func() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended == nil {
		f.ended = make(map[string]func(error))
	}
	f.ended[c.Subject] = ended
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.ended, c.Subject)
	}
}

func (f *fakeRights) end(subject string, why error) {
	f.mu.Lock()
	ended := f.ended[subject]
	f.mu.Unlock()
	ended(why)
}

func (f *fakeRights) watches(subject string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended[subject] == nil {
		return 0
	}
	return 1
}

func testRegistry(perRoom int) *registry {
	return newRegistry(perRoom, newPlaces(3), new(fakeRights), slog.New(slog.DiscardHandler), time.Now)
}

// at is a place of a room, taken from loopback.
func at(w way, room string) place { return place{w, room, netip.IPv6Loopback()} }

// enter adds a session as the handlers do and reports how it ended.
func enter(t *testing.T, r *registry, w way, owner access.Claims) (*session, *fakePeer, <-chan bool) {
	t.Helper()
	if err := r.reserve(at(w, "algebra")); err != nil {
		t.Fatal(err)
	}
	p := newFakePeer()
	ended := make(chan bool, 1)
	s := &session{peer: p, client: netip.IPv6Loopback()}
	s.address = address{id: newID(), way: w, room: "algebra", slot: "main", owner: owner}
	if err := r.add(s, func(deleted bool) { ended <- deleted }); err != nil {
		t.Fatal(err)
	}
	return s, p, ended
}

func codeOf(err error) string {
	var e *apiError
	if errors.As(err, &e) {
		return e.code
	}
	return ""
}

func TestRegistry_TellsDeletedFromLost(t *testing.T) {
	r := testRegistry(10)
	s, _, ended := enter(t, r, wayWHIP, access.Claims{})
	if err := r.remove(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if deleted := <-ended; !deleted {
		t.Error("a deleted session counts as lost")
	}
	_, p, ended := enter(t, r, wayWHIP, access.Claims{})
	_ = p.Close(errors.New("consent lost"))
	if deleted := <-ended; deleted {
		t.Error("a lost session counts as deleted")
	}
	r.wait()
	if live, ever := r.count(wayWHIP); live != 0 || ever != 2 {
		t.Errorf("got %d live of %d, want 0 of 2", live, ever)
	}
}

func TestRegistry_BoundsTheSessionsOfARoom(t *testing.T) {
	r := testRegistry(2)
	s, _, _ := enter(t, r, wayWHEP, access.Claims{})
	enter(t, r, wayWHEP, access.Claims{})
	if err := r.reserve(at(wayWHEP, "algebra")); codeOf(err) != "room_full" {
		t.Errorf("third session: got %v, want room_full", err)
	}
	if err := r.reserve(at(wayWHEP, "physics")); err != nil {
		t.Errorf("session of another room: %v", err)
	}
	r.release(at(wayWHEP, "physics"))
	if err := r.remove(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if err := r.reserve(at(wayWHEP, "algebra")); err != nil {
		t.Errorf("session in place of a removed one: %v", err)
	}
	r.release(at(wayWHEP, "algebra"))
	if err := r.endAll(t.Context(), wayWHEP); err != nil {
		t.Fatal(err)
	}
	r.wait()
	if len(r.seats) != 0 || len(r.addrs.by) != 0 {
		t.Errorf("places are left: %v, %v", r.seats, r.addrs.by)
	}
}

func TestRegistry_BoundsTheSessionsOfAnAddress(t *testing.T) {
	r := testRegistry(10)
	for range 3 {
		if err := r.reserve(at(wayWHEP, "algebra")); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.reserve(at(wayWHIP, "physics")); codeOf(err) != "busy" {
		t.Errorf("fourth session: got %v, want busy", err)
	}
	other := place{wayWHIP, "physics", netip.MustParseAddr("192.0.2.1")}
	if err := r.reserve(other); err != nil {
		t.Errorf("session from elsewhere: %v", err)
	}
	r.release(at(wayWHEP, "algebra"))
	if err := r.reserve(at(wayWHEP, "algebra")); err != nil {
		t.Errorf("session in place of one that ended: %v", err)
	}
}

func TestRegistry_EndsSessionsWithTheirRight(t *testing.T) {
	for why, reason := range map[error]string{
		access.ErrExpired: "token_expired", access.ErrRevoked: "token_revoked", access.ErrRoomClosed: "room_closed",
	} {
		r := testRegistry(10)
		s, p, ended := enter(t, r, wayWHEP, access.Claims{Subject: "ada"})
		rights := r.rights.(*fakeRights)
		for rights.watches("ada") == 0 {
			runtime.Gosched()
		}
		rights.end("ada", why)
		if deleted := <-ended; deleted || !errors.Is(p.Err(), why) {
			t.Errorf("got deleted %v, reason %v, want %v", deleted, p.Err(), why)
		}
		r.wait()
		if _, e := r.find(wayWHEP, "algebra", s.id); e == nil || e.reason != reason {
			t.Errorf("got remains %+v, want reason %s", e, reason)
		}
		if rights.watches("ada") != 0 {
			t.Error("the right is watched after the end of the session")
		}
	}
}

func TestRegistry_RemembersEndsForAWhileOnly(t *testing.T) {
	g, now := newGraveyard(), time.Now()
	bury := func(id string) {
		g.bury(&session{address: address{id: id}}, errDeleted, now)
	}
	bury("first")
	bury("first")
	if e := g.find("first", now); e == nil || e.reason != "deleted" || len(g.order) != 1 {
		t.Errorf("got %+v, %d kept", e, len(g.order))
	}
	if e := g.find("first", now.Add(keepEnded+1)); e != nil {
		t.Error("remembered for too long")
	}
	for range maxEnded + 10 {
		bury(newID())
	}
	if len(g.byID) != maxEnded || len(g.order) != maxEnded || g.find("first", now) != nil {
		t.Errorf("%d are remembered, want %d", len(g.byID), maxEnded)
	}
	now = now.Add(2 * keepEnded)
	bury("last")
	if len(g.byID) != 1 {
		t.Errorf("%d are remembered after their time", len(g.byID))
	}
}

func TestEndReason_NamesEachEnd(t *testing.T) {
	for err, want := range map[error]string{
		errDeleted: "deleted", errShutdown: "shutdown", stream.ErrReplaced: "taken_over",
		rtc.ErrConsentLost: "consent_lost", rtc.ErrConnectTimeout: "ice_failed", rtc.ErrPeerClosed: "peer_closed",
		fmt.Errorf("so: %w", access.ErrRevoked): "token_revoked", errors.New("else"): "lost",
		&rtc.ConnectError{Stage: "ice", Offered: []string{"udp 192.0.2.7:8189 host"}}:  "ice_failed",
		&rtc.ConnectError{Stage: "dtls", Offered: []string{"udp 192.0.2.7:8189 host"}}: "dtls_failed",
	} {
		reason, detail := endReason(err)
		var connect *rtc.ConnectError
		if reason != want || detail == "" || errors.As(err, &connect) && !strings.Contains(detail, "192.0.2.7:8189") {
			t.Errorf("endReason(%v): got %s %q, want %s", err, reason, detail, want)
		}
	}
}

func TestRegistry_StopRefusesNewAndKeepsOld(t *testing.T) {
	r := testRegistry(10)
	s, p, ended := enter(t, r, wayWHIP, access.Claims{})
	r.stop()
	if err := r.reserve(at(wayWHIP, "algebra")); codeOf(err) != "shutting_down" {
		t.Errorf("got %v, want shutting_down", err)
	}
	if got, _ := r.find(wayWHIP, "algebra", s.id); got != s {
		t.Error("the old session is gone")
	}
	if err := r.endAll(t.Context(), wayWHIP); err != nil {
		t.Fatal(err)
	}
	if deleted := <-ended; deleted || !errors.Is(p.Err(), errShutdown) {
		t.Errorf("got deleted %v, reason %v, want a shutdown that counts as lost", deleted, p.Err())
	}
	r.wait()
}

func TestRegistry_FindNeedsWayRoomAndID(t *testing.T) {
	r := testRegistry(10)
	s, _, _ := enter(t, r, wayWHIP, access.Claims{})
	defer func() { _ = r.endAll(context.Background(), wayWHIP); r.wait() }()
	for _, tt := range []struct {
		way      way
		room, id string
	}{{wayWHEP, "algebra", s.id}, {wayWHIP, "physics", s.id}, {wayWHIP, "algebra", s.id + "x"}, {wayWHIP, "algebra", ""}} {
		if alive, ended := r.find(tt.way, tt.room, tt.id); alive != nil || ended != nil {
			t.Errorf("find(%v): found a session", tt)
		}
	}
	if len(s.id) < 26 { // 5 bits a character
		t.Errorf("id %q has less than 128 bits", s.id)
	}
}

func TestSession_IsForItsOwnerAndWhoLeads(t *testing.T) {
	student := access.Claims{Subject: "s1", Room: "algebra", Role: access.Student}
	s := &address{way: wayWHEP, room: "algebra", slot: "main", owner: student}
	for name, tt := range map[string]struct {
		cl   access.Claims
		want bool
	}{
		"owner":                 {student, true},
		"another student":       {access.Claims{Subject: "s2", Room: "algebra", Role: access.Student}, false},
		"assistant of the room": {access.Claims{Subject: "a", Room: "algebra", Role: access.Assistant}, false},
		"teacher of the room":   {access.Claims{Subject: "t", Room: "algebra", Role: access.Teacher}, true},
		"teacher of another":    {access.Claims{Subject: "t", Room: "physics", Role: access.Teacher}, false},
		"administrator":         {access.Claims{Subject: "admin", Room: "*", Role: access.Admin}, true},
		"owner of another room": {access.Claims{Subject: "s1", Room: "physics", Role: access.Student}, false},
	} {
		if got := s.mayUse(tt.cl); got != tt.want {
			t.Errorf("%s: got %v, want %v", name, got, tt.want)
		}
	}
}

// The peer knows of the end before the registry does, and asks why.
func TestRegistry_TellsTheReasonOfASessionThatIsAboutToEnd(t *testing.T) {
	r := testRegistry(1)
	s, p, ended := enter(t, r, wayWHIP, access.Claims{Subject: "anna"})
	p.mu.Lock()
	p.err = stream.ErrReplaced
	p.mu.Unlock()
	alive, remains := r.find(wayWHIP, "algebra", s.id)
	if alive != nil || remains == nil || remains.reason != "taken_over" {
		t.Errorf("got %v and %+v, want what remains of a session that was taken over", alive, remains)
	}
	close(p.done)
	<-ended
}

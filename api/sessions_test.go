package api

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lectern/lectern/room/access"
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

func testRegistry(perRoom int) *registry {
	return newRegistry(perRoom, slog.New(slog.DiscardHandler), time.Now)
}

// enter adds a session as the handlers do and reports how it ended.
func enter(t *testing.T, r *registry, w way, owner access.Claims) (*session, *fakePeer, <-chan bool) {
	t.Helper()
	if err := r.reserve(w, "algebra"); err != nil {
		t.Fatal(err)
	}
	p := newFakePeer()
	ended := make(chan bool, 1)
	s := &session{way: w, room: "algebra", slot: "main", owner: owner, peer: p}
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
	if err := r.reserve(wayWHEP, "algebra"); codeOf(err) != "room_full" {
		t.Errorf("third session: got %v, want room_full", err)
	}
	if err := r.reserve(wayWHEP, "physics"); err != nil {
		t.Errorf("session of another room: %v", err)
	}
	r.release(wayWHEP, "physics")
	if err := r.remove(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if err := r.reserve(wayWHEP, "algebra"); err != nil {
		t.Errorf("session in place of a removed one: %v", err)
	}
	r.release(wayWHEP, "algebra")
	if err := r.endAll(t.Context(), wayWHEP); err != nil {
		t.Fatal(err)
	}
	r.wait()
	if len(r.places) != 0 {
		t.Errorf("places are left: %v", r.places)
	}
}

func TestRegistry_EndsSessionsWithTheirToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := testRegistry(10)
		_, p, ended := enter(t, r, wayWHEP, access.Claims{Expires: time.Now().Add(time.Minute)})
		<-time.After(59 * time.Second) // of the bubble
		synctest.Wait()
		if p.Err() != nil {
			t.Fatal("the session ended before its token")
		}
		<-time.After(2 * time.Second)
		if deleted := <-ended; deleted || !errors.Is(p.Err(), errExpiry) {
			t.Errorf("got deleted %v, reason %v, want the expiry of the token", deleted, p.Err())
		}
		r.wait()
	})
}

func TestRegistry_StopRefusesNewAndKeepsOld(t *testing.T) {
	r := testRegistry(10)
	s, p, ended := enter(t, r, wayWHIP, access.Claims{})
	r.stop()
	if err := r.reserve(wayWHIP, "algebra"); codeOf(err) != "shutting_down" {
		t.Errorf("got %v, want shutting_down", err)
	}
	if got, err := r.find(wayWHIP, "algebra", s.id); err != nil || got != s {
		t.Errorf("the old session is gone: %v", err)
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
		if _, err := r.find(tt.way, tt.room, tt.id); codeOf(err) != "no_such_session" {
			t.Errorf("find(%v): got %v, want no_such_session", tt, err)
		}
	}
	if len(s.id) < 26 { // 5 bits a character
		t.Errorf("id %q has less than 128 bits", s.id)
	}
}

func TestSession_IsForItsOwnerAndModerators(t *testing.T) {
	student := access.Claims{Subject: "s1", Room: "algebra", Role: access.Student}
	s := &session{way: wayWHEP, room: "algebra", owner: student}
	for name, tt := range map[string]struct {
		cl   access.Claims
		want bool
	}{
		"owner":                 {student, true},
		"another student":       {access.Claims{Subject: "s2", Room: "algebra", Role: access.Student}, false},
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

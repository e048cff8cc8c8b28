package main

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/lectern/lectern/room"
	"github.com/lectern/lectern/room/access"
	"github.com/lectern/lectern/stream"
)

// newDoor is a doorkeeper before a room in which somebody publishes.
func newDoor(t *testing.T) doorkeeper {
	t.Helper()
	a, _, err := access.Open(t.TempDir(), "some-admin-key-here")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	hub := room.NewHub(room.Config{})
	t.Cleanup(func() {
		if err := hub.Close(t.Context()); err != nil && t.Context().Err() == nil {
			t.Error(err)
		}
	})
	r, err := hub.Room("algebra")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Publish(room.Identity{ID: "ada", Role: access.Teacher, Room: "algebra"}, "main", stream.Source{}); err != nil {
		t.Fatal(err)
	}
	return doorkeeper{hub: hub, authority: a, wrong: &guesses{}}
}

func TestDoorkeeper_LetsInByEveryKindOfCredential(t *testing.T) {
	d := newDoor(t)
	ctx := t.Context()
	token, c, err := d.authority.IssueToken(access.Claims{Room: "algebra", Role: access.Player}, time.Time{}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	user, password, err := d.authority.PlayerLogin(c)
	if err != nil {
		t.Fatal(err)
	}
	k, secret, err := d.authority.AddKey(ctx, access.Key{Room: "algebra", Role: access.Player})
	if err != nil {
		t.Fatal(err)
	}
	student, err := d.authority.Issue(access.Claims{Room: "algebra", Role: access.Student}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name   string
		at     access.Attempt
		proven bool
		want   error
	}{
		{"token", access.Attempt{Credential: token}, false, nil},
		{"user and password", access.Attempt{User: user, Credential: password}, false, nil},
		{"user by digest", access.Attempt{User: user}, true, nil},
		{"key", access.Attempt{Credential: secret}, false, nil},
		{"key as password", access.Attempt{User: k.ID, Credential: secret}, false, nil},
		{"key by digest", access.Attempt{User: k.ID}, true, nil},
		{"admin key", access.Attempt{Credential: "some-admin-key-here"}, false, nil},
		{"nothing", access.Attempt{}, false, errUnauthorized},
		{"user alone", access.Attempt{User: user}, false, errUnauthorized},
		{"wrong password", access.Attempt{User: user, Credential: "x"}, false, errUnauthorized},
		{"student", access.Attempt{Credential: student}, false, errForbidden},
	}
	for _, tt := range tests {
		tt.at.Room = "algebra"
		if e, err := d.open(ctx, tt.at, "main", tt.proven); !errors.Is(err, tt.want) || (err == nil && e.stream == nil) {
			t.Errorf("%s: got %v, want %v", tt.name, err, tt.want)
		}
	}
	open, closed := access.Public, access.Closed
	if _, err := d.authority.SetRules(ctx, "algebra", access.RulesChange{Mode: &open}); err != nil {
		t.Fatal(err)
	}
	e, err := d.open(ctx, access.Attempt{Room: "algebra"}, "main", false)
	if err != nil || !e.claims.Anonymous {
		t.Fatalf("nobody in an open room: got %+v, %v", e.claims, err)
	}
	over := make(chan error, 1)
	defer d.watch(e)(func(err error) { over <- err })()
	if _, err := d.authority.SetRules(ctx, "algebra", access.RulesChange{Mode: &closed}); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-over:
		if !errors.Is(err, access.ErrRoomClosed) {
			t.Errorf("got %v, want ErrRoomClosed", err)
		}
	case <-time.After(5 * time.Second):
		t.Error("closing the room does not end the player")
	}
	if _, err := d.open(ctx, access.Attempt{Room: "algebra", Credential: token}, "main", false); !errors.Is(err, errForbidden) {
		t.Errorf("a player of a closed room: got %v, want errForbidden", err)
	}
}

func TestDoorkeeper_SlowsWhoGuesses(t *testing.T) {
	d := newDoor(t)
	from := netip.MustParseAddr("2001:db8::1")
	guess := func(addr netip.Addr, credential string) error {
		_, err := d.open(t.Context(), access.Attempt{Credential: credential, Room: "algebra", Remote: addr}, "main", false)
		return err
	}
	for range guessBurst {
		if err := guess(from, "wrong"); !errors.Is(err, errUnauthorized) {
			t.Fatalf("got %v, want errUnauthorized", err)
		}
	}
	for _, credential := range []string{"wrong", "some-admin-key-here"} {
		if err := guess(netip.MustParseAddr("2001:db8::2"), credential); !errors.Is(err, errUnavailable) {
			t.Errorf("after %d guesses from the same /64: got %v, want errUnavailable", guessBurst, err)
		}
	}
	if err := guess(netip.MustParseAddr("2001:db8:0:1::1"), "some-admin-key-here"); err != nil {
		t.Errorf("from another address: %v", err)
	}
}

// One pupil who guesses does not lock out a school.
func TestDoorkeeper_LetsInWhoDoesNotGuess(t *testing.T) {
	d := newDoor(t)
	open := access.Public
	if _, err := d.authority.SetRules(t.Context(), "algebra", access.RulesChange{Mode: &open}); err != nil {
		t.Fatal(err)
	}
	token, c, err := d.authority.IssueToken(access.Claims{Room: "algebra", Role: access.Player}, time.Time{}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	user, password, err := d.authority.PlayerLogin(c)
	if err != nil {
		t.Fatal(err)
	}
	_, key, err := d.authority.AddKey(t.Context(), access.Key{Room: "algebra", Role: access.Player})
	if err != nil {
		t.Fatal(err)
	}
	at := func(user, credential string, proven bool) error {
		_, err := d.open(t.Context(), access.Attempt{
			User: user, Credential: credential, Room: "algebra", Remote: netip.MustParseAddr("192.0.2.1"),
		}, "main", proven)
		return err
	}
	for range guessBurst + 1 {
		_ = at("", "wrong", false) // the answers are those of TestDoorkeeper_SlowsWhoGuesses
	}
	if err := errors.Join(at("", token, false), at(user, password, false), at(user, "", true), at("", key, false), at("", "", false)); err != nil {
		t.Errorf("refused with the others: %v", err)
	}
	for _, wrong := range [][2]string{{"", "wrong"}, {user, "wrong"}, {user, ""}} {
		if err := at(wrong[0], wrong[1], false); !errors.Is(err, errUnavailable) {
			t.Errorf("a guess: got %v, want errUnavailable", err)
		}
	}
}

func TestGuesses_AreBounded(t *testing.T) {
	var g guesses
	addr := netip.MustParseAddr("10.0.0.0")
	for range maxGuessers + 100 {
		g.count(addr)
		addr = addr.Next()
	}
	if n := len(g.from); n > maxGuessers {
		t.Errorf("%d addresses are remembered, want %d at most", n, maxGuessers)
	}
}

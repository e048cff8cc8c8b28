package room_test

import (
	"errors"
	"testing"

	"github.com/lectern/lectern/room"
	"github.com/lectern/lectern/room/access"
	"github.com/lectern/lectern/stream"
)

var (
	mo      = room.Identity{ID: "mo", Name: "Mo", Role: access.Assistant, Room: "algebra"}
	encoder = room.Identity{ID: "key:1", Name: "Encoder", Role: access.Ingest, Room: "algebra", Slot: "hall"}
)

func TestAssistant_ModeratesAndPublishesButDoesNotLead(t *testing.T) {
	r := newHouse(t).open(t)
	pupil, _ := join(t, r, wei, room.JoinOptions{})
	if _, err := pupil.RaiseHand(t.Context(), "", true, ""); err != nil {
		t.Fatal(err)
	}
	m, _ := join(t, r, mo, room.JoinOptions{})
	if _, err := m.RaiseHand(t.Context(), "", false, "wei"); err != nil {
		t.Errorf("taking down a hand: %v", err)
	}
	if _, err := r.StartClass(mo, room.ClassOptions{}); !errors.Is(err, room.ErrForbidden) {
		t.Errorf("starting a class: got %v, want ErrForbidden", err)
	}
	if _, err := r.StartClass(ada, room.ClassOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := r.EndClass(mo, ""); !errors.Is(err, room.ErrForbidden) {
		t.Errorf("ending a class: got %v, want ErrForbidden", err)
	}
	h, err := r.Publish(mo, "second", stream.Source{Kinds: []stream.Kind{stream.Audio}})
	if err != nil {
		t.Fatalf("publishing: %v", err)
	}
	h.Release(true)
}

func TestIngest_PublishesToItsSlotAndIsNoMember(t *testing.T) {
	r := newHouse(t).open(t)
	if _, _, err := r.Join(encoder, room.JoinOptions{}); !errors.Is(err, room.ErrForbidden) {
		t.Errorf("joining: got %v, want ErrForbidden", err)
	}
	src := stream.Source{Kinds: []stream.Kind{stream.Audio}}
	if _, err := r.Publish(encoder, room.DefaultSlot, src); !errors.Is(err, room.ErrForbidden) {
		t.Errorf("publishing to another slot: got %v, want ErrForbidden", err)
	}
	h, err := r.Publish(encoder, "hall", src)
	if err != nil {
		t.Fatalf("publishing to its slot: %v", err)
	}
	h.Release(true)
}

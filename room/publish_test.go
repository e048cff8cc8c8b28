package room_test

import (
	"errors"
	"testing"

	"github.com/lectern/lectern/room"
	"github.com/lectern/lectern/room/access"
	"github.com/lectern/lectern/stream"
)

func TestPublish_TakeOverNeedsTheRightToLead(t *testing.T) {
	r := newHouse(t).open(t)
	assistant := room.Identity{ID: "a", Role: access.Assistant, Room: "algebra"}
	teacher := room.Identity{ID: "t", Role: access.Teacher, Room: "algebra"}
	encoder := room.Identity{ID: "e", Role: access.Ingest, Room: "algebra"}
	first, err := r.Publish(encoder, "main", stream.Source{}, room.TakeOver(true))
	if err != nil {
		t.Fatalf("of a free slot: %v", err)
	}
	for _, tt := range []struct {
		who  room.Identity
		over bool
		want error
	}{
		{teacher, false, room.ErrSlotTaken}, {assistant, false, room.ErrSlotTaken}, {assistant, true, room.ErrForbidden},
	} {
		if _, err := r.Publish(tt.who, "main", stream.Source{}, room.TakeOver(tt.over)); !errors.Is(err, tt.want) {
			t.Errorf("%s, %v: got %v, want %v", tt.who.ID, tt.over, err, tt.want)
		}
	}
	second, err := r.Publish(teacher, "main", stream.Source{}, room.TakeOver(true))
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Publication().Err(); !errors.Is(err, stream.ErrReplaced) {
		t.Errorf("the first publication: got %v, want ErrReplaced", err)
	}
	if first.Stream() != second.Stream() {
		t.Error("viewers lose their stream")
	}
	first.Release(true)
	if !second.Stream().Live() {
		t.Error("the one who lost has ended the stream of the one who took over")
	}
	second.Release(true)
}

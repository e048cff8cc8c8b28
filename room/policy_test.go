package room_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/lectern/lectern/room"
)

func TestPolicy_BindsStudentsAlone(t *testing.T) {
	files := &fakeFiles{}
	policy := room.Policy{}
	r := newHouse(t, func(c *room.Config) {
		c.Files, c.Policy = files, func(string) room.Policy { return policy }
	}).open(t)
	head := room.FileHead{ClientID: "x", Name: "a.pdf", Size: 1, SHA256: strings.Repeat("ab", 32)}
	pupil, _ := join(t, r, wei, room.JoinOptions{})
	teacher, _ := join(t, r, ada, room.JoinOptions{})
	try := func(m *room.Member, who room.Identity) (say, put error) {
		_, say = m.Say(t.Context(), "", "good morning")
		_, put = r.BeginUpload(t.Context(), who, head)
		return say, put
	}
	if say, put := try(pupil, wei); !errors.Is(say, room.ErrChatClosed) || !errors.Is(put, room.ErrFilesClosed) {
		t.Errorf("a student: got %v and %v", say, put)
	}
	if say, put := try(teacher, ada); say != nil || put != nil {
		t.Errorf("a teacher: got %v and %v", say, put)
	}
	if _, err := pupil.RaiseHand(t.Context(), "", true, ""); err != nil {
		t.Errorf("a hand: got %v", err)
	}
	policy = room.Policy{Chat: true, Files: true}
	if say, put := try(pupil, wei); say != nil || put != nil {
		t.Errorf("a student with leave: got %v and %v", say, put)
	}
}

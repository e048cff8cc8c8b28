package access_test

import (
	"testing"

	"github.com/lectern/lectern/room/access"
)

func TestClaims_RightsByRole(t *testing.T) {
	tests := []struct {
		role                                  access.Role
		publish, watch, play, moderate, admin bool
	}{
		{access.Admin, true, true, true, true, true},
		{access.Teacher, true, true, true, true, false},
		{access.Student, false, true, false, false, false},
		{access.Player, false, false, true, false, false},
		{"janitor", false, false, false, false, false},
	}
	for _, tt := range tests {
		c := access.Claims{Subject: "x", Room: "algebra", Role: tt.role}
		got := []bool{
			c.MayPublish("algebra"), c.MayWatch("algebra"), c.MayPlay("algebra"), c.MayModerate("algebra"), c.MayAdmin(),
		}
		want := []bool{tt.publish, tt.watch, tt.play, tt.moderate, tt.admin}
		for i, name := range []string{"publish", "watch", "play", "moderate", "admin"} {
			if got[i] != want[i] {
				t.Errorf("%s may %s: got %v, want %v", tt.role, name, got[i], want[i])
			}
		}
	}
}

func TestClaims_ReachTheirRoomOnly(t *testing.T) {
	teacher := access.Claims{Room: "algebra", Role: access.Teacher}
	if teacher.MayPublish("physics") || teacher.MayWatch("physics") || teacher.MayPlay("physics") || teacher.MayModerate("physics") {
		t.Error("a teacher of one room has rights in another")
	}
	everywhere := access.Claims{Room: access.AnyRoom, Role: access.Teacher}
	if !everywhere.MayPublish("physics") || everywhere.MayAdmin() {
		t.Error("a teacher of all rooms: got wrong rights")
	}
	if everywhere.MayPublish("") {
		t.Error("the empty name is taken for a room")
	}
	if !(access.Claims{Room: "algebra", Role: access.Admin}).MayPublish("physics") {
		t.Error("an administrator is kept out of a room")
	}
}

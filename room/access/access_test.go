package access_test

import (
	"testing"

	"github.com/lectern/lectern/room/access"
)

func TestClaims_RightsByRole(t *testing.T) {
	tests := []struct {
		role                                        access.Role
		publish, watch, play, moderate, lead, admin bool
	}{
		{access.Admin, true, true, true, true, true, true},
		{access.Teacher, true, true, true, true, true, false},
		{access.Assistant, true, true, true, true, false, false},
		{access.Student, false, true, false, false, false, false},
		{access.Player, false, false, true, false, false, false},
		{access.Ingest, true, false, false, false, false, false},
		{"janitor", false, false, false, false, false, false},
	}
	for _, tt := range tests {
		c := access.Claims{Subject: "x", Room: "algebra", Role: tt.role}
		got := []bool{
			c.MayPublish("algebra"), c.MayWatch("algebra"), c.MayPlay("algebra"), c.MayModerate("algebra"), c.MayLead("algebra"), c.MayAdmin(),
		}
		want := []bool{tt.publish, tt.watch, tt.play, tt.moderate, tt.lead, tt.admin}
		for i, name := range []string{"publish", "watch", "play", "moderate", "lead", "admin"} {
			if got[i] != want[i] {
				t.Errorf("%s may %s: got %v, want %v", tt.role, name, got[i], want[i])
			}
		}
	}
}

func TestClaims_SlotBindsPublishing(t *testing.T) {
	c := access.Claims{Room: "algebra", Role: access.Ingest, Slot: "hall"}
	if !c.MayPublishTo("algebra", "hall") || c.MayPublishTo("algebra", "main") || c.MayPublishTo("physics", "hall") {
		t.Error("an encoder of one slot has other rights than to that slot")
	}
	if c.Slot = ""; !c.MayPublishTo("algebra", "main") {
		t.Error("an encoder without slot may not publish")
	}
}

func TestClaims_AnonymousMayWatchAndPlay(t *testing.T) {
	c := access.Claims{Room: "algebra", Role: access.Student, Anonymous: true}
	if !c.MayWatch("algebra") || !c.MayPlay("algebra") || c.MayPublish("algebra") || c.MayPlay("physics") {
		t.Error("somebody without credential has other rights than to watch and play this room")
	}
}

func TestClaims_ReachTheirRoomOnly(t *testing.T) {
	teacher := access.Claims{Room: "algebra", Role: access.Teacher}
	if teacher.MayPublish("physics") || teacher.MayWatch("physics") || teacher.MayPlay("physics") || teacher.MayLead("physics") {
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

package access_test

import (
	"testing"
	"time"

	"github.com/lectern/lectern/room/access"
)

func TestIssuedFor_TellsTheRoomOfAToken(t *testing.T) {
	a, other := open(t, t.TempDir(), ""), open(t, t.TempDir(), "")
	misses := 0
	for range 200 { // the mark is short: a miss in 32768 is no fault
		_, c, err := a.IssueToken(access.Claims{Room: "algebra", Role: access.Student}, time.Time{}, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		if !a.IssuedFor(c.ID, "algebra") {
			t.Fatalf("%s is not of its room", c.ID)
		}
		if a.IssuedFor(c.ID, "physics") || other.IssuedFor(c.ID, "algebra") {
			misses++
		}
	}
	if misses > 1 {
		t.Errorf("%d ids count as those of another room or installation", misses)
	}
	for _, id := range []string{"", "x", "abc", "aaaaaaaaaaaaaaaaaaaaaaaa"} {
		if a.IssuedFor(id, "algebra") {
			t.Errorf("%q counts as the id of a token", id)
		}
	}
}

package access_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lectern/lectern/room/access"
)

func TestRevoke_IsForgottenAfterTheToken(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		a := reopen(t, dir, m)
		until := time.Now().Add(time.Hour)
		if err := a.Revoke(t.Context(), "abc", until); err != nil {
			t.Fatal(err)
		}
		if got := m.kept["revoked/abc"].Expires; !got.Equal(until) {
			t.Errorf("kept until %v, want %v", got, until)
		}
		if err := a.Revoke(t.Context(), "for-long", until.Add(100*access.MaxLife)); err != nil {
			t.Fatal(err)
		}
		if got := m.kept["revoked/for-long"].Expires; got.After(time.Now().Add(access.MaxLife + time.Hour)) {
			t.Errorf("kept until %v, longer than any token lives", got)
		}
		time.Sleep(2 * time.Hour) // of the bubble
		if err := a.Revoke(t.Context(), "past", until); err != nil || m.kept["revoked/past"].ID != "" {
			t.Errorf("one that has ended by itself: got %v, kept %v", err, m.kept["revoked/past"])
		}
	})
}

func TestRevoke_EndsWhatWasMadeWithTheToken(t *testing.T) {
	a := open(t, t.TempDir(), "sesame")
	_, maker, err := a.IssueToken(access.Claims{Room: "r", Role: access.Teacher}, time.Time{}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	made := issue(t, a, access.Claims{Room: "r", Role: access.Student, Grant: maker.ID}, time.Hour)
	if _, err := admit(a, "r", made); err != nil {
		t.Fatal(err)
	}
	if err := a.Revoke(t.Context(), maker.ID, maker.Expires); err != nil {
		t.Fatal(err)
	}
	if _, err := admit(a, "r", made); !errors.Is(err, access.ErrRevoked) {
		t.Errorf("got %v, want ErrRevoked", err)
	}
}

package access_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lectern/lectern/room/access"
)

func invite(t *testing.T, a *access.Authority, inv access.Invitation) (access.Invitation, string) {
	t.Helper()
	if inv.Room == "" {
		inv.Room = "algebra"
	}
	if inv.Role == "" {
		inv.Role = access.Student
	}
	inv, code, err := a.Invite(t.Context(), inv)
	if err != nil {
		t.Fatal(err)
	}
	return inv, code
}

func TestRedeem_GivesATokenOfItsOwnThatEndsWithTheInvitation(t *testing.T) {
	dir, m := t.TempDir(), newMemory()
	a := reopen(t, dir, m)
	inv, code := invite(t, a, access.Invitation{Role: access.Assistant, Name: "Mo", Expires: time.Now().Add(time.Hour)})
	b := reopen(t, dir, m) // the code is good after a restart
	token, c, err := b.Redeem(t.Context(), " "+strings.ToLower(code)+"\n", "")
	if err != nil {
		t.Fatal(err)
	}
	if c.Role != access.Assistant || c.Room != "algebra" || c.Name != "Mo" || c.Grant != inv.ID || c.Expires.After(inv.Expires) {
		t.Errorf("got %+v, of %+v", c, inv)
	}
	if got, err := admit(b, "algebra", token); err != nil || got != c {
		t.Errorf("got %+v, %v, want %+v", got, err, c)
	}
	_, second, err := b.Redeem(t.Context(), code, "Wei")
	if err != nil || second.Subject == c.Subject || second.ID == c.ID || second.Name != "Wei" {
		t.Errorf("second: got %+v, %v", second, err)
	}
	if got := b.Invitations("algebra"); len(got) != 1 || got[0].Used != 2 || got[0].ID != inv.ID {
		t.Errorf("listed: got %+v", got)
	}
	for _, r := range m.kept {
		if strings.Contains(string(r.Data), code) {
			t.Error("the code is kept in the clear")
		}
	}
}

func TestRedeem_Refuses(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		a := reopen(t, dir, m)
		hour := time.Now().Add(time.Hour)
		_, later := invite(t, a, access.Invitation{NotBefore: hour, Expires: hour.Add(time.Hour)})
		_, once := invite(t, a, access.Invitation{Uses: 1})
		_, short := invite(t, a, access.Invitation{Expires: hour})
		revoked, back := invite(t, a, access.Invitation{})
		_, shut := invite(t, a, access.Invitation{Room: "shut"})
		_, helper := invite(t, a, access.Invitation{Room: "shut", Role: access.Teacher})
		set(t, a, "shut", access.RulesChange{Mode: to(access.Closed)})
		if err := a.Revoke(t.Context(), revoked.ID, time.Time{}); err != nil {
			t.Fatal(err)
		}
		want := func(what, code string, want error) {
			t.Helper()
			if _, _, err := a.Redeem(t.Context(), code, ""); !errors.Is(err, want) {
				t.Errorf("%s: got %v, want %v", what, err, want)
			}
		}
		want("not yet", later, access.ErrNotYet)
		want("once", once, nil)
		want("twice", once, access.ErrUsedUp)
		want("revoked", back, access.ErrRevoked)
		want("closed to students", shut, access.ErrRoomClosed)
		want("open to teachers", helper, nil)
		want("unknown", "NOSUCHCODE", access.ErrNotFound)
		want("empty", "", access.ErrNotFound)
		want("huge", strings.Repeat("x", 100_000), access.ErrNotFound)
		time.Sleep(61 * time.Minute) // of the bubble
		want("expired", short, access.ErrExpired)
		want("now", later, nil)
		m.breakWith(errors.New("disk trouble"))
		if _, _, err := a.Redeem(t.Context(), helper, ""); err == nil {
			t.Error("a use that is not counted gives a token")
		}
	})
}

func TestRedeem_CountsUsesOnceEach(t *testing.T) {
	a := reopen(t, t.TempDir(), newMemory())
	_, code := invite(t, a, access.Invitation{Uses: 7})
	var wg sync.WaitGroup
	var in, used atomic.Int32
	for range 40 {
		wg.Go(func() {
			switch _, _, err := a.Redeem(context.Background(), code, ""); {
			case err == nil:
				in.Add(1)
			case errors.Is(err, access.ErrUsedUp):
				used.Add(1)
			}
		})
	}
	wg.Wait()
	if in.Load() != 7 || used.Load() != 33 {
		t.Errorf("got %d in and %d refused, want 7 and 33", in.Load(), used.Load())
	}
}

func TestRevoke_InvitationEndsAllTokensOfIt(t *testing.T) {
	dir, m := t.TempDir(), newMemory()
	a := reopen(t, dir, m)
	inv, code := invite(t, a, access.Invitation{Role: access.Player})
	token, c, err := a.Redeem(t.Context(), code, "")
	if err != nil {
		t.Fatal(err)
	}
	user, password, err := a.PlayerLogin(c)
	if err != nil {
		t.Fatal(err)
	}
	ended, _ := watch(t, a, c)
	if err := a.Revoke(t.Context(), inv.ID, time.Time{}); err != nil {
		t.Fatal(err)
	}
	ended.want(t, access.ErrRevoked)
	for _, again := range []*access.Authority{a, reopen(t, dir, m)} {
		if _, err := admit(again, "algebra", token); !errors.Is(err, access.ErrRevoked) {
			t.Errorf("token: got %v, want ErrRevoked", err)
		}
		at := access.Attempt{User: user, Credential: password, Room: "algebra"}
		if _, err := again.Admit(t.Context(), at); !errors.Is(err, access.ErrRevoked) {
			t.Errorf("login: got %v, want ErrRevoked", err)
		}
		if got := again.Invitations("algebra"); len(got) != 1 || !got[0].Revoked {
			t.Errorf("listed: got %+v", got)
		}
	}
}

func TestInvite_RefusesWhatCannotBe(t *testing.T) {
	a := open(t, t.TempDir(), "sesame")
	now := time.Now()
	for name, inv := range map[string]access.Invitation{
		"admin":         {Room: "r", Role: access.Admin},
		"encoder":       {Room: "r", Role: access.Ingest},
		"no role":       {Room: "r"},
		"every room":    {Room: access.AnyRoom, Role: access.Student},
		"no room":       {Role: access.Student},
		"past":          {Room: "r", Role: access.Student, Expires: now.Add(-time.Minute)},
		"for ever":      {Room: "r", Role: access.Student, Expires: now.Add(2 * access.MaxLife)},
		"ends too soon": {Room: "r", Role: access.Student, NotBefore: now.Add(2 * time.Hour), Expires: now.Add(time.Hour)},
		"uses":          {Room: "r", Role: access.Student, Uses: -1},
		"name":          {Room: "r", Role: access.Student, Name: strings.Repeat("x", 300)},
	} {
		if _, _, err := a.Invite(t.Context(), inv); !errors.Is(err, access.ErrBadClaims) {
			t.Errorf("%s: got %v, want ErrBadClaims", name, err)
		}
	}
}

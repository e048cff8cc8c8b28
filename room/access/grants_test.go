package access_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lectern/lectern/room/access"
)

// memory is a Ledger that can be made to fail.
type memory struct {
	mu   sync.Mutex // guards what follows
	kept map[string]access.Record
	fail error
	puts int
}

func newMemory() *memory { return &memory{kept: make(map[string]access.Record)} }

func (m *memory) Load(context.Context) ([]access.Record, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Collect(maps.Values(m.kept)), m.fail
}

func (m *memory) Put(_ context.Context, r access.Record) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		return m.fail
	}
	m.puts++
	m.kept[r.Kind+"/"+r.ID] = r
	return nil
}

func (m *memory) Delete(_ context.Context, kind, id string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail == nil {
		delete(m.kept, kind+"/"+id)
	}
	return m.fail
}

func (m *memory) breakWith(err error) {
	m.mu.Lock()
	m.fail = err
	m.mu.Unlock()
}

// reopen is the same installation after a restart.
func reopen(t *testing.T, dir string, m *memory) *access.Authority {
	t.Helper()
	a := open(t, dir, "sesame")
	if err := a.UseLedger(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	return a
}

func to[T any](v T) *T { return &v }

func set(t *testing.T, a *access.Authority, room string, c access.RulesChange) access.RoomRules {
	t.Helper()
	r, err := a.SetRules(t.Context(), room, c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func admit(a *access.Authority, room, credential string) (access.Claims, error) {
	return a.Admit(context.Background(), access.Attempt{Credential: credential, Room: room, Way: "http"})
}

func TestAdmit_ByModeOfTheRoom(t *testing.T) {
	a := open(t, t.TempDir(), "sesame")
	tokens := map[access.Role]string{}
	for _, role := range []access.Role{access.Teacher, access.Assistant, access.Student, access.Player, access.Ingest} {
		tokens[role] = issue(t, a, access.Claims{Room: "algebra", Role: role}, time.Hour)
	}
	tests := []struct {
		mode      access.Mode
		anonymous error
		guest     error
	}{
		{access.Public, nil, nil},
		{access.ByLink, access.ErrMissing, nil},
		{access.ByPasscode, access.ErrMissing, nil},
		{access.Closed, access.ErrMissing, access.ErrRoomClosed},
	}
	set(t, a, "algebra", access.RulesChange{Passcode: to("1234")})
	for _, tt := range tests {
		set(t, a, "algebra", access.RulesChange{Mode: &tt.mode})
		c, err := admit(a, "algebra", "")
		if !errors.Is(err, tt.anonymous) || (err == nil && (!c.Anonymous || !c.MayWatch("algebra") || c.MayPublish("algebra"))) {
			t.Errorf("%s: without credential: got %+v, %v, want %v", tt.mode, c, err, tt.anonymous)
		}
		for role, token := range tokens {
			want := tt.guest
			if role != access.Student && role != access.Player {
				want = nil
			}
			if c, err := admit(a, "algebra", token); !errors.Is(err, want) || c.Role != role {
				t.Errorf("%s: %s: got %+v, %v, want %v", tt.mode, role, c, err, want)
			}
		}
		if c, err := admit(a, "algebra", "sesame"); err != nil || !c.MayAdmin() {
			t.Errorf("%s: admin key: got %v", tt.mode, err)
		}
	}
	if _, err := admit(a, "physics", tokens[access.Student]); err != nil {
		t.Errorf("a token of another room: got %v, want claims without rights", err)
	}
	if _, err := admit(a, "", ""); !errors.Is(err, access.ErrMissing) {
		t.Errorf("nobody to nowhere: got %v, want ErrMissing", err)
	}
}

func TestRules_DefaultToLinkAndAreKept(t *testing.T) {
	dir, m := t.TempDir(), newMemory()
	a := reopen(t, dir, m)
	if got, want := a.Rules("algebra"), (access.RoomRules{Mode: access.ByLink, Chat: true, Files: true}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	set(t, a, "algebra", access.RulesChange{Mode: to(access.ByPasscode), Passcode: to("open up"), Chat: to(false)})
	want := access.RoomRules{Mode: access.ByPasscode, PasscodeSet: true, Files: true}
	b := reopen(t, dir, m)
	if got := b.Rules("algebra"); got != want {
		t.Errorf("after a restart: got %+v, want %+v", got, want)
	}
	for _, r := range m.kept {
		if strings.Contains(string(r.Data), "open up") {
			t.Error("the passcode is kept in the clear")
		}
	}
	if _, _, err := b.Enter(t.Context(), "algebra", "Wei", "open up", 0); err != nil {
		t.Errorf("after a restart: %v", err)
	}
	set(t, b, "algebra", access.RulesChange{Mode: to(access.ByLink), Passcode: to(""), Chat: to(true)})
	if len(m.kept) != 0 {
		t.Errorf("rules as by default are kept: %v", m.kept)
	}
}

func TestSetRules_RefusesWhatCannotBe(t *testing.T) {
	m := newMemory()
	a := reopen(t, t.TempDir(), m)
	for name, c := range map[string]access.RulesChange{
		"unknown mode":             {Mode: to(access.Mode("ajar"))},
		"passcode without one":     {Mode: to(access.ByPasscode)},
		"short passcode":           {Passcode: to("123")},
		"long passcode":            {Passcode: to(strings.Repeat("x", 513))},
		"taking away what is used": {Mode: to(access.ByPasscode), Passcode: to("")},
	} {
		if _, err := a.SetRules(t.Context(), "algebra", c); !errors.Is(err, access.ErrBadClaims) {
			t.Errorf("%s: got %v, want ErrBadClaims", name, err)
		}
	}
	for _, room := range []string{"", "*", strings.Repeat("x", 65)} {
		if _, err := a.SetRules(t.Context(), room, access.RulesChange{}); !errors.Is(err, access.ErrBadClaims) {
			t.Errorf("room %q: got %v, want ErrBadClaims", room, err)
		}
	}
	broken := errors.New("disk trouble")
	m.breakWith(broken)
	if _, err := a.SetRules(t.Context(), "algebra", access.RulesChange{Mode: to(access.Public)}); !errors.Is(err, broken) {
		t.Errorf("got %v, want the error of the ledger", err)
	}
	if a.Rules("algebra").Mode != access.ByLink {
		t.Error("a rule that is not kept holds")
	}
}

func TestEnter_ByModeAndPasscode(t *testing.T) {
	dir, m := t.TempDir(), newMemory()
	a := reopen(t, dir, m)
	set(t, a, "pass", access.RulesChange{Mode: to(access.ByPasscode), Passcode: to("tulip")})
	set(t, a, "open", access.RulesChange{Mode: to(access.Public)})
	set(t, a, "shut", access.RulesChange{Mode: to(access.Closed)})
	tests := []struct {
		room, passcode string
		want           error
	}{
		{"open", "", nil},
		{"pass", "tulip", nil},
		{"pass", "Tulip", access.ErrWrongPasscode},
		{"pass", "", access.ErrWrongPasscode},
		{"pass", strings.Repeat("x", 1000), access.ErrWrongPasscode},
		{"link", "", access.ErrMissing},
		{"shut", "", access.ErrRoomClosed},
	}
	for _, restarted := range []bool{false, true} {
		for _, tt := range tests {
			if restarted && tt.room == "pass" {
				a = reopen(t, dir, m) // nobody has been right yet
			}
			token, c, err := a.Enter(t.Context(), tt.room, "Wei", tt.passcode, time.Hour)
			if !errors.Is(err, tt.want) {
				t.Errorf("%s with %.8q: got %v, want %v", tt.room, tt.passcode, err, tt.want)
			}
			if tt.want != nil {
				continue
			}
			got, err := admit(a, tt.room, token)
			if err != nil || got != c || c.Role != access.Student || c.Name != "Wei" || c.Room != tt.room {
				t.Errorf("%s: got %+v, %v", tt.room, got, err)
			}
		}
	}
}

// After a restart the whole class is at the door at once.
func TestEnter_ManyAtOnceAfterARestart(t *testing.T) {
	dir, m := t.TempDir(), newMemory()
	set(t, reopen(t, dir, m), "algebra", access.RulesChange{Mode: to(access.ByPasscode), Passcode: to("tulip")})
	a := reopen(t, dir, m)
	var wg sync.WaitGroup
	var in, out, full atomic.Int32
	for i := range 60 {
		wg.Go(func() {
			_, _, err := a.Enter(context.Background(), "algebra", "", []string{"tulip", "rose"}[i%2], 0)
			switch {
			case err == nil:
				in.Add(1)
			case errors.Is(err, access.ErrWrongPasscode):
				out.Add(1)
			default:
				full.Add(1)
			}
		})
	}
	wg.Wait()
	if in.Load() != 30 || out.Load() != 30 {
		t.Errorf("got %d in, %d wrong, %d others, want 30 and 30", in.Load(), out.Load(), full.Load())
	}
}

// reasons collects what Watch says.
type reasons chan error

func watch(t *testing.T, a *access.Authority, c access.Claims) (reasons, func()) {
	r := make(reasons, 2)
	stop := a.Watch(c, func(err error) { r <- err })
	t.Cleanup(stop)
	return r, stop
}

func (r reasons) want(t *testing.T, want error) {
	t.Helper()
	select {
	case got := <-r:
		if !errors.Is(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	case <-time.After(time.Second):
		t.Errorf("not ended within a second, want %v", want)
	}
}

func (r reasons) none(t *testing.T) {
	t.Helper()
	select {
	case got := <-r:
		t.Errorf("ended with %v, want it to go on", got)
	default:
	}
}

func TestWatch_EndsWithinASecondOfExpiry(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		a := open(t, dir, "")
		_, c, err := a.IssueToken(access.Claims{Room: "r", Role: access.Student}, time.Time{}, 90*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		r, _ := watch(t, a, c)
		time.Sleep(89 * time.Second) // of the bubble
		synctest.Wait()
		r.none(t)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		r.want(t, access.ErrExpired)
		late, _ := watch(t, a, c)
		late.want(t, access.ErrExpired)
	})
}

func TestWatch_RevokedEndsTheTokenAndNoOther(t *testing.T) {
	dir, m := t.TempDir(), newMemory()
	a := reopen(t, dir, m)
	token, c, err := a.IssueToken(access.Claims{Room: "r", Role: access.Teacher}, time.Time{}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	_, other, err := a.IssueToken(access.Claims{Room: "r", Role: access.Teacher}, time.Time{}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	gone, _ := watch(t, a, c)
	stays, _ := watch(t, a, other)
	if err := a.Revoke(t.Context(), c.ID, c.Expires); err != nil {
		t.Fatal(err)
	}
	gone.want(t, access.ErrRevoked)
	stays.none(t)
	for _, again := range []*access.Authority{a, reopen(t, dir, m)} {
		if got, err := admit(again, "r", token); !errors.Is(err, access.ErrRevoked) || got.Subject != c.Subject {
			t.Errorf("got %+v, %v, want ErrRevoked and whose it was", got, err)
		}
	}
	if err := a.Revoke(t.Context(), "", time.Time{}); !errors.Is(err, access.ErrNotFound) {
		t.Errorf("no id: got %v, want ErrNotFound", err)
	}
}

func TestWatch_ClosingTheRoomEndsGuestsOnly(t *testing.T) {
	a := open(t, t.TempDir(), "sesame")
	set(t, a, "r", access.RulesChange{Mode: to(access.Public)})
	ended := map[string]reasons{}
	for name, c := range map[string]access.Claims{
		"anonymous": {Subject: access.AnonymousSubject, Room: "r", Role: access.Student, Anonymous: true},
		"student":   {Subject: "s", Room: "r", Role: access.Student},
		"anywhere":  access.Claims{Subject: "w", Room: access.AnyRoom, Role: access.Student}.Within("r"),
		"player":    {Subject: "p", Room: "r", Role: access.Player},
		"teacher":   {Subject: "t", Room: "r", Role: access.Teacher},
		"ingest":    {Subject: "i", Room: "r", Role: access.Ingest},
		"elsewhere": {Subject: "e", Room: "q", Role: access.Student},
	} {
		ended[name], _ = watch(t, a, c)
	}
	set(t, a, "r", access.RulesChange{Mode: to(access.ByLink)})
	ended["anonymous"].want(t, access.ErrRoomClosed)
	ended["student"].none(t)
	set(t, a, "r", access.RulesChange{Mode: to(access.Closed)})
	for _, name := range []string{"student", "anywhere", "player"} {
		ended[name].want(t, access.ErrRoomClosed)
	}
	for _, name := range []string{"teacher", "ingest", "elsewhere"} {
		ended[name].none(t)
	}
}

func TestWatch_StopMayBeCalledFromEndedAndKeepsItAway(t *testing.T) {
	a := open(t, t.TempDir(), "sesame")
	c := access.Claims{Subject: "s", Room: "r", Role: access.Student, ID: "abc"}
	done := make(chan struct{})
	var stop func()
	ready := make(chan struct{})
	stop = a.Watch(c, func(error) { <-ready; stop(); close(done) })
	close(ready)
	stopped, stopOther := watch(t, a, c)
	stopOther()
	stopOther()
	if err := a.Revoke(t.Context(), "abc", time.Time{}); err != nil {
		t.Fatal(err)
	}
	select {
	case <-done:
	case <-time.After(time.Second):
		t.Fatal("ended hangs when it stops the watch")
	}
	a.Close()
	a.Close()
	stopped.none(t)
}

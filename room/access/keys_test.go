package access_test

import (
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lectern/lectern/room/access"
)

func TestKey_OpensItsRoomAndSlotUntilRevoked(t *testing.T) {
	dir, m := t.TempDir(), newMemory()
	a := reopen(t, dir, m)
	k, secret, err := a.AddKey(t.Context(), access.Key{Room: "algebra", Slot: "hall", Role: access.Ingest, Name: "Camera", By: "ada"})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(secret, "lk_"+k.ID+"_") || len(secret) > 64 || url.QueryEscape(secret) != secret {
		t.Errorf("got secret of %d characters, want lk_<id>_..., at most 64, fit for addresses", len(secret))
	}
	for _, r := range m.kept {
		if strings.Contains(string(r.Data), secret[len(secret)-20:]) {
			t.Error("the secret is kept in the clear")
		}
	}
	b := reopen(t, dir, m)
	for _, user := range []string{"", k.ID, "anybody"} { // as a token, or as a password
		c, err := b.Admit(t.Context(), access.Attempt{Credential: secret, User: user, Room: "algebra"})
		if err != nil || c.ID != k.ID || !c.MayPublishTo("algebra", "hall") || c.MayPublishTo("algebra", "main") || c.MayWatch("algebra") {
			t.Errorf("user %q: got %+v, %v", user, c, err)
		}
	}
	for _, wrong := range []string{"lk_", "lk_" + k.ID, secret + "x", secret[:len(secret)-1], "lk_x_" + secret[len(secret)-26:]} {
		if _, err := admit(b, "algebra", wrong); !errors.Is(err, access.ErrInvalid) {
			t.Errorf("%q: got %v, want ErrInvalid", wrong, err)
		}
	}
	c, err := admit(b, "algebra", secret)
	if err != nil {
		t.Fatal(err)
	}
	ended, _ := watch(t, b, c)
	if err := b.Revoke(t.Context(), k.ID, time.Time{}); err != nil {
		t.Fatal(err)
	}
	ended.want(t, access.ErrRevoked)
	if _, err := admit(b, "algebra", secret); !errors.Is(err, access.ErrInvalid) {
		t.Errorf("revoked: got %v, want ErrInvalid: the key is gone", err)
	}
	if len(b.Keys("algebra")) != 0 {
		t.Error("a revoked key is listed")
	}
}

func TestKey_LastUseIsKeptOnceAMinute(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		a := reopen(t, dir, m)
		k, secret, err := a.AddKey(t.Context(), access.Key{Room: "r", Role: access.Player, Expires: time.Now().Add(time.Hour)})
		if err != nil {
			t.Fatal(err)
		}
		for range 90 {
			if _, err := admit(a, "r", secret); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second) // of the bubble
		}
		synctest.Wait()
		if m.puts != 3 {
			t.Errorf("kept %d times, want once at first and twice in 90 s", m.puts)
		}
		if got := reopen(t, dir, m).Keys("r"); len(got) != 1 || got[0].ID != k.ID || time.Since(got[0].LastUsed) > time.Minute {
			t.Errorf("after a restart: got %+v", got)
		}
		time.Sleep(time.Hour)
		if _, err := admit(a, "r", secret); !errors.Is(err, access.ErrExpired) {
			t.Errorf("after its end: got %v, want ErrExpired", err)
		}
	})
}

func TestAddKey_RefusesWhatCannotBe(t *testing.T) {
	a := open(t, t.TempDir(), "sesame")
	for name, k := range map[string]access.Key{
		"role":       {Room: "r", Role: access.Teacher},
		"every room": {Room: access.AnyRoom, Role: access.Ingest},
		"no room":    {Role: access.Ingest},
		"past":       {Room: "r", Role: access.Ingest, Expires: time.Now().Add(-time.Minute)},
		"slot":       {Room: "r", Role: access.Ingest, Slot: strings.Repeat("x", 65)},
	} {
		if _, _, err := a.AddKey(t.Context(), k); !errors.Is(err, access.ErrBadClaims) {
			t.Errorf("%s: got %v, want ErrBadClaims", name, err)
		}
	}
	for range 100 {
		if _, _, err := a.AddKey(t.Context(), access.Key{Room: "r", Role: access.Ingest}); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := a.AddKey(t.Context(), access.Key{Room: "r", Role: access.Ingest}); !errors.Is(err, access.ErrTooMany) {
		t.Errorf("one too many: got %v, want ErrTooMany", err)
	}
}

// player is a player token's claims for room.
func player(t *testing.T, a *access.Authority, room string) access.Claims {
	t.Helper()
	_, c, err := a.IssueToken(access.Claims{Room: room, Role: access.Player}, time.Time{}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestPlayerLogin_IsShortSafeAndForItsRoomOnly(t *testing.T) {
	a := open(t, t.TempDir(), "sesame")
	other := open(t, t.TempDir(), "sesame")
	for _, room := range []string{"r", "algebra-101", "a.b_c-d", strings.Repeat("x", 64), access.AnyRoom} {
		c := player(t, a, room)
		c.Grant = "abcdefghijklm" // of an invitation: the longest there is
		user, password, err := a.PlayerLogin(c)
		if err != nil {
			t.Fatal(err)
		}
		if len(user) > 64 || len(password) > 64 || url.QueryEscape(user+password) != user+password {
			t.Errorf("%s: got %q and %q, want at most 64 characters fit for addresses", room, user, password)
		}
		in := room
		if in == access.AnyRoom {
			in = "any"
		}
		at := access.Attempt{User: user, Credential: password, Room: in}
		got, err := a.Admit(t.Context(), at)
		if err != nil || !got.MayPlay(in) || got.MayWatch(in) || got.ID != c.ID || got.Grant != c.Grant || got.Expires.Unix() != c.Expires.Unix() {
			t.Errorf("%s: got %+v, %v", room, got, err)
		}
		at.Room = "physics"
		if got, err := a.Admit(t.Context(), at); err == nil && got.MayPlay("physics") && room != access.AnyRoom {
			t.Errorf("%s: the login is good for another room", room)
		}
		at.Room = in
		for name, bad := range map[string]access.Attempt{
			"password": {User: user, Credential: password + "a", Room: in},
			"user":     {User: user + "x", Credential: password, Room: in},
			"longer":   {User: strings.Replace(user, ".", ".z", 1), Credential: password, Room: in},
			"none":     {User: user, Room: in},
		} {
			if _, err := a.Admit(t.Context(), bad); !errors.Is(err, access.ErrInvalid) {
				t.Errorf("%s: wrong %s: got %v, want ErrInvalid", room, name, err)
			}
		}
		if _, err := other.Admit(t.Context(), at); !errors.Is(err, access.ErrInvalid) {
			t.Errorf("%s: another installation: got %v, want ErrInvalid", room, err)
		}
	}
	if _, _, err := a.PlayerLogin(access.Claims{Room: "r", Role: access.Teacher, ID: "x", Expires: time.Now()}); !errors.Is(err, access.ErrBadClaims) {
		t.Errorf("of a teacher: got %v, want ErrBadClaims", err)
	}
}

func TestPlayerLogin_EndsWithTheToken(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		a := open(t, dir, "sesame")
		c := player(t, a, "r")
		user, password, err := a.PlayerLogin(c)
		if err != nil {
			t.Fatal(err)
		}
		at := access.Attempt{User: user, Credential: password, Room: "r"}
		if err := a.Revoke(t.Context(), c.ID, c.Expires); err != nil {
			t.Fatal(err)
		}
		if _, err := a.Admit(t.Context(), at); !errors.Is(err, access.ErrRevoked) {
			t.Errorf("got %v, want ErrRevoked", err)
		}
		time.Sleep(61 * time.Minute) // of the bubble
		if _, err := a.Admit(t.Context(), at); !errors.Is(err, access.ErrExpired) {
			t.Errorf("got %v, want ErrExpired", err)
		}
	})
}

func TestPlayerLogin_BeginsWithTheToken(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		a := open(t, dir, "sesame")
		room := strings.Repeat("r", 64)
		c := access.Claims{Room: room, Role: access.Player, Grant: "abcdefghijklm"}
		token, c, err := a.IssueToken(c, time.Now().Add(time.Hour), time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		user, password, err := a.PlayerLogin(c)
		if err != nil || len(user) > 64 {
			t.Fatalf("got user %q, %v", user, err)
		}
		at := access.Attempt{User: user, Credential: password, Room: room}
		if _, err := a.Admit(t.Context(), at); !errors.Is(err, access.ErrNotYet) {
			t.Errorf("got %v, want ErrNotYet", err)
		}
		if _, err := admit(a, room, token); !errors.Is(err, access.ErrNotYet) {
			t.Errorf("the token: got %v, want ErrNotYet", err)
		}
		time.Sleep(61 * time.Minute) // of the bubble
		if _, err := a.Admit(t.Context(), at); err != nil {
			t.Errorf("in its time: %v", err)
		}
		if got, err := admit(a, room, token); err != nil || !got.NotBefore.Equal(c.NotBefore) {
			t.Errorf("the token in its time: got %+v, %v", got, err)
		}
	})
}

func TestDigestHA1_IsThatOfThePassword(t *testing.T) {
	a := open(t, t.TempDir(), "sesame")
	user, password, err := a.PlayerLogin(player(t, a, "r"))
	if err != nil {
		t.Fatal(err)
	}
	k, secret, err := a.AddKey(t.Context(), access.Key{Room: "r", Role: access.Player})
	if err != nil {
		t.Fatal(err)
	}
	for u, p := range map[string]string{user: password, k.ID: secret} {
		md, sha := md5.Sum([]byte(u+":Lectern:"+p)), sha256.Sum256([]byte(u+":Lectern:"+p))
		for algorithm, want := range map[string]string{"MD5": hex.EncodeToString(md[:]), "SHA-256": hex.EncodeToString(sha[:])} {
			if got, ok := a.DigestHA1(u, "Lectern", algorithm); !ok || got != want {
				t.Errorf("%s %s: got %q, %v, want %q", u, algorithm, got, ok, want)
			}
		}
		if c, err := a.ByUser(t.Context(), access.Attempt{User: u, Room: "r"}); err != nil || !c.MayPlay("r") {
			t.Errorf("%s: got %+v, %v", u, c, err)
		}
	}
	for _, bad := range [][2]string{{"nobody", "MD5"}, {user, "MD4"}, {"", "MD5"}, {strings.Repeat("p.", 100), "MD5"}} {
		if _, ok := a.DigestHA1(bad[0], "Lectern", bad[1]); ok {
			t.Errorf("%.10q %s: got a hash", bad[0], bad[1])
		}
	}
	if _, err := a.ByUser(t.Context(), access.Attempt{User: "nobody", Room: "r"}); !errors.Is(err, access.ErrInvalid) {
		t.Errorf("nobody: got %v, want ErrInvalid", err)
	}
	if err := a.Revoke(t.Context(), k.ID, time.Time{}); err != nil {
		t.Fatal(err)
	}
	if _, ok := a.DigestHA1(k.ID, "Lectern", "MD5"); ok {
		t.Error("a revoked key has a hash")
	}
}

func TestUseLedger_RefusesWhatItCannotRead(t *testing.T) {
	for name, r := range map[string]access.Record{
		"room":       {Kind: "room", ID: "r", Data: []byte("{")},
		"invitation": {Kind: "invitation", ID: "i", Data: []byte(`{"id":"i"}`)},
		"key":        {Kind: "key", ID: "k", Data: []byte(`{"id":"other","hash":"AAAA"}`)},
	} {
		m := newMemory()
		m.kept["x"] = r
		if err := open(t, t.TempDir(), "sesame").UseLedger(t.Context(), m); err == nil {
			t.Errorf("%s: got no error", name)
		}
	}
	m := newMemory()
	m.kept["x"] = access.Record{Kind: "horoscope", ID: "h", Data: []byte("?")}
	m.kept["y"] = access.Record{Kind: "room", ID: "r", Data: []byte(`{"mode":"ajar"}`)}
	a := open(t, t.TempDir(), "sesame")
	if err := a.UseLedger(t.Context(), m); err != nil {
		t.Fatalf("of a newer version: %v", err)
	}
	if got := a.Rules("r").Mode; got != access.Closed {
		t.Errorf("a mode that nobody knows: got %q, want closed", got)
	}
}

package access_test

import (
	"errors"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/lectern/lectern/room/access"
)

// Those credentials pass while an address has to wait that nobody finds by trying.
func TestGenuine_KnowsWhatNobodyGuesses(t *testing.T) {
	a := trust(t, access.Outside{Issuers: []access.Issuer{school(nil)}})
	token, c, err := a.IssueToken(access.Claims{Room: "algebra", Role: access.Player}, time.Time{}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	user, password, err := a.PlayerLogin(c)
	if err != nil {
		t.Fatal(err)
	}
	_, key, err := a.AddKey(t.Context(), access.Key{Room: "algebra", Role: access.Ingest})
	if err != nil {
		t.Fatal(err)
	}
	late := foreign()
	late["exp"] = time.Now().Add(-time.Hour).Unix()
	for _, tt := range []struct {
		name, user, credential string
		want                   bool
	}{
		{"token", "", token, true},
		{"token as password", "somebody", token, true},
		{"key", "", key, true},
		{"login", user, password, true},
		{"issuer", "", sign(t, jwt.SigningMethodHS256, []byte(schoolSecret), foreign(), ""), true},
		{"nothing", "", "", false},
		{"admin key", "", "sesame", false},
		{"forged token", "", token[:len(token)-4] + "AAAA", false},
		{"forged key", "", key[:len(key)-4] + "AAAA", false},
		{"other user", user + "x", password, false},
		{"issuer without signature", "", sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, foreign(), ""), false},
		{"issuer, forged", "", sign(t, jwt.SigningMethodHS256, []byte("another secret of 32 bytes or more"), foreign(), ""), false},
		{"issuer, over", "", sign(t, jwt.SigningMethodHS256, []byte(schoolSecret), late, ""), false},
	} {
		if got := a.Genuine(tt.user, tt.credential); got != tt.want {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
}

// Who guesses has no key set fetched, and not each key of it tried.
func TestGenuine_AsksNobody(t *testing.T) {
	key := rsaKey(t)
	s := newKeyServer(t, jwkOf("one", key))
	a := trust(t, withSet(s.URL))
	token := func(kid string) string { return sign(t, jwt.SigningMethodRS256, key, foreign(), kid) }
	if _, err := admit(a, "algebra", token("one")); err != nil {
		t.Fatal(err)
	}
	asked := s.asked.Load()
	if !a.Genuine("", token("one")) {
		t.Error("a token of a key at hand is not genuine")
	}
	if a.Genuine("", token("two")) || a.Genuine("", token("")) {
		t.Error("a token whose key is not known is genuine")
	}
	if s.asked.Load() != asked {
		t.Error("the key set was fetched")
	}
}

func TestInvited_KnowsCodesThatWereGivenOut(t *testing.T) {
	a := open(t, t.TempDir(), "sesame")
	inv, code, err := a.Invite(t.Context(), access.Invitation{Room: "algebra", Role: access.Student})
	if err != nil {
		t.Fatal(err)
	}
	if !a.Invited(code) || !a.Invited(" "+code+"\n") || a.Invited("") || a.Invited(inv.ID) {
		t.Error("a code is not told from others")
	}
	if err := a.Revoke(t.Context(), inv.ID, time.Time{}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := a.Redeem(t.Context(), code, "Ada"); !a.Invited(code) || !errors.Is(err, access.ErrRevoked) {
		t.Errorf("a revoked one is forgotten: %v", err)
	}
}

package access_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/lectern/lectern/room/access"
)

const schoolSecret = "a secret of the school, 32 bytes or more"

// school is an issuer, changed by change.
func school(change func(*access.Issuer)) access.Issuer {
	i := access.Issuer{Name: "school", Issuer: "https://school.example.org", Secret: schoolSecret}
	if change != nil {
		change(&i)
	}
	return i
}

func trust(t testing.TB, o access.Outside) *access.Authority {
	t.Helper()
	a := open(t, t.TempDir(), "sesame")
	if err := a.Trust(context.Background(), o); err != nil {
		t.Fatal(err)
	}
	return a
}

// foreign are the claims of a good token of the school.
func foreign() jwt.MapClaims {
	return jwt.MapClaims{
		"iss": "https://school.example.org", "sub": "42", "name": "Ada", "role": "teacher", "room": "algebra",
		"exp": time.Now().Add(time.Hour).Unix(),
	}
}

func sign(t testing.TB, method jwt.SigningMethod, key any, claims jwt.MapClaims, kid string) string {
	t.Helper()
	token := jwt.NewWithClaims(method, claims)
	if kid != "" {
		token.Header["kid"] = kid
	}
	text, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func pemFile(t *testing.T, key crypto.PublicKey) (name string, text []byte) {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	text = pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	name = filepath.Join(t.TempDir(), "key.pem")
	if err := os.WriteFile(name, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return name, text
}

func rsaKey(t testing.TB) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestIssuer_EveryKindOfKey(t *testing.T) {
	rsaPrivate := rsaKey(t)
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		method jwt.SigningMethod
		sign   any
		public crypto.PublicKey
	}{
		{jwt.SigningMethodRS256, rsaPrivate, rsaPrivate.Public()},
		{jwt.SigningMethodPS384, rsaPrivate, rsaPrivate.Public()},
		{jwt.SigningMethodES256, ec, ec.Public()},
		{jwt.SigningMethodEdDSA, ed, ed.Public()},
	}
	for _, tt := range tests {
		name, text := pemFile(t, tt.public)
		a := trust(t, access.Outside{Issuers: []access.Issuer{school(func(i *access.Issuer) { i.Secret, i.PublicKeyFile = "", name })}})
		c, err := admit(a, "algebra", sign(t, tt.method, tt.sign, foreign(), ""))
		if err != nil || c.Role != access.Teacher || c.Subject != "school:42" || c.Name != "Ada" || c.Room != "algebra" || c.ID == "" {
			t.Errorf("%s: got %+v, %v", tt.method.Alg(), c, err)
		}
		// The public key is known to all: as a secret it must be worth nothing.
		for _, secret := range [][]byte{text, text[:len(text)-1]} {
			if _, err := admit(a, "algebra", sign(t, jwt.SigningMethodHS256, secret, foreign(), "")); !errors.Is(err, access.ErrInvalid) {
				t.Errorf("%s: HMAC with the public key: got %v, want ErrInvalid", tt.method.Alg(), err)
			}
		}
		if _, err := admit(a, "algebra", sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, foreign(), "")); !errors.Is(err, access.ErrInvalid) {
			t.Errorf("%s: none: got %v, want ErrInvalid", tt.method.Alg(), err)
		}
	}
}

func TestIssuer_RefusesTokensThatAreNotGood(t *testing.T) {
	a := trust(t, access.Outside{Issuers: []access.Issuer{school(func(i *access.Issuer) {
		i.Audience, i.Algorithms = "lectern", []string{"HS256"}
	})}})
	now := time.Now()
	tests := []struct {
		name   string
		change func(jwt.MapClaims)
		want   error
	}{
		{"good", func(jwt.MapClaims) {}, nil},
		{"good with a list of audiences", func(c jwt.MapClaims) { c["aud"] = []string{"x", "lectern"} }, nil},
		{"clock a little behind", func(c jwt.MapClaims) { c["exp"] = now.Add(-20 * time.Second).Unix() }, nil},
		{"clock a little ahead", func(c jwt.MapClaims) { c["nbf"] = now.Add(20 * time.Second).Unix() }, nil},
		{"expired", func(c jwt.MapClaims) { c["exp"] = now.Add(-time.Minute).Unix() }, access.ErrExpired},
		{"not yet", func(c jwt.MapClaims) { c["nbf"] = now.Add(time.Minute).Unix() }, access.ErrNotYet},
		{"no end", func(c jwt.MapClaims) { delete(c, "exp") }, access.ErrInvalid},
		{"end is no number", func(c jwt.MapClaims) { c["exp"] = "tomorrow" }, access.ErrInvalid},
		{"lives too long", func(c jwt.MapClaims) { c["exp"] = now.Add(25 * time.Hour).Unix() }, access.ErrInvalid},
		{"lives far too long", func(c jwt.MapClaims) { c["exp"] = 1e15 }, access.ErrInvalid},
		{"lived too long", func(c jwt.MapClaims) { c["iat"] = now.Add(-24 * time.Hour).Unix() }, access.ErrInvalid},
		{"no audience", func(c jwt.MapClaims) { delete(c, "aud") }, access.ErrInvalid},
		{"other audience", func(c jwt.MapClaims) { c["aud"] = "canteen" }, access.ErrInvalid},
		{"other issuer", func(c jwt.MapClaims) { c["iss"] = "https://evil.example.org" }, access.ErrInvalid},
		{"our issuer", func(c jwt.MapClaims) { c["iss"] = "lectern" }, access.ErrInvalid},
		{"no role", func(c jwt.MapClaims) { delete(c, "role") }, access.ErrInvalid},
		{"unknown role", func(c jwt.MapClaims) { c["role"] = "king" }, access.ErrInvalid},
		{"admin, not mapped", func(c jwt.MapClaims) { c["role"] = "admin" }, access.ErrInvalid},
		{"role is an object", func(c jwt.MapClaims) { c["role"] = map[string]any{"teacher": true} }, access.ErrInvalid},
	}
	for _, tt := range tests {
		claims := foreign()
		claims["aud"] = "lectern"
		tt.change(claims)
		if _, err := admit(a, "algebra", sign(t, jwt.SigningMethodHS256, []byte(schoolSecret), claims, "")); !errors.Is(err, tt.want) {
			t.Errorf("%s: got %v, want %v", tt.name, err, tt.want)
		}
	}
	good := foreign()
	good["aud"] = "lectern"
	if _, err := admit(a, "algebra", sign(t, jwt.SigningMethodHS512, []byte(schoolSecret), good, "")); !errors.Is(err, access.ErrInvalid) {
		t.Errorf("algorithm that is not listed: got %v, want ErrInvalid", err)
	}
	if _, err := admit(a, "algebra", sign(t, jwt.SigningMethodHS256, []byte("another secret of the same length, or so"), good, "")); !errors.Is(err, access.ErrInvalid) {
		t.Errorf("other secret: got %v, want ErrInvalid", err)
	}
}

func TestIssuer_MapsRolesAndRooms(t *testing.T) {
	a := trust(t, access.Outside{Issuers: []access.Issuer{school(func(i *access.Issuer) {
		i.Claims = access.ClaimPaths{Role: "realm.access.roles", Room: "https://school.example.org/groups", Name: "profile.name", Subject: "id"}
		i.Roles = map[string]access.Role{"Instructor": access.Teacher, "Learner": access.Student, "Root": access.Admin}
		i.DefaultRole = access.Student
		i.RoomPattern = "course-{room}-2026"
		i.Rooms = []string{"math-*", "physics"}
	})}})
	token := func(groups, roles any) string {
		return sign(t, jwt.SigningMethodHS256, []byte(schoolSecret), jwt.MapClaims{
			"iss": "https://school.example.org", "exp": time.Now().Add(time.Hour).Unix(), "id": 42,
			"https://school.example.org/groups": groups,
			"realm.access":                      map[string]any{"roles": roles}, "profile": map[string]any{"name": "Ada\u202e\n"},
		}, "")
	}
	tests := []struct {
		name, room    string
		groups, roles any
		want          access.Claims // Room: where there is a right
	}{
		{"text", "math-1", "course-math-1-2026", "Instructor", access.Claims{Room: "math-1", Role: access.Teacher}},
		{"lists", "physics", []string{"staff", "course-math-1-2026", "course-physics-2026"}, []string{"Learner", "Instructor"}, access.Claims{Room: "physics", Role: access.Teacher}},
		{"nowhere in particular", "", []string{"course-math-1-2026", "course-physics-2026"}, "Learner", access.Claims{Room: "math-1", Role: access.Student}},
		{"default role", "physics", "course-physics-2026", "Janitor", access.Claims{Room: "physics", Role: access.Student}},
		{"mapped admin", "physics", "course-physics-2026", "Root", access.Claims{Room: "physics", Role: access.Admin}},
		{"room of somebody else", "history", []string{"course-history-2026", "course-physics-2026"}, "Instructor", access.Claims{Room: "physics", Role: access.Teacher}},
		{"no room that fits", "physics", []string{"physics", "course-physics", "course--2026"}, "Instructor", access.Claims{Role: access.Teacher}},
		{"every room of the issuer", "physics", "*", "Instructor", access.Claims{Room: "physics", Role: access.Teacher}},
		{"every room, but of others", "history", "*", "Instructor", access.Claims{Role: access.Teacher}},
		{"no group at all", "physics", nil, "Instructor", access.Claims{Role: access.Teacher}},
	}
	for _, tt := range tests {
		c, err := admit(a, tt.room, token(tt.groups, tt.roles))
		if err != nil || c.Room != tt.want.Room || c.Role != tt.want.Role || c.Subject != "school:42" || c.Name != "Ada" {
			t.Errorf("%s: got %+v, %v, want %+v", tt.name, c, err, tt.want)
		}
	}
}

func TestTrust_RefusesIssuersThatCannotBe(t *testing.T) {
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Skip(err) // refused by the library itself
	}
	weakFile, _ := pemFile(t, weak.Public())
	strong, _ := pemFile(t, rsaKey(t).Public())
	for name, change := range map[string]func(*access.Issuer){
		"no key":                  func(i *access.Issuer) { i.Secret = "" },
		"two keys":                func(i *access.Issuer) { i.JWKSURL = "http://127.0.0.1:1" },
		"short secret":            func(i *access.Issuer) { i.Secret = "short" },
		"our own issuer":          func(i *access.Issuer) { i.Issuer = "lectern" },
		"our own names":           func(i *access.Issuer) { i.Name = "key" },
		"none":                    func(i *access.Issuer) { i.Algorithms = []string{"none"} },
		"algorithm of other keys": func(i *access.Issuer) { i.Algorithms = []string{"RS256"} },
		"HMAC with a public key":  func(i *access.Issuer) { i.Secret, i.PublicKeyFile, i.Algorithms = "", strong, []string{"HS256"} },
		"HMAC with a set": func(i *access.Issuer) {
			i.Secret, i.JWKSURL, i.Algorithms = "", "http://127.0.0.1:1", []string{"HS256"}
		},
		"weak key":                 func(i *access.Issuer) { i.Secret, i.PublicKeyFile = "", weakFile },
		"pattern without room":     func(i *access.Issuer) { i.RoomPattern = "course" },
		"bad glob":                 func(i *access.Issuer) { i.Rooms = []string{"[a"} },
		"unknown role":             func(i *access.Issuer) { i.Roles = map[string]access.Role{"x": "king"} },
		"unknown default role":     func(i *access.Issuer) { i.DefaultRole = "king" },
		"file that is not a key":   func(i *access.Issuer) { i.Secret, i.PublicKeyFile = "", "issuer_test.go" },
		"the same issuer, as ours": func(i *access.Issuer) { i.Issuer = "" },
	} {
		err := open(t, t.TempDir(), "sesame").Trust(t.Context(), access.Outside{Issuers: []access.Issuer{school(change)}})
		if !errors.Is(err, access.ErrBadClaims) {
			t.Errorf("%s: got %v, want ErrBadClaims", name, err)
		}
		if err != nil && strings.Contains(err.Error(), schoolSecret) {
			t.Errorf("%s: the error shows the secret", name)
		}
	}
	if err := open(t, t.TempDir(), "sesame").Trust(t.Context(), access.Outside{Issuers: []access.Issuer{school(nil), school(nil)}}); !errors.Is(err, access.ErrBadClaims) {
		t.Errorf("twice the same: got %v, want ErrBadClaims", err)
	}
}

// keyServer serves a JWK set that the test changes.
type keyServer struct {
	*httptest.Server
	body  atomic.Pointer[string]
	asked atomic.Int32
	down  atomic.Bool
}

func newKeyServer(t *testing.T, keys ...map[string]any) *keyServer {
	s := &keyServer{}
	s.set(t, keys...)
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		s.asked.Add(1)
		if s.down.Load() {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		_, _ = w.Write([]byte(*s.body.Load()))
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *keyServer) set(t *testing.T, keys ...map[string]any) {
	t.Helper()
	text, err := json.Marshal(map[string]any{"keys": keys})
	if err != nil {
		t.Fatal(err)
	}
	body := string(text)
	s.body.Store(&body)
}

func jwkOf(kid string, key *rsa.PrivateKey) map[string]any {
	return map[string]any{
		"kty": "RSA", "kid": kid, "use": "sig", "alg": "RS256",
		"n": base64.RawURLEncoding.EncodeToString(key.N.Bytes()),
		"e": base64.RawURLEncoding.EncodeToString(big.NewInt(int64(key.E)).Bytes()),
	}
}

func withSet(url string) access.Outside {
	return access.Outside{Issuers: []access.Issuer{school(func(i *access.Issuer) { i.Secret, i.JWKSURL = "", url })}}
}

func TestKeySet_FollowsTheSchoolsKeys(t *testing.T) {
	first, second := rsaKey(t), rsaKey(t)
	oct := map[string]any{"kty": "oct", "kid": "shared", "alg": "HS256", "k": base64.RawURLEncoding.EncodeToString([]byte(schoolSecret))}
	odd := map[string]any{"kty": "quantum", "kid": "odd"}
	s := newKeyServer(t, odd, oct, jwkOf("one", first))
	a := trust(t, withSet(s.URL))
	token := func(key *rsa.PrivateKey, kid string) string {
		return sign(t, jwt.SigningMethodRS256, key, foreign(), kid)
	}
	if c, err := admit(a, "algebra", token(first, "one")); err != nil || c.Role != access.Teacher {
		t.Fatalf("got %+v, %v", c, err)
	}
	if _, err := admit(a, "algebra", token(first, "")); err != nil {
		t.Errorf("without key id: %v", err)
	}
	if _, err := admit(a, "algebra", token(second, "one")); !errors.Is(err, access.ErrInvalid) {
		t.Errorf("other key of the same id: got %v, want ErrInvalid", err)
	}
	if _, err := admit(a, "algebra", sign(t, jwt.SigningMethodHS256, []byte(schoolSecret), foreign(), "shared")); !errors.Is(err, access.ErrInvalid) {
		t.Errorf("a secret in the set: got %v, want ErrInvalid", err)
	}
	s.set(t, jwkOf("one", first), jwkOf("two", second))
	if _, err := admit(a, "algebra", token(second, "two")); err != nil {
		t.Errorf("a new key: %v", err)
	}
	before := s.asked.Load()
	for range 20 {
		if _, err := admit(a, "algebra", token(second, "three")); !errors.Is(err, access.ErrInvalid) {
			t.Fatalf("unknown key: got %v, want ErrInvalid", err)
		}
	}
	if n := s.asked.Load() - before; n > 3 {
		t.Errorf("20 tokens with an unknown key have the set fetched %d times, want 3 at most", n)
	}
	s.down.Store(true)
	if _, err := admit(a, "algebra", token(first, "one")); err != nil {
		t.Errorf("a known key while the set is down: %v", err)
	}
}

func TestKeySet_DownIsUnavailableAndStartGoesOn(t *testing.T) {
	key := rsaKey(t)
	s := newKeyServer(t, jwkOf("one", key))
	s.down.Store(true)
	a := trust(t, withSet(s.URL))
	token := sign(t, jwt.SigningMethodRS256, key, foreign(), "one")
	if _, err := admit(a, "algebra", token); !errors.Is(err, access.ErrUnavailable) {
		t.Errorf("got %v, want ErrUnavailable", err)
	}
	if _, err := admit(a, "algebra", issue(t, a, access.Claims{Room: "r", Role: access.Student}, time.Hour)); err != nil {
		t.Errorf("a token of ours meanwhile: %v", err)
	}
	s.down.Store(false)
	if _, err := admit(a, "algebra", token); err != nil {
		t.Errorf("back again: %v", err)
	}
	empty := newKeyServer(t)
	b := trust(t, withSet(empty.URL))
	if _, err := admit(b, "algebra", token); !errors.Is(err, access.ErrUnavailable) {
		t.Errorf("a set without keys: got %v, want ErrUnavailable", err)
	}
}

package access_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/lectern/lectern/room/access"
)

func open(t testing.TB, dir, adminKey string) *access.Authority {
	t.Helper()
	a, _, err := access.Open(dir, adminKey)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	return a
}

func issue(t testing.TB, a *access.Authority, c access.Claims, ttl time.Duration) string {
	t.Helper()
	token, err := a.Issue(c, ttl)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func TestAuthority_TokenSaysWhatWasIssued(t *testing.T) {
	a := open(t, t.TempDir(), "")
	want := access.Claims{Subject: "ada", Name: "Ada L.", Room: "algebra", Role: access.Teacher}
	got, err := a.Verify(issue(t, a, want, time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if left := time.Until(got.Expires); left < 59*time.Minute || left > 61*time.Minute {
		t.Errorf("got %v left, want an hour", left)
	}
	if len(got.ID) < 12 {
		t.Errorf("got id %q, want one to revoke it by", got.ID)
	}
	got.Expires, got.ID = time.Time{}, ""
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestAuthority_SubjectIsRandomWhenNotGiven(t *testing.T) {
	a := open(t, t.TempDir(), "")
	seen := make(map[string]bool)
	for range 10 {
		c, err := a.Verify(issue(t, a, access.Claims{Room: "r", Role: access.Student}, time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		if len(c.Subject) < 20 || seen[c.Subject] {
			t.Fatalf("got subject %q, want a new random one", c.Subject)
		}
		seen[c.Subject] = true
	}
}

func TestAuthority_TokenExpires(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		a := open(t, dir, "")
		token := issue(t, a, access.Claims{Room: "r", Role: access.Student}, time.Minute)
		time.Sleep(59 * time.Second) // of the bubble
		if _, err := a.Verify(token); err != nil {
			t.Fatalf("before its end: %v", err)
		}
		time.Sleep(2 * time.Second)
		if _, err := a.Verify(token); !errors.Is(err, access.ErrExpired) {
			t.Fatalf("got %v, want ErrExpired", err)
		}
	})
}

func TestAuthority_IssueRefusesWhatVerifyWould(t *testing.T) {
	a := open(t, t.TempDir(), "")
	good := access.Claims{Room: "r", Role: access.Student}
	for name, c := range map[string]access.Claims{
		"role":    {Room: "r", Role: "king"},
		"no room": {Role: access.Student},
		"subject": {Room: "r", Role: access.Student, Subject: strings.Repeat("x", 200)},
		"name":    {Room: "r", Role: access.Student, Name: strings.Repeat("x", 300)},
	} {
		if _, err := a.Issue(c, time.Hour); !errors.Is(err, access.ErrBadClaims) {
			t.Errorf("%s: got %v, want ErrBadClaims", name, err)
		}
	}
	if _, err := a.Issue(good, 0); !errors.Is(err, access.ErrBadClaims) {
		t.Errorf("no time to live: got %v, want ErrBadClaims", err)
	}
}

func TestAuthority_RefusesForeignTokens(t *testing.T) {
	a := open(t, t.TempDir(), "sesame")
	other := open(t, t.TempDir(), "")
	claims := jwt.MapClaims{"iss": "lectern", "sub": "x", "room": "r", "role": "admin", "exp": time.Now().Add(time.Hour).Unix()}
	none, err := jwt.NewWithClaims(jwt.SigningMethodNone, claims).SignedString(jwt.UnsafeAllowNoneSignatureType)
	if err != nil {
		t.Fatal(err)
	}
	good := issue(t, a, access.Claims{Room: "r", Role: access.Student}, time.Hour)
	head, rest, _ := strings.Cut(good, ".")
	_, signature, _ := strings.Cut(rest, ".")
	for name, token := range map[string]string{
		"empty":         "",
		"noise":         "a.b.c",
		"other key":     issue(t, other, access.Claims{Room: "r", Role: access.Admin}, time.Hour),
		"no algorithm":  none,
		"other payload": head + ".eyJyb2xlIjoiYWRtaW4ifQ." + signature,
		"too long":      strings.Repeat("x", 5000),
		"nearly a key":  "sesam",
	} {
		if _, err := a.Verify(token); !errors.Is(err, access.ErrInvalid) {
			t.Errorf("%s: got %v, want ErrInvalid", name, err)
		}
	}
}

// signed makes a token with the installation's own key and any claims.
func signed(t *testing.T, dir string, claims jwt.MapClaims) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "access.key"))
	if err != nil {
		t.Fatal(err)
	}
	key := make([]byte, 32)
	for i := range key {
		key[i] = unhex(text[2*i])<<4 | unhex(text[2*i+1])
	}
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func unhex(c byte) byte {
	if c >= 'a' {
		return c - 'a' + 10
	}
	return c - '0'
}

func TestAuthority_RefusesOddClaims(t *testing.T) {
	dir := t.TempDir()
	a := open(t, dir, "")
	hour := time.Now().Add(time.Hour).Unix()
	base := func() jwt.MapClaims {
		return jwt.MapClaims{"iss": "lectern", "sub": "x", "room": "r", "role": "student", "exp": hour}
	}
	if _, err := a.Verify(signed(t, dir, base())); err != nil {
		t.Fatalf("the good token: %v", err)
	}
	for field, value := range map[string]any{
		"exp": nil, "iss": "somebody", "role": "king", "room": "", "sub": "",
	} {
		c := base()
		c[field] = value
		if _, err := a.Verify(signed(t, dir, c)); !errors.Is(err, access.ErrInvalid) {
			t.Errorf("%s = %v: got %v, want ErrInvalid", field, value, err)
		}
	}
	anonymous := base()
	anonymous["sub"] = access.AnonymousSubject
	if _, err := a.Verify(signed(t, dir, anonymous)); !errors.Is(err, access.ErrInvalid) {
		t.Errorf("a token of nobody: got %v, want ErrInvalid", err)
	}
	later := base()
	later["nbf"] = hour - 60
	if _, err := a.Verify(signed(t, dir, later)); !errors.Is(err, access.ErrNotYet) {
		t.Errorf("not before later: got %v, want ErrNotYet", err)
	}
}

func TestOpen_AdminKeyIsMadeOnceAndKeptAsHash(t *testing.T) {
	dir := t.TempDir()
	a, created, err := access.Open(dir, "")
	if err != nil || !created {
		t.Fatalf("first start: got created %v, %v", created, err)
	}
	key := a.NewAdminKey()
	again, created, err := access.Open(dir, "")
	if err != nil || created || again.NewAdminKey() != "" {
		t.Fatalf("second start: got created %v, key %q, %v", created, again.NewAdminKey(), err)
	}
	c, err := again.Verify(key)
	if err != nil || !c.MayAdmin() || !c.Expires.IsZero() {
		t.Fatalf("the key after a restart: got %+v, %v", c, err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 2 {
		t.Errorf("got %d files, want 2", len(entries))
	}
	for _, e := range entries {
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), key) {
			t.Errorf("%s holds the key in clear", e.Name())
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s: got mode %v, want 0600", e.Name(), info.Mode().Perm())
		}
	}
}

func TestOpen_GivenAdminKeyCountsAlone(t *testing.T) {
	dir := t.TempDir()
	first, _, err := access.Open(dir, "")
	if err != nil {
		t.Fatal(err)
	}
	a, created, err := access.Open(dir, "sesame")
	if err != nil || created {
		t.Fatalf("got created %v, %v", created, err)
	}
	if c, err := a.Verify("sesame"); err != nil || c.Role != access.Admin {
		t.Errorf("the given key: got %+v, %v", c, err)
	}
	if _, err := a.Verify(first.NewAdminKey()); !errors.Is(err, access.ErrInvalid) {
		t.Errorf("the key made before: got %v, want ErrInvalid", err)
	}
}

func TestOpenSigner_IssuesForTheServerAndMakesNoAdminKey(t *testing.T) {
	dir := t.TempDir()
	signer, err := access.OpenSigner(dir)
	if err != nil {
		t.Fatal(err)
	}
	server, created, err := access.Open(dir, "")
	if err != nil || !created {
		t.Fatalf("got created %v, %v: the signer has made the key of the administrator", created, err)
	}
	if _, err := server.Verify(issue(t, signer, access.Claims{Room: "r", Role: access.Student}, time.Hour)); err != nil {
		t.Error(err)
	}
	// Without an administrator's key nothing is one, not even the zero hash.
	if _, err := signer.Verify("x"); !errors.Is(err, access.ErrInvalid) {
		t.Errorf("got %v, want ErrInvalid", err)
	}
}

func TestOpen_AtTheSameTimeGivesOneKey(t *testing.T) {
	dir := t.TempDir()
	authorities := make([]*access.Authority, 16)
	made := make([]bool, len(authorities))
	var wg sync.WaitGroup
	for i := range authorities {
		wg.Go(func() {
			a, created, err := access.Open(dir, "")
			if err != nil {
				t.Error(err)
				return
			}
			authorities[i], made[i] = a, created
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	count := 0
	for i, a := range authorities {
		if made[i] {
			count++
		}
		if _, err := authorities[0].Verify(issue(t, a, access.Claims{Room: "r", Role: access.Student}, time.Hour)); err != nil {
			t.Errorf("token of opener %d: %v", i, err)
		}
	}
	if count != 1 {
		t.Errorf("the key of the administrator was made %d times, want once", count)
	}
}

func TestOpen_RefusesDamagedKey(t *testing.T) {
	for _, text := range []string{"", "zz", strings.Repeat("a", 63), strings.Repeat("a", 66)} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "access.key"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, _, err := access.Open(dir, ""); err == nil {
			t.Errorf("key file %q: got no error", text)
		}
	}
}

func FuzzAuthority_Verify(f *testing.F) {
	a := open(f, f.TempDir(), "sesame")
	token := issue(f, a, access.Claims{Room: "r", Role: access.Student}, time.Hour)
	f.Add(token)
	f.Add("sesame")
	f.Add("eyJhbGciOiJub25lIn0.e30.")
	f.Add("a.b.c")
	f.Fuzz(func(t *testing.T, credential string) {
		c, err := a.Verify(credential)
		if err != nil {
			if !errors.Is(err, access.ErrInvalid) && !errors.Is(err, access.ErrExpired) && !errors.Is(err, access.ErrNotYet) {
				t.Fatalf("got %v, want ErrInvalid, ErrExpired or ErrNotYet", err)
			}
			return
		}
		if c.Role == access.Admin && credential != "sesame" {
			t.Fatalf("%q is taken for the administrator's key", credential)
		}
		if c.Role != access.Admin && !strings.HasPrefix(credential, token[:20]) {
			t.Fatalf("%q is taken for a token", credential)
		}
	})
}

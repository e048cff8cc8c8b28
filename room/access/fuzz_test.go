package access

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

func FuzzAdmit_Credentials(f *testing.F) {
	a, _, err := Open(f.TempDir(), "sesame")
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(a.Close)
	_, key, err := a.AddKey(f.Context(), Key{Room: "r", Role: Ingest})
	if err != nil {
		f.Fatal(err)
	}
	token, c, err := a.IssueToken(Claims{Room: "r", Role: Player}, time.Time{}, time.Hour)
	if err != nil {
		f.Fatal(err)
	}
	user, password, err := a.PlayerLogin(c)
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range [][2]string{{"", key}, {user, password}, {"", token}, {"p.1.2.3.4.", "x"}, {"", "lk__"}, {"", "a.e30.b"}} {
		f.Add(s[0], s[1], "r")
	}
	f.Fuzz(func(t *testing.T, u, credential, room string) {
		c, err := a.Admit(t.Context(), Attempt{User: u, Credential: credential, Room: room})
		if err != nil {
			return
		}
		own := credential == key || u == user && credential == password || credential == "sesame"
		// The last character of a signature may differ in bits that do not count.
		if !own && (!strings.HasPrefix(credential, token[:len(token)-1]) || c.ID == "") {
			t.Fatalf("user %q, credential %q: let in as %+v", u, credential, c)
		}
		_, _ = a.DigestHA1(u, "Lectern", "MD5")
	})
}

// A user is read after its password was found right, but the parser must not
// count on that.
func FuzzPlayerClaims(f *testing.F) {
	a, err := OpenSigner(f.TempDir())
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(a.Close)
	f.Add("p.zzzzzz..abc.def.ralgebra", "algebra")
	f.Add("p.zzzzzz.zzzzzz.abc..a", "")
	f.Add("p......", "")
	f.Fuzz(func(t *testing.T, user, room string) {
		c, err := a.playerClaims(user, room)
		if err != nil {
			return
		}
		if c.Role != Player || check(c) != nil || !time.Now().Before(c.Expires) {
			t.Fatalf("%q: got %+v", user, c)
		}
	})
}

func FuzzIssuer_ClaimMapping(f *testing.F) {
	f.Add([]byte(`{"exp":4102444800,"role":"teacher","room":["a","*"],"sub":1,"name":"x"}`), "realm.roles", "c-{room}", "a")
	f.Add([]byte(`{"exp":4102444800,"realm":{"roles":[["x"],{"y":1},"student"]}}`), "realm.roles", "", "")
	f.Fuzz(func(t *testing.T, text []byte, path, pattern, room string) {
		claims := jwt.MapClaims{}
		dec := json.NewDecoder(strings.NewReader(string(text)))
		dec.UseNumber()
		i := Issuer{Name: "s", Issuer: "x", Secret: strings.Repeat("x", minSecret), RoomPattern: pattern, Rooms: []string{"a*"}}
		i.Claims.Role = path
		if dec.Decode(&claims) != nil || i.check() != nil {
			return
		}
		i.setDefaults()
		i.MaxLife = 200 * 366 * 24 * time.Hour
		c, err := i.read(claims, room, time.Now())
		if err != nil {
			if !errors.Is(err, ErrInvalid) {
				t.Fatalf("got %v, want ErrInvalid", err)
			}
			return
		}
		if !c.Role.Valid() || c.Role == Admin || len(c.Name) > maxName || c.Expires.IsZero() {
			t.Fatalf("got %+v", c)
		}
		if c.Room != "" && !i.speaksFor(c.Room) {
			t.Fatalf("got room %q, which is not of the issuer", c.Room)
		}
	})
}

func FuzzHook_Reply(f *testing.F) {
	a, err := OpenSigner(f.TempDir())
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(a.Close)
	h := a.newHook(Hook{URL: "http://127.0.0.1:1"}, nil)
	f.Add([]byte(`{"allow":true,"role":"student","expires":4102444800}`))
	f.Add([]byte(`{"allow":true,"role":"teacher","expires":"2099-01-01T00:00:00Z","subject":"x","name":"y"}`))
	f.Add([]byte(`{"allow":true,"role":"student","expires":1e400}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		now := time.Now()
		r, err := parseReply(text)
		if err != nil {
			return
		}
		c, err := h.claims(r, Attempt{Room: "r", Credential: "x"}, now)
		if err != nil {
			return
		}
		if check(c) != nil || !now.Before(c.Expires) || c.Expires.Sub(now) > MaxLife || !strings.HasPrefix(c.Subject, "hook:") {
			t.Fatalf("%q: got %+v", text, c)
		}
	})
}

func FuzzKeySet_Parse(f *testing.F) {
	f.Add([]byte(`{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`))
	f.Add([]byte(`{"keys":[{"kty":"oct","k":"eA"},{"kty":"RSA","n":"AQAB","e":"AQAB"}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		keys, all, err := parseKeys(text)
		if err == nil && (len(all) == 0 || len(keys) > len(all)) {
			t.Fatalf("got %d keys by id, %d in all, without an error", len(keys), len(all))
		}
	})
}

package access_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/lectern/lectern/room/access"
)

// A signature can be written in several ways; what was revoked stays so.
func TestIssuer_RevokedHoweverItIsSigned(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	name, _ := pemFile(t, key.Public())
	a := trust(t, access.Outside{Issuers: []access.Issuer{school(func(i *access.Issuer) { i.Secret, i.PublicKeyFile = "", name })}})
	token := sign(t, jwt.SigningMethodES256, key, foreign(), "")
	c, err := admit(a, "algebra", token)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Revoke(t.Context(), c.ID, c.Expires); err != nil {
		t.Fatal(err)
	}
	at := strings.LastIndexByte(token, '.') + 1
	sig, err := base64.RawURLEncoding.DecodeString(token[at:])
	if err != nil {
		t.Fatal(err)
	}
	// With (r, s) also (r, n-s) is a signature.
	other := new(big.Int).Sub(elliptic.P256().Params().N, new(big.Int).SetBytes(sig[32:]))
	again := token[:at] + base64.RawURLEncoding.EncodeToString(append(sig[:32:32], other.FillBytes(make([]byte, 32))...))
	if _, err := admit(a, "algebra", again); !errors.Is(err, access.ErrRevoked) {
		t.Errorf("signed otherwise: got %v, want ErrRevoked", err)
	}
}

// A token has one text: with several, who counts requests by token counts wrong.
func TestVerify_TakesNoOtherWritingOfAToken(t *testing.T) {
	a := open(t, t.TempDir(), "sesame")
	token, err := a.Issue(access.Claims{Room: "algebra", Role: access.Student}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(digits, token[len(token)-1])
	for _, other := range []string{token[:len(token)-1] + string(digits[last^1]), token + "=", token + "\n"} {
		if _, err := a.Verify(other); !errors.Is(err, access.ErrInvalid) {
			t.Errorf("got %v, want ErrInvalid", err)
		}
		if _, err := admit(a, "algebra", other); !errors.Is(err, access.ErrInvalid) || a.Genuine("", other) {
			t.Errorf("admitted: got %v, want ErrInvalid", err)
		}
	}
}

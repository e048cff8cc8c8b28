package access

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

const (
	issuer = "lectern"

	// clockSkew lets a token be valid a little before it was issued, for a
	// clock that is set back at that moment.
	clockSkew = 5 * time.Second

	// MaxLife is the longest that a token may live. It bounds for how long a
	// revocation must be remembered.
	MaxLife = 366 * 24 * time.Hour

	maxCredential = 8192 // bytes
	maxSubject    = 128  // bytes
	maxName       = 256  // bytes
	maxRoom       = 64   // bytes
	maxSlot       = 64   // bytes
	maxID         = 64   // bytes

	adminSubject = "admin"

	// idLen is the length of an id of 65 bits: unique, not secret, and short
	// enough for the user names that carry two of them.
	idLen = 13
)

// wireClaims are the claims of a token as they are signed.
type wireClaims struct {
	jwt.RegisteredClaims
	Name  string `json:"name,omitempty"`
	Room  string `json:"room"`
	Role  Role   `json:"role"`
	Grant string `json:"grant,omitempty"`
	Slot  string `json:"slot,omitempty"`
}

func ownParser() *jwt.Parser {
	return jwt.NewParser(
		jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Alg()}),
		jwt.WithIssuer(issuer),
		jwt.WithExpirationRequired(),
		jwt.WithStrictDecoding(), // one token has one text
	)
}

// newID returns a new id of a token, an invitation or a key.
func newID() string { return strings.ToLower(rand.Text()[:idLen]) }

// derivedID returns the id of a credential that bears none: always the same,
// and without the key of this installation nothing can be learned from it.
func (a *Authority) derivedID(parts ...string) string {
	return strings.ToLower(base32.StdEncoding.EncodeToString(a.mac("id", parts...))[:idLen])
}

// manyLines says whether a credential has breaks of lines, which decoders of
// base64 pass over: with them one token would have many texts.
func manyLines(credential string) bool { return strings.ContainsAny(credential, "\r\n") }

// signedPart is a token without its signature, of which there may be several that
// are good: an id made of them would not hold for all.
func signedPart(token string) string {
	return token[:max(strings.LastIndexByte(token, '.'), 0)]
}

// mac authenticates parts for one purpose. The lengths keep "ab", "c" apart from
// "a", "bc".
func (a *Authority) mac(purpose string, parts ...string) []byte {
	h := hmac.New(sha256.New, a.key)
	for _, p := range append([]string{purpose}, parts...) {
		fmt.Fprintf(h, "%d:%s", len(p), p) // a hash never fails
	}
	return h.Sum(nil)
}

// Issue returns a token for c that is valid from now on for ttl; see IssueToken.
func (a *Authority) Issue(c Claims, ttl time.Duration) (string, error) {
	token, _, err := a.IssueToken(c, time.Time{}, ttl)
	return token, err
}

// IssueToken returns a token for c and what Verify will say of it. The token is
// valid from notBefore (zero: now) for ttl, at most MaxLife, rounded up to whole
// seconds. An empty c.Subject becomes a random one; c.Expires, c.NotBefore and
// c.ID are not looked at. It returns ErrBadClaims for claims that Verify would refuse.
func (a *Authority) IssueToken(c Claims, notBefore time.Time, ttl time.Duration) (string, Claims, error) {
	if c.Subject == "" {
		c.Subject = rand.Text()
	}
	if c.Subject == AnonymousSubject || c.Anonymous {
		return "", Claims{}, fmt.Errorf("%w: nobody's subject", ErrBadClaims)
	}
	now := time.Now()
	from, start := now.Add(-clockSkew), now
	if c.NotBefore = (time.Time{}); notBefore.After(now) {
		c.NotBefore = notBefore.Truncate(time.Second)
		from, start = c.NotBefore, notBefore
	}
	if ttl <= 0 || start.Add(ttl).Sub(now) > MaxLife {
		return "", Claims{}, fmt.Errorf("%w: time to live %v", ErrBadClaims, ttl)
	}
	c.ID = a.tokenID(c.Room)
	c.Expires = start.Add(ttl + time.Second - 1).Truncate(time.Second)
	if err := check(c); err != nil {
		return "", Claims{}, err
	}
	token := jwt.NewWithClaims(jwt.SigningMethodHS256, wireClaims{
		RegisteredClaims: jwt.RegisteredClaims{
			ID:        c.ID,
			Issuer:    issuer,
			Subject:   c.Subject,
			IssuedAt:  jwt.NewNumericDate(now),
			NotBefore: jwt.NewNumericDate(from),
			ExpiresAt: jwt.NewNumericDate(c.Expires),
		},
		Name: c.Name, Room: c.Room, Role: c.Role, Grant: c.Grant, Slot: c.Slot,
	})
	signed, err := token.SignedString(a.key)
	if err != nil {
		return "", Claims{}, fmt.Errorf("signing a token: %w", err)
	}
	return signed, c, nil
}

// Verify returns what credential, a token of ours or the key of the
// administrator, says of its bearer, wherever that is and whether or not it was
// revoked: Admit asks more. Errors: ErrInvalid, ErrExpired, ErrNotYet. With the
// last two the claims tell whose it is, but give no right.
func (a *Authority) Verify(credential string) (Claims, error) {
	if credential == "" || len(credential) > maxCredential || manyLines(credential) {
		return Claims{}, ErrInvalid
	}
	if a.isAdminKey(credential) {
		return Claims{Subject: adminSubject, Room: AnyRoom, Role: Admin}, nil
	}
	return a.verifyOwn(credential)
}

// verifyOwn is Verify for tokens.
func (a *Authority) verifyOwn(token string) (Claims, error) {
	var w wireClaims
	_, err := a.parser.ParseWithClaims(token, &w, func(*jwt.Token) (any, error) { return a.key, nil })
	wrong := err
	switch {
	case err == nil:
	case errors.Is(err, jwt.ErrTokenSignatureInvalid), errors.Is(err, jwt.ErrTokenInvalidIssuer), errors.Is(err, jwt.ErrTokenRequiredClaimMissing):
		return Claims{}, ErrInvalid
	case errors.Is(err, jwt.ErrTokenExpired):
		wrong = ErrExpired
	case errors.Is(err, jwt.ErrTokenNotValidYet):
		wrong = ErrNotYet
	default:
		return Claims{}, ErrInvalid
	}
	c := Claims{
		Subject: w.Subject, Name: w.Name, Room: w.Room, Role: w.Role, Expires: w.ExpiresAt.Time,
		ID: w.ID, Grant: w.Grant, Slot: w.Slot,
	}
	if w.IssuedAt != nil && w.NotBefore != nil && w.NotBefore.After(w.IssuedAt.Time) {
		c.NotBefore = w.NotBefore.Time
	}
	if c.ID == "" {
		c.ID = a.derivedID("token", signedPart(token))
	}
	if check(c) != nil || c.Subject == AnonymousSubject {
		return Claims{}, ErrInvalid
	}
	return c, wrong
}

// check says whether there can be such claims of somebody with a credential.
func check(c Claims) error {
	switch {
	case !c.Role.Valid():
		return fmt.Errorf("%w: unknown role", ErrBadClaims)
	case c.Room == "" || len(c.Room) > maxRoom:
		return fmt.Errorf("%w: room of %d bytes", ErrBadClaims, len(c.Room))
	case c.Subject == "" || len(c.Subject) > maxSubject:
		return fmt.Errorf("%w: subject of %d bytes", ErrBadClaims, len(c.Subject))
	case len(c.Name) > maxName:
		return fmt.Errorf("%w: name of %d bytes", ErrBadClaims, len(c.Name))
	case len(c.Slot) > maxSlot:
		return fmt.Errorf("%w: slot of %d bytes", ErrBadClaims, len(c.Slot))
	case len(c.ID) > maxID || len(c.Grant) > maxID:
		return fmt.Errorf("%w: id of %d and %d bytes", ErrBadClaims, len(c.ID), len(c.Grant))
	}
	return nil
}

package access

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

const (
	// leeway is how far the clock of an issuer may be off.
	leeway = 30 * time.Second

	defaultLife    = 24 * time.Hour
	defaultRefresh = 15 * time.Minute

	minSecret  = 32   // bytes: as long as the hash of HS256 (RFC 7518, section 3.2)
	minRSABits = 2048 // RFC 7518, section 3.3

	roomMark = "{room}"
)

// trusted is an Issuer whose tokens are verified.
type trusted struct {
	a      *Authority
	cfg    Issuer
	parser *jwt.Parser
	key    any     // nil: from set
	set    *keySet // nil: key
}

// newTrusted checks cfg. set is not nil if it must run.
func (a *Authority) newTrusted(cfg Issuer, client *http.Client) (t *trusted, set *keySet, err error) {
	if err := cfg.check(); err != nil {
		return nil, nil, err
	}
	cfg.setDefaults()
	t = &trusted{a: a, cfg: cfg}
	var algorithms []string
	switch {
	case cfg.Secret != "":
		t.key, algorithms = []byte(cfg.Secret), []string{"HS256", "HS384", "HS512"}
	case cfg.PublicKeyFile != "":
		if t.key, algorithms, err = readPublicKey(cfg.PublicKeyFile); err != nil {
			return nil, nil, err
		}
	default:
		t.set = newKeySet(a, cfg.JWKSURL, cfg.Refresh, client)
		algorithms = []string{
			"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
		}
	}
	// Pinned to the kind of the key: a public key is never a secret of HMAC.
	for _, alg := range cfg.Algorithms {
		if !slices.Contains(algorithms, alg) {
			return nil, nil, fmt.Errorf("%w: algorithm %s is none of this kind of key", ErrBadClaims, alg)
		}
	}
	if len(cfg.Algorithms) > 0 {
		algorithms = cfg.Algorithms
	}
	options := []jwt.ParserOption{
		jwt.WithValidMethods(algorithms), jwt.WithIssuer(cfg.Issuer), jwt.WithExpirationRequired(),
		jwt.WithLeeway(leeway), jwt.WithJSONNumber(), jwt.WithStrictDecoding(),
	}
	if cfg.Audience != "" {
		options = append(options, jwt.WithAudience(cfg.Audience))
	}
	t.parser = jwt.NewParser(options...)
	return t, t.set, nil
}

func (i Issuer) check() error {
	keys := 0
	for _, k := range []string{i.Secret, i.PublicKeyFile, i.JWKSURL} {
		if k != "" {
			keys++
		}
	}
	switch {
	case i.Name == "" || strings.Contains(i.Name, ":") || len(i.Name) > maxName/8:
		return fmt.Errorf("%w: name is empty, too long, or has a colon", ErrBadClaims)
	case slices.Contains([]string{"hook", "key", "player"}, i.Name):
		return fmt.Errorf("%w: name %s is ours", ErrBadClaims, i.Name)
	case i.Issuer == "" || i.Issuer == issuer:
		return fmt.Errorf("%w: issuer is empty or ours", ErrBadClaims)
	case keys != 1:
		return fmt.Errorf("%w: one of secret, public key and key set is needed", ErrBadClaims)
	case i.Secret != "" && len(i.Secret) < minSecret:
		return fmt.Errorf("%w: secret is shorter than %d bytes", ErrBadClaims, minSecret)
	case i.RoomPattern != "" && strings.Count(i.RoomPattern, roomMark) != 1:
		return fmt.Errorf("%w: room pattern without %s", ErrBadClaims, roomMark)
	case i.DefaultRole != "" && !i.DefaultRole.Valid():
		return fmt.Errorf("%w: unknown default role", ErrBadClaims)
	case i.MaxLife < 0 || i.Refresh < 0:
		return fmt.Errorf("%w: negative duration", ErrBadClaims)
	}
	for value, role := range i.Roles {
		if !role.Valid() {
			return fmt.Errorf("%w: %s stands for an unknown role", ErrBadClaims, value)
		}
	}
	for _, glob := range i.Rooms {
		if _, err := path.Match(glob, ""); err != nil {
			return fmt.Errorf("%w: rooms %q", ErrBadClaims, glob)
		}
	}
	return nil
}

func (i *Issuer) setDefaults() {
	setDefault(&i.Refresh, defaultRefresh)
	setDefault(&i.MaxLife, defaultLife)
	i.MaxLife = min(i.MaxLife, MaxLife)
	setDefault(&i.Claims.Role, "role")
	setDefault(&i.Claims.Room, "room")
	setDefault(&i.Claims.Name, "name")
	setDefault(&i.Claims.Subject, "sub")
}

func setDefault[T comparable](v *T, value T) {
	var zero T
	if *v == zero {
		*v = value
	}
}

// readPublicKey reads a public key, or that of a certificate, and says which
// algorithms it is good for.
func readPublicKey(name string) (key any, algorithms []string, err error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, nil, fmt.Errorf("reading a public key: %w", err)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, nil, fmt.Errorf("%w: no PEM in the public key file", ErrBadClaims)
	}
	switch block.Type {
	case "CERTIFICATE":
		var cert *x509.Certificate
		if cert, err = x509.ParseCertificate(block.Bytes); err == nil {
			key = cert.PublicKey
		}
	case "RSA PUBLIC KEY":
		key, err = x509.ParsePKCS1PublicKey(block.Bytes)
	default:
		key, err = x509.ParsePKIXPublicKey(block.Bytes)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("reading a public key: %w", err)
	}
	switch k := key.(type) {
	case *rsa.PublicKey:
		if k.N.BitLen() < minRSABits {
			return nil, nil, fmt.Errorf("%w: RSA key of %d bits", ErrBadClaims, k.N.BitLen())
		}
		return key, []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}, nil
	case *ecdsa.PublicKey:
		bits := k.Curve.Params().BitSize
		if alg, ok := map[int]string{256: "ES256", 384: "ES384", 521: "ES512"}[bits]; ok {
			return key, []string{alg}, nil
		}
	case ed25519.PublicKey:
		return key, []string{"EdDSA"}, nil
	}
	return nil, nil, fmt.Errorf("%w: unknown kind of public key", ErrBadClaims)
}

// identify verifies a token of the issuer. Errors: ErrInvalid, ErrExpired,
// ErrNotYet, ErrUnavailable, or the cause of ctx.
func (t *trusted) identify(ctx context.Context, at Attempt) (Claims, error) {
	claims := jwt.MapClaims{}
	_, err := t.parser.ParseWithClaims(at.Credential, claims, func(token *jwt.Token) (any, error) {
		if t.set != nil {
			return t.set.key(ctx, token)
		}
		return t.key, nil
	})
	switch {
	case err == nil:
	case errors.Is(err, ErrUnavailable), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return Claims{}, fmt.Errorf("%w: keys of %s", ErrUnavailable, t.cfg.Name)
	case errors.Is(err, jwt.ErrTokenUnverifiable), errors.Is(err, jwt.ErrTokenSignatureInvalid),
		errors.Is(err, jwt.ErrTokenRequiredClaimMissing), errors.Is(err, jwt.ErrTokenInvalidIssuer),
		errors.Is(err, jwt.ErrTokenInvalidAudience):
		return Claims{}, ErrInvalid
	case errors.Is(err, jwt.ErrTokenExpired):
		return Claims{}, ErrExpired
	case errors.Is(err, jwt.ErrTokenNotValidYet):
		return Claims{}, ErrNotYet
	default:
		return Claims{}, ErrInvalid
	}
	c, err := t.cfg.read(claims, at.Room, time.Now())
	if err != nil {
		return Claims{}, err
	}
	// What an issuer calls its people and tokens must not meet what another does.
	if c.ID == "" {
		c.ID = signedPart(at.Credential)
	}
	c.ID = t.a.derivedID("jwt", t.cfg.Name, c.ID)
	if c.Subject == "" || len(t.cfg.Name)+1+len(c.Subject) > maxSubject {
		c.Subject = t.a.derivedID("sub", t.cfg.Name, c.Subject, c.ID)
	}
	c.Subject = t.cfg.Name + ":" + c.Subject
	return c, nil
}

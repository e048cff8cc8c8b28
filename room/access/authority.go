package access

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Names of the files in the data directory.
const (
	keyFile  = "access.key" // hex of the signing key
	hashFile = "admin.hash" // hex of the SHA-256 of the administrator's key
)

const (
	keyBytes = 32 // as long as the hash of HS256 (RFC 7518, section 3.2)
	issuer   = "lectern"

	// clockSkew lets a token be valid a little before it was issued, for a
	// clock that is set back at that moment.
	clockSkew = 5 * time.Second

	maxCredential = 4096 // bytes
	maxSubject    = 128  // bytes
	maxName       = 256  // bytes
	maxRoom       = 64   // bytes

	adminSubject = "admin"
)

// Authority issues and verifies credentials. All methods may be called from any
// goroutine.
type Authority struct {
	key       []byte
	adminHash [sha256.Size]byte
	hasAdmin  bool
	newKey    string
	newFile   string // holds the hash of newKey
	parser    *jwt.Parser
}

// Open reads the signing key from dataDir, or makes it at first use; several
// processes may do so at once. adminKey is the key of the administrator; with
// "" it is the one made at the first start, of which dataDir keeps a hash.
// created is true when this call has made that key: NewAdminKey returns it, once
// and for all, so that it can be shown.
func Open(dataDir, adminKey string) (a *Authority, created bool, err error) {
	a, err = OpenSigner(dataDir)
	if err != nil {
		return nil, false, err
	}
	a.hasAdmin = true
	if adminKey != "" {
		a.adminHash = sha256.Sum256([]byte(adminKey))
		return a, false, nil
	}
	fresh := rand.Text()
	sum := sha256.Sum256([]byte(fresh))
	stored, created, err := readOrCreate(filepath.Join(dataDir, hashFile), sum[:])
	if err != nil {
		return nil, false, err
	}
	copy(a.adminHash[:], stored)
	if created {
		a.newKey, a.newFile = fresh, filepath.Join(dataDir, hashFile)
	}
	return a, created, nil
}

// OpenSigner is Open without a key of the administrator, for a process beside
// the server that only issues tokens.
func OpenSigner(dataDir string) (*Authority, error) {
	if err := os.MkdirAll(dataDir, 0o700); err != nil {
		return nil, fmt.Errorf("making the data directory: %w", err)
	}
	fresh := make([]byte, keyBytes)
	_, _ = rand.Read(fresh) // never fails (crypto/rand)
	key, _, err := readOrCreate(filepath.Join(dataDir, keyFile), fresh)
	if err != nil {
		return nil, err
	}
	return &Authority{
		key: key,
		parser: jwt.NewParser(
			jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Alg()}),
			jwt.WithIssuer(issuer),
			jwt.WithExpirationRequired(),
		),
	}, nil
}

// NewAdminKey returns the key of the administrator in clear if Open has just
// made it, else "". Only a hash is kept on disk.
func (a *Authority) NewAdminKey() string { return a.newKey }

// DropNewAdminKey forgets the key that Open has just made, so that the next Open
// makes another: a key that nobody was shown would lock everybody out for good.
// It does nothing if Open made none.
func (a *Authority) DropNewAdminKey() error {
	if a.newKey == "" {
		return nil
	}
	if err := os.Remove(a.newFile); err != nil {
		return fmt.Errorf("dropping the new admin key: %w", err)
	}
	return nil
}

// wireClaims are the claims of a token as they are signed.
type wireClaims struct {
	jwt.RegisteredClaims
	Name string `json:"name,omitempty"`
	Room string `json:"room"`
	Role Role   `json:"role"`
}

// Issue returns a token for c that is valid from now on for ttl, rounded up to
// whole seconds. An empty c.Subject becomes a random one; c.Expires is not
// looked at. It returns ErrBadClaims for claims that Verify would refuse.
func (a *Authority) Issue(c Claims, ttl time.Duration) (string, error) {
	if c.Subject == "" {
		c.Subject = rand.Text()
	}
	if err := check(c); err != nil {
		return "", err
	}
	if ttl <= 0 {
		return "", fmt.Errorf("%w: time to live %v", ErrBadClaims, ttl)
	}
	now := time.Now()
	expires := now.Add(ttl + time.Second - 1).Truncate(time.Second)
	token := jwt.NewWithClaims(jwt.SigningMethodHS256, wireClaims{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer:    issuer,
			Subject:   c.Subject,
			IssuedAt:  jwt.NewNumericDate(now),
			NotBefore: jwt.NewNumericDate(now.Add(-clockSkew)),
			ExpiresAt: jwt.NewNumericDate(expires),
		},
		Name: c.Name, Room: c.Room, Role: c.Role,
	})
	signed, err := token.SignedString(a.key)
	if err != nil {
		return "", fmt.Errorf("signing a token: %w", err)
	}
	return signed, nil
}

// Verify returns what credential, a token or the key of the administrator, says
// of its bearer. It returns ErrInvalid or ErrExpired.
func (a *Authority) Verify(credential string) (Claims, error) {
	if credential == "" || len(credential) > maxCredential {
		return Claims{}, ErrInvalid
	}
	if a.isAdminKey(credential) {
		return Claims{Subject: adminSubject, Room: AnyRoom, Role: Admin}, nil
	}
	var w wireClaims
	_, err := a.parser.ParseWithClaims(credential, &w, func(*jwt.Token) (any, error) { return a.key, nil })
	switch {
	case errors.Is(err, jwt.ErrTokenSignatureInvalid):
		return Claims{}, ErrInvalid
	case errors.Is(err, jwt.ErrTokenExpired):
		return Claims{}, ErrExpired
	case err != nil:
		return Claims{}, ErrInvalid
	}
	c := Claims{Subject: w.Subject, Name: w.Name, Room: w.Room, Role: w.Role, Expires: w.ExpiresAt.Time}
	if check(c) != nil {
		return Claims{}, ErrInvalid
	}
	return c, nil
}

// isAdminKey compares hashes, so that neither the time nor the length tells
// anything of the key.
func (a *Authority) isAdminKey(credential string) bool {
	sum := sha256.Sum256([]byte(credential))
	return a.hasAdmin && subtle.ConstantTimeCompare(sum[:], a.adminHash[:]) == 1
}

func check(c Claims) error {
	switch {
	case !c.Role.Valid():
		return fmt.Errorf("%w: role %q", ErrBadClaims, c.Role)
	case c.Room == "" || len(c.Room) > maxRoom:
		return fmt.Errorf("%w: room of %d bytes", ErrBadClaims, len(c.Room))
	case c.Subject == "" || len(c.Subject) > maxSubject:
		return fmt.Errorf("%w: subject of %d bytes", ErrBadClaims, len(c.Subject))
	case len(c.Name) > maxName:
		return fmt.Errorf("%w: name of %d bytes", ErrBadClaims, len(c.Name))
	}
	return nil
}

// encode and decode are the form of secrets on disk: hex and a newline.
func encode(secret []byte) []byte { return append(hex.AppendEncode(nil, secret), '\n') }

func decode(text []byte) ([]byte, error) {
	if n := len(text); n > 0 && text[n-1] == '\n' {
		text = text[:n-1]
	}
	secret, err := hex.DecodeString(string(text))
	if err != nil || len(secret) != keyBytes {
		return nil, fmt.Errorf("want %d hexadecimal digits", 2*keyBytes)
	}
	return secret, nil
}

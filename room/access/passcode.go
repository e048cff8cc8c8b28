package access

import (
	"context"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"sync/atomic"
	"unicode/utf8"
)

const (
	minPasscode = 4   // characters
	maxPasscode = 512 // bytes: 128 characters

	// passcodeRounds makes a guess at a stolen catalogue cost some 50 ms. The
	// door does not pay it for each student: see passcode.
	passcodeRounds = 200_000
	passcodeSalt   = 16 // bytes

	// maxAtDoor bounds those who wait for a passcode to be hashed.
	maxAtDoor = 64
)

// passcode is a passcode as it is kept: a slow hash with salt. Once somebody has
// shown the right one, a fast hash under the key of this installation, in memory
// only, decides at once about everybody who comes, right or wrong.
type passcode struct {
	Salt   []byte `json:"salt"`
	Rounds int    `json:"rounds"`
	Hash   []byte `json:"hash"` // PBKDF2 with HMAC-SHA-256

	fast    atomic.Pointer[[]byte] // nil: not known yet
	waiting atomic.Int32
}

// fastHash is what a passcode is known by in memory.
func (a *Authority) fastHash(p *passcode, text string) []byte {
	return a.mac("passcode", string(p.Salt), text)
}

// newPasscode hashes a passcode. Errors: ErrBadClaims, or the cause of ctx.
func (a *Authority) newPasscode(ctx context.Context, text string) (*passcode, error) {
	if utf8.RuneCountInString(text) < minPasscode || len(text) > maxPasscode {
		return nil, fmt.Errorf("%w: passcode must have %d characters to %d bytes", ErrBadClaims, minPasscode, maxPasscode)
	}
	p := &passcode{Salt: make([]byte, passcodeSalt), Rounds: passcodeRounds}
	_, _ = rand.Read(p.Salt) // never fails (crypto/rand)
	var err error
	if p.Hash, err = a.slowHash(ctx, p, text); err != nil {
		return nil, err
	}
	fast := a.fastHash(p, text)
	p.fast.Store(&fast)
	return p, nil
}

// slowHash computes one hash at a time, so that guessing takes one core at most.
func (a *Authority) slowHash(ctx context.Context, p *passcode, text string) ([]byte, error) {
	select {
	case a.slow <- struct{}{}:
		defer func() { <-a.slow }()
	case <-ctx.Done():
		return nil, fmt.Errorf("waiting at the door: %w", context.Cause(ctx))
	}
	if p.fast.Load() != nil {
		return nil, nil // somebody was right meanwhile
	}
	hash, err := pbkdf2.Key(sha256.New, text, p.Salt, p.Rounds, sha256.Size)
	if err != nil {
		return nil, fmt.Errorf("hashing a passcode: %w", err)
	}
	return hash, nil
}

// checkPasscode returns nil for the right passcode. Errors: ErrWrongPasscode,
// ErrTooMany, or the cause of ctx.
func (a *Authority) checkPasscode(ctx context.Context, p *passcode, text string) error {
	if p == nil || text == "" || len(text) > maxPasscode {
		return ErrWrongPasscode
	}
	if known := p.fast.Load(); known != nil {
		return a.checkFast(p, *known, text)
	}
	if p.waiting.Add(1) > maxAtDoor {
		p.waiting.Add(-1)
		return ErrTooMany
	}
	defer p.waiting.Add(-1)
	hash, err := a.slowHash(ctx, p, text)
	if err != nil {
		return err
	}
	if known := p.fast.Load(); known != nil {
		return a.checkFast(p, *known, text)
	}
	if !hmac.Equal(hash, p.Hash) {
		return ErrWrongPasscode
	}
	fast := a.fastHash(p, text)
	p.fast.Store(&fast)
	return nil
}

func (a *Authority) checkFast(p *passcode, known []byte, text string) error {
	if !hmac.Equal(known, a.fastHash(p, text)) {
		return ErrWrongPasscode
	}
	return nil
}

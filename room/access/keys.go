package access

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"slices"
	"strings"
	"time"
)

const (
	keyPrefix  = "lk_"
	keySubject = "key:" // and the id: the subject of who bears a key

	maxKeys     = 10_000
	maxRoomKeys = 100

	// keepUse is how often the last use of a key is kept.
	keepUse     = time.Minute
	keepTimeout = 10 * time.Second

	// keyRaceLife is how long the id of a key that is gone counts as revoked, for
	// those who were admitted just before.
	keyRaceLife = time.Hour
)

// Key is a stored key for an encoder, which publishes, or a player.
type Key struct {
	ID       string    `json:"id"`
	Room     string    `json:"room"`
	Slot     string    `json:"slot,omitempty"` // the only one to publish to; "": any
	Name     string    `json:"name,omitempty"`
	Role     Role      `json:"role"` // Ingest or Player
	Created  time.Time `json:"created"`
	Expires  time.Time `json:"expires,omitzero"`   // zero: never
	LastUsed time.Time `json:"last_used,omitzero"` // zero: never; kept once a minute
	By       string    `json:"by,omitempty"`       // subject of who made it
}

// storedKey is a Key as it is kept. It is not changed, but replaced.
type storedKey struct {
	Key
	Hash []byte `json:"hash"` // SHA-256 of the whole secret
}

// secretOf is the secret of a key: 128 bits that only this installation can
// compute, so that Digest, which needs them, can be answered although nothing but
// their hash is kept.
func (a *Authority) secretOf(id string) string {
	secret := base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(a.mac("key", id)[:16])
	return keyPrefix + id + "_" + secret
}

// AddKey stores a key like k, whose ID, Created and LastUsed it sets. The secret
// is returned this once. Errors: ErrBadClaims, ErrTooMany, or that of the Ledger.
func (a *Authority) AddKey(ctx context.Context, k Key) (Key, string, error) {
	now := time.Now()
	k.ID, k.Created, k.LastUsed = newID(), now.UTC().Truncate(time.Second), time.Time{}
	if !k.Expires.IsZero() {
		k.Expires = k.Expires.UTC().Truncate(time.Second)
	}
	switch {
	case k.Role != Ingest && k.Role != Player:
		return Key{}, "", fmt.Errorf("%w: keys are for encoders and players", ErrBadClaims)
	case k.Room == AnyRoom:
		return Key{}, "", fmt.Errorf("%w: a key is for one room", ErrBadClaims)
	case !k.Expires.IsZero() && !k.Expires.After(now):
		return Key{}, "", fmt.Errorf("%w: end of the key", ErrBadClaims)
	}
	if err := check(k.claims()); err != nil {
		return Key{}, "", err
	}
	leave, err := a.takeTurn(ctx)
	if err != nil {
		return Key{}, "", err
	}
	defer leave()
	if err := a.roomForKey(ctx, k.Room, now); err != nil {
		return Key{}, "", err
	}
	secret := a.secretOf(k.ID)
	sum := sha256.Sum256([]byte(secret))
	if err := a.keepKey(ctx, &storedKey{Key: k, Hash: sum[:]}); err != nil {
		return Key{}, "", err
	}
	return k, secret, nil
}

// roomForKey forgets keys that have been over for long and says whether there is
// room for another. The caller has the turn.
func (a *Authority) roomForKey(ctx context.Context, room string, now time.Time) error {
	var over []string
	inRoom, all := 0, 0
	a.mu.Lock()
	for id, k := range a.keys {
		switch {
		case !k.Expires.IsZero() && now.After(k.Expires.Add(remember)):
			over = append(over, id)
			continue
		case k.Room == room:
			inRoom++
		}
		all++
	}
	a.mu.Unlock()
	if inRoom >= maxRoomKeys || all >= maxKeys {
		return ErrTooMany
	}
	for _, id := range over {
		if err := a.dropKey(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

// keepKey keeps a new state of a key. The caller has the turn.
func (a *Authority) keepKey(ctx context.Context, k *storedKey) error {
	r := Record{Kind: kindKey, ID: k.ID, Room: k.Room}
	if !k.Expires.IsZero() {
		r.Expires = k.Expires.Add(remember)
	}
	if err := a.put(ctx, r, k); err != nil {
		return err
	}
	a.mu.Lock()
	a.keys[k.ID] = k
	a.mu.Unlock()
	return nil
}

// dropKey removes a key. The caller has the turn.
func (a *Authority) dropKey(ctx context.Context, id string) error {
	if err := a.drop(ctx, kindKey, id); err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.keys, id)
	delete(a.used, id)
	a.revoked[id] = time.Now().Add(keyRaceLife)
	return nil
}

// Keys returns the keys of a room, the newest first.
func (a *Authority) Keys(room string) []Key {
	a.mu.Lock()
	defer a.mu.Unlock()
	var list []Key
	for _, k := range a.keys {
		if k.Room == room {
			list = append(list, k.Key)
		}
	}
	slices.SortFunc(list, func(x, y Key) int { return newestFirst(x.Created, y.Created, x.ID, y.ID) })
	return list
}

func (k Key) claims() Claims {
	return Claims{
		Subject: keySubject + k.ID, Name: k.Name, Room: k.Room, Role: k.Role, Expires: k.Expires, ID: k.ID, Slot: k.Slot,
	}
}

// byKey says who bears a stored key. Errors: ErrInvalid, ErrExpired.
func (a *Authority) byKey(secret string) (Claims, error) {
	k := a.storedKeyOf(secret)
	if k == nil {
		return Claims{}, ErrInvalid
	}
	return a.useKey(k)
}

// storedKeyOf returns the stored key with that secret, nil if there is none.
func (a *Authority) storedKeyOf(secret string) *storedKey {
	id, _, _ := strings.Cut(strings.TrimPrefix(secret, keyPrefix), "_")
	a.mu.Lock()
	k := a.keys[id]
	a.mu.Unlock()
	want := make([]byte, sha256.Size) // of no key, for one that is not there
	if k != nil {
		want = k.Hash
	}
	sum := sha256.Sum256([]byte(secret))
	if !sameBytes(sum[:], want) || k == nil {
		return nil
	}
	return k
}

// useKey returns the claims of who has shown the key, and notes the use.
func (a *Authority) useKey(k *storedKey) (Claims, error) {
	c := k.claims()
	now := time.Now()
	if !c.Expires.IsZero() && !now.Before(c.Expires) {
		return c, ErrExpired
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	current := a.keys[k.ID]
	if current == nil || now.Sub(current.LastUsed) < keepUse {
		return c, nil
	}
	changed := *current
	changed.LastUsed = now.UTC().Truncate(time.Second)
	a.keys[k.ID] = &changed
	a.used[k.ID] = true
	if !a.keeping && !a.closed {
		a.keeping = true
		a.gone.Go(a.keepUses) // ends when all is kept
	}
	return c, nil
}

// keepUses keeps when keys were used.
func (a *Authority) keepUses() {
	for {
		a.mu.Lock()
		var id string
		for id = range a.used {
			break
		}
		if id == "" {
			a.keeping = false
			a.mu.Unlock()
			return
		}
		delete(a.used, id)
		log := a.log
		a.mu.Unlock()
		if err := a.keepUseOf(id); err != nil {
			log.Warn("last use of a key not kept", "err", err)
		}
	}
}

func (a *Authority) keepUseOf(id string) error {
	ctx, cancel := context.WithTimeout(a.ctx, keepTimeout)
	defer cancel()
	leave, err := a.takeTurn(ctx)
	if err != nil {
		return err
	}
	defer leave()
	a.mu.Lock()
	k := a.keys[id]
	a.mu.Unlock()
	if k == nil {
		return nil
	}
	return a.keepKey(ctx, k)
}

package access

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"time"
)

// The kinds of records.
const (
	kindRoom       = "room"       // the rules of a room; ID is its name
	kindInvitation = "invitation" // ID is that of the invitation
	kindKey        = "key"        // ID is that of the key
	kindRevoked    = "revoked"    // ID is that of a token
)

// Record is a grant as a Ledger keeps it.
type Record struct {
	Kind, ID string    // together unique
	Room     string    // "": none
	Expires  time.Time // zero: never. Later the record may be dropped
	Data     []byte    // JSON
}

// Ledger keeps grants over restarts. Put and Delete are called by one goroutine
// at a time. Deleting what is not there is no error.
type Ledger interface {
	Load(ctx context.Context) ([]Record, error)
	Put(ctx context.Context, r Record) error
	Delete(ctx context.Context, kind, id string) error
}

// UseLedger loads what l keeps and keeps in it all that is granted and taken
// back from now on. It is called once, before anything is granted. A record that
// cannot be read is an error: it may be the one that closes a room.
func (a *Authority) UseLedger(ctx context.Context, l Ledger) error {
	leave, err := a.takeTurn(ctx)
	if err != nil {
		return err
	}
	defer leave()
	records, err := l.Load(ctx)
	if err != nil {
		return fmt.Errorf("loading grants: %w", err)
	}
	now := time.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, r := range records {
		if !r.Expires.IsZero() && !now.Before(r.Expires) {
			continue
		}
		if err := a.loadLocked(r); err != nil {
			return fmt.Errorf("reading a grant of kind %q: %w", r.Kind, err)
		}
	}
	a.ledger = l
	return nil
}

func (a *Authority) loadLocked(r Record) error {
	switch r.Kind {
	case kindRoom:
		room := new(roomRecord)
		if err := json.Unmarshal(r.Data, room); err != nil {
			return err
		}
		if room.Mode != "" && !room.Mode.valid() {
			room.Mode = Closed // of a newer version: shut is safe
		}
		a.rooms[r.ID] = room
	case kindInvitation:
		g := new(grant)
		if err := json.Unmarshal(r.Data, g); err != nil {
			return err
		}
		if len(g.Hash) != sha256.Size || g.ID != r.ID {
			return fmt.Errorf("%w: invitation", ErrBadClaims)
		}
		a.grants[g.ID] = g
		a.codes[[sha256.Size]byte(g.Hash)] = g.ID
	case kindKey:
		k := new(storedKey)
		if err := json.Unmarshal(r.Data, k); err != nil {
			return err
		}
		if len(k.Hash) != sha256.Size || k.ID != r.ID {
			return fmt.Errorf("%w: key", ErrBadClaims)
		}
		a.keys[k.ID] = k
	case kindRevoked:
		a.revoked[r.ID] = r.Expires
	}
	return nil // another kind is of a newer version
}

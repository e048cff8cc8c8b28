package main

import (
	"context"

	"github.com/lectern/lectern/room/access"
	"github.com/lectern/lectern/storage"
)

// ledger lets the authority keep its grants in the storage. Neither knows the
// other.
type ledger struct{ s *storage.Store }

var _ access.Ledger = ledger{}

// Load implements access.Ledger.
func (l ledger) Load(ctx context.Context) ([]access.Record, error) {
	grants, err := l.s.LoadGrants(ctx)
	if err != nil {
		return nil, err
	}
	records := make([]access.Record, len(grants))
	for i, g := range grants {
		records[i] = access.Record(g)
	}
	return records, nil
}

// Put implements access.Ledger.
func (l ledger) Put(ctx context.Context, r access.Record) error {
	return l.s.PutGrant(ctx, storage.Grant(r))
}

// Delete implements access.Ledger.
func (l ledger) Delete(ctx context.Context, kind, id string) error {
	return l.s.DeleteGrant(ctx, kind, id)
}

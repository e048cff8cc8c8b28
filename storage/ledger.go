package storage

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// Grant is one thing that was granted, or taken back: the rules of a room, an
// invitation, a stored key, a revocation. Kind and ID name it.
type Grant struct {
	Kind, ID string
	Room     string    // "": none
	Expires  time.Time // zero: never. Later it is dropped; kept to the millisecond
	Data     []byte    // JSON; what is in it is the business of who grants
}

// LoadGrants returns the grants that have not expired, by kind and id.
func (s *Store) LoadGrants(ctx context.Context) ([]Grant, error) {
	const q = `SELECT kind, id, room, expires_ms, data FROM grants
		WHERE expires_ms IS NULL OR expires_ms > ? ORDER BY kind, id`
	rows, err := s.cat.read.QueryContext(ctx, q, s.cfg.Now().UnixMilli())
	if err != nil {
		return nil, fmt.Errorf("loading grants: %w", err)
	}
	defer rows.Close() // read only
	var grants []Grant
	for rows.Next() {
		var (
			g       Grant
			expires sql.NullInt64
		)
		if err := rows.Scan(&g.Kind, &g.ID, &g.Room, &expires, &g.Data); err != nil {
			return nil, fmt.Errorf("loading grants: %w", err)
		}
		if expires.Valid {
			g.Expires = time.UnixMilli(expires.Int64)
		}
		grants = append(grants, g)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("loading grants: %w", err)
	}
	return grants, nil
}

// PutGrant keeps g in the place of the one of its kind and id.
func (s *Store) PutGrant(ctx context.Context, g Grant) error {
	const q = `INSERT INTO grants (kind, id, room, expires_ms, data) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT (kind, id) DO UPDATE SET room = excluded.room, expires_ms = excluded.expires_ms, data = excluded.data`
	expires := sql.NullInt64{Int64: g.Expires.UnixMilli(), Valid: !g.Expires.IsZero()}
	if _, err := s.cat.write.ExecContext(ctx, q, g.Kind, g.ID, g.Room, expires, g.Data); err != nil {
		return fmt.Errorf("keeping grant of kind %s: %w", g.Kind, err)
	}
	return nil
}

// DeleteGrant forgets a grant. None of that name is no error.
func (s *Store) DeleteGrant(ctx context.Context, kind, id string) error {
	if _, err := s.cat.write.ExecContext(ctx, `DELETE FROM grants WHERE kind = ? AND id = ?`, kind, id); err != nil {
		return fmt.Errorf("forgetting grant of kind %s: %w", kind, err)
	}
	return nil
}

// cleanGrants drops those that have expired.
func (s *Store) cleanGrants(ctx context.Context) error {
	if _, err := s.cat.write.ExecContext(ctx, `DELETE FROM grants WHERE expires_ms <= ?`, s.cfg.Now().UnixMilli()); err != nil {
		return fmt.Errorf("dropping expired grants: %w", err)
	}
	return nil
}

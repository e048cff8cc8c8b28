package storage

import (
	"context"
	"encoding/json"
	"fmt"
)

// SaveClass keeps the state of the class that runs in a room, so that it can go
// on after a crash. What is in it is the room's business.
func (s *Store) SaveClass(ctx context.Context, room string, state json.RawMessage) error {
	const q = `INSERT INTO classes (room, state, updated_ms) VALUES (?, ?, ?)
		ON CONFLICT (room) DO UPDATE SET state = excluded.state, updated_ms = excluded.updated_ms`
	if _, err := s.cat.write.ExecContext(ctx, q, room, []byte(state), s.cfg.Now().UnixMilli()); err != nil {
		return fmt.Errorf("saving class of room %s: %w", room, err)
	}
	return nil
}

// DeleteClass forgets the class of a room: it has ended. No class is no error.
func (s *Store) DeleteClass(ctx context.Context, room string) error {
	if _, err := s.cat.write.ExecContext(ctx, `DELETE FROM classes WHERE room = ?`, room); err != nil {
		return fmt.Errorf("deleting class of room %s: %w", room, err)
	}
	return nil
}

// LoadClasses returns the states that were saved and not deleted, by room.
func (s *Store) LoadClasses(ctx context.Context) (map[string]json.RawMessage, error) {
	rows, err := s.cat.read.QueryContext(ctx, `SELECT room, state FROM classes`)
	if err != nil {
		return nil, fmt.Errorf("loading classes: %w", err)
	}
	defer rows.Close() // read only
	classes := make(map[string]json.RawMessage)
	for rows.Next() {
		var (
			room  string
			state []byte
		)
		if err := rows.Scan(&room, &state); err != nil {
			return nil, fmt.Errorf("loading classes: %w", err)
		}
		classes[room] = state
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("loading classes: %w", err)
	}
	return classes, nil
}

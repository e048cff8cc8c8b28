package storage

import (
	"context"
	"fmt"
	"io/fs"
	"strings"
	"time"
)

// cleanEvery is how often uploads that nobody goes on with, and grants that have
// expired, are looked for.
const cleanEvery = time.Hour

// clean runs until Close: a gateway may be up for months.
func (s *Store) clean(ctx context.Context) {
	defer close(s.cleaned)
	tick := time.NewTicker(cleanEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if err := s.cleanUploads(ctx); err != nil && ctx.Err() == nil {
			s.log.Warn("stale uploads not removed", "err", err)
		}
		if err := s.cleanGrants(ctx); err != nil && ctx.Err() == nil {
			s.log.Warn("expired grants not removed", "err", err)
		}
	}
}

// cleanUploads removes uploads that have been left for longer than their
// lifetime.
func (s *Store) cleanUploads(ctx context.Context) error {
	s.starting.Lock() // none begins meanwhile
	defer s.starting.Unlock()
	known, err := s.knownFiles(ctx)
	if err != nil {
		return err
	}
	for id, f := range known {
		if f.stored || s.cfg.Now().Sub(f.updated) < uploadLifetime || s.isOpen(id) {
			continue
		}
		if err := s.removeUpload(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

// sortFiles sets right, at the start, what a crash has left between the folder
// and the catalogue. Complete files that the catalogue does not know are left
// where they are: it may be the catalogue that was lost.
func (s *Store) sortFiles(ctx context.Context) error {
	known, err := s.knownFiles(ctx)
	if err != nil {
		return err
	}
	entries, err := fs.ReadDir(s.root.FS(), filesDir)
	if err != nil {
		return fmt.Errorf("reading files: %w", err)
	}
	for _, e := range entries {
		id, part := strings.CutSuffix(e.Name(), partSuffix)
		f, ok := known[id]
		switch {
		case part && !ok:
			err = s.root.Remove(partPath(id))
		case !part && ok && !f.stored:
			// A crash in Commit: it has its name, but nobody was told.
			err = s.root.Rename(filePath(id), partPath(id))
		}
		if err != nil {
			return fmt.Errorf("sorting files: %w", err)
		}
	}
	return nil
}

type knownFile struct {
	stored  bool
	updated time.Time
}

func (s *Store) knownFiles(ctx context.Context) (map[string]knownFile, error) {
	rows, err := s.cat.read.QueryContext(ctx, `SELECT id, stored, updated_ms FROM files`)
	if err != nil {
		return nil, fmt.Errorf("reading catalogue: %w", err)
	}
	defer rows.Close() // read only
	known := make(map[string]knownFile)
	for rows.Next() {
		var (
			id string
			f  knownFile
			ms int64
		)
		if err := rows.Scan(&id, &f.stored, &ms); err != nil {
			return nil, fmt.Errorf("reading catalogue: %w", err)
		}
		f.updated = time.UnixMilli(ms)
		known[id] = f
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("reading catalogue: %w", err)
	}
	return known, nil
}

func (s *Store) isOpen(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.uploads[id] != nil
}

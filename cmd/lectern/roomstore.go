package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/lectern/lectern/room"
	"github.com/lectern/lectern/storage"
)

// roomStore lets rooms keep their things in the storage. Neither knows the
// other.
type roomStore struct{ s *storage.Store }

var (
	_ room.EventLog   = roomStore{}
	_ room.ClassStore = roomStore{}
	_ room.FileStore  = roomStore{}
)

// Append keeps lines one by one: after an error the first few are kept.
func (r roomStore) Append(ctx context.Context, name string, lines []room.Line) error {
	for _, l := range lines {
		e := storage.Event{Seq: l.Seq, At: l.At, Payload: l.JSON, Key: l.Key}
		if err := r.s.AppendEvent(ctx, name, e); err != nil {
			return err
		}
	}
	return nil
}

func (r roomStore) Find(ctx context.Context, name, key string) (uint64, error) {
	e, err := r.s.EventByKey(ctx, name, key)
	if errors.Is(err, storage.ErrNotFound) {
		return 0, nil
	}
	return e.Seq, err
}

func (r roomStore) Since(ctx context.Context, name string, after uint64, limit int) ([]room.Line, error) {
	events, err := r.s.EventsSince(ctx, name, after, limit)
	if err != nil {
		return nil, err
	}
	lines := make([]room.Line, len(events))
	for i, e := range events {
		lines[i] = room.Line{Seq: e.Seq, At: e.At, JSON: e.Payload, Key: e.Key}
	}
	return lines, nil
}

func (r roomStore) Last(ctx context.Context, name string) (uint64, error) {
	return r.s.LastSeq(ctx, name)
}

func (r roomStore) SaveClass(ctx context.Context, name string, state json.RawMessage) error {
	return r.s.SaveClass(ctx, name, state)
}

func (r roomStore) DeleteClass(ctx context.Context, name string) error {
	return r.s.DeleteClass(ctx, name)
}

func (r roomStore) LoadClasses(ctx context.Context) (map[string]json.RawMessage, error) {
	return r.s.LoadClasses(ctx)
}

func (r roomStore) BeginUpload(ctx context.Context, name string, h room.FileHead) (room.Upload, error) {
	u, err := r.s.BeginUpload(ctx, name, storage.FileHead(h))
	if err != nil {
		return nil, roomError(err)
	}
	return upload{u}, nil
}

func (r roomStore) OpenFile(ctx context.Context, name, id string) (room.File, room.FileInfo, error) {
	f, info, err := r.s.OpenFile(ctx, name, id)
	if err != nil {
		return nil, room.FileInfo{}, roomError(err)
	}
	return f, roomFile(info), nil
}

// upload is a storage.Upload with the errors of rooms.
type upload struct{ *storage.Upload }

func (u upload) Stored() (room.FileInfo, bool) {
	f, ok := u.Upload.Stored()
	return roomFile(f), ok
}

func (u upload) Append(offset int64, p []byte) error { return roomError(u.Upload.Append(offset, p)) }

func (u upload) Commit(ctx context.Context) (room.FileInfo, error) {
	f, err := u.Upload.Commit(ctx)
	return roomFile(f), roomError(err)
}

func roomFile(f storage.FileInfo) room.FileInfo {
	return room.FileInfo{ID: f.ID, Name: f.Name, Size: f.Size, SHA256: f.SHA256, MediaType: f.MediaType, By: f.By, At: f.At}
}

// roomError says in the words of rooms what the storage says in its own.
func roomError(err error) error {
	for _, e := range []struct{ from, to error }{
		{storage.ErrNotFound, room.ErrFileNotFound},
		{storage.ErrTooLarge, room.ErrFileTooLarge},
		{storage.ErrQuota, room.ErrQuota},
		{storage.ErrDiskFull, room.ErrQuota},
		{storage.ErrTooMany, room.ErrBusy},
		{storage.ErrDigest, room.ErrDigest},
		{storage.ErrBadHead, room.ErrBadFile},
		{storage.ErrIncomplete, room.ErrBadFile},
		{storage.ErrOffset, room.ErrBadFile},
		{storage.ErrSuperseded, room.ErrReplaced},
	} {
		if errors.Is(err, e.from) {
			return fmt.Errorf("%w: %w", e.to, err)
		}
	}
	return err
}

// recording is a storage.Recording as rooms see it.
type recording struct {
	*storage.Recording
	room string
}

func (r recording) AddFile(f room.FileInfo) error {
	return r.Recording.AddFile(storage.FileInfo{
		ID: f.ID, Room: r.room, Name: f.Name, Size: f.Size, SHA256: f.SHA256, MediaType: f.MediaType, By: f.By, At: f.At,
	})
}

func beginLecture(s *storage.Store) func(string, string, time.Time) (room.Lecture, error) {
	return func(name, title string, at time.Time) (room.Lecture, error) {
		r, err := s.Begin(name, title, at)
		if err != nil {
			return nil, err
		}
		return recording{r, name}, nil
	}
}

func resumeLecture(s *storage.Store) func(context.Context, string) (room.Lecture, error) {
	return func(ctx context.Context, id string) (room.Lecture, error) {
		r, err := s.Resume(ctx, id)
		if err != nil {
			return nil, err
		}
		return recording{r, r.Manifest().Room}, nil
	}
}

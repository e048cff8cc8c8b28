package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/lectern/lectern/egress/whep"
	"github.com/lectern/lectern/internal/rtc"
	"github.com/lectern/lectern/room"
	"github.com/lectern/lectern/room/access"
	"github.com/lectern/lectern/storage"
)

// gateway is a Server on a real room hub and a real storage.
type gateway struct {
	*Server
	t     *testing.T
	log   *logBuffer
	store *storage.Store
	hub   *room.Hub
}

func newGateway(t *testing.T, change func(*Config)) *gateway {
	t.Helper()
	return newGatewayOn(t, rtc.Config{Addr: "127.0.0.1:0", ConnectTimeout: 5 * time.Second}, change)
}

// newGatewayOn is newGateway with other time limits of sessions.
func newGatewayOn(t *testing.T, media rtc.Config, change func(*Config)) *gateway {
	t.Helper()
	store, err := storage.Open(t.Context(), storage.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	var rules func(room string) access.RoomRules // of the authority, once there is one
	hub := room.NewHub(room.Config{
		Policy: func(name string) room.Policy {
			r := rules(name)
			return room.Policy{Chat: r.Chat, Files: r.Files}
		},
		Events: eventLog{store}, Classes: store, Files: fileStore{store},
		BeginLecture: func(name, title string, at time.Time) (room.Lecture, error) {
			r, err := store.Begin(name, title, at)
			return lecture{r}, err
		},
		Grace: 300 * time.Millisecond, Limits: room.Limits{FileBytes: 1 << 20},
	})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := errors.Join(hub.Close(ctx), store.Close()); err != nil {
			t.Error(err)
		}
	})
	endpoint, err := rtc.Listen(media)
	if err != nil {
		t.Fatal(err)
	}
	viewers := whep.New(whep.Config{Endpoint: endpoint})
	t.Cleanup(func() {
		viewers.Close()
		if err := endpoint.Close(); err != nil {
			t.Error(err)
		}
	})
	s, logged := bareServer(t, func(c *Config) { // closed before the rest: cleanups run backwards
		c.Hub, c.Store, c.Recording = hub, store, true
		c.Endpoint, c.WHEP = endpoint, viewers
		c.FileLimit, c.RoomQuota = 1<<20, 1<<21
		if change != nil {
			change(c)
		}
	})
	rules = s.cfg.Authority.Rules
	return &gateway{Server: s, t: t, log: logged, store: store, hub: hub}
}

// token issues a token of a room.
func (g *gateway) token(name string, role access.Role) string {
	g.t.Helper()
	tok, err := g.cfg.Authority.Issue(access.Claims{Room: name, Role: role, Name: "Ada"}, time.Hour)
	if err != nil {
		g.t.Fatal(err)
	}
	return tok
}

// call sends a request with a token; a body that is no []byte goes as JSON.
func (g *gateway) call(token, method, target string, body any, header ...string) *http.Response {
	g.t.Helper()
	var r io.Reader
	switch b := body.(type) {
	case nil:
	case []byte:
		r = bytes.NewReader(b)
	default:
		data, err := json.Marshal(b)
		if err != nil {
			g.t.Fatal(err)
		}
		r = bytes.NewReader(data)
		header = append(header, "Content-Type", "application/json")
	}
	if token != "" {
		header = append(header, "Authorization", "Bearer "+token)
	}
	return ask(g.Handler(), method, target, r, header...)
}

// want checks the status of an answer and decodes its body into out, if any.
func (g *gateway) want(status int, resp *http.Response, out any) {
	g.t.Helper()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		g.t.Fatal(err)
	}
	if resp.StatusCode != status {
		g.t.Fatalf("got %d %s, want %d", resp.StatusCode, body, status)
	}
	if out == nil {
		return
	}
	if err := json.Unmarshal(body, out); err != nil {
		g.t.Fatalf("decoding %s: %v", body, err)
	}
}

// eventLog keeps the events of rooms in the storage.
type eventLog struct{ s *storage.Store }

func (l eventLog) Append(ctx context.Context, name string, lines []room.Line) error {
	for _, line := range lines {
		e := storage.Event{Seq: line.Seq, At: line.At, Payload: line.JSON, Key: line.Key}
		if err := l.s.AppendEvent(ctx, name, e); err != nil {
			return err
		}
	}
	return nil
}

func (l eventLog) Find(ctx context.Context, name, key string) (uint64, error) {
	e, err := l.s.EventByKey(ctx, name, key)
	if errors.Is(err, storage.ErrNotFound) {
		return 0, nil
	}
	return e.Seq, err
}

func (l eventLog) Since(ctx context.Context, name string, after uint64, limit int) ([]room.Line, error) {
	events, err := l.s.EventsSince(ctx, name, after, limit)
	var lines []room.Line
	for _, e := range events {
		lines = append(lines, room.Line{Seq: e.Seq, At: e.At, JSON: e.Payload, Key: e.Key})
	}
	return lines, err
}

func (l eventLog) Last(ctx context.Context, name string) (uint64, error) {
	return l.s.LastSeq(ctx, name)
}

// lecture is a recording as rooms know it.
type lecture struct{ *storage.Recording }

func (l lecture) AddFile(f room.FileInfo) error {
	return l.Recording.AddFile(storage.FileInfo{
		ID: f.ID, Name: f.Name, Size: f.Size, SHA256: f.SHA256, MediaType: f.MediaType, By: f.By, At: f.At,
	})
}

// fileStore keeps the files of rooms in the storage.
type fileStore struct{ s *storage.Store }

func (f fileStore) BeginUpload(ctx context.Context, name string, h room.FileHead) (room.Upload, error) {
	u, err := f.s.BeginUpload(ctx, name, storage.FileHead(h))
	if err != nil {
		return nil, fmt.Errorf("beginning upload: %w", err)
	}
	return upload{u}, nil
}

func (f fileStore) OpenFile(ctx context.Context, name, id string) (room.File, room.FileInfo, error) {
	file, info, err := f.s.OpenFile(ctx, name, id)
	if err != nil {
		return nil, room.FileInfo{}, err
	}
	return file, roomFile(info), nil
}

type upload struct{ *storage.Upload }

func (u upload) Stored() (room.FileInfo, bool) {
	f, ok := u.Upload.Stored()
	return roomFile(f), ok
}

func (u upload) Commit(ctx context.Context) (room.FileInfo, error) {
	f, err := u.Upload.Commit(ctx)
	return roomFile(f), err
}

func roomFile(f storage.FileInfo) room.FileInfo {
	return room.FileInfo{ID: f.ID, Name: f.Name, Size: f.Size, SHA256: f.SHA256, MediaType: f.MediaType, By: f.By, At: f.At}
}

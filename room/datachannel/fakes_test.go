package datachannel_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/lectern/lectern/internal/rtc"
	"github.com/lectern/lectern/room"
	"github.com/lectern/lectern/room/access"
	"github.com/lectern/lectern/room/datachannel"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var _ datachannel.Channel = (*rtc.DataChannel)(nil)

var (
	ada = room.Identity{ID: "ada", Name: "Ada", Role: access.Teacher, Room: "algebra"}
	wei = room.Identity{ID: "wei", Name: "Wei", Role: access.Student, Room: "algebra"}
)

type message struct {
	data   []byte
	isText bool
}

// pipe is a Channel in memory; the test is the peer. What the server writes
// waits in queue until the test reads it.
type pipe struct {
	label, protocol string
	in              chan message
	closed          chan struct{}
	once            sync.Once

	mu      sync.Mutex // guards what follows
	queue   []message
	bytes   int
	changed chan struct{}
}

func newPipe(label string) *pipe {
	return &pipe{
		label: label, protocol: datachannel.Protocol,
		in: make(chan message, 1000), closed: make(chan struct{}), changed: make(chan struct{}),
	}
}

func (p *pipe) Label() string    { return p.label }
func (p *pipe) Protocol() string { return p.protocol }

func (p *pipe) ReadMessage(buf []byte) (int, bool, error) {
	select {
	case m := <-p.in:
		if len(m.data) > len(buf) {
			return 0, false, rtc.ErrMessageTooLarge
		}
		return copy(buf, m.data), m.isText, nil
	case <-p.closed:
		return 0, false, io.EOF
	}
}

func (p *pipe) write(data []byte, isText bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.closed:
		return rtc.ErrClosed
	default:
	}
	if p.bytes+len(data) > 1<<20 {
		return rtc.ErrBufferFull
	}
	p.queue = append(p.queue, message{data: append([]byte(nil), data...), isText: isText})
	p.bytes += len(data)
	close(p.changed)
	p.changed = make(chan struct{})
	return nil
}

func (p *pipe) WriteText(data []byte) error   { return p.write(data, true) }
func (p *pipe) WriteBinary(data []byte) error { return p.write(data, false) }

func (p *pipe) BufferedAmount() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return uint64(p.bytes)
}

func (p *pipe) WaitLow(ctx context.Context) error {
	for {
		p.mu.Lock()
		low, changed := p.bytes <= 256<<10, p.changed
		p.mu.Unlock()
		if low {
			return nil
		}
		select {
		case <-changed:
		case <-p.closed:
			return io.EOF
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (p *pipe) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

// pop returns the oldest message of the server.
func (p *pipe) pop(ctx context.Context) (message, error) {
	for {
		p.mu.Lock()
		changed := p.changed
		if len(p.queue) > 0 {
			m := p.queue[0]
			p.queue = p.queue[1:]
			p.bytes -= len(m.data)
			close(p.changed)
			p.changed = make(chan struct{})
			p.mu.Unlock()
			return m, nil
		}
		p.mu.Unlock()
		select {
		case <-changed:
		case <-p.closed:
			return message{}, io.EOF
		case <-ctx.Done():
			return message{}, context.Cause(ctx)
		}
	}
}

// client is the page's side of a channel.
type client struct {
	*pipe
	t      *testing.T
	result chan error // of Serve
}

// dial serves a channel of a session until the test ends.
func dial(t *testing.T, s *datachannel.Session, label string) *client {
	t.Helper()
	c := &client{pipe: newPipe(label), t: t, result: make(chan error, 1)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.result <- s.Serve(t.Context(), c.pipe)
	}()
	t.Cleanup(func() {
		_ = c.Close()
		<-done
	})
	return c
}

// send sends v as JSON, or as it is if it is text.
func (c *client) send(v any) {
	c.t.Helper()
	if s, ok := v.(string); ok {
		c.in <- message{data: []byte(s), isText: true}
		return
	}
	data, err := json.Marshal(v)
	if err != nil {
		c.t.Fatal(err)
	}
	c.in <- message{data: data, isText: true}
}

// fields is a message of the server.
type fields map[string]any

func (f fields) num(key string) int64 {
	n, _ := f[key].(float64)
	return int64(n)
}

// next returns the next text message of one of the types; other messages are
// passed over, and their number counted in the failure.
func (c *client) next(types ...string) fields {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 10*time.Second)
	defer cancel()
	var passed []string
	for {
		m, err := c.pop(ctx)
		if err != nil {
			c.t.Fatalf("waiting for %v: %v; passed over: %v", types, err, passed)
		}
		if !m.isText {
			continue
		}
		var f fields
		if err := json.Unmarshal(m.data, &f); err != nil {
			c.t.Fatalf("%s: %v", m.data, err)
		}
		for _, want := range types {
			if f["type"] == want {
				return f
			}
		}
		passed = append(passed, string(m.data))
	}
}

// wantError waits for an error of that code.
func (c *client) wantError(code string) fields {
	c.t.Helper()
	f := c.next("error")
	if f["code"] != code {
		c.t.Fatalf("got error %v, want %s", f, code)
	}
	return f
}

// newRoom makes a room with a store of files in memory.
func newRoom(t *testing.T, change ...func(*room.Config)) (*room.Room, *memoryFiles) {
	t.Helper()
	files := &memoryFiles{stored: make(map[string]storedFile), parts: make(map[string]*part)}
	cfg := room.Config{Files: files}
	for _, c := range change {
		c(&cfg)
	}
	h := room.NewHub(cfg)
	t.Cleanup(func() {
		if err := h.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	r, err := h.Room("algebra")
	if err != nil {
		t.Fatal(err)
	}
	return r, files
}

func session(r *room.Room, who room.Identity) *datachannel.Session {
	return datachannel.New(datachannel.Config{Room: r, Who: who})
}

// memoryFiles is a FileStore in memory.
type memoryFiles struct {
	mu     sync.Mutex // guards what follows
	stored map[string]storedFile
	parts  map[string]*part
	quota  int64         // 0: none
	gate   chan struct{} // nil, or each Append takes a value first
}

type storedFile struct {
	info room.FileInfo
	data []byte
	key  string
}

type part struct {
	owner *upload
	data  []byte
}

func (m *memoryFiles) BeginUpload(_ context.Context, name string, h room.FileHead) (room.Upload, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.quota > 0 && h.Size > m.quota {
		return nil, room.ErrQuota
	}
	u := &upload{m: m, head: h, key: fmt.Sprint(name, h.By, h.ClientID, h.Size, h.SHA256)}
	p, ok := m.parts[u.key]
	if !ok {
		p = &part{}
		m.parts[u.key] = p
	}
	p.owner, u.part = u, p
	return u, nil
}

func (m *memoryFiles) OpenFile(_ context.Context, _, id string) (room.File, room.FileInfo, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f, ok := m.stored[id]
	if !ok {
		return nil, room.FileInfo{}, room.ErrFileNotFound
	}
	return memoryFile(f.data), f.info, nil
}

type memoryFile []byte

func (f memoryFile) ReadAt(p []byte, off int64) (int, error) {
	if off >= int64(len(f)) {
		return 0, io.EOF
	}
	n := copy(p, f[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (memoryFile) Close() error { return nil }

type upload struct {
	m    *memoryFiles
	head room.FileHead
	key  string
	part *part
}

func (u *upload) Offset() int64 {
	u.m.mu.Lock()
	defer u.m.mu.Unlock()
	return int64(len(u.part.data))
}

func (u *upload) Stored() (room.FileInfo, bool) {
	u.m.mu.Lock()
	defer u.m.mu.Unlock()
	for _, f := range u.m.stored {
		if f.key == u.key {
			return f.info, true
		}
	}
	return room.FileInfo{}, false
}

func (u *upload) Append(offset int64, p []byte) error {
	if u.m.gate != nil {
		<-u.m.gate
	}
	u.m.mu.Lock()
	defer u.m.mu.Unlock()
	if u.part.owner != u {
		return room.ErrReplaced
	}
	if offset != int64(len(u.part.data)) {
		return fmt.Errorf("append at %d, want %d", offset, len(u.part.data))
	}
	u.part.data = append(u.part.data, p...)
	return nil
}

func (u *upload) Commit(context.Context) (room.FileInfo, error) {
	u.m.mu.Lock()
	defer u.m.mu.Unlock()
	sum := sha256.Sum256(u.part.data)
	delete(u.m.parts, u.key)
	if hex.EncodeToString(sum[:]) != u.head.SHA256 {
		return room.FileInfo{}, room.ErrDigest
	}
	info := room.FileInfo{
		ID: fmt.Sprintf("f%d", len(u.m.stored)+1), Name: u.head.Name, Size: u.head.Size,
		SHA256: u.head.SHA256, MediaType: u.head.MediaType, By: u.head.By,
	}
	u.m.stored[info.ID] = storedFile{info: info, data: u.part.data, key: u.key}
	return info, nil
}

func (u *upload) Abort(context.Context) error { return nil }
func (u *upload) Close() error                { return nil }

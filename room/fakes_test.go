package room_test

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/lectern/lectern/room"
	"github.com/lectern/lectern/room/access"
	"github.com/lectern/lectern/stream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	ada   = room.Identity{ID: "ada", Name: "Ada", Role: access.Teacher, Room: "algebra"}
	grace = room.Identity{ID: "grace", Name: "Grace", Role: access.Teacher, Room: "algebra"}
	wei   = room.Identity{ID: "wei", Name: "Wei", Role: access.Student, Room: "algebra"}
)

var errDisk = errors.New("disk trouble")

// fakeLog is an EventLog on an honest disk that can be made to fail.
type fakeLog struct {
	mu    sync.Mutex
	rooms map[string][]room.Line
	keys  map[string]uint64                             // by room and key
	fail  func(lines []room.Line) (keep int, err error) // nil: all goes well
}

func newFakeLog() *fakeLog {
	return &fakeLog{rooms: make(map[string][]room.Line), keys: make(map[string]uint64)}
}

func (f *fakeLog) Append(_ context.Context, name string, lines []room.Line) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	keep, err := len(lines), error(nil)
	if f.fail != nil {
		keep, err = f.fail(lines)
	}
	for _, l := range lines[:keep] {
		if want := uint64(len(f.rooms[name]) + 1); l.Seq != want {
			panic("a hole in the log")
		}
		f.rooms[name] = append(f.rooms[name], room.Line{Seq: l.Seq, At: l.At, JSON: l.JSON, Key: l.Key})
		if l.Key != "" {
			f.keys[name+" "+l.Key] = l.Seq
		}
	}
	return err
}

func (f *fakeLog) Find(_ context.Context, name, key string) (uint64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.keys[name+" "+key], nil
}

func (f *fakeLog) Since(_ context.Context, name string, after uint64, limit int) ([]room.Line, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	lines := f.rooms[name]
	if after >= uint64(len(lines)) {
		return nil, nil
	}
	lines = lines[after:]
	return lines[:min(limit, len(lines))], nil
}

func (f *fakeLog) Last(_ context.Context, name string) (uint64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return uint64(len(f.rooms[name])), nil
}

// events returns what is kept of a room, of the types given, or all.
func (f *fakeLog) events(t *testing.T, types ...string) []room.Event {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	var events []room.Event
	for _, l := range f.rooms["algebra"] {
		e := parse(t, l.JSON)
		for _, want := range types {
			if e.Type == want {
				events = append(events, e)
			}
		}
		if len(types) == 0 {
			events = append(events, e)
		}
	}
	return events
}

func parse(t *testing.T, line []byte) room.Event {
	t.Helper()
	var e room.Event
	if err := json.Unmarshal(line, &e); err != nil {
		t.Fatal(err)
	}
	return e
}

// states are the states of events, for short comparisons.
func states(events []room.Event) []string {
	var s []string
	for _, e := range events {
		s = append(s, e.State)
	}
	return s
}

// fakeClasses is a ClassStore in memory.
type fakeClasses struct {
	mu     sync.Mutex
	states map[string]json.RawMessage
}

func newFakeClasses() *fakeClasses { return &fakeClasses{states: make(map[string]json.RawMessage)} }

func (f *fakeClasses) SaveClass(_ context.Context, name string, state json.RawMessage) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.states[name] = state
	return nil
}

func (f *fakeClasses) DeleteClass(_ context.Context, name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.states, name)
	return nil
}

func (f *fakeClasses) LoadClasses(context.Context) (map[string]json.RawMessage, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.states), nil
}

// recorder begins fake lectures.
type recorder struct {
	mu       sync.Mutex
	lectures []*fakeLecture
	err      error
	resumed  []string
}

func (r *recorder) begin(name, title string, at time.Time) (room.Lecture, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return nil, r.err
	}
	l := &fakeLecture{id: string(rune('a' + len(r.lectures))), room: name, title: title, at: at}
	l.failed = make(chan struct{})
	r.lectures = append(r.lectures, l)
	return l, nil
}

func (r *recorder) resume(_ context.Context, id string) (room.Lecture, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, l := range r.lectures {
		if l.id == id {
			r.resumed = append(r.resumed, id)
			l.mu.Lock()
			l.ended = false
			l.mu.Unlock()
			return l, nil
		}
	}
	return nil, errDisk
}

func (r *recorder) only(t *testing.T) *fakeLecture {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.lectures) != 1 {
		t.Fatalf("got %d recordings, want 1", len(r.lectures))
	}
	return r.lectures[0]
}

// fakeLecture notes what it is told.
type fakeLecture struct {
	id, room, title string
	at              time.Time
	failed          chan struct{}

	mu     sync.Mutex
	slots  []string
	live   []bool // of the streams, when added
	stream map[string]*stream.Stream
	lines  []string
	files  []string
	ended  bool
	err    error
}

func (l *fakeLecture) ID() string { return l.id }

func (l *fakeLecture) AddStream(slot string, s *stream.Stream) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.slots = append(l.slots, slot)
	l.live = append(l.live, s.Live())
	if l.stream == nil {
		l.stream = make(map[string]*stream.Stream)
	}
	l.stream[slot] = s
	return nil
}

func (l *fakeLecture) AddFile(f room.FileInfo) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.files = append(l.files, f.ID)
	return nil
}

func (l *fakeLecture) Event(line []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return errors.New("ended")
	}
	l.lines = append(l.lines, string(line))
	return nil
}

func (l *fakeLecture) Failed() <-chan struct{} { return l.failed }

func (l *fakeLecture) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

func (l *fakeLecture) fail(err error) {
	l.mu.Lock()
	l.err = err
	l.mu.Unlock()
	close(l.failed)
}

func (l *fakeLecture) End(context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	return nil
}

func (l *fakeLecture) done() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ended
}

// house is a hub with its fakes.
type house struct {
	*room.Hub
	log     *fakeLog
	classes *fakeClasses
	rec     *recorder
	cfg     room.Config
}

func newHouse(t *testing.T, change ...func(*room.Config)) *house {
	t.Helper()
	h := &house{log: newFakeLog(), classes: newFakeClasses(), rec: &recorder{}}
	h.cfg = room.Config{
		Events: h.log, Classes: h.classes,
		BeginLecture: h.rec.begin, ResumeLecture: h.rec.resume,
	}
	for _, c := range change {
		c(&h.cfg)
	}
	h.Hub = room.NewHub(h.cfg)
	t.Cleanup(func() { h.close(t) })
	return h
}

func (h *house) close(t *testing.T) {
	t.Helper()
	if err := h.Close(t.Context()); err != nil && t.Context().Err() == nil {
		t.Error(err)
	}
}

// crash makes a new hub on what the old one has kept, without closing that one
// first.
func (h *house) crash(t *testing.T) *house {
	t.Helper()
	states, err := h.classes.LoadClasses(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	log := newFakeLog()
	h.log.mu.Lock()
	for name, lines := range h.log.rooms {
		log.rooms[name] = append([]room.Line(nil), lines...)
	}
	maps.Copy(log.keys, h.log.keys)
	h.log.mu.Unlock()
	next := &house{log: log, classes: &fakeClasses{states: states}, rec: h.rec, cfg: h.cfg}
	next.cfg.Events, next.cfg.Classes = next.log, next.classes
	next.Hub = room.NewHub(next.cfg)
	t.Cleanup(func() { next.close(t) })
	return next
}

func (h *house) open(t *testing.T) *room.Room {
	t.Helper()
	r, err := h.Room("algebra")
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func publish(t *testing.T, r *room.Room, id room.Identity, slot string) *room.Hold {
	t.Helper()
	h, err := r.Publish(id, slot, stream.Source{})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func join(t *testing.T, r *room.Room, id room.Identity, o room.JoinOptions) (*room.Member, room.Welcome) {
	t.Helper()
	m, w, err := r.Join(id, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Leave)
	return m, w
}

func wantState(t *testing.T, r *room.Room, want string) {
	t.Helper()
	if got := r.Snapshot().State; got != want {
		t.Fatalf("state: got %s, want %s", got, want)
	}
}

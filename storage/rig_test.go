package storage_test

import (
	"context"
	"math"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lectern/lectern/storage"
	"github.com/lectern/lectern/stream"
)

// clock is a clock that tests set.
type clock struct{ ns atomic.Int64 }

func (c *clock) now() time.Time      { return time.Unix(0, c.ns.Load()).UTC() }
func (c *clock) set(t time.Time)     { c.ns.Store(t.UnixNano()) }
func (c *clock) add(d time.Duration) { c.ns.Add(int64(d)) }

// rig is a store with a recording that runs, and a stream in it.
type rig struct {
	t     testing.TB
	dir   string
	clock *clock
	began time.Time
	store *storage.Store
	rec   *storage.Recording
	st    *stream.Stream
}

func newRig(t testing.TB, cfg storage.Config) *rig {
	t.Helper()
	r := &rig{t: t, dir: t.TempDir(), clock: new(clock), began: time.Date(2026, 11, 20, 18, 4, 5, 0, time.UTC)}
	r.clock.set(r.began)
	cfg.Dir, cfg.Now = r.dir, r.clock.now
	var err error
	if r.store, err = storage.Open(context.Background(), cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.store.Close(); err != nil {
			t.Errorf("closing store: %v", err)
		}
	})
	if r.rec, err = r.store.Begin("algebra", "Rings and fields", r.began); err != nil {
		t.Fatal(err)
	}
	r.st = stream.New(stream.Config{Name: "algebra/main", Now: r.clock.now})
	t.Cleanup(r.st.Close)
	if err := r.rec.AddStream("main", r.st); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *rig) publish() *stream.Publication {
	r.t.Helper()
	pub, err := r.st.Publish(stream.Source{Kinds: []stream.Kind{stream.Audio, stream.Video}})
	if err != nil {
		r.t.Fatal(err)
	}
	return pub
}

// end ends the recording when the lecture has lasted for d.
func (r *rig) end(d time.Duration) *storage.Manifest {
	r.t.Helper()
	r.clock.set(r.began.Add(d))
	if err := r.rec.End(context.Background()); err != nil {
		r.t.Fatalf("end: %v", err)
	}
	m, err := r.store.Get(context.Background(), r.rec.ID())
	if err != nil {
		r.t.Fatal(err)
	}
	return m
}

func (r *rig) path(name string) string { return filepath.Join(r.rec.Dir(), name) }

// settle waits until the recording has as many frames of kind as it should.
func (r *rig) settle(kind string, frames int64) {
	r.t.Helper()
	eventually(r.t, "frames of "+kind, func() bool {
		n := int64(0)
		for _, t := range r.rec.Manifest().Tracks {
			if t.Kind == kind {
				n += t.Frames
			}
		}
		return n >= frames
	})
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within 10 s", what)
		}
		<-tick.C
	}
}

func track(t testing.TB, m *storage.Manifest, id string) storage.TrackInfo {
	t.Helper()
	for _, tr := range m.Tracks {
		if tr.ID == id {
			return tr
		}
	}
	t.Fatalf("no track %s in %+v", id, m.Tracks)
	return storage.TrackInfo{}
}

func near(t testing.TB, what string, got, want, tolerance float64) {
	t.Helper()
	if math.Abs(got-want) > tolerance {
		t.Errorf("%s: got %v, want %v (±%v)", what, got, want, tolerance)
	}
}

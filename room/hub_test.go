package room_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lectern/lectern/room"
	"github.com/lectern/lectern/stream"
)

func TestValidName(t *testing.T) {
	for _, good := range []string{"a", "algebra-101", "A.b_c", strings.Repeat("x", 64)} {
		if err := room.ValidName(good); err != nil {
			t.Errorf("%q: got %v", good, err)
		}
	}
	for _, bad := range []string{"", ".", "..", ".hidden", "a/b", "a b", "ä", "a\x00", "*", strings.Repeat("x", 65)} {
		if err := room.ValidName(bad); !errors.Is(err, room.ErrBadName) {
			t.Errorf("%q: got %v, want ErrBadName", bad, err)
		}
	}
}

func TestHub_IdleRoomsAreDroppedAndKeepTheirHistory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		r := h.open(t)
		m, _ := join(t, r, wei, room.JoinOptions{})
		seq := say(t, m, "r", "kept")
		release := r.AddViewer("main")
		m.Leave()
		time.Sleep(time.Hour)
		synctest.Wait()
		if _, ok := h.Lookup("algebra"); !ok {
			t.Fatal("a room with a viewer was dropped")
		}
		release()
		release()
		time.Sleep(11 * time.Minute)
		synctest.Wait()
		if _, ok := h.Lookup("algebra"); ok {
			t.Fatal("the room is still there")
		}
		if _, _, err := r.Join(wei, room.JoinOptions{}); !errors.Is(err, room.ErrClosed) {
			t.Errorf("the dropped room: got %v, want ErrClosed", err)
		}
		m, w := join(t, h.open(t), wei, room.JoinOptions{})
		if w.Seq < seq {
			t.Errorf("got seq %d, want at least %d", w.Seq, seq)
		}
		if e := next(t, m, room.TypeSay); e.Text != "kept" {
			t.Errorf("history: got %q", e.Text)
		}
	})
}

func TestHub_BoundsRoomsAndStreams(t *testing.T) {
	h := newHouse(t, func(c *room.Config) { c.Limits.Rooms, c.Limits.Slots = 2, 2 })
	r := h.open(t)
	if _, err := h.Room("b"); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Room("c"); !errors.Is(err, room.ErrTooMany) {
		t.Errorf("third room: got %v, want ErrTooMany", err)
	}
	for _, slot := range []string{"x", "y"} {
		if _, err := r.Stream(slot); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.Stream("z"); !errors.Is(err, room.ErrTooMany) {
		t.Errorf("third slot: got %v, want ErrTooMany", err)
	}
	publish(t, r, ada, "main") // watchers cannot use up the places of publishers
	if got := len(h.List()); got != 2 {
		t.Errorf("got %d rooms, want 2", got)
	}
}

func TestHub_OneRoomForAllWhoAskAtOnce(t *testing.T) {
	h := newHouse(t)
	rooms := make([]*room.Room, 20)
	var wg sync.WaitGroup
	for i := range rooms {
		wg.Go(func() {
			r, err := h.Room("algebra")
			if err != nil {
				t.Error(err)
			}
			rooms[i] = r
		})
	}
	wg.Wait()
	for i := range rooms {
		if rooms[i] != rooms[0] {
			t.Fatalf("caller %d got a room of its own", i)
		}
	}
}

func TestSnapshot_CountsWhoWatches(t *testing.T) {
	r := newHouse(t).open(t)
	hold := publish(t, r, ada, "main")
	if _, err := r.Stream("screen"); err != nil {
		t.Fatal(err)
	}
	done := []func(){
		r.AddViewer("main"), r.AddViewer("main"), r.AddViewer("screen"),
		r.AddPlayer("rtmp", "main"), r.AddPlayer("rtsp", "main"), r.AddPlayer("rtsp", "main"),
	}
	s := r.Snapshot()
	got := fmt.Sprint(s.Viewers, s.Players, s.Waiting, s.Streams[0].Players, s.Streams[0].Live, s.Streams[1].Viewers)
	if want := "3 3 1 map[rtmp:1 rtsp:2] true 1"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	for _, f := range done {
		f()
	}
	hold.Release(true)
	s = r.Snapshot()
	if s.Viewers+s.Players+s.Waiting != 0 || s.Streams[0].Live {
		t.Errorf("after all left: got %+v", s)
	}
}

func TestRoom_StreamIsTheSameForAllWhoAsk(t *testing.T) {
	r := newHouse(t).open(t)
	s, err := r.Stream("main")
	if err != nil {
		t.Fatal(err)
	}
	h, err := r.Publish(ada, "main", stream.Source{})
	if err != nil {
		t.Fatal(err)
	}
	if got, ok := r.LookupStream("main"); !ok || got != s || h.Stream() != s {
		t.Error("watcher and publisher have different streams")
	}
	if _, ok := r.LookupStream("screen"); ok {
		t.Error("a stream that nobody asked for is there")
	}
}

// Those who wait in rooms of any name keep nobody from teaching.
func TestHub_HasRoomsForPublishersWhenOthersFillIt(t *testing.T) {
	h := room.NewHub(room.Config{Limits: room.Limits{Rooms: 2}})
	t.Cleanup(func() {
		if err := h.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	for _, name := range []string{"a", "b"} {
		if _, err := h.Room(name); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := h.Room("c"); !errors.Is(err, room.ErrTooMany) {
		t.Errorf("to wait in: got %v, want ErrTooMany", err)
	}
	for _, name := range []string{"c", "d"} {
		if _, err := h.RoomToPublish(name); err != nil {
			t.Errorf("to publish in: %v", err)
		}
	}
	if _, err := h.RoomToPublish("e"); !errors.Is(err, room.ErrTooMany) {
		t.Errorf("without end: got %v, want ErrTooMany", err)
	}
}

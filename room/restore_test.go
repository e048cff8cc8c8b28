package room_test

import (
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lectern/lectern/room"
	"github.com/lectern/lectern/stream"
)

func restore(t *testing.T, h *house) {
	t.Helper()
	if err := h.Restore(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestRestore_StudioClassGoesOnAfterACrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		r := h.open(t)
		class, err := r.StartClass(ada, room.ClassOptions{Title: "Rings", Record: true})
		if err != nil {
			t.Fatal(err)
		}
		publish(t, r, ada, "main")
		time.Sleep(time.Minute)
		next := h.crash(t)
		time.Sleep(25 * time.Second)
		restore(t, next)
		r = next.open(t)
		wantState(t, r, room.StateInterrupted)
		publish(t, r, ada, "main")
		wantState(t, r, room.StateLive)
		if got, _ := r.Class(); got.ID != class.ID || got.Title != "Rings" || !got.Recording || got.LectureID != class.LectureID {
			t.Errorf("got %+v, want %+v", got, class)
		}
		synctest.Wait()
		l := h.rec.only(t)
		if !slices.Equal(h.rec.resumed, []string{l.id}) || !slices.Equal(l.slots, []string{"main", "main"}) {
			t.Errorf("resumed %v, streams %v", h.rec.resumed, l.slots)
		}
		want := []string{"live", "interrupted", "resumed"}
		if got := states(next.log.events(t, room.TypeClass)); !slices.Equal(got, want) {
			t.Errorf("class events: got %v, want %v", got, want)
		}
	})
}

func TestRestore_BareClassWaitsForItsPublisher(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		publish(t, h.open(t), ada, "main")
		time.Sleep(12 * time.Second)
		returned, stayed := h.crash(t), h.crash(t)
		time.Sleep(10 * time.Second)
		restore(t, returned)
		restore(t, stayed)
		time.Sleep(29 * time.Second)
		hold := publish(t, returned.open(t), ada, "main")
		time.Sleep(2 * time.Second)
		synctest.Wait()
		wantState(t, returned.open(t), room.StateLive)
		wantState(t, stayed.open(t), room.StateIdle)
		if got, want := states(stayed.log.events(t, room.TypeClass)), []string{"live", "interrupted", "ended"}; !slices.Equal(got, want) {
			t.Errorf("class events: got %v, want %v", got, want)
		}
		hold.Release(true)
		wantState(t, returned.open(t), room.StateIdle)
	})
}

func TestRestore_TooLateEndsTheClass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		publish(t, h.open(t), ada, "main")
		next := h.crash(t)
		time.Sleep(time.Minute)
		restore(t, next)
		wantState(t, next.open(t), room.StateIdle)
		if len(h.rec.resumed) > 0 || len(next.classes.states) > 0 {
			t.Errorf("resumed %v, still saved %v", h.rec.resumed, next.classes.states)
		}
		events := next.log.events(t, room.TypeClass)
		if last := events[len(events)-1]; last.State != "ended" || last.Why != room.WhyRestart {
			t.Errorf("got %+v", last)
		}
	})
}

func TestRestore_BeginsANewRecordingWhenTheOldIsLost(t *testing.T) {
	h := newHouse(t)
	publish(t, h.open(t), ada, "main")
	next := h.crash(t)
	next.rec.lectures[0].id = "gone"
	restore(t, next)
	c, _ := next.open(t).Class()
	if !c.Recording || c.LectureID != "b" {
		t.Errorf("got %+v, want another recording", c)
	}
}

func TestRestore_SkipsWhatItCannotRead(t *testing.T) {
	h := newHouse(t)
	publish(t, h.open(t), ada, "main")
	next := h.crash(t)
	next.classes.states["physics"] = json.RawMessage("{")
	if err := next.Restore(t.Context()); err == nil {
		t.Error("got no error")
	}
	wantState(t, next.open(t), room.StateInterrupted)
}

func TestClose_SuspendsTheClassAndCompletesItsRecording(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		r := h.open(t)
		hold := publish(t, r, ada, "main")
		m, _ := join(t, r, wei, room.JoinOptions{})
		h.Drain()
		if _, err := r.Publish(ada, "screen", stream.Source{}); !errors.Is(err, room.ErrClosed) {
			t.Errorf("publish while draining: got %v, want ErrClosed", err)
		}
		hold.Release(true) // as the ingest does when it ends
		h.close(t)
		if !h.rec.only(t).done() {
			t.Error("the recording is not complete")
		}
		for {
			if _, err := m.Next(t.Context()); err != nil {
				if !errors.Is(err, room.ErrClosed) {
					t.Errorf("member: got %v, want ErrClosed", err)
				}
				break
			}
		}
		if _, err := hold.Stream().NewReader(stream.ReaderOptions{}); !errors.Is(err, stream.ErrClosed) {
			t.Errorf("stream: got %v, want ErrClosed", err)
		}
		if _, err := h.Room("algebra"); !errors.Is(err, room.ErrClosed) {
			t.Errorf("hub: got %v, want ErrClosed", err)
		}
		h.close(t)
		time.Sleep(20 * time.Second)
		next := h.crash(t)
		restore(t, next)
		wantState(t, next.open(t), room.StateInterrupted)
		if !slices.Equal(h.rec.resumed, []string{"a"}) {
			t.Errorf("resumed %v, want the recording", h.rec.resumed)
		}
	})
}

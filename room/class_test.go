package room_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lectern/lectern/room"
	"github.com/lectern/lectern/stream"
)

func TestPublish_BareClassEndsWithItsDelete(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		r := h.open(t)
		wantState(t, r, room.StateIdle)
		hold := publish(t, r, ada, "main")
		wantState(t, r, room.StateLive)
		if c, ok := r.Class(); !ok || c.Origin != room.OriginWHIP || !c.Recording || c.LectureID != "a" {
			t.Fatalf("class: got %+v", c)
		}
		synctest.Wait()
		if got := h.rec.only(t); !slices.Equal(got.slots, []string{"main"}) || !got.live[0] {
			t.Fatalf("recorded streams: got %v", got.slots)
		}
		hold.Release(true)
		wantState(t, r, room.StateIdle)
		synctest.Wait()
		if !h.rec.only(t).done() {
			t.Error("the recording is not complete")
		}
		if got, want := states(h.log.events(t, room.TypeClass)), []string{"live", "ended"}; !slices.Equal(got, want) {
			t.Errorf("class events: got %v, want %v", got, want)
		}
		want := []string{"on", "complete"}
		if got := states(h.log.events(t, room.TypeRecording)); !slices.Equal(got, want) {
			t.Errorf("recording events: got %v, want %v", got, want)
		}
		if len(h.classes.states) != 0 {
			t.Error("the class is still saved")
		}
	})
}

func TestPublish_LostPublisherHasTheGraceTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		r := h.open(t)
		publish(t, r, ada, "main").Release(false)
		wantState(t, r, room.StateInterrupted)
		time.Sleep(29 * time.Second) // of the bubble
		synctest.Wait()
		wantState(t, r, room.StateInterrupted)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		wantState(t, r, room.StateIdle)
		got := h.log.events(t, room.TypeClass)
		if want := []string{"live", "interrupted", "ended"}; !slices.Equal(states(got), want) {
			t.Errorf("class events: got %v, want %v", states(got), want)
		}
		if why := got[len(got)-1].Why; why != room.WhyPublisherLost {
			t.Errorf("why: got %q", why)
		}
		if !h.rec.only(t).done() {
			t.Error("the recording is not complete")
		}
	})
}

func TestPublish_ReturnInTimeGoesOnWithTheSameStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		r := h.open(t)
		first := publish(t, r, ada, "main")
		before, _ := r.Class()
		reader, err := first.Stream().NewReader(stream.ReaderOptions{})
		if err != nil {
			t.Fatal(err)
		}
		defer reader.Close()
		first.Release(false)
		time.Sleep(20 * time.Second)
		second := publish(t, r, grace, "main") // another person with the right to
		wantState(t, r, room.StateLive)
		if second.Stream() != first.Stream() || second.Stream().Stats().Readers != 1 {
			t.Error("the stream or its reader is gone")
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		after, ok := r.Class()
		if !ok || after.ID != before.ID {
			t.Errorf("class: got %+v, want %+v", after, before)
		}
		want := []string{"live", "interrupted", "resumed"}
		if got := states(h.log.events(t, room.TypeClass)); !slices.Equal(got, want) {
			t.Errorf("class events: got %v, want %v", got, want)
		}
		if got := h.rec.only(t).slots; !slices.Equal(got, []string{"main"}) {
			t.Errorf("recorded streams: got %v, want main once", got)
		}
		second.Release(true)
	})
}

func TestPublish_SlotIsTakenOverByItsHolderOnly(t *testing.T) {
	h := newHouse(t)
	r := h.open(t)
	first := publish(t, r, ada, "main")
	if _, err := r.Publish(grace, "main", stream.Source{}); !errors.Is(err, room.ErrSlotTaken) {
		t.Fatalf("somebody else: got %v, want ErrSlotTaken", err)
	}
	second := publish(t, r, ada, "main")
	if err := first.Publication().Err(); !errors.Is(err, stream.ErrReplaced) {
		t.Errorf("first publication: got %v, want ErrReplaced", err)
	}
	first.Release(true) // the late end of a session that was replaced
	wantState(t, r, room.StateLive)
	if !second.Stream().Live() {
		t.Error("the stream has lost its new publisher")
	}
}

func TestPublish_RefusesWhoMayNot(t *testing.T) {
	h := newHouse(t)
	r := h.open(t)
	elsewhere := ada
	elsewhere.Room = "physics"
	for _, id := range []room.Identity{wei, elsewhere} {
		if _, err := r.Publish(id, "main", stream.Source{}); !errors.Is(err, room.ErrForbidden) {
			t.Errorf("%+v: got %v, want ErrForbidden", id, err)
		}
	}
	if _, err := r.Publish(ada, "../main", stream.Source{}); !errors.Is(err, room.ErrBadName) {
		t.Errorf("bad slot: got %v, want ErrBadName", err)
	}
}

func TestPublish_BareClassLastsForItsLastPublisher(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		r := h.open(t)
		main := publish(t, r, ada, "main")
		screen := publish(t, r, grace, "screen")
		main.Release(false)
		wantState(t, r, room.StateLive)
		time.Sleep(20 * time.Second)
		screen.Release(true)
		wantState(t, r, room.StateInterrupted) // main has 10 s left
		time.Sleep(11 * time.Second)
		synctest.Wait()
		wantState(t, r, room.StateIdle)
		if got := h.rec.only(t).slots; !slices.Equal(got, []string{"main", "screen"}) {
			t.Errorf("recorded streams: got %v", got)
		}
	})
}

func TestStartClass_LastsUntilItIsEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		r := h.open(t)
		c, err := r.StartClass(ada, room.ClassOptions{Title: " Rings \n", Record: true})
		if err != nil {
			t.Fatal(err)
		}
		if c.Title != "Rings" || c.Origin != room.OriginStudio || !c.Recording {
			t.Fatalf("class: got %+v", c)
		}
		if again, err := r.StartClass(ada, room.ClassOptions{}); !errors.Is(err, room.ErrClassRunning) || again.ID != c.ID {
			t.Fatalf("again: got %+v, %v", again, err)
		}
		publish(t, r, ada, "main").Release(true)
		time.Sleep(time.Hour)
		synctest.Wait()
		wantState(t, r, room.StateInterrupted)
		if err := r.EndClass(wei, ""); !errors.Is(err, room.ErrForbidden) {
			t.Errorf("a student ends the class: got %v", err)
		}
		if err := r.EndClass(ada, "bell"); err != nil {
			t.Fatal(err)
		}
		wantState(t, r, room.StateIdle)
		if err := r.EndClass(ada, ""); !errors.Is(err, room.ErrNoClass) {
			t.Errorf("again: got %v, want ErrNoClass", err)
		}
		events := h.log.events(t, room.TypeClass)
		if last := events[len(events)-1]; last.Why != "bell" || last.By != "ada" {
			t.Errorf("last event: got %+v", last)
		}
	})
}

func TestStartClass_EndsWhenNobodyPublishesForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newHouse(t).open(t)
		if _, err := r.StartClass(ada, room.ClassOptions{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2*time.Hour - time.Second)
		synctest.Wait()
		wantState(t, r, room.StateLive)
		hold := publish(t, r, ada, "main")
		time.Sleep(5 * time.Hour)
		synctest.Wait()
		wantState(t, r, room.StateLive)
		hold.Release(false)
		time.Sleep(2*time.Hour + time.Second)
		synctest.Wait()
		wantState(t, r, room.StateIdle)
	})
}

func TestStartClass_TakesOverWhatAPublisherBegan(t *testing.T) {
	h := newHouse(t)
	r := h.open(t)
	hold := publish(t, r, ada, "main")
	began, _ := r.Class()
	c, err := r.StartClass(ada, room.ClassOptions{Title: "Rings", Record: true})
	if err != nil {
		t.Fatal(err)
	}
	if c.ID != began.ID || c.Origin != room.OriginStudio || c.Title != "Rings" {
		t.Errorf("got %+v, want the class %s of the studio", c, began.ID)
	}
	h.rec.only(t)
	hold.Release(true)
	wantState(t, r, room.StateInterrupted)
}

func TestStartClass_RecordsOnlyWhenWished(t *testing.T) {
	h := newHouse(t)
	r := h.open(t)
	if c, err := r.StartClass(ada, room.ClassOptions{}); err != nil || c.Recording {
		t.Fatalf("got %+v, %v", c, err)
	}
	publish(t, r, ada, "main")
	off := newHouse(t, func(c *room.Config) { c.NoRecord = true })
	publish(t, off.open(t), ada, "main")
	if len(h.rec.lectures)+len(off.rec.lectures) != 0 {
		t.Error("a class is recorded against the wish")
	}
}

func TestStartClass_OptOutStopsTheRecordingOfAPublisher(t *testing.T) {
	h := newHouse(t)
	r := h.open(t)
	publish(t, r, ada, "main")
	c, err := r.StartClass(ada, room.ClassOptions{Record: false})
	if err != nil || c.Recording {
		t.Fatalf("got %+v, %v", c, err)
	}
	h.close(t)
	if !h.rec.only(t).done() {
		t.Error("the recording goes on")
	}
}

func TestClass_GoesOnWhenItCannotBeRecorded(t *testing.T) {
	h := newHouse(t)
	h.rec.err = errDisk
	r := h.open(t)
	publish(t, r, ada, "main")
	wantState(t, r, room.StateLive)
	h.close(t)
	if got := h.log.events(t, room.TypeRecording); len(got) != 1 || got[0].State != "failed" || got[0].Why != "cannot_begin" {
		t.Errorf("recording events: got %+v", got)
	}
}

func TestClass_TellsThatItsRecordingFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		r := h.open(t)
		publish(t, r, ada, "main")
		synctest.Wait()
		h.rec.only(t).fail(errDisk)
		synctest.Wait()
		wantState(t, r, room.StateLive)
		if c, _ := r.Class(); c.Recording {
			t.Error("the class says that it is recorded")
		}
		if got, want := states(h.log.events(t, room.TypeRecording)), []string{"on", "failed"}; !slices.Equal(got, want) {
			t.Errorf("recording events: got %v, want %v", got, want)
		}
	})
}

func TestLecture_GetsTheEventsOnItsTimeline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		r := h.open(t)
		m, _ := join(t, r, wei, room.JoinOptions{})
		if _, err := m.Say(t.Context(), "", "before"); err != nil {
			t.Fatal(err)
		}
		hold := publish(t, r, ada, "main")
		time.Sleep(1500 * time.Millisecond)
		if _, err := m.Say(t.Context(), "", "during <b>"); err != nil {
			t.Fatal(err)
		}
		hold.Release(true)
		if _, err := m.Say(t.Context(), "", "after"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		lines := h.rec.only(t).lines
		all := strings.Join(lines, "\n")
		if strings.Contains(all, "before") || strings.Contains(all, "after") {
			t.Errorf("the recording has what is not of the class:\n%s", all)
		}
		if !slices.ContainsFunc(lines, func(l string) bool {
			return strings.HasPrefix(l, `{"t":1500,"type":"say",`) && strings.Contains(l, `"text":"during <b>"`)
		}) {
			t.Errorf("what was said is missing at 1500 ms:\n%s", all)
		}
		if last := lines[len(lines)-1]; !strings.Contains(last, `"state":"ended"`) {
			t.Errorf("last line: got %s, want the end of the class", last)
		}
	})
}

package room_test

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lectern/lectern/room"
)

func TestRoster_OnePersonWithTwoConnectionsStandsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		r := h.open(t)
		first, _ := join(t, r, wei, room.JoinOptions{})
		_, w := join(t, r, wei, room.JoinOptions{})
		if w.Total != 1 || len(w.People) != 1 || r.Snapshot().People != 1 {
			t.Fatalf("got %d people: %+v", w.Total, w.People)
		}
		time.Sleep(time.Minute)
		first.Leave()
		time.Sleep(time.Minute)
		synctest.Wait()
		events := h.log.events(t, room.TypePeople)
		if len(events) != 1 || len(events[0].Joined) != 1 || events[0].Joined[0].Name != "Wei" || *events[0].Total != 1 {
			t.Errorf("people events: got %+v, want one join", events)
		}
	})
}

func TestRoster_ReconnectIsNotSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		r := h.open(t)
		m, _ := join(t, r, wei, room.JoinOptions{})
		time.Sleep(time.Second)
		m.Leave()
		time.Sleep(9 * time.Second)
		m, _ = join(t, r, wei, room.JoinOptions{})
		time.Sleep(time.Minute)
		m.Leave()
		time.Sleep(11 * time.Second)
		synctest.Wait()
		events := h.log.events(t, room.TypePeople)
		if len(events) != 2 || !slices.Equal(events[1].Left, []string{"wei"}) || *events[1].Total != 0 {
			t.Errorf("people events: got %+v, want one join and one leave", events)
		}
	})
}

func TestRoster_IsVoidAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		join(t, h.open(t), wei, room.JoinOptions{})
		synctest.Wait()
		next := h.crash(t)
		_, w := join(t, next.open(t), ada, room.JoinOptions{})
		if w.Total != 1 {
			t.Errorf("got %d people, want 1", w.Total)
		}
		synctest.Wait()
		events := next.log.events(t, room.TypePeople)
		if last := events[len(events)-1]; !last.Reset || last.Joined[0].ID != "ada" {
			t.Errorf("got %+v, want a reset", last)
		}
	})
}

func TestRoster_CrowdIsToldOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		r := h.open(t)
		const crowd = 450
		members := make([]*room.Member, crowd)
		for i := range members {
			members[i], _ = join(t, r, student(i), room.JoinOptions{})
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		events := h.log.events(t, room.TypePeople)
		joined := 0
		for i, e := range events {
			joined += len(e.Joined)
			if len(e.Joined) > 200 {
				t.Errorf("event %d names %d people", i, len(e.Joined))
			}
			if i > 1 && e.At-events[i-1].At < 1000 {
				t.Errorf("event %d comes %d ms after the one before", i, e.At-events[i-1].At)
			}
		}
		if last := events[len(events)-1]; joined != crowd || *last.Total != crowd {
			t.Errorf("got %d joined, total %d, want %d", joined, *last.Total, crowd)
		}
		if _, w := join(t, r, ada, room.JoinOptions{}); len(w.People) != 200 || w.People[0].ID != "ada" || w.Total != crowd+1 {
			t.Errorf("welcome: got %d people of %d, first %+v", len(w.People), w.Total, w.People[0])
		}
	})
}

func TestRoster_NamesAreCleaned(t *testing.T) {
	r := newHouse(t).open(t)
	for name, want := range map[string]string{
		"  Ada \t Lovelace\n":      "Ada Lovelace",
		"A\x00d\x1ba\u202e":        "Ada",
		"":                         "Wei", // of the token
		"\u200b\u2066 ":            "Wei",
		strings.Repeat("ö", 100):   strings.Repeat("ö", 64),
		"👩\u200d🏫 <b>x</b>":        "👩\u200d🏫 <b>x</b>",
		"bad \xff\xfe utf8":        "bad utf8",
		strings.Repeat("x ", 1000): strings.TrimSpace(strings.Repeat("x ", 32)),
	} {
		m, w := join(t, r, wei, room.JoinOptions{Name: name})
		if w.You.Name != want {
			t.Errorf("%.20q: got %q, want %q", name, w.You.Name, want)
		}
		m.Leave()
	}
}

package room_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lectern/lectern/room"
	"github.com/lectern/lectern/room/access"
)

// fast lifts the limits on requests.
func fast(c *room.Config) {
	c.Limits.MemberRate, c.Limits.MemberBurst = 1e6, 1e6
	c.Limits.RoomRate, c.Limits.RoomBurst = 1e6, 1e6
}

func student(i int) room.Identity {
	return room.Identity{ID: fmt.Sprintf("s%03d", i), Role: access.Student, Room: "algebra"}
}

// next returns the next event of one of the types.
func next(t *testing.T, m *room.Member, types ...string) room.Event {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for {
		l, err := m.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if e := parse(t, l.JSON); slices.Contains(types, e.Type) {
			return e
		}
	}
}

func say(t *testing.T, m *room.Member, ref, text string) uint64 {
	t.Helper()
	seq, err := m.Say(t.Context(), ref, text)
	if err != nil {
		t.Fatal(err)
	}
	return seq
}

func TestMember_TwentyAtOnceSeeTheSameInOrder(t *testing.T) {
	const people, each = 20, 20
	h := newHouse(t, fast, func(c *room.Config) { c.Limits.Queue = 10 * people * each })
	r := h.open(t)
	members := make([]*room.Member, people)
	for i := range members {
		members[i], _ = join(t, r, student(i), room.JoinOptions{})
	}
	var wg sync.WaitGroup
	for i, m := range members {
		wg.Go(func() {
			for n := range each {
				if _, err := m.Say(t.Context(), fmt.Sprint(n), fmt.Sprintf("%d:%d", i, n)); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	seen := make([][]string, people)
	for i, m := range members {
		wg.Go(func() {
			last := uint64(0)
			for len(seen[i]) < people*each {
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				l, err := m.Next(ctx)
				cancel()
				if err != nil || l.Seq != last+1 {
					t.Errorf("member %d after seq %d: got %d, %v", i, last, l.Seq, err)
					return
				}
				last = l.Seq
				if e := parse(t, l.JSON); e.Type == room.TypeSay {
					seen[i] = append(seen[i], e.Text)
				}
			}
		})
	}
	wg.Wait()
	for i := range seen {
		if !slices.Equal(seen[i], seen[0]) {
			t.Fatalf("member %d saw another order than member 0", i)
		}
	}
	for i := range people { // what one says stays in its order
		last := -1
		for _, text := range seen[0] {
			var who, n int
			if _, err := fmt.Sscanf(text, "%d:%d", &who, &n); err != nil {
				t.Fatal(err)
			}
			if who == i && n != last+1 {
				t.Fatalf("member %d: %d after %d", i, n, last)
			} else if who == i {
				last = n
			}
		}
	}
}

func TestJoin_LateComerGetsThePast(t *testing.T) {
	r := newHouse(t, fast).open(t)
	m, _ := join(t, r, wei, room.JoinOptions{})
	for i := range 10 {
		say(t, m, "", fmt.Sprint(i))
	}
	late, w := join(t, r, ada, room.JoinOptions{})
	if w.From != 0 || w.Seq < 10 {
		t.Fatalf("welcome: got from %d, seq %d", w.From, w.Seq)
	}
	for i := range 10 {
		if e := next(t, late, room.TypeSay); e.Text != fmt.Sprint(i) {
			t.Fatalf("got %q, want %d", e.Text, i)
		}
	}
	again, w := join(t, r, grace, room.JoinOptions{Since: w.Seq - 1})
	if l, err := again.Next(t.Context()); err != nil || l.Seq != w.Seq {
		t.Errorf("since the last but one: got %d, %v, want %d", l.Seq, err, w.Seq)
	}
}

func TestJoin_LongPastIsTruncated(t *testing.T) {
	h := newHouse(t, fast, func(c *room.Config) { c.Limits.History = 10 })
	r := h.open(t)
	m, _ := join(t, r, wei, room.JoinOptions{})
	for i := range 35 { // beyond the point where the history is cut
		say(t, m, "", fmt.Sprint(i))
	}
	for _, since := range []uint64{0, 5, 1000} {
		late, w := join(t, r, ada, room.JoinOptions{Since: since})
		if w.From != w.Seq-9 {
			t.Errorf("since %d: got from %d, want the newest ten of %d", since, w.From, w.Seq)
		}
		if l, err := late.Next(t.Context()); err != nil || l.Seq != w.From {
			t.Errorf("since %d: got %d first, %v, want %d", since, l.Seq, err, w.From)
		}
	}
	before, err := r.Events(t.Context(), 0, 1000)
	if err != nil || len(before) < 35 || before[0].Seq != 1 {
		t.Errorf("the log: got %d events, %v", len(before), err)
	}
}

func TestMember_LagsAloneAndRejoins(t *testing.T) {
	h := newHouse(t, fast, func(c *room.Config) { c.Limits.Queue = 8 })
	r := h.open(t)
	slow, w := join(t, r, wei, room.JoinOptions{})
	quick, _ := join(t, r, ada, room.JoinOptions{})
	for i := range 30 {
		say(t, quick, "", fmt.Sprint(i))
		if e := next(t, quick, room.TypeSay); e.Text != fmt.Sprint(i) {
			t.Fatalf("the quick one got %q, want %d", e.Text, i)
		}
	}
	seen := w.Seq
	for {
		l, err := slow.Next(t.Context())
		if errors.Is(err, room.ErrLagging) {
			break
		}
		if err != nil || l.Seq != seen+1 {
			t.Fatalf("after %d: got %d, %v", seen, l.Seq, err)
		}
		seen = l.Seq
	}
	if _, ok, err := slow.Take(); ok || err != nil {
		t.Fatalf("after ErrLagging: got %v, %v, want nothing", ok, err)
	}
	w, err := slow.Rejoin(room.JoinOptions{Since: seen})
	if err != nil || w.From != 0 {
		t.Fatalf("rejoin: got from %d, %v", w.From, err)
	}
	for seen < w.Seq {
		l, err := slow.Next(t.Context())
		if err != nil || l.Seq != seen+1 {
			t.Fatalf("after %d: got %d, %v", seen, l.Seq, err)
		}
		seen = l.Seq
	}
}

func TestSay_RepeatedRefIsAppliedOnce(t *testing.T) {
	h := newHouse(t, fast, func(c *room.Config) { c.Limits.History = 4 })
	r := h.open(t)
	m, _ := join(t, r, wei, room.JoinOptions{})
	first := say(t, m, "r1", "once")
	if again := say(t, m, "r1", "once"); again != first {
		t.Errorf("repeated: got seq %d, want %d", again, first)
	}
	other, _ := join(t, r, ada, room.JoinOptions{})
	if seq := say(t, other, "r1", "of another member"); seq == first {
		t.Error("two members share a ref")
	}
	for i := range 20 { // out of the history in memory
		say(t, m, "", fmt.Sprint(i))
	}
	m.Leave()
	back, _ := join(t, r, wei, room.JoinOptions{})
	if again := say(t, back, "r1", "once"); again != first {
		t.Errorf("after a reconnect: got seq %d, want %d", again, first)
	}
	next := h.crash(t)
	after, _ := join(t, next.open(t), wei, room.JoinOptions{})
	if again := say(t, after, "r1", "once"); again != first {
		t.Errorf("after a restart: got seq %d, want %d", again, first)
	}
}

func TestSay_SeqGoesOnAfterARestart(t *testing.T) {
	h := newHouse(t, fast)
	m, _ := join(t, h.open(t), wei, room.JoinOptions{})
	last := say(t, m, "", "before")
	next := h.crash(t)
	_, w := join(t, next.open(t), wei, room.JoinOptions{})
	if w.Seq < last {
		t.Errorf("got seq %d, want at least %d", w.Seq, last)
	}
}

func TestSay_RefusesWhatIsNoText(t *testing.T) {
	r := newHouse(t).open(t)
	m, _ := join(t, r, wei, room.JoinOptions{})
	for text, want := range map[string]error{
		"":                            room.ErrBadText,
		" \n\t ":                      room.ErrBadText,
		"\x00\x07":                    room.ErrBadText,
		"\xff":                        room.ErrBadText,
		strings.Repeat("x", 16<<10+1): room.ErrTooLong,
	} {
		if _, err := m.Say(t.Context(), "", text); !errors.Is(err, want) {
			t.Errorf("%.10q: got %v, want %v", text, err, want)
		}
	}
	say(t, m, "", " a\x00b\r\n\tc\x1b[31m ")
	if e := next(t, m, room.TypeSay); e.Text != "ab\n\tc[31m" || e.By != "wei" || e.From != "Wei" || e.Role != "student" {
		t.Errorf("got %+v", e)
	}
	if _, err := m.Say(t.Context(), strings.Repeat("r", 200), "x"); !errors.Is(err, room.ErrBadRef) {
		t.Errorf("long ref: got %v, want ErrBadRef", err)
	}
}

func TestSay_IsLimitedPerMemberAndPerRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newHouse(t, func(c *room.Config) {
			c.Limits.MemberRate, c.Limits.MemberBurst = 2, 3
			c.Limits.RoomRate, c.Limits.RoomBurst = 10, 5
		}).open(t)
		a, _ := join(t, r, wei, room.JoinOptions{})
		b, _ := join(t, r, ada, room.JoinOptions{})
		for range 3 {
			say(t, a, "", "x")
		}
		var limit *room.RateError
		if _, err := a.Say(t.Context(), "r", "x"); !errors.As(err, &limit) || limit.RetryAfter != 500*time.Millisecond {
			t.Fatalf("member: got %v, want to wait 500 ms", err)
		}
		say(t, b, "", "x")
		say(t, b, "", "x")
		if _, err := b.Say(t.Context(), "", "x"); !errors.As(err, &limit) || limit.RetryAfter != 100*time.Millisecond {
			t.Fatalf("room: got %v, want to wait 100 ms", err)
		}
		time.Sleep(100 * time.Millisecond)
		say(t, b, "", "x") // what the room refused has cost the member nothing
		a.Leave()          // a reconnect gives no new allowance
		a, _ = join(t, r, wei, room.JoinOptions{})
		if _, err := a.Say(t.Context(), "r", "x"); !errors.As(err, &limit) {
			t.Fatalf("after a reconnect: got %v, want a RateError", err)
		}
		time.Sleep(limit.RetryAfter)
		say(t, a, "r", "x")
	})
}

func TestSay_IsOnDiskBeforeAnybodyHearsIt(t *testing.T) {
	h := newHouse(t, fast)
	r := h.open(t)
	m, _ := join(t, r, wei, room.JoinOptions{})
	next(t, m, room.TypePeople)
	h.log.mu.Lock()
	h.log.fail = func([]room.Line) (int, error) { return 0, errDisk }
	h.log.mu.Unlock()
	if _, err := m.Say(t.Context(), "r", "lost"); !errors.Is(err, room.ErrNotKept) {
		t.Fatalf("got %v, want ErrNotKept", err)
	}
	if _, ok, err := m.Take(); ok || err != nil {
		t.Fatalf("an event that is not kept was sent: %v, %v", ok, err)
	}
	// An error although the event was kept: the room asks the log.
	h.log.mu.Lock()
	h.log.fail = func(l []room.Line) (int, error) { return len(l), errDisk }
	h.log.mu.Unlock()
	seq := say(t, m, "r", "kept")
	if e := next(t, m, room.TypeSay); e.Text != "kept" || e.Seq != seq {
		t.Errorf("got %+v, want seq %d", e, seq)
	}
	h.log.mu.Lock()
	h.log.fail = nil
	h.log.mu.Unlock()
	if after := say(t, m, "", "well again"); after != seq+1 {
		t.Errorf("got seq %d, want %d", after, seq+1)
	}
}

func TestRaiseHand_IsSeenByLateComersAndAfterARestart(t *testing.T) {
	h := newHouse(t, fast)
	r := h.open(t)
	m, _ := join(t, r, wei, room.JoinOptions{})
	if _, err := m.RaiseHand(t.Context(), "", true, ""); err != nil {
		t.Fatal(err)
	}
	teacher, w := join(t, r, ada, room.JoinOptions{})
	if i := slices.IndexFunc(w.People, func(p room.Person) bool { return p.ID == "wei" && p.Hand }); i < 0 {
		t.Errorf("roster: got %+v, want a hand up", w.People)
	}
	restarted := h.crash(t).open(t)
	if _, w := join(t, restarted, wei, room.JoinOptions{}); !w.You.Hand {
		t.Error("the hand is down after a restart")
	}
	if _, err := m.RaiseHand(t.Context(), "", false, "ada"); !errors.Is(err, room.ErrForbidden) {
		t.Errorf("a student lowers the teacher's hand: got %v", err)
	}
	if _, err := teacher.RaiseHand(t.Context(), "", true, "wei"); !errors.Is(err, room.ErrForbidden) {
		t.Errorf("a teacher raises another's hand: got %v", err)
	}
	if _, err := teacher.RaiseHand(t.Context(), "", false, "wei"); err != nil {
		t.Fatal(err)
	}
	for {
		if e := next(t, m, room.TypeHand); !*e.Up {
			if e.By != "ada" || e.Who != "wei" {
				t.Errorf("got %+v", e)
			}
			break
		}
	}
	if _, w := join(t, r, grace, room.JoinOptions{}); slices.ContainsFunc(w.People, func(p room.Person) bool { return p.Hand }) {
		t.Errorf("roster: got %+v, want no hands", w.People)
	}
}

func TestJoin_RefusesPlayersAndStrangers(t *testing.T) {
	r := newHouse(t, func(c *room.Config) { c.Limits.Connections = 1 }).open(t)
	for _, id := range []room.Identity{
		{ID: "p", Role: access.Player, Room: "algebra"},
		{ID: "s", Role: access.Student, Room: "physics"},
		{Role: access.Student, Room: "algebra"},
	} {
		if _, _, err := r.Join(id, room.JoinOptions{}); !errors.Is(err, room.ErrForbidden) {
			t.Errorf("%+v: got %v, want ErrForbidden", id, err)
		}
	}
	join(t, r, wei, room.JoinOptions{})
	if _, _, err := r.Join(ada, room.JoinOptions{}); !errors.Is(err, room.ErrFull) {
		t.Errorf("beyond the limit: got %v, want ErrFull", err)
	}
}

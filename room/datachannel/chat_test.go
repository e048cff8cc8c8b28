package datachannel_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lectern/lectern/room"
	"github.com/lectern/lectern/room/access"
	"github.com/lectern/lectern/room/datachannel"
)

func hello(t *testing.T, r *room.Room, who room.Identity, since int64) (*client, fields) {
	t.Helper()
	c := dial(t, session(r, who), "chat")
	c.send(fields{"type": "hello", "since": since})
	return c, c.next("welcome")
}

func TestChat_HelloIsWelcomed(t *testing.T) {
	r, _ := newRoom(t)
	c := dial(t, session(r, wei), "chat")
	c.send(`{"type":"hello","since":0,"name":" Wei\u0000 Li ","lang":"zh","unknown":{"a":[1]}}`)
	w := c.next("welcome")
	you := w["you"].(map[string]any)
	if you["id"] != "wei" || you["name"] != "Wei Li" || you["lang"] != "zh" || you["role"] != "student" {
		t.Errorf("you: got %v", you)
	}
	limits := w["limits"].(map[string]any)
	if limits["message_bytes"] != 16384.0 || limits["chunk_bytes"] != 65536.0 || limits["file_bytes"] == 0.0 {
		t.Errorf("limits: got %v", limits)
	}
	if w["room"].(map[string]any)["state"] != "idle" || len(w["people"].([]any)) != 1 || w.num("total") != 1 {
		t.Errorf("welcome: got %v", w)
	}
}

func TestChat_SayReachesAllAndIsAcknowledged(t *testing.T) {
	r, _ := newRoom(t)
	a, _ := hello(t, r, ada, 0)
	b, _ := hello(t, r, wei, 0)
	a.send(`{"type":"say","ref":"r1","text":"2 < 3 & 5 > 4","by":"forged","seq":99,"at":1}`)
	ok := a.next("ok", "error")
	if ok["ref"] != "r1" || ok.num("seq") == 0 {
		t.Fatalf("got %v", ok)
	}
	e := b.next("say")
	if e["text"] != "2 < 3 & 5 > 4" || e["by"] != "ada" || e["from"] != "Ada" || e.num("seq") != ok.num("seq") {
		t.Errorf("got %v", e)
	}
	if age := time.Since(time.UnixMilli(e.num("at"))); age < -time.Second || age > time.Minute {
		t.Errorf("at: got %v ago", age)
	}
	b.send(`{"type":"hand","ref":7,"up":true}`)
	if ok := b.next("ok", "error"); ok["ref"] != 7.0 {
		t.Errorf("got %v, want the ref as it was sent", ok)
	}
	if e := a.next("hand"); e["up"] != true || e["by"] != "wei" {
		t.Errorf("got %v", e)
	}
}

func TestChat_ReconnectMissesNothingAndRepeatsNothing(t *testing.T) {
	r, _ := newRoom(t)
	a, _ := hello(t, r, ada, 0)
	b, _ := hello(t, r, wei, 0)
	a.send(`{"type":"say","ref":"r0","text":"0"}`)
	last := b.next("say").num("seq")
	_ = b.Close()
	for i := range 5 {
		a.send(fmt.Sprintf(`{"type":"say","ref":"r%d","text":"%d"}`, i+1, i+1))
	}
	for range 6 {
		a.next("ok")
	}
	b, w := hello(t, r, wei, last)
	for seq := last + 1; seq <= w.num("seq"); seq++ {
		if e := b.next("say", "people", "hand"); e.num("seq") != seq {
			t.Fatalf("got seq %d, want %d", e.num("seq"), seq)
		}
	}
	a.send(`{"type":"say","ref":"r3","text":"3"}`) // once more
	if ok := a.next("ok"); ok.num("seq") > w.num("seq") {
		t.Errorf("a repeated request got the new seq %d", ok.num("seq"))
	}
}

func TestChat_LongPastIsTruncated(t *testing.T) {
	r, _ := newRoom(t, func(c *room.Config) { c.Limits.History = 5 })
	a, _ := hello(t, r, ada, 0)
	for i := range 12 {
		a.send(fields{"type": "say", "text": fmt.Sprint(i)})
		a.next("ok")
	}
	b, w := hello(t, r, wei, 1)
	from := b.next("truncated").num("from")
	if from != w.num("seq")-4 {
		t.Errorf("got from %d, want the newest 5 of %d", from, w.num("seq"))
	}
	if e := b.next("say", "people"); e.num("seq") != from {
		t.Errorf("first event: got %d, want %d", e.num("seq"), from)
	}
}

func TestChat_BadMessagesAreAnsweredAndNothingIsLost(t *testing.T) {
	r, _ := newRoom(t)
	c, _ := hello(t, r, wei, 0)
	for _, bad := range []string{
		"", "x", "[]", "null", `{"type":5}`, `{}`, `{"type":""}`, "{\"type\":\"say\",\"text\":\"\xff\"}",
		`{"type":"say"}`, `{"type":"say","text":" "}`, `{"type":"say","text":5}`, `{"type":"hand"}`,
		`{"type":"say","text":"x","ref":{}}`, `{"type":"hello","since":-1}`, `{"type":"hello","key":"short"}`,
		`{"type":"say","text":"x","ref":"` + strings.Repeat("r", 200) + `"}`,
	} {
		c.send(bad)
		c.wantError("bad_message")
	}
	c.in <- message{data: []byte(`{"type":"say","text":"binary"}`)}
	c.wantError("bad_message")
	c.send(`{"type":"say","text":"` + strings.Repeat("x", 16384) + `"}`)
	c.wantError("message_too_large")
	c.send(`{"type":"poll","ref":"p"}`) // of a later version: ignored
	longest := strings.Repeat("é", 16384/2-15)
	c.send(`{"type":"say","ref":"1","text":"` + longest[:len(longest)-8] + `"}`)
	if f := c.next("ok", "error"); f["ref"] != "1" {
		t.Fatalf("a message of nearly 16 KiB: got %v", f)
	}
}

func TestChat_EventsComeAlthoughAnswersGoFirst(t *testing.T) {
	r, _ := newRoom(t, func(c *room.Config) {
		c.Limits.MemberBurst, c.Limits.RoomBurst, c.Limits.Queue = 1000, 1000, 1000
	})
	c, _ := hello(t, r, wei, 0)
	const n = 300
	for i := range n {
		c.send(fields{"type": "say", "ref": i, "text": fmt.Sprint(i)})
	}
	for i := range n {
		if e := c.next("say", "error"); e["text"] != fmt.Sprint(i) {
			t.Fatalf("got %v, want %d", e, i)
		}
	}
}

func TestChat_TooMuchIsRefusedWithATime(t *testing.T) {
	r, _ := newRoom(t, func(c *room.Config) { c.Limits.MemberRate, c.Limits.MemberBurst = 0.5, 2 })
	c, _ := hello(t, r, wei, 0)
	for i := range 3 {
		c.send(fields{"type": "say", "ref": i, "text": "x"})
	}
	f := c.wantError("rate_limited")
	if ms := f.num("retry_after_ms"); f["ref"] != 2.0 || ms < 1000 || ms > 2000 {
		t.Errorf("got %v", f)
	}
}

func TestChat_SilentClientIsWelcomedAfterAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := newRoom(t)
		c := dial(t, session(r, wei), "chat")
		began := time.Now()
		c.next("welcome")
		if waited := time.Since(began); waited != 5*time.Second {
			t.Errorf("got welcome after %v, want 5 s", waited)
		}
	})
}

func TestChat_WhoSpeaksBeforeHelloIsWelcomed(t *testing.T) {
	r, _ := newRoom(t)
	c := dial(t, session(r, wei), "chat")
	c.send(`{"type":"say","ref":"r","text":"hi"}`)
	c.next("welcome")
	c.next("ok")
}

func TestChat_SlowClientIsToldAndRejoins(t *testing.T) {
	r, _ := newRoom(t, func(c *room.Config) {
		c.Limits.Queue, c.Limits.MemberBurst, c.Limits.MemberRate = 4, 10000, 10000
		c.Limits.RoomBurst, c.Limits.RoomRate, c.Limits.History = 10000, 10000, 10000
	})
	slow, _ := hello(t, r, wei, 0)
	m, _, err := r.Join(ada, room.JoinOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Leave()
	// 256 KiB fill the channel of the slow one, 4 events more its queue.
	text := strings.Repeat("x", 16000)
	var newest uint64
	for range 40 {
		if newest, err = m.Say(t.Context(), "", text); err != nil {
			t.Fatal(err)
		}
	}
	last := int64(0)
	for {
		f := slow.next("say", "people", "lagging")
		if f["type"] == "lagging" {
			if f.num("seq") != last {
				t.Fatalf("lagging: got seq %d, want %d", f.num("seq"), last)
			}
			break
		}
		last = f.num("seq")
	}
	slow.send(fields{"type": "hello", "since": last})
	slow.next("welcome")
	for last < int64(newest) {
		f := slow.next("say", "people", "lagging", "truncated")
		if f.num("seq") != last+1 {
			t.Fatalf("got %v %d, want seq %d", f["type"], f.num("seq"), last+1)
		}
		last++
	}
}

func TestChat_KeyTellsApartWhoSharesAnInvitation(t *testing.T) {
	r, _ := newRoom(t)
	id := func(who room.Identity, key string) string {
		c := dial(t, session(r, who), "chat")
		c.send(fields{"type": "hello", "key": key})
		return c.next("welcome")["you"].(map[string]any)["id"].(string)
	}
	a, b := id(wei, "secret-of-page-a"), id(wei, "secret-of-page-b")
	if a == b || !strings.HasPrefix(a, "wei~") || len(a) != len("wei~")+16 || strings.Contains(a, "secret") {
		t.Errorf("got ids %q and %q", a, b)
	}
	if again := id(wei, "secret-of-page-a"); again != a {
		t.Errorf("the same page: got %q, want %q", again, a)
	}
	if got := id(ada, "secret-of-page-a"); got != "ada" {
		t.Errorf("a teacher: got %q, want ada", got)
	}
}

func TestServe_RefusesWhatItDoesNotKnow(t *testing.T) {
	r, _ := newRoom(t)
	s := session(r, wei)
	other := dial(t, s, "video")
	if err := <-other.result; !errors.Is(err, datachannel.ErrUnknown) {
		t.Errorf("label: got %v, want ErrUnknown", err)
	}
	old := newPipe("chat")
	old.protocol = "lectern.v0"
	if err := s.Serve(t.Context(), old); !errors.Is(err, datachannel.ErrUnknown) {
		t.Errorf("protocol: got %v, want ErrUnknown", err)
	}
	if len(old.queue) != 1 || !strings.Contains(string(old.queue[0].data), "unsupported_protocol") {
		t.Errorf("got %v", old.queue)
	}
	player := dial(t, session(r, room.Identity{ID: "p", Role: access.Player, Room: "algebra"}), "chat")
	player.send(`{"type":"hello"}`)
	player.wantError("forbidden")
	if err := <-player.result; !errors.Is(err, room.ErrForbidden) {
		t.Errorf("player: got %v, want ErrForbidden", err)
	}
}

func TestServe_EndsWithTheRoom(t *testing.T) {
	h := room.NewHub(room.Config{})
	r, err := h.Room("algebra")
	if err != nil {
		t.Fatal(err)
	}
	c, _ := hello(t, r, wei, 0)
	if err := h.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-c.result; err != nil {
		t.Errorf("got %v, want a clean end", err)
	}
	if m := c.queue[len(c.queue)-1]; !strings.Contains(string(m.data), `"code":"closed"`) {
		t.Errorf("last message: got %s", m.data)
	}
}

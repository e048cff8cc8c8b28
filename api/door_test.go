package api

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lectern/lectern/room/access"
)

func copyBody(w io.Writer, resp *http.Response) (int64, error) { return io.Copy(w, resp.Body) }

// rules changes the rules of algebra as its teacher.
func (g *gateway) rules(change body) accessView {
	g.t.Helper()
	var v accessView
	g.want(200, g.call(g.token("algebra", access.Teacher), "PUT", "/api/rooms/algebra/access", change), &v)
	return v
}

func TestAccess_TakesWhatMakesSense(t *testing.T) {
	g := newGateway(t, nil)
	teacher := g.token("algebra", access.Teacher)
	var v accessView
	g.want(200, g.call(teacher, "GET", "/api/rooms/algebra/access", nil), &v)
	if want := (accessView{Mode: access.ByLink, Chat: true, Files: true}); v != want {
		t.Errorf("a fresh room: got %+v, want %+v", v, want)
	}
	for name, tt := range map[string]struct {
		change body
		status int
		code   string
	}{
		"a mode that is none":    {body{"mode": "secret"}, 400, "bad_mode"},
		"no passcode":            {body{"mode": "passcode"}, 422, "passcode_needed"},
		"an empty one":           {body{"mode": "passcode", "passcode": "  "}, 422, "passcode_needed"},
		"too short":              {body{"passcode": "abc"}, 400, "bad_passcode"},
		"too long":               {body{"passcode": strings.Repeat("字", 129)}, 400, "bad_passcode"},
		"two lines":              {body{"passcode": "abcd\nefgh"}, 400, "bad_passcode"},
		"a field nobody knows":   {body{"open": true}, 400, "bad_json"},
		"chat that is no choice": {body{"chat": "yes"}, 400, "bad_json"},
	} {
		if code := g.code(tt.status, g.call(teacher, "PUT", "/api/rooms/algebra/access", tt.change)); code != tt.code {
			t.Errorf("%s: got %s, want %s", name, code, tt.code)
		}
	}
	if v = g.rules(body{"mode": "passcode", "passcode": strings.Repeat("字", 128)}); !v.PasscodeSet || v.Mode != access.ByPasscode {
		t.Errorf("got %+v", v)
	}
	if code := g.code(422, g.call(teacher, "PUT", "/api/rooms/algebra/access", body{"passcode": ""})); code != "passcode_needed" {
		t.Errorf("got %s", code)
	}
	if v = g.rules(body{"mode": "link", "passcode": "", "files": false}); v.PasscodeSet || v.Files || !v.Chat {
		t.Errorf("got %+v", v)
	}
	g.want(201, g.call(teacher, "POST", "/api/rooms/algebra/class", nil), nil)
	for token, mode := range map[string]string{teacher: "link", g.token("algebra", access.Student): ""} {
		var list struct{ Rooms []roomSummary }
		g.want(200, g.call(token, "GET", "/api/rooms", nil), &list)
		if len(list.Rooms) != 1 || list.Rooms[0].Mode != mode {
			t.Errorf("got %+v, want mode %q", list.Rooms, mode)
		}
	}
}

func TestDoor_TellsLittleAndLetsInByMode(t *testing.T) {
	g := newGateway(t, nil)
	teacher := g.token("algebra", access.Teacher)
	g.want(201, g.call(teacher, "POST", "/api/rooms/algebra/class", body{"title": "Groups"}), nil)
	enter := func(req body) *http.Response { return g.call("", "POST", "/api/rooms/algebra/enter", req) }
	for _, tt := range []struct {
		mode  string
		live  bool
		title string
		code  string // of entering; "": let in
	}{
		{"link", true, "", "link_needed"},
		{"open", true, "Groups", ""},
		{"passcode", true, "", "wrong_passcode"},
		{"closed", false, "", "room_closed"},
	} {
		g.rules(body{"mode": tt.mode, "passcode": "sesame"})
		var door doorView
		g.want(200, g.call("", "GET", "/api/rooms/algebra/door", nil), &door)
		if string(door.Mode) != tt.mode || door.Live != tt.live || door.Title != tt.title || door.Now.IsZero() || door.Room != "algebra" {
			t.Errorf("%s: got %+v", tt.mode, door)
		}
		resp := enter(body{"name": "Wei", "passcode": "wrong"})
		if tt.code == "" {
			g.want(201, resp, nil)
		} else if code := g.code(403, resp); code != tt.code {
			t.Errorf("%s: got %s, want %s", tt.mode, code, tt.code)
		}
	}
	g.rules(body{"mode": "passcode"})
	var v, w grantView
	g.want(201, enter(body{"name": "\tWei  Li ", "passcode": " sesame\n"}), &v)
	g.want(201, enter(body{"name": "Wei Li", "passcode": "sesame"}), &w)
	if v.Name != "Wei Li" || v.Role != access.Student || v.Room != "algebra" || v.Subject == w.Subject || v.ID == "" ||
		time.Until(v.Expires) > 12*time.Hour+time.Minute || time.Until(v.Expires) < 11*time.Hour {
		t.Errorf("got %+v", v)
	}
	g.want(200, g.call(v.Token, "GET", "/api/rooms/algebra", nil), nil)
	g.want(403, g.call(v.Token, "GET", "/api/rooms/physics", nil), nil)
	if code := g.code(400, enter(body{"name": " \n", "passcode": "sesame"})); code != "name_needed" {
		t.Errorf("got %s", code)
	}
	g.want(400, g.call("", "GET", "/api/rooms/.hidden/door", nil), nil)
	if _, there := g.hub.Lookup("history"); there {
		t.Error("looking at a door made a room")
	}
	g.want(200, g.call("", "GET", "/api/rooms/history/door", nil), nil)
	if strings.Contains(g.log.String(), "sesame") {
		t.Error("the log holds a passcode")
	}
}

func TestEnter_SlowsDownWrongPasscodes(t *testing.T) {
	g := newGateway(t, nil)
	g.rules(body{"mode": "passcode", "passcode": "sesame"})
	enter := func(passcode string) *http.Response {
		return g.call("", "POST", "/api/rooms/algebra/enter", body{"name": "Wei", "passcode": passcode})
	}
	for range 3 * addressGuesses {
		g.want(201, enter("sesame"), nil) // a right one costs nothing
	}
	// All at once: no more are looked at than there are.
	wrong := make(chan int, 3*addressGuesses)
	var all sync.WaitGroup
	for range cap(wrong) {
		all.Go(func() { wrong <- enter("wrong").StatusCode })
	}
	all.Wait()
	close(wrong)
	looked := 0
	for status := range wrong {
		if status == http.StatusForbidden {
			looked++
		} else if status != http.StatusTooManyRequests {
			t.Errorf("got %d", status)
		}
	}
	if looked < addressGuesses || looked > addressGuesses+3 {
		t.Errorf("%d wrong passcodes were looked at, want %d", looked, addressGuesses)
	}
	resp := enter("sesame")
	if resp.StatusCode != http.StatusTooManyRequests || resp.Header.Get("Retry-After") == "" {
		t.Errorf("got %d, Retry-After %q", resp.StatusCode, resp.Header.Get("Retry-After"))
	}
}

func TestThrottle_HoldsPerAddressAndPerRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		th := newThrottle(time.Now)
		take := func(addr, room string) (n int) {
			for th.take(t.Context(), addr, room) {
				th.settle(addr, room, false)
				n++
			}
			return n
		}
		if n := take("a", "algebra"); n != addressGuesses {
			t.Errorf("one address: got %d, want %d", n, addressGuesses)
		}
		if n := take("a", "physics"); n != 0 {
			t.Errorf("the same address elsewhere: got %d, want 0", n)
		}
		n := 0
		for _, addr := range []string{"b", "c", "d", "e"} {
			n += take(addr, "algebra")
		}
		if n != roomGuesses-addressGuesses {
			t.Errorf("other addresses: got %d, want %d", n, roomGuesses-addressGuesses)
		}
		if n := take("f", "physics"); n != addressGuesses {
			t.Errorf("another room: got %d, want %d", n, addressGuesses)
		}
		<-time.After(10 * roomEvery) // of the bubble
		if n := take("g", "algebra"); n != 10 {
			t.Errorf("later: got %d, want 10", n)
		}
		for i := range 3 * maxBuckets {
			if addr := string(rune('A'+i%26)) + time.Duration(i).String(); th.take(t.Context(), addr, "algebra") {
				th.settle(addr, "algebra", false)
			}
		}
		if len(th.tries) > maxBuckets+1 {
			t.Errorf("%d senders are remembered", len(th.tries))
		}
		if n := take("h", "algebra"); n != 0 {
			t.Errorf("a room forgot its guesses: %d", n)
		}
	})
}

// A class that comes at once waits for those before it, who are right.
func TestThrottle_WaitsForWhoIsBeingLookedAt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		th := newThrottle(time.Now)
		for range addressGuesses {
			th.take(t.Context(), "a", "algebra")
		}
		got := make(chan bool)
		wait := func() { go func() { got <- th.take(t.Context(), "a", "algebra") }() } // ends with its answer
		wait()
		synctest.Wait()
		select {
		case ok := <-got:
			t.Fatalf("got %v before anybody was looked at", ok)
		default:
		}
		th.settle("a", "algebra", true)
		if !<-got {
			t.Error("refused although the one before was right")
		}
		wait()
		for range addressGuesses {
			th.settle("a", "algebra", false)
		}
		if <-got {
			t.Error("let through although all before were wrong")
		}
	})
}

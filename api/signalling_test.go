package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"

	"github.com/lectern/lectern/room"
	"github.com/lectern/lectern/room/access"
	"github.com/lectern/lectern/stream"
)

// publishes makes a stream live without a publisher of flesh.
func (g *gateway) publishes(name, slot, who string) *room.Hold {
	g.t.Helper()
	r, err := g.hub.Room(name)
	if err != nil {
		g.t.Fatal(err)
	}
	id := room.Identity{ID: who, Role: access.Teacher, Room: name}
	h, err := r.Publish(id, slot, stream.Source{Kinds: []stream.Kind{stream.Video}})
	if err != nil {
		g.t.Fatal(err)
	}
	return h
}

func TestWHEP_ViewerConnectsTalksAndLeaves(t *testing.T) {
	g := newGateway(t, nil)
	hold := g.publishes("algebra", "main", "teacher")
	defer hold.Release(true)
	f := newForeign(t, g, g.token("algebra", access.Student), false)
	resp := f.open("/whep/algebra")
	if resp.StatusCode != 201 || resp.Header.Get("Content-Type") != "application/sdp" {
		t.Fatalf("got %d, %v", resp.StatusCode, resp.Header)
	}
	if !strings.HasPrefix(f.location, "/whep/algebra/session/") || len(f.etag) < 4 || f.etag[0] != '"' {
		t.Errorf("got Location %q, ETag %q", f.location, f.etag)
	}
	f.await(f.live, "the connection")
	f.chat.OnOpen(func() {
		_ = f.chat.SendText(`{"type":"hello","name":"Bo"}`)
		_ = f.chat.SendText(`{"type":"say","ref":"r1","text":"hi"}`)
	})
	for seen := false; !seen; {
		select {
		case line := <-f.lines:
			var m struct{ Type, Text string }
			if err := json.Unmarshal([]byte(line), &m); err != nil {
				t.Fatal(err)
			}
			seen = m.Text == "hi"
		case <-time.After(10 * time.Second):
			t.Fatal("the chat does not come back")
		}
	}
	var view roomView
	g.want(200, g.call(f.token, "GET", "/api/rooms/algebra", nil), &view)
	if view.Viewers != 1 || view.People != 1 || view.Streams[0].Legacy["rtsp"].URL != "rtsp://example.com:8554/algebra" {
		t.Errorf("got room %+v", view)
	}
	g.want(204, g.call(f.token, "GET", f.location, nil), nil)
	g.want(200, g.call(f.token, "DELETE", f.location, nil, "If-Match", `"ignored"`), nil)
	for _, method := range []string{"DELETE", "GET", "PATCH"} {
		g.want(404, g.call(f.token, method, f.location, nil), nil)
	}
	f.await(f.gone, "the end of the session at the viewer")
	g.want(200, g.call(f.token, "GET", "/api/rooms/algebra", nil), &view)
	if view.Viewers != 0 {
		t.Errorf("got %d viewers after DELETE", view.Viewers)
	}
}

func TestWHEP_WaitsForTheClassIfAsked(t *testing.T) {
	g := newGateway(t, nil)
	student := g.token("algebra", access.Student)
	resp := newForeign(t, g, student, false).open("/whep/algebra")
	if p := problemIn(t, resp); p.Status != 409 || p.Code != "not_live" || resp.Header.Get("Retry-After") == "" {
		t.Errorf("got %+v, Retry-After %q", p, resp.Header.Get("Retry-After"))
	}
	if _, there := g.hub.Lookup("algebra"); there {
		t.Error("asking for a room that is not live made it")
	}
	f := newForeign(t, g, student, false)
	resp = f.open("/whep/algebra/screen", "Prefer", "wait=60")
	if resp.StatusCode != 201 || resp.Header.Get("Preference-Applied") != "wait" {
		t.Fatalf("got %d, %v", resp.StatusCode, resp.Header)
	}
	var view roomView
	g.want(200, g.call(student, "GET", "/api/rooms/algebra", nil), &view)
	if view.Waiting != 1 {
		t.Errorf("got %d waiting, want 1", view.Waiting)
	}
}

func TestSession_PatchConditions(t *testing.T) {
	g := newGateway(t, nil)
	f := newForeign(t, g, g.token("algebra", access.Student), false)
	f.open("/whep/algebra", "Prefer", "wait")
	f.await(f.live, "the connection")
	const frag = typeSDPFrag
	trickle := fragment(f.LocalDescription().SDP)
	for name, tt := range map[string]struct {
		body, media, match string
		status             int
		code               string
	}{
		"no condition":     {trickle, frag, "", 428, "precondition_required"},
		"a stale tag":      {trickle, frag, `"old"`, 412, "stale_etag"},
		"a weak tag":       {trickle, frag, "W/" + f.etag, 412, "stale_etag"},
		"another type":     {trickle, "application/json", f.etag, 415, "unsupported_media_type"},
		"a counter-answer": {trickle, "application/sdp", f.etag, 415, "unsupported_media_type"},
		"no type":          {trickle, "", f.etag, 415, "unsupported_media_type"},
		"nonsense":         {"nonsense", frag, f.etag, 400, ""},
		"a bad restart":    {"nonsense", frag, "*", 400, ""},
		"too much":         {strings.Repeat("a=x\r\n", 20_000), frag, f.etag, 413, "too_large"},
		"candidates":       {trickle, frag, f.etag, 204, ""},
		"in a list":        {trickle, "Application/Trickle-ICE-SDPFrag; x=y", `"other", ` + f.etag, 204, ""},
	} {
		var header []string
		if tt.match != "" {
			header = []string{"If-Match", tt.match}
		}
		resp := f.patch(tt.body, tt.media, header...)
		if resp.StatusCode != tt.status {
			t.Errorf("%s: got %d, want %d", name, resp.StatusCode, tt.status)
			continue
		}
		if tt.status == 204 {
			if resp.Header.Get("ETag") != "" {
				t.Errorf("%s: got an ETag", name)
			}
			continue
		}
		if p := problemIn(t, resp); tt.code != "" && p.Code != tt.code {
			t.Errorf("%s: got code %q, want %q", name, p.Code, tt.code)
		}
	}
	if resp := f.patch(trickle, "application/json", "If-Match", f.etag); resp.Header.Get("Accept-Patch") != typeSDPFrag {
		t.Errorf("got Accept-Patch %q", resp.Header.Get("Accept-Patch"))
	}
}

func TestSession_RestartsICE(t *testing.T) {
	for _, match := range []string{"*", `"*"`} {
		g := newGateway(t, nil)
		f := newForeign(t, g, g.token("algebra", access.Student), false)
		f.open("/whep/algebra", "Prefer", "wait")
		f.await(f.live, "the connection")
		frag := fragment(string(f.offer(&webrtc.OfferOptions{ICERestart: true})))
		var resp *http.Response
		g.eventually("the session is connected on this side too", func() bool {
			resp = f.patch(frag, typeSDPFrag, "If-Match", match)
			return resp.StatusCode != 409
		})
		if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != typeSDPFrag {
			t.Fatalf("got %d %s", resp.StatusCode, resp.Header.Get("Content-Type"))
		}
		var body bytes.Buffer
		if _, err := body.ReadFrom(resp.Body); err != nil || !strings.Contains(body.String(), "a=ice-ufrag:") {
			t.Errorf("got fragment %q, %v", &body, err)
		}
		etag := resp.Header.Get("ETag")
		if etag == f.etag || etag == "" {
			t.Errorf("got ETag %q after a restart of %q", etag, f.etag)
		}
		if resp := f.patch(frag, typeSDPFrag, "If-Match", f.etag); resp.StatusCode != 412 {
			t.Errorf("the old tag: got %d, want 412", resp.StatusCode)
		}
	}
}

func TestSession_NeedsTheRightTokenToo(t *testing.T) {
	g := newGateway(t, nil)
	f := newForeign(t, g, g.token("algebra", access.Student), false)
	f.open("/whep/algebra", "Prefer", "wait")
	for _, method := range []string{"GET", "HEAD", "PATCH", "DELETE"} {
		g.want(401, g.call("", method, f.location, nil), nil)
		g.want(401, g.call("nonsense", method, f.location, nil), nil)
		g.want(403, g.call(g.token("algebra", access.Student), method, f.location, nil), nil)
		g.want(403, g.call(g.token("physics", access.Teacher), method, f.location, nil), nil)
		g.want(404, g.call(f.token, method, "/whip/algebra/session/"+f.location[len("/whep/algebra/session/"):], nil), nil)
	}
	g.want(200, g.call(g.token("algebra", access.Teacher), "DELETE", f.location, nil), nil)
}

func TestSession_EndsWithItsToken(t *testing.T) {
	g := newGateway(t, nil)
	token, err := g.cfg.Authority.Issue(access.Claims{Room: "algebra", Role: access.Student}, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	f := newForeign(t, g, token, false)
	if resp := f.open("/whep/algebra", "Prefer", "wait"); resp.StatusCode != 201 {
		t.Fatalf("got %d", resp.StatusCode)
	}
	f.await(f.live, "the connection")
	f.await(f.gone, "the end of the session")
	g.want(401, g.call(token, "GET", f.location, nil), nil)
	g.eventually("the session is gone on this side too", func() bool {
		return g.call(adminKey, "GET", f.location, nil).StatusCode == 404
	})
}

func TestSignalling_RefusesWhatItCannotServe(t *testing.T) {
	g := newGateway(t, func(c *Config) { c.MaxSessions = 1 })
	teacher, student := g.token("algebra", access.Teacher), g.token("algebra", access.Student)
	view := newForeign(t, g, student, false).offer(nil)
	publish := newForeign(t, g, teacher, true).offer(nil)
	const sdp = "application/sdp"
	for name, tt := range map[string]struct {
		target, token, media string
		body                 []byte
		status               int
		code                 string
	}{
		"no token":               {"/whip/algebra", "", sdp, publish, 401, "unauthorised"},
		"a wrong token":          {"/whep/algebra", "nonsense", sdp, view, 401, "invalid_token"},
		"a student publishes":    {"/whip/algebra", student, sdp, publish, 403, "forbidden"},
		"another room":           {"/whep/physics", student, sdp, view, 403, "forbidden"},
		"a player watches":       {"/whep/algebra", g.token("algebra", access.Player), sdp, view, 403, "forbidden"},
		"a bad room":             {"/whip/.hidden", teacher, sdp, publish, 400, "bad_name"},
		"a bad slot":             {"/whip/algebra/a%20b", teacher, sdp, publish, 400, "bad_name"},
		"a long room":            {"/whip/" + strings.Repeat("x", 5000), teacher, sdp, publish, 400, "bad_name"},
		"no type":                {"/whip/algebra", teacher, "", publish, 415, "unsupported_media_type"},
		"JSON":                   {"/whep/algebra", student, "application/json", view, 415, "unsupported_media_type"},
		"an oversized offer":     {"/whip/algebra", teacher, sdp, bytes.Repeat([]byte("a=x\r\n"), 1<<20), 413, "too_large"},
		"an empty offer":         {"/whip/algebra", teacher, sdp, nil, 0, ""},
		"a malformed offer":      {"/whip/algebra", teacher, sdp, []byte("this is no SDP"), 400, "malformed_sdp"},
		"a viewer's offer":       {"/whip/algebra", teacher, sdp, view, 422, "wrong_direction"},
		"a publisher's offer":    {"/whep/algebra", student, sdp, publish, 422, "wrong_direction"},
		"half an offer":          {"/whep/algebra", student, sdp, view[:len(view)/2], 0, ""},
		"an offer of no codec":   {"/whep/algebra", student, sdp, bytes.ReplaceAll(view, []byte("opus/"), []byte("speex/")), 422, "no_usable_codec"},
		"an offer of short keys": {"/whep/algebra", student, sdp, shorten(view, "a=ice-pwd:"), 400, "bad_ice"},
	} {
		resp := g.call(tt.token, "POST", tt.target, tt.body, "Content-Type", tt.media)
		if resp.StatusCode/100 != 4 || tt.status != 0 && resp.StatusCode != tt.status {
			t.Errorf("%s: got %d, want %d", name, resp.StatusCode, tt.status)
		}
		p := problemIn(t, resp)
		if tt.code != "" && p.Code != tt.code || p.Detail == "" {
			t.Errorf("%s: got %+v, want code %q", name, p, tt.code)
		}
		if len(tt.token) > 20 && strings.Contains(g.log.String(), tt.token) {
			t.Errorf("%s: the log shows the token", name)
		}
	}
	if live, _ := g.sessions.count(wayWHEP); live != 0 || len(g.sessions.seats) != 0 {
		t.Errorf("%d sessions, %v places are left", live, g.sessions.seats)
	}
	first := newForeign(t, g, student, false)
	first.open("/whep/algebra", "Prefer", "wait")
	resp := newForeign(t, g, student, false).open("/whep/algebra", "Prefer", "wait")
	if p := problemIn(t, resp); p.Status != 503 || p.Code != "room_full" || resp.Header.Get("Retry-After") == "" {
		t.Errorf("got %+v", p)
	}
}

// shorten cuts the values of attributes to two characters.
func shorten(sdp []byte, attribute string) []byte {
	var b bytes.Buffer
	for line := range bytes.Lines(sdp) {
		if bytes.HasPrefix(line, []byte(attribute)) {
			line = append(line[:len(attribute)+2:len(attribute)+2], '\r', '\n')
		}
		b.Write(line)
	}
	return b.Bytes()
}

func TestSignalling_DescribesItself(t *testing.T) {
	g := newGateway(t, nil)
	for _, path := range []string{"/whip/algebra", "/whep/algebra", "/whep/algebra/screen"} {
		for _, method := range []string{"GET", "HEAD"} {
			resp := g.call("", method, path, nil)
			var body bytes.Buffer
			_, err := body.ReadFrom(resp.Body)
			if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "application/sdp" || body.Len() != 0 || err != nil {
				t.Errorf("%s %s: got %d %s %q", method, path, resp.StatusCode, resp.Header.Get("Content-Type"), &body)
			}
		}
		if resp := g.call("", "PUT", path, nil); resp.StatusCode != 405 || resp.Header.Get("Allow") == "" {
			t.Errorf("PUT %s: got %d, Allow %q", path, resp.StatusCode, resp.Header.Get("Allow"))
		}
	}
}

func TestWHIP_PublisherBeginsAndEndsAClass(t *testing.T) {
	g := newGateway(t, nil)
	teacher := g.token("algebra", access.Teacher)
	f := newForeign(t, g, teacher, true)
	if resp := f.open("/whip/algebra"); resp.StatusCode != 201 || !strings.HasPrefix(f.location, "/whip/algebra/session/") {
		t.Fatalf("got %d, Location %q", resp.StatusCode, f.location)
	}
	f.await(f.live, "the connection")
	var view roomView
	g.want(200, g.call(teacher, "GET", "/api/rooms/algebra", nil), &view)
	if view.State != room.StateLive || view.Class.Origin != room.OriginWHIP || !view.Streams[0].Live {
		t.Errorf("got room %+v", view)
	}
	second := newForeign(t, g, g.token("algebra", access.Teacher), true)
	if p := problemIn(t, second.open("/whip/algebra/main")); p.Status != 409 || p.Code != "slot_taken" {
		t.Errorf("a second publisher: got %+v", p)
	}
	screen := newForeign(t, g, second.token, true)
	if resp := screen.open("/whip/algebra/screen"); resp.StatusCode != 201 {
		t.Errorf("a second stream: got %d", resp.StatusCode)
	}
	g.want(200, g.call(screen.token, "DELETE", screen.location, nil), nil)
	g.want(200, g.call(teacher, "DELETE", f.location, nil), nil)
	g.want(200, g.call(teacher, "GET", "/api/rooms/algebra", nil), &view)
	if view.State != room.StateIdle {
		t.Errorf("got state %s after DELETE", view.State)
	}
	f.await(f.gone, "the end of the session at the publisher")
}

func TestWHIP_SamePersonTakesOverAndLostPublisherHasGrace(t *testing.T) {
	g := newGateway(t, nil)
	teacher := g.token("algebra", access.Teacher)
	first, second := newForeign(t, g, teacher, true), newForeign(t, g, teacher, true)
	first.open("/whip/algebra")
	first.await(first.live, "the connection")
	if resp := second.open("/whip/algebra"); resp.StatusCode != 201 {
		t.Fatalf("the same person again: got %d", resp.StatusCode)
	}
	first.await(first.gone, "the end of the first session")
	g.eventually("the first session is gone on this side too", func() bool {
		return g.call(teacher, "GET", first.location, nil).StatusCode == 404
	})
	second.await(second.live, "the second connection")
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
	states := map[string]bool{}
	g.eventually("the class ends after its grace", func() bool {
		var view roomView
		g.want(200, g.call(teacher, "GET", "/api/rooms/algebra", nil), &view)
		states[view.State] = true
		return view.State == room.StateIdle
	})
	if !states[room.StateInterrupted] {
		t.Errorf("a lost publisher ended the class at once: %v", states)
	}
}

func TestShutdown_EndsSessionsInOrder(t *testing.T) {
	g := newGateway(t, nil)
	var all []*foreign
	for range 3 {
		f := newForeign(t, g, g.token("algebra", access.Student), false)
		f.open("/whep/algebra", "Prefer", "wait")
		f.await(f.live, "the connection")
		all = append(all, f)
	}
	g.StopNew()
	resp := newForeign(t, g, all[0].token, false).open("/whep/algebra", "Prefer", "wait")
	if p := problemIn(t, resp); p.Status != 503 || resp.Header.Get("Retry-After") == "" {
		t.Errorf("a new session: got %+v", p)
	}
	g.want(204, g.call(all[0].token, "GET", all[0].location, nil), nil)
	if err := g.EndViewers(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i, f := range all {
		f.await(f.gone, fmt.Sprintf("the end of session %d", i))
	}
	if live, ever := g.sessions.count(wayWHEP); live != 0 || ever != 3 {
		t.Errorf("got %d live sessions of %d, want 0 of 3", live, ever)
	}
}

package api

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/lectern/lectern/room/access"
)

// within fails unless ch is closed in time.
func (f *foreign) within(d time.Duration, ch <-chan struct{}, what string) {
	f.t.Helper()
	select {
	case <-ch:
	case <-time.After(d):
		f.t.Errorf("not within %v: %s", d, what)
	}
}

// A right that is taken back ends the sessions that it opened within 5 s, and
// the address of the session tells its owner why.
func TestRevocation_EndsSessionsWithinFiveSeconds(t *testing.T) {
	g := newGateway(t, nil)
	teacher := g.token("algebra", access.Teacher)
	inv := g.invitation(teacher, body{"role": "student"})
	var key newKeyView
	g.want(201, g.call(teacher, "POST", "/api/rooms/algebra/keys", body{"role": "ingest"}), &key)
	var made tokenView
	g.want(201, g.call(teacher, "POST", "/api/tokens", body{"room": "algebra", "role": "student"}), &made)
	for name, tt := range map[string]struct {
		token, path, revoke string
		publishes           bool
	}{
		"invitation": {g.redeemed(inv.Code, "Wei").Token, "/whep/algebra", "/api/rooms/algebra/invitations/" + inv.ID, false},
		"key":        {key.Key, "/whip/algebra/camera", "/api/rooms/algebra/keys/" + key.ID, true},
		"token":      {made.Token, "/whep/algebra", "/api/tokens/" + made.ID, false},
	} {
		t.Run(name, func(t *testing.T) {
			f := newForeign(t, g, tt.token, tt.publishes)
			if resp := f.open(tt.path, "Prefer", "wait"); resp.StatusCode != http.StatusCreated {
				t.Fatalf("got %d", resp.StatusCode)
			}
			f.await(f.live, "the session connects")
			g.want(204, g.call(teacher, "DELETE", tt.revoke, nil), nil)
			f.within(5*time.Second, f.gone, "the session ends")
			g.eventually("the session is gone", func() bool { return g.call(teacher, "GET", f.location, nil).StatusCode == 404 })
			if p := problemIn(t, g.call(teacher, "GET", f.location, nil)); p.Code != "session_ended" || p.Reason != "token_revoked" {
				t.Errorf("who leads learns %+v", p)
			}
			if resp := g.call(tt.token, "GET", f.location, nil); resp.StatusCode != 401 {
				t.Errorf("its owner: got %d, want 401", resp.StatusCode)
			}
		})
	}
}

func TestClosing_SendsStudentsAwayAndKeepsWhoTeaches(t *testing.T) {
	g := newGateway(t, nil)
	student := newForeign(t, g, g.token("algebra", access.Student), false)
	assistant := newForeign(t, g, g.token("algebra", access.Assistant), false)
	for _, f := range []*foreign{student, assistant} {
		if resp := f.open("/whep/algebra", "Prefer", "wait"); resp.StatusCode != http.StatusCreated {
			t.Fatalf("got %d", resp.StatusCode)
		}
		f.await(f.live, "the session connects")
	}
	g.rules(body{"mode": "closed"})
	student.within(5*time.Second, student.gone, "the student's session ends")
	if code := g.code(403, g.call(student.token, "GET", "/api/rooms/algebra", nil)); code != "room_closed" {
		t.Errorf("got %s", code)
	}
	g.want(204, g.call(assistant.token, "GET", assistant.location, nil), nil)
}

// A page that shares its token with others is one and the same member on the
// chat channel and when it puts a file over HTTP.
func TestPutFile_ByTheMemberOfThePage(t *testing.T) {
	const secret = "a-secret-of-this-page"
	g := newGateway(t, nil)
	f := newForeign(t, g, g.token("algebra", access.Student), false)
	f.chat.OnOpen(func() { _ = f.chat.SendText(`{"type":"hello","name":"Wei","key":"` + secret + `"}`) })
	if resp := f.open("/whep/algebra", "Prefer", "wait"); resp.StatusCode != http.StatusCreated {
		t.Fatalf("got %d", resp.StatusCode)
	}
	sum := sha256.Sum256([]byte("notes"))
	put := "/api/rooms/algebra/files/1?name=notes.txt&sha256=" + hex.EncodeToString(sum[:])
	var me, by string
	for by == "" {
		select {
		case line := <-f.lines:
			var msg struct {
				Type, By string
				You      struct{ ID string }
			}
			if err := json.Unmarshal([]byte(line), &msg); err != nil {
				t.Fatal(err)
			}
			switch msg.Type {
			case "welcome":
				me = msg.You.ID
				g.want(201, g.call(f.token, "PUT", put, []byte("notes"), "Lectern-Key", secret), nil)
			case "file":
				by = msg.By
			}
		case <-time.After(10 * time.Second):
			t.Fatal("the room does not tell of the file")
		}
	}
	if by != me || !strings.Contains(me, "~") {
		t.Errorf("the file is by %q, the member is %q", by, me)
	}
	g.want(400, g.call(f.token, "PUT", put, []byte("notes"), "Lectern-Key", "short"), nil)
}

func TestFiles_ClosedToStudents(t *testing.T) {
	g := newGateway(t, nil)
	sum := sha256.Sum256([]byte("notes"))
	put := "/api/rooms/algebra/files/1?name=notes.txt&sha256=" + hex.EncodeToString(sum[:])
	g.rules(body{"files": false})
	student := g.token("algebra", access.Student)
	if code := g.code(403, g.call(student, "PUT", put, []byte("notes"))); code != "files_closed" {
		t.Errorf("got %s", code)
	}
	var f fileView
	g.want(201, g.call(g.token("algebra", access.Assistant), "PUT", put, []byte("notes")), &f)
	g.want(200, g.call(student, "GET", f.URL, nil), nil)
	var view roomView
	g.want(200, g.call(student, "GET", "/api/rooms/algebra", nil), &view)
	if view.Access.Files || !view.Access.Chat || view.Access.Mode != access.ByLink {
		t.Errorf("got %+v", view.Access)
	}
	g.rules(body{"files": true})
	g.want(201, g.call(student, "PUT", strings.Replace(put, "files/1", "files/2", 1), []byte("notes")), nil)
}

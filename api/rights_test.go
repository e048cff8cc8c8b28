package api

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/lectern/lectern/room"
	"github.com/lectern/lectern/room/access"
)

// rightsOf says what becomes of a request by who sends it: + is let through, else
// the status of the refusal. The columns are those of newSenders.
//
//	admin teacher assistant student player ingest stranger | nobody in a room by
//	link, open, by passcode, closed | revoked expired early teachers | of a closed
//	room: its teacher, its student
func rightsOf() map[string]string {
	return map[string]string{
		"public":   "+ + + + + + + | + + + + | + + + | + +",
		"bearer":   "+ + + + + + + | 401 401 401 401 | 401 401 401 | + 403",
		"admin":    "+ 403 403 403 403 403 403 | 401 401 401 401 | 401 401 401 | 403 403",
		"lead":     "+ + 403 403 403 403 403 | 401 401 401 401 | 401 401 401 | + 403",
		"moderate": "+ + + 403 403 403 403 | 401 401 401 401 | 401 401 401 | + 403",
		"publish":  "+ + + 403 403 + 403 | 401 401 401 401 | 401 401 401 | + 403",
		"watch":    "+ + + + 403 403 403 | 401 + 401 401 | 401 401 401 | + 403",
		"share":    "+ + + + 403 403 403 | 401 401 401 401 | 401 401 401 | + 403",
		// Without a room in the address an open one gives no right, and who is
		// of another room asks for that.
		"anywhere": "+ + + + 403 403 + | 401 401 401 401 | 401 401 401 | + 403",
		// A lecture of another room is not there.
		"lecture":     "+ + + + 404 404 404 | 401 + 401 401 | 401 401 401 | + 403",
		"leadLecture": "+ + 403 403 404 404 404 | 401 401 401 401 | 401 401 401 | + 403",
		// A session that is not there is not there for whoever could have one.
		"session": "+ + + + + + + | 401 + 401 401 | 401 401 401 | + 403",
		// By passcode or into an open room, whoever one is else.
		"door": "403 403 403 403 403 403 403 | 403 + 403 403 | 403 403 403 | 403 403",
	}
}

// routeRights is what each route asks for.
type routeRights struct {
	right  string // in rightsOf
	status int    // of a request that is let through
	path   string // {room}, {file}, {lecture}, {token} stand for those of the caller
	body   any
	media  string // of a body that is no JSON
}

func sdp(right string, path string) routeRights {
	return routeRights{right: right, status: 400, path: path, body: []byte("no offer"), media: "application/sdp"}
}

// routeTable has an entry for every route of the server.
func routeTable() map[string]routeRights {
	sum := sha256.Sum256([]byte("notes"))
	digest := hex.EncodeToString(sum[:])
	type o = map[string]any
	table := map[string]routeRights{
		"POST /whip/:room":       sdp("publish", "/whip/{room}"),
		"POST /whip/:room/:slot": sdp("publish", "/whip/{room}/screen"),
		"POST /whep/:room":       sdp("watch", "/whep/{room}"),
		"POST /whep/:room/:slot": sdp("watch", "/whep/{room}/screen"),

		"GET /api/info":                           {"public", 200, "/api/info", nil, ""},
		"GET /api/me":                             {"bearer", 200, "/api/me", nil, ""},
		"POST /api/tokens":                        {"lead", 201, "/api/tokens", o{"room": "{room}", "role": "student"}, ""},
		"DELETE /api/tokens/:id":                  {"lead", 204, "/api/tokens/{token}", nil, ""},
		"POST /api/invitations/redeem":            {"public", 404, "/api/invitations/redeem", o{"code": "none"}, ""},
		"GET /api/rooms":                          {"anywhere", 200, "/api/rooms", nil, ""},
		"GET /api/rooms/:room":                    {"watch", 200, "/api/rooms/{room}", nil, ""},
		"POST /api/rooms/:room/class":             {"lead", 409, "/api/rooms/{room}/class", nil, ""},
		"DELETE /api/rooms/:room/class":           {"lead", 200, "/api/rooms/{room}/class", nil, ""},
		"GET /api/rooms/:room/events":             {"watch", 200, "/api/rooms/{room}/events", nil, ""},
		"GET /api/rooms/:room/viewers":            {"watch", 200, "/api/rooms/{room}/viewers", nil, ""}, // others only for who moderates
		"GET /api/rooms/:room/files":              {"watch", 200, "/api/rooms/{room}/files", nil, ""},
		"GET /api/rooms/:room/files/:id":          {"watch", 200, "/api/rooms/{room}/files/{file}", nil, ""},
		"PUT /api/rooms/:room/files/:id":          {"share", 201, "/api/rooms/{room}/files/up?name=notes.txt&sha256=" + digest, []byte("notes"), "text/plain"},
		"DELETE /api/rooms/:room/files/:id":       {"moderate", 404, "/api/rooms/{room}/files/none", nil, ""},
		"GET /api/rooms/:room/door":               {"public", 200, "/api/rooms/{room}/door", nil, ""},
		"POST /api/rooms/:room/enter":             {"door", 201, "/api/rooms/{room}/enter", o{"name": "Wei", "passcode": "wrong"}, ""},
		"GET /api/rooms/:room/access":             {"lead", 200, "/api/rooms/{room}/access", nil, ""},
		"PUT /api/rooms/:room/access":             {"lead", 200, "/api/rooms/{room}/access", o{"chat": true}, ""},
		"POST /api/rooms/:room/invitations":       {"lead", 201, "/api/rooms/{room}/invitations", o{"role": "student"}, ""},
		"GET /api/rooms/:room/invitations":        {"lead", 200, "/api/rooms/{room}/invitations", nil, ""},
		"DELETE /api/rooms/:room/invitations/:id": {"lead", 404, "/api/rooms/{room}/invitations/none", nil, ""},
		"POST /api/rooms/:room/keys":              {"lead", 201, "/api/rooms/{room}/keys", o{"role": "ingest"}, ""},
		"GET /api/rooms/:room/keys":               {"lead", 200, "/api/rooms/{room}/keys", nil, ""},
		"DELETE /api/rooms/:room/keys/:id":        {"lead", 404, "/api/rooms/{room}/keys/none", nil, ""},
		"GET /api/lectures":                       {"anywhere", 200, "/api/lectures", nil, ""},
		"GET /api/lectures/:id":                   {"lecture", 200, "/api/lectures/{lecture}", nil, ""},
		"DELETE /api/lectures/:id":                {"leadLecture", 409, "/api/lectures/{lecture}", nil, ""},
		"GET /api/lectures/:id/events":            {"lecture", 200, "/api/lectures/{lecture}/events", nil, ""},
		"GET /api/lectures/:id/files/:file":       {"lecture", 404, "/api/lectures/{lecture}/files/none", nil, ""},
		"GET /api/lectures/:id/dash.mpd":          {"lecture", 503, "/api/lectures/{lecture}/dash.mpd", nil, ""},
		"GET /api/lectures/:id/media/*path":       {"lecture", 404, "/api/lectures/{lecture}/media/x", nil, ""},
		"GET /api/lectures/:id/download/*path":    {"lecture", 200, "/api/lectures/{lecture}/download/manifest.json", nil, ""},
		"GET /api/lectures/:id/poster":            {"lecture", 503, "/api/lectures/{lecture}/poster", nil, ""},
		"GET /api/diagnose":                       {"bearer", 200, "/api/diagnose", nil, ""},
		"POST /api/diagnose":                      sdp("bearer", "/api/diagnose?path=udp"),
		"GET /api/diagnose/:id":                   {"public", 404, "/api/diagnose/none", nil, ""},
		"DELETE /api/diagnose/:id":                {"public", 404, "/api/diagnose/none", nil, ""},
		"GET /healthz":                            {"public", 200, "/healthz", nil, ""},
		"GET /readyz":                             {"public", 200, "/readyz", nil, ""},
		"GET /metrics":                            {"admin", 200, "/metrics", nil, ""},
	}
	for _, way := range []string{"whip", "whep"} {
		one := "/" + way + "/{room}/session/none"
		for _, path := range []string{"", "/:slot"} {
			table["GET /"+way+"/:room"+path] = routeRights{"public", 200, "/" + way + "/{room}" + strings.ReplaceAll(path, ":slot", "screen"), nil, ""}
		}
		for _, method := range []string{"GET", "PATCH", "DELETE"} {
			table[method+" /"+way+"/:room/session/:id"] = routeRights{"session", 404, one, nil, ""}
		}
	}
	for route, path := range map[string]string{
		"POST /sse": "/sse", "GET /sse/:events": "/sse/none", "DELETE /sse/:events": "/sse/none", "POST /layer": "/layer",
	} {
		method, rest, _ := strings.Cut(route, " ")
		table[method+" /whep/:room/session/:id"+rest] = routeRights{"session", 404, "/whep/{room}/session/none" + path, nil, ""}
	}
	for _, path := range pageRoutes() {
		table["GET "+path] = routeRights{"public", 200, regexp.MustCompile(`[:*]\w+`).ReplaceAllString(path, "x"), nil, ""}
	}
	return table
}

// caller is somebody with a credential, and the room that they ask about.
type caller struct {
	name, room, token string
}

// house is rooms of every mode, each with a class that is recorded and a file.
type house struct {
	*gateway
	files, lectures, tokens map[string]string // by room
}

func newHouse(t *testing.T) *house {
	h := &house{
		gateway: newGateway(t, nil),
		files:   map[string]string{}, lectures: map[string]string{}, tokens: map[string]string{},
	}
	sum := sha256.Sum256([]byte("notes"))
	for name, mode := range map[string]access.Mode{
		"algebra": access.ByLink, "square": access.Public, "lodge": access.ByPasscode, "vault": access.Closed,
	} {
		rules := map[string]any{"mode": mode}
		if mode == access.ByPasscode {
			rules["passcode"] = "sesame open"
		}
		h.want(200, h.call(adminKey, "PUT", "/api/rooms/"+name+"/access", rules), nil)
		var class room.Class
		h.want(201, h.call(adminKey, "POST", "/api/rooms/"+name+"/class", map[string]any{"title": "Groups"}), &class)
		h.lectures[name] = class.LectureID
		var f fileView
		h.want(201, h.call(adminKey, "PUT", "/api/rooms/"+name+"/files/1?name=a.txt&sha256="+hex.EncodeToString(sum[:]), []byte("notes")), &f)
		h.files[name] = f.ID
		var tok tokenView
		h.want(201, h.call(adminKey, "POST", "/api/tokens", map[string]any{"room": name, "role": "student"}), &tok)
		h.tokens[name] = tok.ID
	}
	return h
}

// senders are the columns of rightsOf.
func (h *house) senders() []caller {
	h.t.Helper()
	issue := func(role access.Role, from time.Duration, ttl time.Duration) (string, access.Claims) {
		token, cl, err := h.cfg.Authority.IssueToken(access.Claims{Room: "algebra", Role: role, Name: "Ada"}, time.Now().Add(from), ttl)
		if err != nil {
			h.t.Fatal(err)
		}
		return token, cl
	}
	revoked, cl := issue(access.Teacher, 0, time.Hour)
	if err := h.cfg.Authority.Revoke(h.t.Context(), cl.ID, cl.Expires); err != nil {
		h.t.Fatal(err)
	}
	expired, _ := issue(access.Teacher, 0, time.Second)
	early, _ := issue(access.Teacher, time.Hour, time.Hour)
	all := []caller{{"admin", "algebra", adminKey}}
	for _, role := range []access.Role{access.Teacher, access.Assistant, access.Student, access.Player, access.Ingest} {
		all = append(all, caller{string(role), "algebra", h.token("algebra", role)})
	}
	all = append(all,
		caller{"stranger", "algebra", h.token("physics", access.Teacher)},
		caller{"nobody by link", "algebra", ""}, caller{"nobody, open", "square", ""},
		caller{"nobody by passcode", "lodge", ""}, caller{"nobody, closed", "vault", ""},
		caller{"revoked", "algebra", revoked}, caller{"expired", "algebra", expired}, caller{"early", "algebra", early},
		caller{"teacher, closed", "vault", h.token("vault", access.Teacher)},
		caller{"student, closed", "vault", h.token("vault", access.Student)},
	)
	h.eventually("the short token is over", func() bool {
		return h.call(expired, "GET", "/api/me", nil).StatusCode == http.StatusUnauthorized
	})
	return all
}

// send makes the request of a route for a sender.
func (h *house) send(method string, r routeRights, who caller) *http.Response {
	h.t.Helper()
	fill := strings.NewReplacer("{room}", who.room, "{file}", h.files[who.room],
		"{lecture}", h.lectures[who.room], "{token}", h.tokens[who.room])
	body := r.body
	if fields, ok := body.(map[string]any); ok {
		filled := map[string]any{}
		for k, v := range fields {
			if text, ok := v.(string); ok {
				v = fill.Replace(text)
			}
			filled[k] = v
		}
		body = filled
	}
	var header []string
	if r.media != "" {
		header = []string{"Content-Type", r.media}
	}
	return h.call(who.token, method, fill.Replace(r.path), body, header...)
}

// Every route × everybody: who is let through, and how the others are refused.
func TestRights_OfEveryRouteForEverybody(t *testing.T) {
	h := newHouse(t)
	senders, table := h.senders(), routeTable()
	for _, route := range h.engine.Routes() {
		if route.Method == http.MethodOptions {
			continue // public, and says nothing: see TestServer_AnswersPreflights
		}
		name := route.Method + " " + route.Path
		entry, ok := table[strings.Replace(name, "HEAD ", "GET ", 1)]
		if !ok {
			t.Errorf("%s: nobody has decided who may use it: add it to routeTable", name)
			continue
		}
		columns := strings.Fields(strings.ReplaceAll(rightsOf()[entry.right], "|", ""))
		if len(columns) != len(senders) {
			t.Fatalf("%s: %d columns for %d senders", entry.right, len(columns), len(senders))
		}
		for i, who := range senders {
			want := entry.status
			if columns[i] != "+" {
				want, _ = strconv.Atoi(columns[i])
			}
			resp := h.send(route.Method, entry, who)
			if resp.StatusCode != want {
				t.Errorf("%s, %s: got %d, want %d", name, who.name, resp.StatusCode, want)
			}
			if challenge := resp.Header.Get("WWW-Authenticate"); resp.StatusCode == 401 && !strings.HasPrefix(challenge, "Bearer realm=") {
				t.Errorf("%s, %s: challenged with %q", name, who.name, challenge)
			}
			if name == "DELETE /api/rooms/:room/class" && resp.StatusCode == 200 {
				var class room.Class
				h.want(201, h.call(adminKey, "POST", "/api/rooms/"+who.room+"/class", nil), &class)
				h.lectures[who.room] = class.LectureID
			}
		}
	}
	var known []string
	for _, r := range h.engine.Routes() {
		known = append(known, r.Method+" "+r.Path)
	}
	for name := range table {
		if !slices.Contains(known, name) {
			t.Errorf("routeTable has %s, which is not served", name)
		}
	}
}

// The refusals of credentials that were good once, or will be, are told apart.
func TestRights_RefusalsHaveTheirCodes(t *testing.T) {
	h := newHouse(t)
	codes := map[string]string{
		"nobody by link": "unauthorised", "nobody by passcode": "unauthorised", "nobody, closed": "unauthorised",
		"player": "forbidden", "ingest": "forbidden", "stranger": "forbidden",
		"revoked": "token_revoked", "expired": "token_expired", "early": "token_not_yet", "student, closed": "room_closed",
	}
	for _, who := range h.senders() {
		want, refused := codes[who.name]
		resp := h.call(who.token, "GET", "/api/rooms/"+who.room, nil)
		if !refused {
			h.want(200, resp, nil)
			continue
		}
		if p := problemIn(t, resp); p.Code != want {
			t.Errorf("%s: got %+v, want code %s", who.name, p, want)
		}
	}
}

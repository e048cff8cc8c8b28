package api

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/lectern/lectern/room/access"
)

// withServers is a gateway with a STUN and a TURN server whose user is the
// session.
func withServers(t *testing.T) (g *gateway, asked *[]ICERequest) {
	asked = new([]ICERequest)
	return newGateway(t, func(c *Config) {
		c.ICEServers = func(r ICERequest) []ICEServer {
			*asked = append(*asked, r)
			return []ICEServer{
				{URL: "stun:" + r.Host + ":3478"},
				{URL: "turn:" + r.Host + ":3478?transport=udp", Username: r.Session, Credential: `pa"ss\word`},
				{URL: "turns:" + r.Host + ":5349?transport=tcp", Username: r.Session, Credential: "x"},
			}
		}
	}), asked
}

// servers are the Link fields with ICE servers.
func servers(h http.Header) []string {
	return slices.DeleteFunc(slices.Clone(h.Values("Link")), func(l string) bool { return !strings.Contains(l, `rel="ice-server"`) })
}

func TestICEServers_OneLinkEachWithFreshCredentials(t *testing.T) {
	g, asked := withServers(t)
	users := map[string]bool{}
	for w, role := range both() {
		f := newForeign(t, g, g.token("algebra", role), w == wayWHIP)
		resp := f.open("/"+string(w)+"/algebra", "Prefer", "wait")
		user := (*asked)[len(*asked)-1].Session
		users[user] = true
		want := []string{
			`<stun:example.com:3478>; rel="ice-server"`,
			`<turn:example.com:3478?transport=udp>; rel="ice-server"; username="` + user + `"; credential="pa\"ss\\word"; credential-type="password"`,
			`<turns:example.com:5349?transport=tcp>; rel="ice-server"; username="` + user + `"; credential="x"; credential-type="password"`,
		}
		if got := servers(resp.Header); !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", w, got, want)
		}
		if user == "" || strings.Contains(f.location, user) && len(user) > 8 {
			t.Errorf("%s: user %q gives the session away", w, user)
		}
	}
	if len(users) != 2 {
		t.Error("two sessions have the same credentials")
	}
}

func TestICEServers_OnOptionsForWhoMayMakeASession(t *testing.T) {
	g, _ := withServers(t)
	student := g.token("algebra", access.Student)
	g.openRoom("public", access.Public)
	preflight := []string{"Origin", "https://portal.example.org", "Access-Control-Request-Method", "POST"}
	for name, tt := range map[string]struct {
		path, token string
		header      []string
		want        int
	}{
		"a viewer":                    {"/whep/algebra", student, nil, 3},
		"a viewer of a slot":          {"/whep/algebra/screen", student, nil, 3},
		"a publisher":                 {"/whip/algebra", g.token("algebra", access.Ingest), nil, 3},
		"nobody":                      {"/whep/algebra", "", nil, 0},
		"nobody in an open room":      {"/whep/public", "", nil, 3},
		"nobody who would publish":    {"/whip/public", "", nil, 0},
		"a wrong token":               {"/whep/algebra", "nonsense", nil, 0},
		"a student who would publish": {"/whip/algebra", student, nil, 0},
		"another room":                {"/whep/physics", student, nil, 0},
		"a preflight":                 {"/whep/public", "", preflight, 0},
		"a preflight that asks":       {"/whep/public", "", append(preflight, "Access-Control-Request-Headers", "content-type, link"), 3},
		"a session":                   {"/whep/algebra/session/x", student, nil, 0},
	} {
		resp := g.call(tt.token, "OPTIONS", tt.path, nil, tt.header...)
		if got := len(servers(resp.Header)); resp.StatusCode != 200 || got != tt.want {
			t.Errorf("%s: got %d, %d servers, want %d", name, resp.StatusCode, got, tt.want)
		}
	}
}

func TestQuote_KeepsHeadersWhole(t *testing.T) {
	for in, want := range map[string]string{
		"": `""`, "a b": `"a b"`, `a"b\`: `"a\"b\\"`, "a\r\nb\x00\x7f": `"ab"`,
	} {
		if got := quote(in); got != want {
			t.Errorf("quote(%q): got %s, want %s", in, got, want)
		}
	}
	h := http.Header{}
	addICELinks(h, []ICEServer{{URL: "turn:a>b"}, {URL: ""}, {URL: "stun:a\r\nb"}, {URL: "stun:ok"}})
	if got := h.Values("Link"); !slices.Equal(got, []string{`<stun:ok>; rel="ice-server"`}) {
		t.Errorf("got %q", got)
	}
}

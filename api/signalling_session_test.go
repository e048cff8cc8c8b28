package api

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"

	"github.com/lectern/lectern/internal/rtc"
	"github.com/lectern/lectern/room/access"
)

// opens makes a session of that way; connected waits until media could flow.
func (g *gateway) opens(w way, token string, connected bool) *foreign {
	g.t.Helper()
	f := newForeign(g.t, g, token, w == wayWHIP)
	if resp := f.open("/"+string(w)+"/algebra", "Prefer", "wait"); resp.StatusCode != 201 {
		g.t.Fatalf("%s: got %d", w, resp.StatusCode)
	}
	if connected {
		f.await(f.live, "the connection")
	}
	return f
}

// trickle is a fragment with the credentials that f has offered.
func (f *foreign) trickle() string { return fragment(f.LocalDescription().SDP) }

func TestSession_GetAndHeadAre2xxWithoutContent(t *testing.T) {
	g := newGateway(t, nil)
	for w, role := range both() {
		f := g.opens(w, g.token("algebra", role), false)
		for _, method := range []string{"GET", "HEAD"} {
			resp := g.call(f.token, method, f.location, nil)
			body, err := io.ReadAll(resp.Body)
			if resp.StatusCode/100 != 2 || len(body) > 0 || err != nil || resp.Header.Get("ETag") != f.etag {
				t.Errorf("%s %s: got %d, %q, ETag %q", method, w, resp.StatusCode, body, resp.Header.Get("ETag"))
			}
		}
	}
}

func TestSession_UnknownIs404(t *testing.T) {
	g := newGateway(t, nil)
	for w, role := range both() {
		token := g.token("algebra", role)
		f := g.opens(w, token, false)
		for _, id := range []string{newID(), "x", strings.ToLower(f.location[len("/whip/algebra/session/"):]), "%00", ".."} {
			for _, method := range []string{"GET", "HEAD", "PATCH", "DELETE"} {
				resp := g.call(token, method, "/"+string(w)+"/algebra/session/"+id, []byte(f.trickle()),
					"Content-Type", typeSDPFrag, "If-Match", f.etag)
				if resp.StatusCode != 404 {
					t.Errorf("%s %s %q: got %d, want 404", method, w, id, resp.StatusCode)
				}
			}
		}
	}
}

func TestPatch_TrickleIs204WithoutBodyAndETag(t *testing.T) {
	g := newGateway(t, nil)
	for w, role := range both() {
		f := g.opens(w, g.token("algebra", role), true)
		for name, frag := range map[string]string{
			"all": f.trickle(), "end": "a=end-of-candidates\r\n",
			"unknown transport": "a=candidate:1 1 sctp 2122260223 192.0.2.1 61764 typ host\r\n",
			"no such host":      "a=candidate:1 1 udp 2122260223 c0ffee00-dead-4bee-8bad-f00d00000000.local 61764 typ host\r\n",
			"line feeds only":   strings.ReplaceAll(f.trickle(), "\r", ""),
		} {
			resp := f.patch(frag, "Application/Trickle-ICE-sdpfrag; charset=utf-8", "If-Match", f.etag)
			body, err := io.ReadAll(resp.Body)
			if resp.StatusCode != 204 || len(body) > 0 || err != nil || resp.Header.Get("ETag") != "" {
				t.Errorf("%s, %s: got %d %q, ETag %q", w, name, resp.StatusCode, body, resp.Header.Get("ETag"))
			}
		}
	}
}

func TestPatch_WithoutIfMatchIs428(t *testing.T) {
	g := newGateway(t, nil)
	f := g.opens(wayWHEP, g.token("algebra", access.Student), false)
	for _, header := range [][]string{nil, {"If-Match", ""}, {"If-Match", " , "}, {"If-None-Match", f.etag}} {
		if p := problemIn(t, f.patch(f.trickle(), typeSDPFrag, header...)); p.Status != 428 {
			t.Errorf("%q: got %+v, want 428", header, p)
		}
	}
}

func TestPatch_StaleOrWeakETagIs412(t *testing.T) {
	g := newGateway(t, nil)
	f := g.opens(wayWHEP, g.token("algebra", access.Student), false)
	for _, tag := range []string{`"stale"`, "W/" + f.etag, strings.Trim(f.etag, `"`), strings.ToLower(f.etag), `"` + f.etag + `"`, `"`, `""`, "W/*"} {
		if p := problemIn(t, f.patch(f.trickle(), typeSDPFrag, "If-Match", tag)); p.Status != 412 {
			t.Errorf("%s: got %+v, want 412", tag, p)
		}
	}
}

func TestPatch_TakesAListOfTags(t *testing.T) {
	g := newGateway(t, nil)
	f := g.opens(wayWHEP, g.token("algebra", access.Student), false)
	for _, lines := range [][]string{
		{"If-Match", `"other", ` + f.etag}, {"If-Match", `W/"x",` + f.etag + ` , "more"`}, {"If-Match", `"other"`, "If-Match", f.etag},
	} {
		if resp := f.patch(f.trickle(), typeSDPFrag, lines...); resp.StatusCode != 204 {
			t.Errorf("%q: got %d, want 204", lines, resp.StatusCode)
		}
	}
}

func TestPatch_OtherTypesAre415(t *testing.T) {
	g := newGateway(t, nil)
	f := g.opens(wayWHEP, g.token("algebra", access.Student), false)
	for _, media := range []string{"", "application/sdp", "application/json", "text/plain"} {
		resp := f.patch(f.LocalDescription().SDP, media, "If-Match", f.etag)
		if resp.StatusCode != 415 || resp.Header.Get("Accept-Patch") != typeSDPFrag {
			t.Errorf("%q: got %d, Accept-Patch %q", media, resp.StatusCode, resp.Header.Get("Accept-Patch"))
		}
	}
}

func TestPatch_MalformedFragmentIs400(t *testing.T) {
	g := newGateway(t, nil)
	f := g.opens(wayWHEP, g.token("algebra", access.Student), true)
	for _, match := range []string{f.etag, "*"} {
		for _, frag := range []string{"", "nonsense", "a=ice-ufrag:x\r\n", "{}", "\xff\xfe", "a=ice-ufrag:abcd\r\na=ice-pwd:short\r\n", strings.Repeat("v", 3)} {
			resp := f.patch(frag, typeSDPFrag, "If-Match", match)
			if resp.StatusCode != 400 && resp.StatusCode != 422 {
				t.Errorf("%s %q: got %d", match, frag, resp.StatusCode)
			}
		}
	}
	if resp := f.patch(strings.Repeat("a=x\r\n", maxFragment), typeSDPFrag, "If-Match", f.etag); resp.StatusCode != 413 {
		t.Errorf("a long one: got %d, want 413", resp.StatusCode)
	}
	g.want(204, g.call(f.token, "GET", f.location, nil), nil)
}

// restarts makes a new offer of f and returns its fragment.
func (f *foreign) restarts() string {
	return fragment(string(f.offer(&webrtc.OfferOptions{ICERestart: true})))
}

func TestPatch_RestartIs200WithFragmentAndNewETag(t *testing.T) {
	g := newGateway(t, nil)
	for match, w := range map[string]way{"*": wayWHEP, `"*"`: wayWHIP} {
		f := g.opens(w, g.token("algebra", both()[w]), true)
		frag := f.restarts()
		resp := f.patch(frag, typeSDPFrag, "If-Match", match)
		body, err := io.ReadAll(resp.Body)
		if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != typeSDPFrag || err != nil {
			t.Fatalf("%s: got %d %s", match, resp.StatusCode, resp.Header.Get("Content-Type"))
		}
		for _, part := range []string{"a=ice-ufrag:", "a=ice-pwd:", "a=candidate:", "m=", "a=mid:"} {
			if !strings.Contains(string(body), part) {
				t.Errorf("%s: the fragment lacks %s:\n%s", match, part, body)
			}
		}
		etag := resp.Header.Get("ETag")
		if etag == f.etag || len(etag) < 3 || etag[0] != '"' {
			t.Errorf("%s: got ETag %q after %q", match, etag, f.etag)
		}
		g.want(412, f.patch(frag, typeSDPFrag, "If-Match", f.etag), nil)
		g.want(204, f.patch(frag, typeSDPFrag, "If-Match", etag), nil)
	}
}

// A client that was never connected may have found a better network meanwhile.
func TestPatch_RestartBeforeTheFirstConnection(t *testing.T) {
	g := newGateway(t, nil)
	f := g.opens(wayWHEP, g.token("algebra", access.Student), false)
	const frag = "a=ice-ufrag:ysXw\r\na=ice-pwd:vw5LmwG4y/e6dPP/zAP9Gp5k\r\na=end-of-candidates\r\n"
	if resp := f.patch(frag, typeSDPFrag, "If-Match", "*"); resp.StatusCode != 200 || resp.Header.Get("ETag") == f.etag {
		t.Errorf("got %d, ETag %q", resp.StatusCode, resp.Header.Get("ETag"))
	}
}

// A fragment with other credentials is a restart, whatever tag it comes with.
func TestPatch_NewCredentialsAreARestart(t *testing.T) {
	g := newGateway(t, nil)
	f := g.opens(wayWHEP, g.token("algebra", access.Student), true)
	resp := f.patch(f.restarts(), typeSDPFrag, "If-Match", f.etag)
	if resp.StatusCode != 200 || resp.Header.Get("ETag") == f.etag {
		t.Errorf("got %d, ETag %q", resp.StatusCode, resp.Header.Get("ETag"))
	}
}

func TestPatch_RefusedRestartLeavesTheSession(t *testing.T) {
	g := newGateway(t, nil)
	f := g.opens(wayWHEP, g.token("algebra", access.Student), true)
	for _, frag := range []string{f.trickle(), "a=end-of-candidates\r\n", "a=ice-ufrag:abcd\r\na=ice-pwd:short\r\n"} {
		if resp := f.patch(frag, typeSDPFrag, "If-Match", "*"); resp.StatusCode/100 != 4 {
			t.Errorf("%.30q: got %d, want 4xx", frag, resp.StatusCode)
		}
	}
	if resp := g.call(f.token, "GET", f.location, nil); resp.StatusCode != 204 || resp.Header.Get("ETag") != f.etag {
		t.Errorf("the session: got %d, ETag %q, want %q", resp.StatusCode, resp.Header.Get("ETag"), f.etag)
	}
}

func TestDelete_Is200IgnoresIfMatchThen404(t *testing.T) {
	g := newGateway(t, nil)
	for w, role := range both() {
		f := g.opens(w, g.token("algebra", role), true)
		resp := g.call(f.token, "DELETE", f.location, nil, "If-Match", `"stale"`)
		if resp.StatusCode != 200 {
			t.Errorf("%s: got %d", w, resp.StatusCode)
		}
		for _, method := range []string{"DELETE", "GET", "PATCH", "HEAD"} {
			if resp := g.call(f.token, method, f.location, nil); resp.StatusCode != 404 {
				t.Errorf("%s %s: got %d, want 404", method, w, resp.StatusCode)
			}
		}
		p := problemIn(t, g.call(f.token, "GET", f.location, nil))
		if p.Code != "session_ended" || p.Reason != "deleted" {
			t.Errorf("%s: got %+v", w, p)
		}
		f.await(f.gone, "the end of the session at the peer")
		if live, _ := g.sessions.count(w); live != 0 || len(g.sessions.seats) != 0 || len(g.addrs.by) != 0 {
			t.Errorf("%s: %d sessions, %v, %v are left", w, live, g.sessions.seats, g.addrs.by)
		}
	}
}

// ends waits for the end of a session and returns what is told of it.
func (f *foreign) ends() problem {
	f.t.Helper()
	f.g.eventually("the session ends", func() bool {
		return f.g.call(adminKey, "GET", f.location, nil).StatusCode == 404
	})
	return problemIn(f.t, f.g.call(adminKey, "GET", f.location, nil))
}

func TestSession_ThatNeverConnectsEndsAndNamesCandidates(t *testing.T) {
	g := newGatewayOn(t, rtc.Config{Addr: "127.0.0.1:0", ConnectTimeout: 300 * time.Millisecond}, nil)
	offer := newForeign(t, g, "", false).offer(nil)
	f := &foreign{t: t, g: g}
	resp := g.call(adminKey, "POST", "/whep/algebra", offer, "Content-Type", "application/sdp", "Prefer", "wait")
	f.location = resp.Header.Get("Location")
	p := f.ends()
	if p.Reason != "ice_failed" || !strings.Contains(p.Detail, "udp 127.0.0.1:") {
		t.Errorf("got %+v, want the candidates that were tried", p)
	}
	g.eventually("nothing of the session is left", func() bool {
		live, _ := g.sessions.count(wayWHEP)
		g.sessions.mu.Lock()
		defer g.sessions.mu.Unlock()
		return live == 0 && len(g.sessions.seats) == 0
	})
}

func TestSession_ThatLosesConsentEnds(t *testing.T) {
	g := newGatewayOn(t, rtc.Config{Addr: "127.0.0.1:0", ConnectTimeout: 5 * time.Second, ConsentTimeout: time.Second}, nil)
	f := g.opens(wayWHEP, g.token("algebra", access.Student), true)
	// Gone without a word: only the agent is closed, DTLS says no goodbye.
	if err := f.SCTP().Transport().ICETransport().Stop(); err != nil {
		t.Fatal(err)
	}
	if p := f.ends(); p.Reason != "consent_lost" {
		t.Errorf("got %+v, want consent_lost", p)
	}
}

func TestSession_OfATokenEndsWithItsExpiry(t *testing.T) {
	g := newGateway(t, nil)
	token, err := g.cfg.Authority.Issue(access.Claims{Room: "algebra", Role: access.Student}, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	f := g.opens(wayWHEP, token, false)
	if p := f.ends(); p.Reason != "token_expired" {
		t.Errorf("got %+v", p)
	}
	resp := g.call(token, "GET", f.location, nil)
	if p := problemIn(t, resp); p.Status != 401 || p.Code != "token_expired" || resp.Header.Get("WWW-Authenticate") == "" {
		t.Errorf("with the token: got %+v", p)
	}
}

func TestSession_OfARevokedTokenEnds(t *testing.T) {
	g := newGateway(t, nil)
	token, cl, err := g.cfg.Authority.IssueToken(access.Claims{Room: "algebra", Role: access.Student}, time.Time{}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	f := g.opens(wayWHEP, token, true)
	if err := g.cfg.Authority.Revoke(t.Context(), cl.ID, cl.Expires); err != nil {
		t.Fatal(err)
	}
	if p := f.ends(); p.Reason != "token_revoked" {
		t.Errorf("got %+v", p)
	}
	f.await(f.gone, "the end of the session at the viewer")
	if p := problemIn(t, g.call(token, "POST", "/whep/algebra", nil)); p.Status != 401 || p.Code != "token_revoked" {
		t.Errorf("a new one: got %+v", p)
	}
}

// openRoom changes who may enter a room without a credential.
func (g *gateway) openRoom(name string, mode access.Mode) {
	g.t.Helper()
	if _, err := g.cfg.Authority.SetRules(g.t.Context(), name, access.RulesChange{Mode: &mode}); err != nil {
		g.t.Fatal(err)
	}
}

func TestSession_OfAnOpenRoomNeedsItsAddressOnly(t *testing.T) {
	g := newGateway(t, nil)
	g.openRoom("algebra", access.Public)
	f, other := g.opens(wayWHEP, "", true), g.opens(wayWHEP, "", true)
	var view roomView
	g.want(200, g.call(adminKey, "GET", "/api/rooms/algebra", nil), &view)
	if view.Viewers != 2 {
		t.Errorf("got %d viewers, want 2", view.Viewers)
	}
	g.want(204, g.call("", "GET", f.location, nil), nil)
	g.want(204, f.patch(f.trickle(), typeSDPFrag, "If-Match", f.etag), nil)
	g.want(401, g.call("nonsense", "DELETE", f.location, nil), nil)
	g.want(200, g.call("", "DELETE", f.location, nil), nil)
	if p := problemIn(t, g.call("", "GET", f.location, nil)); p.Status != 404 || p.Reason != "deleted" {
		t.Errorf("got %+v", p)
	}
	resp := newForeign(t, g, "", true).open("/whip/algebra")
	if p := problemIn(t, resp); p.Status != 401 || p.Code != "unauthorised" {
		t.Errorf("publishing: got %+v, want 401: nobody publishes without a token", p)
	}
	g.openRoom("algebra", access.Closed)
	if p := other.ends(); p.Reason != "room_closed" {
		t.Errorf("after the room was closed: got %+v", p)
	}
	if p := problemIn(t, g.call("", "POST", "/whep/algebra", nil)); p.Status != 403 && p.Status != 401 {
		t.Errorf("a new one: got %+v", p)
	}
	if p := problemIn(t, g.call(g.token("algebra", access.Student), "POST", "/whep/algebra", nil)); p.Status != 403 || p.Code != "room_closed" {
		t.Errorf("a student of a closed room: got %+v", p)
	}
}

// A client that carries the token in the address gets an address of the session
// that works without (RFC 9725, section 4.7.1).
func TestSession_OfATokenInTheAddressNeedsItsAddressOnly(t *testing.T) {
	g := newGateway(t, nil)
	f := newForeign(t, g, "", true)
	token := g.token("algebra", access.Teacher)
	if resp := f.open("/whip/algebra?token=" + token); resp.StatusCode != 201 {
		t.Fatalf("got %d", resp.StatusCode)
	}
	g.want(403, g.call(g.token("algebra", access.Student), "DELETE", f.location, nil), nil)
	g.want(204, f.patch(f.trickle(), typeSDPFrag, "If-Match", f.etag), nil)
	g.want(200, g.call("", "DELETE", f.location, nil), nil)
}

func TestWHIP_SecondPublisherIs409UnlessItMayTakeOver(t *testing.T) {
	g := newGateway(t, nil)
	first := g.opens(wayWHIP, g.token("algebra", access.Assistant), true)
	r, _ := g.hub.Lookup("algebra")
	st, _ := r.LookupStream("main")
	for name, tt := range map[string]struct {
		role   access.Role
		query  string
		status int
		code   string
	}{
		"another person":                {access.Teacher, "", 409, "slot_taken"},
		"another person who says no":    {access.Teacher, "?takeover=0", 409, "slot_taken"},
		"one who may not lead":          {access.Assistant, "?takeover=1", 403, "forbidden"},
		"one who asks for I know what":  {access.Teacher, "?takeover=perhaps", 400, "bad_query"},
		"an encoder that wants to lead": {access.Ingest, "?takeover=1", 403, "forbidden"},
	} {
		p := problemIn(t, newForeign(t, g, g.token("algebra", tt.role), true).open("/whip/algebra"+tt.query))
		if p.Status != tt.status || p.Code != tt.code {
			t.Errorf("%s: got %+v, want %d %s", name, p, tt.status, tt.code)
		}
	}
	viewer := g.opens(wayWHEP, g.token("algebra", access.Student), true)
	second := newForeign(t, g, g.token("algebra", access.Teacher), true)
	if resp := second.open("/whip/algebra?takeover=1"); resp.StatusCode != 201 {
		t.Fatalf("one who leads: got %d", resp.StatusCode)
	}
	first.await(first.gone, "the end of the first session")
	if p := first.ends(); p.Reason != "taken_over" {
		t.Errorf("the first one is told %+v", p)
	}
	g.want(204, g.call(viewer.token, "GET", viewer.location, nil), nil)
	if again, _ := r.LookupStream("main"); again != st || !st.Live() {
		t.Error("the stream of the viewers did not go on")
	}
}

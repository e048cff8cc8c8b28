package test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
)

// Wrong tokens, malformed SDP, bodies too large: a 4xx with a stable code and a
// sentence, and the gateway lives on.
func TestBadInput_IsRefusedWithASentence(t *testing.T) {
	g := startGateway(t)
	teacher, student := g.token("law", "teacher"), g.token("law", "student")
	other, player := g.token("other", "teacher"), g.token("law", "player")
	const sdp = "application/sdp"
	for _, c := range []struct {
		name, method, path, token, contentType, body string
		status                                       int
	}{
		{"no token", "POST", "/whip/law", "", sdp, "v=0", 401},
		{"not a token", "POST", "/whip/law", "nonsense", sdp, "v=0", 401},
		{"a forged token", "POST", "/whip/law", teacher[:len(teacher)-4] + "AAAA", sdp, "v=0", 401},
		{"a viewer publishes", "POST", "/whip/law", student, sdp, "v=0", 403},
		{"another room's teacher", "POST", "/whip/law", other, sdp, "v=0", 403},
		{"a player watches", "POST", "/whep/law", player, sdp, "v=0", 403},
		{"nobody watches", "POST", "/whep/law", "", sdp, "v=0", 401},
		{"malformed SDP", "POST", "/whip/law", teacher, sdp, "this is no SDP", 400},
		{"empty SDP", "POST", "/whip/law", teacher, sdp, "", 400},
		{"an oversized body", "POST", "/whip/law", teacher, sdp, strings.Repeat("a=x\r\n", 1<<20), 413},
		{"another type", "POST", "/whip/law", teacher, "text/plain", "v=0", 415},
		{"no type", "POST", "/whip/law", teacher, "", "v=0", 415},
		{"a room that cannot be", "POST", "/whip/" + strings.Repeat("x", 5000), teacher, sdp, "v=0", 400},
		{"traversal", "POST", "/whip/..%2f..%2fetc", teacher, sdp, "v=0", 400},
		{"no such session", "DELETE", "/whip/law/session/0123456789abcdef", teacher, "", "", 404},
		{"a token for too much", "POST", "/api/tokens", student, "application/json", `{"room":"law","role":"teacher"}`, 403},
		{"broken JSON", "POST", "/api/tokens", teacher, "application/json", `{"room":`, 400},
		{"no such lecture", "GET", "/api/lectures/nothing", adminKey, "", "", 404},
	} {
		t.Run(c.name, func(t *testing.T) {
			req := must[*http.Request](t)(http.NewRequest(c.method, g.url(c.path), strings.NewReader(c.body)))
			if c.token != "" {
				req.Header.Set("Authorization", "Bearer "+c.token)
			}
			if c.contentType != "" {
				req.Header.Set("Content-Type", c.contentType)
			}
			resp := must[*http.Response](t)(http11.Do(req))
			defer resp.Body.Close()
			b, _ := io.ReadAll(resp.Body)
			if resp.StatusCode != c.status && (c.status != 400 || resp.StatusCode/100 != 4) {
				t.Errorf("got %s, want %d: %s", resp.Status, c.status, b)
			}
			var problem struct{ Code, Detail string }
			if err := json.Unmarshal(b, &problem); err != nil || problem.Code == "" || problem.Detail == "" {
				t.Errorf("got %s %q, want a problem with code and detail", resp.Header.Get("Content-Type"), b)
			}
			if strings.Contains(string(b), "/tmp/") {
				t.Errorf("the answer shows a path: %s", b)
			}
		})
	}
	if r := g.call("GET", "/healthz", "", nil, nil); r.StatusCode != 200 {
		t.Errorf("healthz answers %s", r.Status)
	}
	log := g.log.String()
	for _, secret := range []string{teacher, student, adminKey} {
		if strings.Contains(log, secret) {
			t.Error("the log shows a credential")
		}
	}
}

package api

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/lectern/lectern/room/access"
)

type body = map[string]any

// code is the code of a refusal.
func (g *gateway) code(status int, resp *http.Response) string {
	g.t.Helper()
	p := problemIn(g.t, resp)
	if p.Status != status {
		g.t.Errorf("got %+v, want status %d", p, status)
	}
	return p.Code
}

// invitation makes an invitation to algebra.
func (g *gateway) invitation(by string, req body) newInvitationView {
	g.t.Helper()
	var v newInvitationView
	g.want(201, g.call(by, "POST", "/api/rooms/algebra/invitations", req), &v)
	return v
}

// redeemed redeems a code for a person.
func (g *gateway) redeemed(code, name string) grantView {
	g.t.Helper()
	var v grantView
	g.want(201, g.call("", "POST", "/api/invitations/redeem", body{"code": code, "name": name}), &v)
	return v
}

func (g *gateway) stateOf(by, id string) invitationView {
	g.t.Helper()
	var list struct{ Invitations []invitationView }
	g.want(200, g.call(by, "GET", "/api/rooms/algebra/invitations", nil), &list)
	for _, i := range list.Invitations {
		if i.ID == id {
			return i
		}
	}
	g.t.Fatalf("no invitation %s in %+v", id, list)
	return invitationView{}
}

func TestInvitations_FromMakingToRevoking(t *testing.T) {
	g := newGateway(t, nil)
	teacher := g.token("algebra", access.Teacher)
	inv := g.invitation(teacher, body{"role": "student", "uses": 2, "ttl": "2h"})
	if want := "http://example.com/r/algebra#invite=" + inv.Code; inv.Link != want || inv.State != "valid" || inv.Uses != 2 {
		t.Errorf("got %+v, want link %s", inv, want)
	}
	first := g.redeemed(inv.Code, " Wei\n ")
	if first.Role != access.Student || first.Room != "algebra" || first.Name != "Wei" || first.Subject == "" || first.ID == "" {
		t.Errorf("got %+v", first)
	}
	if left := first.Expires.Sub(*inv.Expires); left > time.Second {
		t.Errorf("the token outlives its invitation by %v", left)
	}
	if now := g.stateOf(teacher, inv.ID); now.Used != 1 || now.State != "valid" {
		t.Errorf("got %+v after one use", now)
	}
	second := g.redeemed(inv.Code, "Wei") // the same person again: another use, another subject
	if second.Subject == first.Subject || second.Token == first.Token {
		t.Error("two redemptions give one identity")
	}
	if code := g.code(410, g.call("", "POST", "/api/invitations/redeem", body{"code": inv.Code})); code != "used_up" {
		t.Errorf("got %s", code)
	}
	if now := g.stateOf(teacher, inv.ID); now.State != "used_up" {
		t.Errorf("got %+v after all uses", now)
	}
	g.want(200, g.call(first.Token, "GET", "/api/rooms/algebra", nil), nil)
	g.want(404, g.call(g.token("physics", access.Teacher), "DELETE", "/api/rooms/physics/invitations/"+inv.ID, nil), nil)
	g.want(204, g.call(teacher, "DELETE", "/api/rooms/algebra/invitations/"+inv.ID, nil), nil)
	for _, v := range []grantView{first, second} {
		if code := g.code(401, g.call(v.Token, "GET", "/api/rooms/algebra", nil)); code != "token_revoked" {
			t.Errorf("a token of a revoked invitation: got %s", code)
		}
	}
	if code := g.code(410, g.call("", "POST", "/api/invitations/redeem", body{"code": inv.Code})); code != "revoked" {
		t.Errorf("got %s", code)
	}
	if now := g.stateOf(teacher, inv.ID); now.State != "revoked" || !now.Revoked {
		t.Errorf("got %+v after revoking", now)
	}
	for _, secret := range []string{inv.Code, first.Token} {
		if strings.Contains(g.log.String(), secret) {
			t.Error("the log holds a secret")
		}
	}
}

func TestInvitations_KeepToTheirTime(t *testing.T) {
	g := newGateway(t, nil)
	teacher := g.token("algebra", access.Teacher)
	early := g.invitation(teacher, body{"role": "student", "not_before": time.Now().Add(time.Hour).Format(time.RFC3339), "ttl": 60})
	p := problemIn(t, g.call("", "POST", "/api/invitations/redeem", body{"code": early.Code}))
	if p.Status != 403 || p.Code != "not_yet" || p.NotBefore == nil || !p.NotBefore.Equal(*early.NotBefore) {
		t.Errorf("got %+v, want 403 not_yet of %v", p, early.NotBefore)
	}
	if now := g.stateOf(teacher, early.ID); now.State != "waiting" || now.NotBefore == nil || now.Expires.Sub(*now.NotBefore) > 61*time.Second {
		t.Errorf("got %+v", now)
	}
	short := g.invitation(teacher, body{"role": "student", "expires": time.Now().Add(2 * time.Second).Format(time.RFC3339)})
	g.eventually("the invitation is over", func() bool { return g.stateOf(teacher, short.ID).State == "expired" })
	if code := g.code(410, g.call("", "POST", "/api/invitations/redeem", body{"code": short.Code})); code != "invitation_expired" {
		t.Errorf("got %s", code)
	}
	if code := g.code(404, g.call("", "POST", "/api/invitations/redeem", body{"code": "NOSUCHCODE"})); code != "no_such_invitation" {
		t.Errorf("got %s", code)
	}
}

func TestInvitations_LinksByRoleAndRefusals(t *testing.T) {
	g := newGateway(t, func(c *Config) { c.PublicURL = "https://class.example.org/" })
	teacher := g.token("algebra", access.Teacher)
	for role, link := range map[string]string{
		"student": "https://class.example.org/r/algebra#invite=", "assistant": "https://class.example.org/studio/algebra#invite=",
		"teacher": "https://class.example.org/studio/algebra#invite=", "player": "",
	} {
		inv := g.invitation(teacher, body{"role": role, "name": "Ada"})
		if link != "" {
			link += inv.Code
		}
		if inv.Link != link {
			t.Errorf("%s: got link %q, want %q", role, inv.Link, link)
		}
		v := g.redeemed(inv.Code, "")
		if string(v.Role) != role || v.Name != "Ada" {
			t.Errorf("%s: got %+v", role, v)
		}
		if (role == "player") != (v.Password != "" && v.Legacy != nil && strings.HasPrefix(v.Login, "rtsp://"+v.User+":")) {
			t.Errorf("%s: got the login %+v", role, v.playerView)
		}
	}
	now := time.Now()
	for name, tt := range map[string]struct {
		req  body
		code string
	}{
		"admin":          {body{"role": "admin"}, "bad_role"},
		"encoder":        {body{"role": "ingest"}, "bad_role"},
		"no role":        {body{}, "bad_role"},
		"uses":           {body{"role": "student", "uses": -1}, "bad_uses"},
		"two ends":       {body{"role": "student", "ttl": 60, "expires": now.Add(time.Hour).Format(time.RFC3339)}, "bad_ttl"},
		"past":           {body{"role": "student", "expires": now.Add(-time.Hour).Format(time.RFC3339)}, "bad_ttl"},
		"before it is":   {body{"role": "student", "not_before": now.Add(2 * time.Hour).Format(time.RFC3339), "expires": now.Add(time.Hour).Format(time.RFC3339)}, "bad_ttl"},
		"for ever":       {body{"role": "student", "expires": now.Add(2 * 8784 * time.Hour).Format(time.RFC3339)}, "bad_ttl"},
		"no time at all": {body{"role": "student", "expires": "tomorrow"}, "bad_json"},
	} {
		if code := g.code(400, g.call(teacher, "POST", "/api/rooms/algebra/invitations", tt.req)); code != tt.code {
			t.Errorf("%s: got %s, want %s", name, code, tt.code)
		}
	}
}

func TestTokens_RevokedByThoseWhoMay(t *testing.T) {
	g := newGateway(t, nil)
	teacher, other := g.token("algebra", access.Teacher), g.token("physics", access.Teacher)
	var v tokenView
	g.want(201, g.call(adminKey, "POST", "/api/tokens", body{"room": "algebra", "role": "teacher"}), &v)
	var child tokenView
	g.want(201, g.call(v.Token, "POST", "/api/tokens", body{"room": "algebra", "role": "teacher"}), &child)
	g.want(403, g.call(other, "DELETE", "/api/tokens/"+v.ID, nil), nil)
	g.want(204, g.call(teacher, "DELETE", "/api/tokens/"+v.ID, nil), nil)
	for name, token := range map[string]string{"the token": v.Token, "one made with it": child.Token} {
		if code := g.code(401, g.call(token, "GET", "/api/me", nil)); code != "token_revoked" {
			t.Errorf("%s: got %s", name, code)
		}
	}
	g.want(200, g.call(teacher, "GET", "/api/me", nil), nil)
	var student tokenView
	g.want(201, g.call(teacher, "POST", "/api/tokens", body{"room": "algebra", "role": "student"}), &student)
	var me meView
	g.want(200, g.call(student.Token, "GET", "/api/me", nil), &me)
	if me.ID != student.ID {
		t.Errorf("got id %q, want %q", me.ID, student.ID)
	}
	g.want(204, g.call(student.Token, "DELETE", "/api/tokens/"+me.ID, nil), nil)
	g.want(401, g.call(student.Token, "GET", "/api/me", nil), nil)
}

func TestTokens_HaveABeginningASlotAndSettings(t *testing.T) {
	g := newGateway(t, nil)
	from := time.Now().Add(time.Hour).Truncate(time.Second)
	var v tokenView
	g.want(201, g.call(adminKey, "POST", "/api/tokens", body{"room": "algebra", "role": "student", "not_before": from.Format(time.RFC3339), "ttl": "1h"}), &v)
	if v.NotBefore == nil || !v.NotBefore.Equal(from) || v.Expires.Sub(from) < time.Hour || v.Expires.Sub(from) > time.Hour+2*time.Second {
		t.Errorf("got %+v", v)
	}
	if code := g.code(401, g.call(v.Token, "GET", "/api/me", nil)); code != "token_not_yet" {
		t.Errorf("got %s", code)
	}
	g.want(201, g.call(adminKey, "POST", "/api/tokens", body{"room": "algebra", "role": "ingest", "slot": "camera"}), &v)
	if v.Encoder == nil || v.Encoder.Server != "http://example.com/whip/algebra/camera" || v.Link != v.Encoder.Server || v.Encoder.BearerToken != v.Token {
		t.Errorf("got %+v", v)
	}
	post := func(path string) int {
		return g.call(v.Token, "POST", path, []byte("no offer"), "Content-Type", "application/sdp").StatusCode
	}
	if in, out := post("/whip/algebra/camera"), post("/whip/algebra"); in != 400 || out != 403 {
		t.Errorf("got %d at the slot and %d at another, want 400 and 403", in, out)
	}
	for name, req := range map[string]body{
		"a slot for a student": {"room": "algebra", "role": "student", "slot": "camera"},
		"a slot that is none":  {"room": "algebra", "role": "ingest", "slot": "../x"},
		"two ends":             {"room": "algebra", "role": "student", "ttl": 60, "expires": from.Format(time.RFC3339)},
		"too long":             {"room": "algebra", "role": "student", "ttl": "8785h"},
	} {
		if got := g.call(adminKey, "POST", "/api/tokens", req).StatusCode; got != 400 {
			t.Errorf("%s: got %d, want 400", name, got)
		}
	}
}

func TestKeys_AreShownOnceAndKeepToTheirSlot(t *testing.T) {
	g := newGateway(t, nil)
	teacher := g.token("algebra", access.Teacher)
	var made newKeyView
	g.want(201, g.call(teacher, "POST", "/api/rooms/algebra/keys", body{"role": "ingest", "slot": "camera", "name": "Hall"}), &made)
	if !strings.HasPrefix(made.Key, "lk_") || made.WHIP != "http://example.com/whip/algebra/camera" ||
		made.Encoder.Authorization != "Bearer "+made.Key || made.Expires != nil || made.By == "" {
		t.Errorf("got %+v", made)
	}
	resp := g.call(teacher, "GET", "/api/rooms/algebra/keys", nil)
	var raw strings.Builder
	if _, err := copyBody(&raw, resp); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(raw.String(), made.Key) || !strings.Contains(raw.String(), `"name":"Hall"`) || !strings.Contains(raw.String(), `"last_used":null`) {
		t.Errorf("got %s", &raw)
	}
	post := func(path string) int {
		return g.call(made.Key, "POST", path, []byte("no offer"), "Content-Type", "application/sdp").StatusCode
	}
	if in, out, other := post("/whip/algebra/camera"), post("/whip/algebra"), post("/whip/physics/camera"); in != 400 || out != 403 || other != 403 {
		t.Errorf("got %d, %d, %d, want 400, 403, 403", in, out, other)
	}
	g.want(403, g.call(made.Key, "GET", "/api/rooms/algebra", nil), nil)
	var player newKeyView
	g.want(201, g.call(teacher, "POST", "/api/rooms/algebra/keys", body{"role": "player", "ttl": "24h"}), &player)
	if player.RTSP != "rtsp://example.com:8554/algebra?token="+player.Key || player.User != player.ID || player.Password != player.Key ||
		player.RTMP != "rtmp://example.com/live/algebra?token="+player.Key || player.Expires == nil || player.WHIP != "" {
		t.Errorf("got %+v", player)
	}
	g.want(400, g.call(teacher, "POST", "/api/rooms/algebra/keys", body{"role": "teacher"}), nil)
	g.want(400, g.call(teacher, "POST", "/api/rooms/algebra/keys", body{"role": "ingest", "slot": ".x"}), nil)
	g.want(404, g.call(g.token("physics", access.Teacher), "DELETE", "/api/rooms/physics/keys/"+made.ID, nil), nil)
	g.want(204, g.call(teacher, "DELETE", "/api/rooms/algebra/keys/"+made.ID, nil), nil)
	if got := post("/whip/algebra/camera"); got != 401 {
		t.Errorf("a removed key: got %d, want 401", got)
	}
	if strings.Contains(g.log.String(), made.Key) {
		t.Error("the log holds a key")
	}
}

// A right that ends does not outlive itself by having made another.
func TestTokens_EndWithThoseThatMadeThem(t *testing.T) {
	g := newGateway(t, nil)
	make := func(by string, req body) (v tokenView) {
		t.Helper()
		req["room"] = "algebra"
		g.want(201, g.call(by, "POST", "/api/tokens", req), &v)
		return v
	}
	first := make(adminKey, body{"role": "teacher", "ttl": "1h"})
	second := make(first.Token, body{"role": "teacher", "ttl": "8000h"})
	third := make(second.Token, body{"role": "teacher"})
	player := make(second.Token, body{"role": "player"})
	for name, v := range map[string]tokenView{"second": second, "third": third, "player": player} {
		if v.Expires.After(first.Expires) {
			t.Errorf("%s: ends at %v, after the first (%v)", name, v.Expires, first.Expires)
		}
	}
	if player.User == "" {
		t.Error("no login for the player")
	}
	late := body{"room": "algebra", "role": "student", "not_before": first.Expires.Add(time.Minute)}
	if code := g.code(400, g.call(first.Token, "POST", "/api/tokens", late)); code != "bad_ttl" {
		t.Errorf("a token that begins later: got %s", code)
	}
	g.want(204, g.call(adminKey, "DELETE", "/api/tokens/"+second.ID, nil), nil)
	g.want(200, g.call(first.Token, "GET", "/api/me", nil), nil)
	for name, v := range map[string]tokenView{"second": second, "third": third, "player": player} {
		if code := g.code(401, g.call(v.Token, "GET", "/api/me", nil)); code != "token_revoked" {
			t.Errorf("%s: got %s, want token_revoked", name, code)
		}
	}
	if _, err := g.cfg.Authority.Admit(t.Context(), access.Attempt{User: player.User, Credential: player.Password, Room: "algebra"}); !errors.Is(err, access.ErrRevoked) {
		t.Errorf("the login of the player: got %v, want ErrRevoked", err)
	}
	// Not for ever on: what is passed on too often is refused.
	by := first.Token
	for range 4 {
		by = make(by, body{"role": "teacher"}).Token
	}
	g.want(400, g.call(by, "POST", "/api/tokens", body{"room": "algebra", "role": "teacher"}), nil)
}

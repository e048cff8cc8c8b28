package config_test

import (
	"strings"
	"testing"
	"time"

	"github.com/lectern/lectern/config"
)

func TestLoad_IssuersOfTokens(t *testing.T) {
	path := write(t, `
auth:
  jwt:
    - name: school
      issuer: https://school.example.org
      jwks_url: https://school.example.org/jwks.json
      refresh: 5m
      algorithms: [RS256, ES256]
      claims: {role: realm_access.roles, room: groups}
      roles: {"http://purl.example.org/v2#Instructor": teacher, Learner: student}
      room_pattern: course-{room}
      rooms: ["math-*"]
  hook: {url: "http://127.0.0.1:9/ask", timeout: 1s}
`)
	c, err := config.Load(path, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Auth.JWT) != 1 {
		t.Fatalf("got %d issuers, want 1", len(c.Auth.JWT))
	}
	j := c.Auth.JWT[0]
	if j.Name != "school" || j.Refresh != 5*time.Minute || len(j.Algorithms) != 2 || j.Claims.Role != "realm_access.roles" ||
		j.Roles["http://purl.example.org/v2#Instructor"] != "teacher" || j.Rooms[0] != "math-*" {
		t.Errorf("got %+v", j)
	}
	if h := c.Auth.Hook; h.URL == "" || h.Timeout != time.Second || h.Cache != 30*time.Second {
		t.Errorf("got %+v", h)
	}
}

func TestLoad_ReportsWrongIssuers(t *testing.T) {
	for text, want := range map[string]string{
		"auth: {jwt: [{name: a, issuer: b, secret: c, isuer: d}]}":                        "isuer",
		"auth: {jwt: [{name: a, issuer: b}]}":                                             "needs one of",
		"auth: {jwt: [{name: a, issuer: b, secret: c, jwks_url: 'http://d'}]}":            "needs one of",
		"auth: {jwt: [{issuer: b, secret: c}]}":                                           "name",
		"auth: {jwt: [{name: a, secret: c}]}":                                             "issuer",
		"auth: {jwt: [{name: a, issuer: b, secret: c}, {name: a, issuer: d, secret: c}]}": "jwt[1].name",
		"auth: {jwt: [{name: a, issuer: b, jwks_url: 'file:///etc'}]}":                    "jwks_url",
		"auth: {hook: {url: 'nowhere'}}":                                                  "auth.hook.url",
		"auth: {hook: {timeout: 0s}}":                                                     "auth.hook",
	} {
		if _, err := config.Load(write(t, text), nil, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want it to name %q", text, err, want)
		}
	}
}

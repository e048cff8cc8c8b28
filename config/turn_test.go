package config_test

import (
	"strings"
	"testing"
	"time"

	"github.com/lectern/lectern/config"
)

func TestTURN_IsOnByDefault(t *testing.T) {
	c, err := config.Load("", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !c.TURN.Enabled || c.TURN.UDPAddr != ":3478" || c.TURN.TCPAddr != ":3478" || c.TURN.TLSAddr != ":5349" {
		t.Errorf("got %+v", c.TURN)
	}
	if c.TURN.CredentialLife != 10*time.Minute || len(c.TURN.External.URLs) != 0 {
		t.Errorf("got %+v", c.TURN)
	}
}

func TestTURN_ReportsWhatIsWrong(t *testing.T) {
	flags := map[string]any{
		"turn.udp_addr": "3478", "turn.public_host": "a b", "turn.credential_life": "1s", "turn.max_allocations": 0,
		"turn.max_bitrate": 1, "turn.external.urls": []string{"http://x"}, "turn.stun_urls": []string{"turn:x"},
	}
	_, err := config.Load("", nil, flags)
	if err == nil {
		t.Fatal("got no error")
	}
	for key := range flags {
		if !strings.Contains(err.Error(), key) {
			t.Errorf("the error does not name %s: %v", key, err)
		}
	}
	_, err = config.Load("", nil, map[string]any{"turn.external.urls": []string{"turns:turn.example.org:443?transport=tcp"}})
	if err == nil || !strings.Contains(err.Error(), "turn.external.secret") {
		t.Errorf("got %v, want it to name the missing secret", err)
	}
}

func TestTURN_TakesAnExternalServerFromTheEnvironment(t *testing.T) {
	c, err := config.Load("", []string{
		"LECTERN_TURN_EXTERNAL_URLS=turn:t.example.org:3478?transport=udp,turns:t.example.org:443?transport=tcp",
		"LECTERN_TURN_EXTERNAL_SECRET=s3cret", "LECTERN_TURN_STUN_URLS=stun:s.example.org:3478", "LECTERN_TURN_ENABLED=false",
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.TURN.External.URLs) != 2 || c.TURN.External.Secret != "s3cret" || len(c.TURN.STUN) != 1 || c.TURN.Enabled {
		t.Errorf("got %+v", c.TURN)
	}
}

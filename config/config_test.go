package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lectern/lectern/config"
)

func TestLoad_Defaults(t *testing.T) {
	c, err := config.Load("", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if c.HTTP.Addr != ":8080" || c.WebRTC.Addr != ":8189" || c.RTSP.Addr != ":8554" || c.RTMP.Addr != ":1935" {
		t.Errorf("got addresses %q %q %q %q", c.HTTP.Addr, c.WebRTC.Addr, c.RTSP.Addr, c.RTMP.Addr)
	}
	if c.Rooms.Grace != 30*time.Second || !c.Recording.Enabled {
		t.Errorf("got grace %s, recording %t", c.Rooms.Grace, c.Recording.Enabled)
	}
}

func TestLoad_FlagsBeatEnvironmentBeatsFile(t *testing.T) {
	path := write(t, "http: {addr: ':1'}\nrtsp: {addr: ':2'}\nrtmp: {addr: ':3'}\n")
	env := []string{"LECTERN_RTSP_ADDR=:20", "LECTERN_RTMP_ADDR=:30", "LECTERN_WEBRTC_ADVERTISE_IPS=192.0.2.1,2001:db8::1", "OTHER=x"}
	c, err := config.Load(path, env, map[string]any{"rtmp.addr": ":300"})
	if err != nil {
		t.Fatal(err)
	}
	if c.HTTP.Addr != ":1" || c.RTSP.Addr != ":20" || c.RTMP.Addr != ":300" {
		t.Errorf("got %q %q %q, want :1 :20 :300", c.HTTP.Addr, c.RTSP.Addr, c.RTMP.Addr)
	}
	if len(c.WebRTC.AdvertiseIPs) != 2 || c.WebRTC.AdvertiseIPs[1].String() != "2001:db8::1" {
		t.Errorf("got advertised addresses %v", c.WebRTC.AdvertiseIPs)
	}
}

func TestLoad_WhatPeersAreTold(t *testing.T) {
	path := write(t, "webrtc: {hosts: [class.example.org, '2001:db8::5'], interfaces: ['eth*'], networks: [10.0.0.0/8], exclude_networks: ['::/0']}\n")
	c, err := config.Load(path, []string{"LECTERN_WEBRTC_EXCLUDE_INTERFACES=docker0,veth*"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	w := c.WebRTC
	if f, err := config.Load("", nil, map[string]any{"webrtc.hosts": "192.0.2.1,class.example.org"}); err != nil || len(f.WebRTC.Hosts) != 2 {
		t.Errorf("by flag: got %v, %v", f.WebRTC.Hosts, err)
	}
	if len(w.Hosts) != 2 || len(w.Interfaces) != 1 || len(w.ExcludeInterfaces) != 2 || len(w.Networks) != 1 || w.ExcludeNetworks[0].Bits() != 0 {
		t.Errorf("got %+v", w)
	}
	if _, err := config.Load(write(t, "webrtc: {hosts: ['class.example.org:8189'], advertise_ips: [0.0.0.0]}\n"), nil, nil); err == nil ||
		!strings.Contains(err.Error(), "webrtc.hosts") || !strings.Contains(err.Error(), "webrtc.advertise_ips") {
		t.Errorf("got %v", err)
	}
}

func TestLoad_ReportsAllThatIsWrong(t *testing.T) {
	path := write(t, "http: {adr: ':1'}\nspeed: 3\n")
	environ := []string{"LECTERN_NONSENSE=1", "LECTERN_HTTP_ADDR=:1", "OTHER=1"}
	if got := config.UnknownVariables(environ); len(got) != 1 || got[0] != "LECTERN_NONSENSE" {
		t.Errorf("got unknown variables %v", got)
	}
	_, err := config.Load(path, environ, nil)
	for _, want := range []string{"http.adr", "speed"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got error %v, want it to name %s", err, want)
		}
	}
	_, err = config.Load("", nil, map[string]any{"log.level": "loud", "rooms.max_sessions": 0, "admin_key": "short"})
	for _, want := range []string{"log.level", "rooms.max_sessions", "admin_key"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got error %v, want it to name %s", err, want)
		}
	}
	if err != nil && strings.Contains(err.Error(), "short\"") {
		t.Error("the error shows the admin key")
	}
}

func TestLoad_BrokenFile(t *testing.T) {
	if _, err := config.Load(write(t, "http: ["), nil, nil); err == nil {
		t.Error("got no error for broken YAML")
	}
	if _, err := config.Load(filepath.Join(t.TempDir(), "none.yaml"), nil, nil); err == nil {
		t.Error("got no error for a file that is not there")
	}
}

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "lectern.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

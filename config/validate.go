package config

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"time"
)

const minAdminKey = 16 // characters

// validate reports everything that is wrong, not just the first.
func (c Config) validate() error {
	var errs []error
	bad := func(key, format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s: %s", key, fmt.Sprintf(format, args...)))
	}
	if c.AdminKey != "" && len(c.AdminKey) < minAdminKey {
		bad("admin_key", "is shorter than %d characters", minAdminKey)
	}
	if c.Data.Dir == "" {
		bad("data.dir", "is empty")
	}
	c.validateAddrs(bad)
	c.Auth.validate(bad)
	c.WebRTC.validate(bad)
	c.validateHTTP(bad)
	c.validateTLS(bad)
	c.TURN.validate(bad)
	positive := map[string]time.Duration{
		"webrtc.connect_timeout":      c.WebRTC.ConnectTimeout,
		"webrtc.consent_timeout":      c.WebRTC.ConsentTimeout,
		"recording.keyframe_interval": c.Recording.KeyframeInterval,
		"rooms.idle_end":              c.Rooms.IdleEnd,
		"shutdown_timeout":            c.ShutdownTimeout,
	}
	for key, d := range positive {
		if d <= 0 {
			bad(key, "must be longer than 0, is %s", d)
		}
	}
	if c.Rooms.Grace < 0 {
		bad("rooms.grace", "is negative")
	}
	if c.Rooms.MaxSessions < 1 {
		bad("rooms.max_sessions", "must be at least 1, is %d", c.Rooms.MaxSessions)
	}
	if c.Files.MaxBytes < 0 || c.Files.RoomQuotaBytes < 0 {
		bad("files", "sizes must not be negative")
	}
	if c.Transcode.MaxProcesses < 1 {
		bad("transcode.max_processes", "must be at least 1, is %d", c.Transcode.MaxProcesses)
	}
	if _, err := c.Log.SlogLevel(); err != nil {
		bad("log.level", "%q is none of debug, info, warn, error", c.Log.Level)
	}
	if c.Log.Format != "text" && c.Log.Format != "json" {
		bad("log.format", "%q is neither text nor json", c.Log.Format)
	}
	return errors.Join(errs...)
}

func (c Config) validateAddrs(bad func(key, format string, args ...any)) {
	for key, addr := range map[string]string{
		"http.addr": c.HTTP.Addr, "webrtc.addr": c.WebRTC.Addr, "rtsp.addr": c.RTSP.Addr, "rtmp.addr": c.RTMP.Addr,
	} {
		if addr == "" && (key == "rtsp.addr" || key == "rtmp.addr") {
			continue // off
		}
		if _, _, err := net.SplitHostPort(addr); err != nil {
			bad(key, "%q is not host:port", addr)
		}
	}
	if p := c.RTSP.UDPPort; p < 0 || p > 65534 || p%2 != 0 {
		bad("rtsp.udp_port", "must be 0 or an even port, is %d", p)
	}
	if u := c.HTTP.PublicURL; u != "" {
		if p, err := url.Parse(u); err != nil || p.Host == "" || (p.Scheme != "http" && p.Scheme != "https") {
			bad("http.public_url", "%q is not an http or https address", u)
		}
	}
}

// SlogLevel is the level that Level names.
func (l Log) SlogLevel() (slog.Level, error) {
	var level slog.Level
	err := level.UnmarshalText([]byte(l.Level))
	return level, err
}

// Package config turns lectern.yaml, LECTERN_* and flags into one checked
// Config. Only cmd/lectern reads it; everything else is handed what it needs.
package config

import (
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-viper/mapstructure/v2"
	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/providers/file"
	"github.com/knadh/koanf/providers/rawbytes"
	"github.com/knadh/koanf/v2"
	"gopkg.in/yaml.v3"
)

// Default is lectern.yaml with every key, its default and its meaning. It is
// both the reference for people and the source of the defaults.
//
//go:embed lectern.yaml
var Default []byte

const envPrefix = "LECTERN_"

// Config is the whole configuration. The keys are documented in Default.
type Config struct {
	AdminKey        string        `koanf:"admin_key"`
	Auth            Auth          `koanf:"auth"`
	Data            Data          `koanf:"data"`
	HTTP            HTTP          `koanf:"http"`
	TLS             TLS           `koanf:"tls"`
	WebRTC          WebRTC        `koanf:"webrtc"`
	TURN            TURN          `koanf:"turn"`
	RTSP            RTSP          `koanf:"rtsp"`
	RTMP            RTMP          `koanf:"rtmp"`
	Recording       Recording     `koanf:"recording"`
	Rooms           Rooms         `koanf:"rooms"`
	Files           Files         `koanf:"files"`
	Transcode       Transcode     `koanf:"transcode"`
	Log             Log           `koanf:"log"`
	ShutdownTimeout time.Duration `koanf:"shutdown_timeout"`
}

// Data is where everything kept lies.
type Data struct {
	Dir string `koanf:"dir"`
}

// HTTP configures pages, signalling and API.
type HTTP struct {
	Addr      string `koanf:"addr"`
	PublicURL string `koanf:"public_url"`

	Redirect       bool     `koanf:"redirect"`
	TrustedProxies []string `koanf:"trusted_proxies"`
	Origins        []string `koanf:"origins"`

	MaxConnections           int `koanf:"max_connections"`
	MaxConnectionsPerAddress int `koanf:"max_connections_per_address"`
	MaxSessionsPerAddress    int `koanf:"max_sessions_per_address"`
}

// RTSP configures the way out to RTSP players.
type RTSP struct {
	Addr    string `koanf:"addr"`
	UDPPort int    `koanf:"udp_port"` // even, or 0 for two free ports
}

// RTMP configures the way out to RTMP players.
type RTMP struct {
	Addr string `koanf:"addr"`
}

// Recording configures what is kept of a class.
type Recording struct {
	Enabled          bool          `koanf:"enabled"`
	KeyframeInterval time.Duration `koanf:"keyframe_interval"`
}

// Rooms configures how long things wait for people.
type Rooms struct {
	Grace       time.Duration `koanf:"grace"`
	IdleEnd     time.Duration `koanf:"idle_end"`
	MaxSessions int           `koanf:"max_sessions"`
}

// Files bounds what people share, in bytes.
type Files struct {
	MaxBytes       int64 `koanf:"max_bytes"`
	RoomQuotaBytes int64 `koanf:"room_quota_bytes"`
}

// Transcode configures the ffmpeg children.
type Transcode struct {
	FFmpeg       string        `koanf:"ffmpeg"`
	MaxProcesses int           `koanf:"max_processes"`
	IdleStop     time.Duration `koanf:"idle_stop"`
}

// Log configures slog.
type Log struct {
	Level  string `koanf:"level"`
	Format string `koanf:"format"`
}

// Load reads the defaults, then path (if not empty), then the variables of
// environ ("KEY=value"), then flags (by dotted key). It reports every unknown
// key of the file and every wrong value at once. Variables that name no key are
// ignored: UnknownVariables tells which.
func Load(path string, environ []string, flags map[string]any) (Config, error) {
	k := koanf.New(".")
	if err := k.Load(rawbytes.Provider(Default), parser{}); err != nil {
		return Config{}, fmt.Errorf("read defaults: %w", err)
	}
	known := k.Keys()
	if path != "" {
		if err := k.Load(file.Provider(path), parser{}); err != nil {
			return Config{}, fmt.Errorf("read %s: %w", path, err)
		}
	}
	fromEnv := env.Provider(".", env.Opt{
		Prefix:      envPrefix,
		EnvironFunc: func() []string { return environ },
		TransformFunc: func(name, value string) (string, any) {
			key, _ := envKey(known, name) // koanf leaves out the empty key
			return key, value
		},
	})
	if err := k.Load(fromEnv, nil); err != nil {
		return Config{}, fmt.Errorf("read environment: %w", err)
	}
	for key, v := range flags {
		if err := k.Set(key, v); err != nil {
			return Config{}, fmt.Errorf("read flags: %w", err)
		}
	}
	if err := unknownKeys(known, k.Keys()); err != nil {
		return Config{}, err
	}
	var c Config
	if err := k.UnmarshalWithConf("", &c, koanf.UnmarshalConf{DecoderConfig: decoder(&c)}); err != nil {
		return Config{}, fmt.Errorf("read configuration: %w", err)
	}
	return c, c.validate()
}

func decoder(c *Config) *mapstructure.DecoderConfig {
	return &mapstructure.DecoderConfig{
		Result:           c,
		TagName:          "koanf",
		WeaklyTypedInput: true,
		ErrorUnused:      true, // within lists, which unknownKeys does not look into
		DecodeHook: mapstructure.ComposeDecodeHookFunc(
			mapstructure.StringToTimeDurationHookFunc(),
			mapstructure.StringToWeakSliceHookFunc(","),
			mapstructure.TextUnmarshallerHookFunc(),
		),
	}
}

// envKey finds the key that a variable names: LECTERN_HTTP_ADDR is http.addr.
func envKey(known []string, name string) (key string, ok bool) {
	want := strings.ToLower(strings.TrimPrefix(name, envPrefix))
	for _, k := range known {
		if strings.ReplaceAll(k, ".", "_") == want {
			return k, true
		}
	}
	return "", false
}

// UnknownVariables returns the names of those variables of environ that look
// like settings and are none. Others may have named them so for their own use:
// they are no error, but worth a word.
func UnknownVariables(environ []string) []string {
	k := koanf.New(".")
	if err := k.Load(rawbytes.Provider(Default), parser{}); err != nil {
		return nil // Load says so
	}
	var names []string
	for _, kv := range environ {
		name, _, _ := strings.Cut(kv, "=")
		if _, ok := envKey(k.Keys(), name); strings.HasPrefix(name, envPrefix) && !ok {
			names = append(names, name)
		}
	}
	return names
}

func unknownKeys(known, got []string) error {
	var errs []error
	for _, k := range got {
		if !slices.Contains(known, k) {
			errs = append(errs, fmt.Errorf("unknown key %q", k))
		}
	}
	return errors.Join(errs...)
}

// parser lets koanf read YAML. A file with a mapping under an unknown key is
// refused by unknownKeys, since it flattens to unknown dotted keys.
type parser struct{}

// Unmarshal reads YAML into a map.
func (parser) Unmarshal(b []byte) (map[string]any, error) {
	var out map[string]any
	err := yaml.Unmarshal(b, &out)
	return out, err
}

// Marshal writes YAML.
func (parser) Marshal(m map[string]any) ([]byte, error) { return yaml.Marshal(m) }

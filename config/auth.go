package config

import (
	"fmt"
	"net/url"
	"slices"
	"time"
)

// Auth configures who is believed besides Lectern's own tokens.
type Auth struct {
	JWT  []JWT `koanf:"jwt"`
	Hook Hook  `koanf:"hook"`
}

// JWT configures one issuer of tokens.
type JWT struct {
	Name          string            `koanf:"name"`
	Issuer        string            `koanf:"issuer"`
	Audience      string            `koanf:"audience"`
	Algorithms    []string          `koanf:"algorithms"`
	Secret        string            `koanf:"secret"`
	PublicKeyFile string            `koanf:"public_key_file"`
	JWKSURL       string            `koanf:"jwks_url"`
	Refresh       time.Duration     `koanf:"refresh"`
	Claims        JWTClaims         `koanf:"claims"`
	Roles         map[string]string `koanf:"roles"`
	DefaultRole   string            `koanf:"default_role"`
	RoomPattern   string            `koanf:"room_pattern"`
	Rooms         []string          `koanf:"rooms"`
	MaxLife       time.Duration     `koanf:"max_life"`
}

// JWTClaims are the paths of what is read from a token.
type JWTClaims struct {
	Role    string `koanf:"role"`
	Room    string `koanf:"room"`
	Name    string `koanf:"name"`
	Subject string `koanf:"subject"`
}

// Hook configures the HTTP hook that decides about credentials.
type Hook struct {
	URL     string        `koanf:"url"`
	Timeout time.Duration `koanf:"timeout"`
	Cache   time.Duration `koanf:"cache"`
	Secret  string        `koanf:"secret"`
}

// validate checks what can be checked without the keys; the rest is said when
// they are read.
func (a Auth) validate(bad func(key, format string, args ...any)) {
	var names []string
	for i, j := range a.JWT {
		key := fmt.Sprintf("auth.jwt[%d]", i)
		if j.Name == "" || slices.Contains(names, j.Name) {
			bad(key+".name", "must be there and unique")
		}
		names = append(names, j.Name)
		if j.Issuer == "" {
			bad(key+".issuer", "is empty")
		}
		keys := 0
		for _, k := range []string{j.Secret, j.PublicKeyFile, j.JWKSURL} {
			if k != "" {
				keys++
			}
		}
		if keys != 1 {
			bad(key, "needs one of secret, public_key_file and jwks_url, has %d", keys)
		}
		if j.JWKSURL != "" && !isWebAddress(j.JWKSURL) {
			bad(key+".jwks_url", "is not an http or https address")
		}
		if j.Refresh < 0 || j.MaxLife < 0 {
			bad(key, "durations must not be negative")
		}
	}
	h := a.Hook
	if h.URL != "" && !isWebAddress(h.URL) {
		bad("auth.hook.url", "is not an http or https address")
	}
	if h.Timeout <= 0 || h.Cache < 0 {
		bad("auth.hook", "timeout must be longer than 0, cache not negative")
	}
}

func isWebAddress(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.Host != "" && (u.Scheme == "http" || u.Scheme == "https")
}

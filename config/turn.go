package config

import (
	"net"
	"net/netip"
	"strings"
	"time"
)

// TURN configures the STUN and TURN server and those of others.
type TURN struct {
	Enabled                 bool          `koanf:"enabled"`
	UDPAddr                 string        `koanf:"udp_addr"` // "": off
	TCPAddr                 string        `koanf:"tcp_addr"` // "": off
	TLSAddr                 string        `koanf:"tls_addr"` // "": off
	PublicHost              string        `koanf:"public_host"`
	CredentialLife          time.Duration `koanf:"credential_life"`
	AllocationLife          time.Duration `koanf:"allocation_life"`
	MaxAllocations          int           `koanf:"max_allocations"`
	MaxAllocationsPerClient int           `koanf:"max_allocations_per_address"`
	MaxAllocationsPerUser   int           `koanf:"max_allocations_per_user"`
	MaxBitrate              int           `koanf:"max_bitrate"` // of an allocation, each way, bits per second
	External                ExternalTURN  `koanf:"external"`
	STUN                    []string      `koanf:"stun_urls"`
}

// ExternalTURN is another TURN server with which a secret is shared.
type ExternalTURN struct {
	URLs   []string      `koanf:"urls"`
	Secret string        `koanf:"secret"`
	Life   time.Duration `koanf:"credential_life"`
}

func (t TURN) validate(bad func(key, format string, args ...any)) {
	for key, addr := range map[string]string{"turn.udp_addr": t.UDPAddr, "turn.tcp_addr": t.TCPAddr, "turn.tls_addr": t.TLSAddr} {
		if addr == "" {
			continue // off
		}
		if _, _, err := net.SplitHostPort(addr); err != nil {
			bad(key, "%q is not host:port", addr)
		}
	}
	if h := t.PublicHost; h != "" && !hostName(h) {
		if _, err := netip.ParseAddr(h); err != nil {
			bad("turn.public_host", "%q is neither a name nor an address", h)
		}
	}
	for key, d := range map[string]time.Duration{
		"turn.credential_life": t.CredentialLife, "turn.allocation_life": t.AllocationLife,
		"turn.external.credential_life": t.External.Life,
	} {
		if d < time.Minute {
			bad(key, "must be at least a minute, is %s", d)
		}
	}
	for key, n := range map[string]int{
		"turn.max_allocations": t.MaxAllocations, "turn.max_allocations_per_address": t.MaxAllocationsPerClient,
		"turn.max_allocations_per_user": t.MaxAllocationsPerUser, "turn.max_bitrate": t.MaxBitrate / 8,
	} {
		if n < 1 {
			bad(key, "must be more than 0")
		}
	}
	t.validateOthers(bad)
}

func (t TURN) validateOthers(bad func(key, format string, args ...any)) {
	for _, u := range t.External.URLs {
		if !iceURL(u, "turn:", "turns:") {
			bad("turn.external.urls", "%q is no address as turn:host:3478?transport=udp", u)
		}
	}
	if len(t.External.URLs) > 0 && t.External.Secret == "" {
		bad("turn.external.secret", "is empty")
	}
	for _, u := range t.STUN {
		if !iceURL(u, "stun:", "stuns:") {
			bad("turn.stun_urls", "%q is no address as stun:host:3478", u)
		}
	}
}

// iceURL says whether u can be an address of a STUN or TURN server (RFC 7064,
// RFC 7065) of one of the schemes.
func iceURL(u string, schemes ...string) bool {
	for _, s := range schemes {
		if rest, ok := strings.CutPrefix(u, s); ok {
			return rest != "" && !strings.ContainsAny(rest, " <>\"\\\t\r\n,;/@")
		}
	}
	return false
}

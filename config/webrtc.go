package config

import (
	"net/netip"
	"strings"
	"time"
)

// WebRTC configures the media port and the addresses that peers are told.
type WebRTC struct {
	Addr              string         `koanf:"addr"`
	TCP               bool           `koanf:"tcp"`
	ICELite           bool           `koanf:"ice_lite"`
	AdvertiseIPs      []netip.Addr   `koanf:"advertise_ips"`
	Hosts             []string       `koanf:"hosts"`
	Interfaces        []string       `koanf:"interfaces"`
	ExcludeInterfaces []string       `koanf:"exclude_interfaces"`
	Networks          []netip.Prefix `koanf:"networks"`
	ExcludeNetworks   []netip.Prefix `koanf:"exclude_networks"`
	ConnectTimeout    time.Duration  `koanf:"connect_timeout"`
	ConsentTimeout    time.Duration  `koanf:"consent_timeout"`
	GSO               bool           `koanf:"gso"`
	Batching          bool           `koanf:"batching"`
}

// validate reports what is wrong with the names; koanf has read the addresses.
func (w WebRTC) validate(bad func(key, format string, args ...any)) {
	for _, a := range w.AdvertiseIPs {
		if a.IsUnspecified() || a.IsMulticast() {
			bad("webrtc.advertise_ips", "%s is not the address of a host", a)
		}
	}
	for _, h := range w.Hosts {
		if h == "" || strings.ContainsAny(h, "/: \t") && !isAddr(h) {
			bad("webrtc.hosts", "%q is neither a name nor an address (without port)", h)
		}
	}
}

func isAddr(s string) bool {
	_, err := netip.ParseAddr(s)
	return err == nil
}

// Package sender says what counts as one sender, for all limits by address.
package sender

import "net/netip"

// Of returns the address that addr counts by: an IPv4 address itself, of an IPv6
// address its /64, for one host commands a whole one.
func Of(addr netip.Addr) netip.Addr {
	addr = addr.Unmap().WithZone("")
	if addr.Is6() {
		if p, err := addr.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return addr
}

//go:build !linux

package rtc

import "net"

// probeSending says that packets go out one by one here: neither sendmmsg nor
// segmentation can be had from the public interfaces of these systems.
func (e *Endpoint) probeSending(*net.UDPConn) {
	e.noGSO = true
	e.log.Info("no batched sending on this system, packets go out one by one")
}

// newWriter returns the writer of a batch.
func (e *Endpoint) newWriter() messageWriter { return plainWriter{e} }

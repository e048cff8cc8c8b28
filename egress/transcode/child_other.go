//go:build !linux

package transcode

import "syscall"

// childAttributes: a group of its own, as on Linux. A child whose gateway was
// killed ends when its pipes do.
func childAttributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

//go:build unix

package main

import "syscall"

// ownerOnly keeps what the process makes from all but its owner, also in a data
// directory that was there before and that others can enter.
func ownerOnly() { syscall.Umask(0o077) }

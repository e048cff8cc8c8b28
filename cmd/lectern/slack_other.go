//go:build !linux

package main

// calmTimers is for Linux.
func calmTimers() {}

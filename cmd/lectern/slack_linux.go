package main

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// timerSlack is by how much the kernel may put off the end of a short sleep, ns.
const timerSlack = 1_000_000

// calmTimers gives the process a timer slack of 1 ms instead of 50 µs, unless
// it has that much. The watchdog of Go's scheduler sleeps 20 µs at a time while
// packets keep coming and going: with a class of ten that is a quarter of all
// the processor time. Timers of Go have steps of a millisecond anyway.
//
// The slack of a thread is that of the thread which starts it, and the watchdog
// is there before main: so the program starts itself once more, in the same
// process. Where that is forbidden, it goes on as it is.
func calmTimers() {
	now, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
	if err != nil || now >= timerSlack {
		return
	}
	path, err := os.Executable()
	if err != nil {
		return
	}
	if err := unix.Prctl(unix.PR_SET_TIMERSLACK, timerSlack, 0, 0, 0); err != nil {
		return
	}
	// Without the new slack in the next life this would not end.
	if now, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0); err != nil || now < timerSlack {
		return
	}
	_ = syscall.Exec(path, os.Args, os.Environ()) // returns only when it fails
}

package transcode

import "syscall"

// childAttributes: a group of its own, so that a signal to the gateway's
// terminal does not end the child, and so that whatever it starts ends with it;
// and no child outlives the gateway.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

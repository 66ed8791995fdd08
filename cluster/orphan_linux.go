package cluster

import "syscall"

// processAttributes give a node a process group of its own, so that a Ctrl-C at
// the terminal comes to this process alone, and have the kernel stop the node in
// order when this process dies.
func processAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}

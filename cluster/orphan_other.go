//go:build unix && !linux

package cluster

import "syscall"

// processAttributes give a node a process group of its own, so that a Ctrl-C at
// the terminal comes to this process alone.
func processAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}

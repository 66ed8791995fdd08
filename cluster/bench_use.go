package cluster

import "time"

// processUse is what a process has taken of the machine.
type processUse struct {
	// cpu is its processor time so far, in user and in system mode.
	cpu time.Duration
	// rss is its resident memory now, in bytes, and anon what of that is no part
	// of a file.
	rss, anon uint64
}

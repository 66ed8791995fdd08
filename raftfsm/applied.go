package raftfsm

import (
	"context"
	"sync"
)

// appliedIndex lets readers wait until an index has been applied.
type appliedIndex struct {
	// mu guards both fields.
	mu    sync.Mutex
	index uint64
	// moved is closed when index grows, and then replaced; nil while nobody waits.
	moved chan struct{}
}

// advance is called with growing indexes.
func (a *appliedIndex) advance(index uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.index = index
	if a.moved != nil {
		close(a.moved)
		a.moved = nil
	}
}

// at returns the index, and a channel that is closed when it has grown.
func (a *appliedIndex) at() (uint64, <-chan struct{}) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.moved == nil {
		a.moved = make(chan struct{})
	}
	return a.index, a.moved
}

// WaitApplied returns once the entry at index is applied, or with ctx's error.
func (f *FSM) WaitApplied(ctx context.Context, index uint64) error {
	for {
		applied, moved := f.applied.at()
		if applied >= index {
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

//go:build !linux

package cluster

import "errors"

// useOf is for systems with a proc file system.
func useOf(int) (processUse, error) { return processUse{}, errors.ErrUnsupported }

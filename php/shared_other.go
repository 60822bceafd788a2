//go:build !linux

package php

import "os"

// newShared returns nothing: there is no memory that PHP could not make shorter.
func newShared() (*shared, *os.File) { return nil, nil }

func unmap([]byte) {}

//go:build !linux

package php

import (
	"errors"
	"io"
	"os"
)

// rest needs splice(2) of Linux.
type rest struct{ left int }

func openRest() *rest { return nil }

func (*rest) close()                          {}
func (*rest) fill(*os.File, int) (int, error) { return 0, errors.ErrUnsupported }
func (*rest) Read([]byte) (int, error)        { return 0, io.EOF }
func (*rest) Splice(uintptr) (int64, error)   { return 0, errors.ErrUnsupported }

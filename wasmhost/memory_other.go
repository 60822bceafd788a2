//go:build !linux

package wasmhost

import "errors"

// Without Linux's memory files an image is copied into each instance.

type imageFile struct{}

var noFile = imageFile{}

func reserve(_, _ uint64) (linearMemory, error) { return nil, errors.ErrUnsupported }

func (*image) share([]byte, bool) error { return errors.ErrUnsupported }

func (*image) close() {}

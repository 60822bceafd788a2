//go:build !unix

package main

import "os"

// upgradeSignals has none here.
func upgradeSignals() (signals <-chan os.Signal, stop func()) { return nil, func() {} }

//go:build !linux

package rpc

import (
	"errors"
	"net"
	"time"
)

// No line is eager here: detach never works.
var errPatient = errors.New("lines are patient on this system")

func detach(*net.UnixConn, time.Duration) (int, error) { return notEager, errPatient }
func attach(int) (net.Conn, error)                     { return nil, errPatient }
func closeDescriptor(int)                              {}
func hangUp(int, bool)                                 {}
func readSoon(int, []byte) (int, error, bool)          { return 0, errPatient, true } //nolint:revive // as on Linux
func writeNow(int, []byte) (int, error)                { return 0, errPatient }

// hasHungUp does not know: a client that leaves is noticed once it is read from.
func hasHungUp(uintptr) bool { return false }

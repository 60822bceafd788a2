//go:build !unix

package upgrade

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
)

// Supported says why this system has no upgrade.
func Supported() error {
	return fmt.Errorf("unsupported: an upgrade hands sockets to another process, which %s does not do; restart the server instead", runtime.GOOS)
}

// Options say what Start would start.
type Options struct {
	Binary  string
	Args    []string
	Environ []string
	Stdout  *os.File
	Stderr  *os.File
}

type channel struct{}

// Send does nothing here.
func (*channel) Send(string, any, ...int) error { return Supported() }

// Receive does nothing here.
func (*channel) Receive(context.Context, string, any) ([]*os.File, error) { return nil, Supported() }

// Close does nothing here.
func (*channel) Close() error { return nil }

// Successor does not exist here.
type Successor struct{ *channel }

// Start fails.
func Start(Options, *Sockets) (*Successor, error) { return nil, Supported() }

// PID is none.
func (*Successor) PID() int { return 0 }

// Fail returns why.
func (*Successor) Fail(why error) error { return why }

// Predecessor does not exist here.
type Predecessor struct{ *channel }

// Arrive finds none.
func Arrive(_ context.Context, environ []string) (*Predecessor, []string, error) {
	return nil, environ, nil
}

// Sockets are none.
func (*Predecessor) Sockets() *Sockets { return NewSockets() }

// Begin fails.
func (*Predecessor) Begin(any) ([]*os.File, error) { return nil, Supported() }

// Failed does nothing here.
func (*Predecessor) Failed(error) {}

// Taken fails.
func (*Predecessor) Taken() error { return Supported() }

// SocketPair fails.
func SocketPair() (a, b *os.File, err error) { return nil, nil, errors.ErrUnsupported }

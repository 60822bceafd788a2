//go:build !linux

package ws_test

import "errors"

// clientsMain needs an epoll.
func clientsMain() { must(errors.New("crowds of clients are for Linux alone")) }

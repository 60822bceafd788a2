//go:build tools

// Package tinygo pins the TinyGo that tests build plugins with.
package tinygo

import _ "github.com/tinygo-org/tinygo"

// Package http2xconnect lets net/http's HTTP/2 accept extended CONNECT (RFC 8441), which WebSocket over HTTP/2 needs.
//
// The only switch is GODEBUG=http2xconnect=1, read by an init function of net/http. This package must be initialised before that, and
// is: it imports nothing but os and strings, and packages that are ready are initialised in the order of their import paths. A test
// asks a server for its SETTINGS, so that a change of Go does not go unnoticed. Who says http2xconnect=0 keeps it off.
package http2xconnect

import (
	"os"
	"strings"
)

func init() {
	debug := os.Getenv("GODEBUG")
	if strings.Contains(debug, "http2xconnect=") {
		return
	}
	if debug != "" {
		debug += ","
	}
	os.Setenv("GODEBUG", debug+"http2xconnect=1")
}

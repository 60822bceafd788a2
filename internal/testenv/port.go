package testenv

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"testing"
)

// FreePort returns a port of the loopback that nothing listens on, for programs that cannot listen on port 0, and for addresses at
// which there must be nobody. Nobody else gets it until the test ends: go test runs packages side by side, and what was free when one
// looked may be taken when its program comes to listen.
func FreePort(t testing.TB) int {
	t.Helper()
	low, high := unassigned()
	var err error
	for range 1000 {
		port := low + rand.IntN(high-low) //nolint:gosec // no secret
		var release func()
		if release, err = reserve(port); err == nil {
			t.Cleanup(release)
			return port
		}
	}
	t.Fatalf("no port from %d to %d is free, the last one tried for this: %v", low, high, err)
	return 0
}

// unassigned is the range below the ports that the system itself gives to clients and to who listens on port 0.
func unassigned() (low, high int) {
	low, high = 16384, 32768
	text, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err != nil {
		return low, high // other systems begin at 49152
	}
	var first, last int
	if n, _ := fmt.Sscan(string(text), &first, &last); n != 2 {
		return low, high
	}
	switch {
	case first >= 12000:
		return first / 2, first
	case last <= 60000:
		return last + 1, 65536
	default:
		return low, high // there is none, and reserve tells tests apart at least
	}
}

// reserve keeps a port from the tests of this machine, by a name that only one socket can have and that goes with the process.
func reserve(port int) (release func(), err error) {
	release = func() {}
	if runtime.GOOS == "linux" { // others have no such names
		name, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: fmt.Sprintf("@edge-test-port-%d", port)})
		if err != nil {
			return nil, err
		}
		release = func() { name.Close() }
	}
	l, err := net.Listen("tcp", loopback(port))
	if err != nil {
		release()
		return nil, err
	}
	return release, l.Close()
}

package main

import (
	"net"
	"os"
	"slices"
	"testing"
)

func TestListenersAreFoundByTheirPort(t *testing.T) {
	t.Parallel()
	for _, host := range []string{"127.0.0.1", "[::1]", ""} {
		listener, err := net.Listen("tcp", host+":0")
		if err != nil {
			t.Logf("%q: %v", host, err) // a machine without IPv6
			continue
		}
		defer listener.Close()
		_, port, _ := net.SplitHostPort(listener.Addr().String())
		if got := listeners("localhost:" + port); !slices.Equal(got, []int{os.Getpid()}) {
			t.Errorf("on %q port %s listen %v, want this process, %d", host, port, got, os.Getpid())
		}
		if got := listeners("192.0.2.1:" + port); got != nil {
			t.Errorf("a server elsewhere was found in %v", got)
		}
	}
}

func FuzzParseListener(f *testing.F) {
	f.Add([]byte("   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0000 100 0 0 10 0\n"), uint16(8080))
	f.Add([]byte("  sl  local_address rem_address   st tx_queue\n"), uint16(0))
	f.Fuzz(func(t *testing.T, line []byte, port uint16) {
		if inode, ok := parseListener(line, port); ok && inode == "" {
			t.Errorf("%q listens with no inode", line)
		}
	})
}

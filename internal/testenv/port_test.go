package testenv

import (
	"fmt"
	"net"
	"os"
	"testing"
)

func TestPortsAreReserved(t *testing.T) {
	t.Parallel()
	var port int
	t.Run("held", func(t *testing.T) {
		port = FreePort(t)
		if release, err := reserve(port); err == nil {
			release()
			t.Errorf("port %d is reserved and was given away again", port)
		}
		l, err := net.Listen("tcp", loopback(port))
		if err != nil {
			t.Fatalf("the port is not free: %v", err)
		}
		l.Close()
	})
	release, err := reserve(port)
	if err != nil {
		t.Fatalf("port %d is not free after the test that had it: %v", port, err)
	}
	release()

	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := reserve(l.Addr().(*net.TCPAddr).Port); err == nil {
		t.Error("a port that somebody listens on is reserved")
	}
}

func TestPortsAreNotThoseOfTheSystem(t *testing.T) {
	t.Parallel()
	var first, last int
	text, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range") // only Linux has it
	if err == nil {
		_, err = fmt.Sscan(string(text), &first, &last)
	}
	all := err != nil || first < 12000 && last > 60000 // then they cannot be told apart
	if low, high := unassigned(); low < 1024 || high > 65536 || low >= high || !all && low <= last && high > first {
		t.Errorf("ports from %d to %d, where the system uses %d to %d", low, high, first, last)
	}
}

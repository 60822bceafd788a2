package testenv

import (
	"path/filepath"
	"strconv"
	"testing"
)

// Memcached starts a memcached of its own with 64 MiB. args are further options.
func Memcached(t testing.TB, args ...string) *Server {
	t.Helper()
	port := FreePort(t)
	return memcached(t, loopback(port), append([]string{"-l", "127.0.0.1", "-p", strconv.Itoa(port), "-U", "0"}, args...))
}

// MemcachedSocket starts a memcached that listens on a unix socket alone.
func MemcachedSocket(t testing.TB) *Server {
	t.Helper()
	socket := filepath.Join(Dir(t), "memcached.sock")
	return memcached(t, socket, []string{"-s", socket})
}

func memcached(t testing.TB, addr string, args []string) *Server {
	t.Helper()
	path := Tool(t, "memcached", "apt-get install memcached")
	// It refuses to run as root unless told whom to become.
	return startServer(t, addr, Dir(t), path, append([]string{"-u", "root", "-m", "64"}, args...), accepts)
}

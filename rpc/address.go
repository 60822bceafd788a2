package rpc

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// maxSocketPath is how long the path of a unix socket may be: the kernel's structure has 108 bytes, one of them the final NUL.
const maxSocketPath = 107

// address is a parsed listen value.
type address struct {
	network string // unix or tcp
	target  string // absolute path, or host:port
}

func (a address) String() string { return a.network + "://" + a.target }

// parseAddress reads a listen value; stateDir is the folder of rpc.sock.
func parseAddress(listen, stateDir string) (address, error) {
	if listen == "unix" {
		listen = "unix://" + filepath.Join(stateDir, "rpc.sock")
	}
	network, target, found := strings.Cut(listen, "://")
	switch {
	case found && network == "unix" && target != "":
		path, err := filepath.Abs(target)
		if err != nil {
			return address{}, err
		}
		if len(path) > maxSocketPath {
			return address{}, fmt.Errorf("the path of a unix socket may have %d bytes, and %s has %d: set unix:///short/path or a shorter state_dir",
				maxSocketPath, path, len(path))
		}
		return address{"unix", path}, nil
	case found && network == "tcp":
		return parseTCP(target)
	}
	return address{}, fmt.Errorf("%q is not an address: write unix, unix:///path or tcp://127.0.0.1:6001", listen)
}

func parseTCP(target string) (address, error) {
	if _, _, err := net.SplitHostPort(target); err != nil {
		return address{}, fmt.Errorf("%q has no host and port: write tcp://127.0.0.1:6001", "tcp://"+target)
	}
	return address{"tcp", target}, nil
}

// local reports whether only this machine reaches the address.
func (a address) local() bool {
	if a.network == "unix" {
		return true
	}
	host, _, err := net.SplitHostPort(a.target)
	ip := net.ParseIP(host)
	return err == nil && (host == "localhost" || ip != nil && ip.IsLoopback())
}

// listen opens the address. A unix socket is for everybody's eyes when shared is set and its peers can be told apart.
func (a address) listen(ctx context.Context, shared bool) (net.Listener, error) {
	var lc net.ListenConfig
	if a.network != "unix" {
		return lc.Listen(ctx, a.network, a.target)
	}
	if err := a.removeStale(ctx); err != nil {
		return nil, err
	}
	l, err := lc.Listen(ctx, a.network, a.target)
	if err != nil {
		return nil, err
	}
	mode := os.FileMode(0o600)
	if shared && knowsPeers {
		// The mode cannot name users; the check of each connection's credentials does.
		mode = 0o666
	}
	if err := os.Chmod(a.target, mode); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// removeStale removes the socket of a server that is no more. One that answers, or a file of another kind, is left alone.
func (a address) removeStale(ctx context.Context) error {
	info, err := os.Lstat(a.target)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return errors.New("there is a file of that name, and it is not a socket")
	}
	dialer := net.Dialer{Timeout: time.Second}
	nc, err := dialer.DialContext(ctx, a.network, a.target)
	if err == nil {
		nc.Close()
		return errors.New("another server answers there")
	}
	if !isRefused(err) {
		return fmt.Errorf("there is a socket of that name, and whether a server uses it is unknown: %w", err)
	}
	return os.Remove(a.target)
}

// peer is who is at the other end, for log lines.
type peer struct {
	pid    int
	remote string
}

func (p peer) String() string {
	if p.pid != 0 {
		return fmt.Sprintf("pid %d", p.pid)
	}
	if p.remote != "" {
		return p.remote
	}
	return "unknown"
}

// backoff is the pause after an accept that failed; it doubles up to a second.
type backoff time.Duration

func (b *backoff) wait() {
	*b = min(max(2**b, backoff(5*time.Millisecond)), backoff(time.Second))
	time.Sleep(time.Duration(*b))
}

package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// peer is a server that runs already.
type peer struct {
	name string
	base *url.URL
}

// target makes a target of the peer. When it runs on this machine, its processes are found by the port that they listen on, so
// that their CPU and memory are known as well.
func (p peer) target() target {
	launch := func(_ context.Context, _ *workspace, srv *server) error {
		srv.base = p.base.String()
		srv.roots = listeners(p.base.Host)
		return nil
	}
	return target{Name: p.name, About: "by address, " + p.base.Redacted(), Launch: launch, peer: true}
}

// listeners returns the processes that listen on a loopback address and are nobody's children among them: workers that share a
// listener belong to their parent. None means that it is elsewhere, or not ours to look at.
func listeners(address string) []int {
	inodes := listeningSockets(address)
	if len(inodes) == 0 {
		return nil
	}
	owners := map[int]bool{}
	links, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	for _, link := range links {
		name, err := os.Readlink(link)
		if inode, found := strings.CutPrefix(name, "socket:["); err == nil && found && inodes[strings.TrimSuffix(inode, "]")] {
			pid, _ := strconv.Atoi(strings.Split(link, "/")[2])
			owners[pid] = true
		}
	}
	var roots []int
	for pid := range owners {
		if p, err := readStat(strconv.Itoa(pid)); err == nil && !owners[p.parent] {
			roots = append(roots, pid)
		}
	}
	return roots
}

// listeningSockets returns the inodes of the sockets that listen on the address or on every address of the machine.
func listeningSockets(address string) map[string]bool {
	host, port, err := net.SplitHostPort(address)
	number, portErr := strconv.ParseUint(port, 10, 16)
	if err != nil || portErr != nil || !isLoopback(host) {
		return nil
	}
	found := map[string]bool{}
	for _, file := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		table, _ := os.ReadFile(file)
		for line := range bytes.Lines(table) {
			if inode, ok := parseListener(line, uint16(number)); ok {
				found[inode] = true
			}
		}
	}
	return found
}

// parseListener reads a line of /proc/net/tcp: the inode of the socket, when that listens on the port of this machine or of all
// its addresses.
func parseListener(line []byte, port uint16) (inode string, ok bool) {
	const address, state, socket, listening = 1, 3, 9, "0A"
	fields := strings.Fields(string(line))
	if len(fields) <= socket || fields[state] != listening {
		return "", false
	}
	host, hexPort, _ := strings.Cut(fields[address], ":")
	at, err := hex.DecodeString(hexPort)
	if err != nil || len(at) != 2 || binary.BigEndian.Uint16(at) != port {
		return "", false
	}
	// Addresses stand there as the words of the machine; only these few are of interest.
	switch host {
	case "0100007F", "00000000", "00000000000000000000000000000000", "00000000000000000000000001000000":
		return fields[socket], true
	}
	return "", false
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

package php

import (
	"net"
	"os"
	"testing"
)

func TestFindSocket(t *testing.T) {
	t.Parallel()
	const table = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:480B 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1004965 2 00000000b6b2189e 100 0 0 10 0
   1: 0100007F:480B 0100007F:92D2 01 00000000:00000000 00:00000000 00000000     5        0 1 1
   2: 0100007F:92D2 0100007F:480B 01 00000000:00000000 00:00000000 00000000    33        0 2 1
`
	server, client := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 0x480B}, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 0x92D2}
	if uid, ok := findSocket(table, client, server); !ok || uid != 33 {
		t.Errorf("the client is of user %d, %v", uid, ok)
	}
	if _, ok := findSocket(table, client, client); ok {
		t.Error("found what is not there")
	}
}

// TestDialedBy asks the kernel about a connection of this process.
func TestDialedBy(t *testing.T) {
	t.Parallel()
	listener, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	client, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	conn, err := listener.AcceptTCP()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if uid, known := dialedBy(conn); !known || uid != os.Geteuid() {
		t.Errorf("dialed by user %d (known: %v), want %d", uid, known, os.Geteuid())
	}
}

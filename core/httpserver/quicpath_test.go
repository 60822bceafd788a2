package httpserver

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"
)

func TestPacketsOfOlderProcesses(t *testing.T) {
	t.Parallel()
	d := &destination{own: 0x1111, older: []uint16{0x2222, 0x3333}}
	client, other := netip.MustParseAddrPort("192.0.2.1:1000"), netip.MustParseAddrPort("192.0.2.2:1000")
	short := func(marker uint16) []byte {
		return append(binary.BigEndian.AppendUint16([]byte{0x40}, marker), 1, 2, 3, 4, 5, 6, 9, 9, 9)
	}
	long := func(id ...byte) []byte { return append([]byte{0xc0, 0, 0, 0, 1, byte(len(id))}, append(id, 0, 0)...) }
	check := func(what string, packet []byte, from netip.AddrPort, want bool) {
		t.Helper()
		if got := d.isOlders(packet, from); got != want {
			t.Errorf("%s: it is %v that an older process gets it", what, got)
		}
	}
	check("own connection", short(0x1111), client, false)
	check("older connection", short(0x2222), client, true)
	check("even older one", short(0x3333), client, true)
	check("own handshake", long(0x11, 0x11, 1, 2, 3, 4, 5, 6), client, false)
	check("older handshake", long(0x22, 0x22, 1, 2, 3, 4, 5, 6), client, true)
	check("new client", long(1, 2, 3, 4, 5, 6, 7, 8, 9), client, false)
	check("nothing", nil, client, false)
	check("too short", []byte{0x40, 0x22}, client, false)
	check("too short a head", []byte{0xc0, 0, 0, 0, 1, 20, 1}, client, false)

	d.shake([]netip.AddrPort{client})
	check("client that shakes hands", long(1, 2, 3, 4, 5, 6, 7, 8, 9), client, true)
	check("another one", long(1, 2, 3, 4, 5, 6, 7, 8, 9), other, false)
	d.until = time.Now().Add(-time.Second)
	check("client whose time is over", long(1, 2, 3, 4, 5, 6, 7, 8, 9), client, false)
}

func FuzzDestinationID(f *testing.F) {
	f.Add([]byte{0x40, 1, 2, 3, 4, 5, 6, 7, 8})
	f.Add([]byte{0xc0, 0, 0, 0, 1, 2, 3, 4})
	f.Add([]byte{0xff, 0, 0, 0, 0, 255})
	d := &destination{own: 1, older: []uint16{2}}
	f.Fuzz(func(t *testing.T, packet []byte) {
		id, long := destinationID(packet)
		if id != nil && !long && len(id) != connIDSize || len(id) > len(packet) {
			t.Errorf("ID % x of % x", id, packet)
		}
		d.isOlders(packet, netip.AddrPort{})
	})
}

func TestTicketKeysRotate(t *testing.T) {
	t.Parallel()
	first := newTicketKeys(nil)
	for range keptTicketKeys + 3 {
		first.rotate()
	}
	if n := len(first.all()); n != keptTicketKeys {
		t.Errorf("%d keys are kept, want %d", n, keptTicketKeys)
	}
	second := newTicketKeys(first.all())
	if string(second.all()[0]) != string(first.all()[0]) {
		t.Error("another process encrypts with another key")
	}
}

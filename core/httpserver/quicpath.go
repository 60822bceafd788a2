package httpserver

import (
	"crypto/rand"
	"encoding/binary"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
)

// While a process takes the place of another both have QUIC connections on one UDP socket, and the kernel gives a packet to whoever reads
// first. So one alone reads, the newer one from the moment it serves, and passes on what belongs to the older one. It knows that by the
// connection ID, which the server chose: it begins with a marker of the process. A client's first packets have an ID that the client chose;
// they are the newer process's, but for clients of whom the older one says that it is in the middle of a handshake with them.
//
// Both write to the socket.

const (
	markerSize = 2
	// connIDSize is the length of connection IDs: a marker and random bytes.
	connIDSize = 8

	// handshakeTime is how long first packets of a client go to the older process, which has begun a handshake with it. Should it have been
	// for another connection, the client sends them again.
	handshakeTime = time.Second
)

// connIDs makes connection IDs with a marker.
type connIDs struct{ marker uint16 }

func newMarker() uint16 {
	var b [markerSize]byte
	rand.Read(b[:])
	return binary.BigEndian.Uint16(b[:])
}

// GenerateConnectionID implements quic.ConnectionIDGenerator.
func (c connIDs) GenerateConnectionID() (quic.ConnectionID, error) {
	var id [connIDSize]byte
	rand.Read(id[markerSize:])
	binary.BigEndian.PutUint16(id[:], c.marker)
	return quic.ConnectionIDFromBytes(id[:]), nil
}

// ConnectionIDLen implements quic.ConnectionIDGenerator.
func (connIDs) ConnectionIDLen() int { return connIDSize }

// destination says whom a packet is for: this process, or an older one.
type destination struct {
	own   uint16
	older []uint16

	mu      sync.Mutex // guards what follows
	clients map[netip.AddrPort]struct{}
	until   time.Time
}

// shake notes the clients with whom the older process has begun a handshake.
func (d *destination) shake(clients []netip.AddrPort) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.clients, d.until = map[netip.AddrPort]struct{}{}, time.Now().Add(handshakeTime)
	for _, c := range clients {
		d.clients[c] = struct{}{}
	}
}

// isOlders reports whether a packet is for an older process.
func (d *destination) isOlders(packet []byte, from netip.AddrPort) bool {
	id, long := destinationID(packet)
	switch {
	case id == nil:
		return false
	case !long:
		return binary.BigEndian.Uint16(id) != d.own
	case len(id) == connIDSize:
		marker := binary.BigEndian.Uint16(id)
		if marker == d.own {
			return false
		}
		if slices.Contains(d.older, marker) {
			return true
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.clients) == 0 {
		return false
	}
	if time.Now().After(d.until) {
		d.clients = nil
		return false
	}
	_, shaking := d.clients[from]
	return shaking
}

// destinationID finds the connection ID of a packet, nil when it has none that matters.
//
//	1... .... version (4) length (1) ID …   long header
//	0... .... ID …                          short header
func destinationID(packet []byte) (id []byte, long bool) {
	if len(packet) == 0 {
		return nil, false
	}
	if packet[0]&0x80 == 0 {
		if len(packet) < 1+connIDSize {
			return nil, false
		}
		return packet[1 : 1+connIDSize], false
	}
	if len(packet) < 6 || len(packet) < 6+int(packet[5]) {
		return nil, true
	}
	return packet[6 : 6+int(packet[5])], true
}

//go:build unix

package httpserver

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"
	"golang.org/x/net/ipv4"

	"github.com/edge-server/edge/core/upgrade"
)

// quicPath is a UDP socket as quic-go sees it. At first it is the socket; it reads nothing while an older process does, passes on what that
// one is to get, and reads what a newer process passes on once there is one.
type quicPath struct {
	*upgrade.Packets
	batch *ipv4.PacketConn
	to    destination

	opened <-chan struct{} // closed when this process may read
	woken  chan struct{}   // closed when reads are to end
	wake   sync.Once

	passing atomic.Bool              // whether there is an older process still
	older   *relay                   // nil without an older process
	newer   atomic.Pointer[relay]    // set when a newer process reads the socket
	next    atomic.Pointer[net.Conn] // the connection to a process that may become the newer one
}

var _ quic.OOBCapablePacketConn = (*quicPath)(nil)

// newQUICPath takes what an older process has handed over; file is nil without one.
func newQUICPath(socket *upgrade.Packets, opened <-chan struct{}, said QUICLegacy, file *os.File) (*quicPath, error) {
	p := &quicPath{
		Packets: socket, batch: ipv4.NewPacketConn(socket.UDPConn), to: destination{own: newMarker(), older: said.Markers}, opened: opened,
		woken: make(chan struct{}),
	}
	if file == nil {
		return p, nil
	}
	conn, err := net.FileConn(file)
	file.Close()
	if err != nil {
		return nil, err
	}
	p.older = newRelay(conn)
	p.passing.Store(true)
	p.older.wg.Go(func() { // ends with the older process, or with Close
		p.older.hear(&p.to)
		p.passing.Store(false)
		conn.Close()
	})
	p.older.wg.Go(p.older.send)
	return p, nil
}

// ReadBatch is how quic-go receives.
func (p *quicPath) ReadBatch(ms []ipv4.Message, flags int) (int, error) {
	select {
	case <-p.opened:
	default:
		select {
		case <-p.opened:
		case <-p.woken:
			return 0, os.ErrDeadlineExceeded
		}
	}
	for {
		newer := p.newer.Load()
		var n int
		var err error
		if newer != nil {
			n, err = newer.receive(ms)
		} else if n, err = p.batch.ReadBatch(ms, flags); err != nil && p.newer.Load() != nil {
			continue // a newer process reads from now on
		}
		if err != nil {
			return n, err
		}
		if p.passing.Load() {
			p.passOn(ms[:n])
		}
		return n, nil
	}
}

// passOn empties the messages that are for the older process, after that one has got them.
func (p *quicPath) passOn(ms []ipv4.Message) {
	for i := range ms {
		from, ok := ms[i].Addr.(*net.UDPAddr)
		if !ok || !p.to.isOlders(ms[i].Buffers[0][:ms[i].N], from.AddrPort()) {
			continue
		}
		p.older.pass(&ms[i], from.AddrPort())
		ms[i].N = 0 // quic-go ignores it
	}
}

// SetReadDeadline ends reads when t has come: it is how quic-go stops.
func (p *quicPath) SetReadDeadline(t time.Time) error {
	if !t.IsZero() {
		p.wake.Do(func() { close(p.woken) })
	}
	if newer := p.newer.Load(); newer != nil {
		return newer.conn.SetReadDeadline(t)
	}
	return p.Packets.SetReadDeadline(t)
}

// prepare makes the connection to a process that may become the newer one, and returns its end.
func (p *quicPath) prepare() (*os.File, error) {
	mine, theirs, err := upgrade.SocketPair()
	if err != nil {
		return nil, err
	}
	conn, err := net.FileConn(mine)
	mine.Close()
	if err != nil {
		return nil, errors.Join(err, theirs.Close())
	}
	if before := p.next.Swap(&conn); before != nil {
		(*before).Close() // nothing came of that one
	}
	return theirs, nil
}

// leave leaves the socket to the newer process. clients are those with whom this one is in the middle of a handshake.
func (p *quicPath) leave(clients []netip.AddrPort) {
	conn := p.next.Swap(nil)
	if conn == nil {
		return
	}
	r := newRelay(*conn)
	r.tell(clients)
	p.newer.Store(r)
	p.Packets.SetReadDeadline(time.Unix(1, 0)) // the read that is under way ends
}

// markers are those of this process and of the ones before it.
func (p *quicPath) markers() []uint16 { return append([]uint16{p.to.own}, p.to.older...) }

func (p *quicPath) ids() connIDs { return connIDs{p.to.own} }

// Close closes the socket and what leads to other processes.
func (p *quicPath) Close() error {
	if conn := p.next.Swap(nil); conn != nil {
		(*conn).Close()
	}
	if newer := p.newer.Load(); newer != nil {
		newer.end()
	}
	if p.older != nil {
		p.older.end()
	}
	return p.Packets.Close()
}

// relay carries packets from a newer process to an older one. A packet is
//
//	length of the rest (4) | port (2) | address (16) | length of the control data (2) | control data | packet
//
// and the other way come clients that shake hands: a length, and port and address of each.
type relay struct {
	conn  net.Conn
	in    *bufio.Reader
	queue chan []byte
	ended chan struct{}
	once  sync.Once
	wg    sync.WaitGroup
}

const (
	clientSize   = 2 + 16
	maxRelayed   = 64 << 10
	maxHandshake = 1 << 20 // of what tells the clients
)

func newRelay(conn net.Conn) *relay {
	return &relay{conn: conn, in: bufio.NewReaderSize(conn, 64<<10), queue: make(chan []byte, 1024), ended: make(chan struct{})}
}

func appendClient(b []byte, c netip.AddrPort) []byte {
	b = binary.BigEndian.AppendUint16(b, c.Port())
	ip := c.Addr().As16()
	return append(b, ip[:]...)
}

func readClient(b []byte) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom16([16]byte(b[2:clientSize])), binary.BigEndian.Uint16(b))
}

// pass queues a packet. When there is no room it is lost, as packets are.
func (r *relay) pass(m *ipv4.Message, from netip.AddrPort) {
	size := clientSize + 2 + m.NN + m.N
	b := make([]byte, 0, 4+size)
	b = binary.BigEndian.AppendUint32(b, uint32(size))
	b = appendClient(b, from)
	b = binary.BigEndian.AppendUint16(b, uint16(m.NN))
	b = append(b, m.OOB[:m.NN]...)
	b = append(b, m.Buffers[0][:m.N]...)
	select {
	case r.queue <- b:
	default:
	}
}

// send ends with the older process, or with end.
func (r *relay) send() {
	for {
		select {
		case b := <-r.queue:
			if _, err := r.conn.Write(b); err != nil {
				return
			}
		case <-r.ended:
			return
		}
	}
}

// hear learns which clients the older process shakes hands with. It ends with the connection.
func (r *relay) hear(d *destination) {
	defer r.once.Do(func() { close(r.ended) })
	for {
		b, err := r.frame(maxHandshake)
		if err != nil {
			return
		}
		var clients []netip.AddrPort
		for ; len(b) >= clientSize; b = b[clientSize:] {
			c := readClient(b)
			clients = append(clients, c, netip.AddrPortFrom(c.Addr().Unmap(), c.Port()))
		}
		d.shake(clients)
	}
}

// tell says which clients this process shakes hands with.
func (r *relay) tell(clients []netip.AddrPort) {
	clients = clients[:min(len(clients), maxHandshake/clientSize)]
	b := binary.BigEndian.AppendUint32(nil, uint32(len(clients)*clientSize))
	for _, c := range clients {
		b = appendClient(b, c)
	}
	r.conn.SetWriteDeadline(time.Now().Add(time.Second))
	_, _ = r.conn.Write(b) // without it those clients begin anew
}

func (r *relay) frame(most int) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r.in, head[:]); err != nil {
		return nil, err
	}
	size := int(binary.BigEndian.Uint32(head[:]))
	if size > most {
		return nil, errors.New("it is too long")
	}
	b := make([]byte, size)
	_, err := io.ReadFull(r.in, b)
	return b, err
}

// receive waits for a packet that the newer process passes on. When that one has gone there is nothing to wait for but the end.
func (r *relay) receive(ms []ipv4.Message) (int, error) {
	b, err := r.frame(maxRelayed)
	if err != nil || len(b) < clientSize+2 {
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			err = net.ErrClosed
		}
		return 0, err
	}
	client := readClient(b)
	oob := int(binary.BigEndian.Uint16(b[clientSize:]))
	rest := b[clientSize+2:]
	if oob > len(rest) {
		return 0, net.ErrClosed
	}
	m := &ms[0]
	m.Addr = net.UDPAddrFromAddrPort(netip.AddrPortFrom(client.Addr().Unmap(), client.Port()))
	m.NN = copy(m.OOB, rest[:oob])
	m.N = copy(m.Buffers[0], rest[oob:])
	return 1, nil
}

func (r *relay) end() {
	r.once.Do(func() { close(r.ended) })
	r.conn.Close()
	r.wg.Wait()
}

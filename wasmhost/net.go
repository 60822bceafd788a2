package wasmhost

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/tetratelabs/wazero/api"

	"github.com/edge-server/edge/sdk/abi"
)

const (
	tcpTimeout      = 5 * time.Second
	httpTimeout     = 30 * time.Second
	maxAddress      = 512
	maxAnswerHeader = 64 << 10
)

func netFunctions() []edgeFunction {
	return append([]edgeFunction{
		{abi.TCPDial, "iiii:i", whileRunning, tcpDial},
		{abi.TCPRead, "iiii:i", whileRunning, tcpRead},
		{abi.TCPWrite, "iiii:i", whileRunning, tcpWrite},
		{abi.TCPClose, "i:i", whileRunning, closeHandle2[*connection]},
		{abi.HTTPDo, "iiiii:i", whileRunning, httpDo},
	}, answerFunctions(abi.HTTPStatus, abi.HTTPHeader, abi.HTTPHeaderNames, abi.HTTPRead, abi.HTTPClose)...)
}

func closeHandle2[T handle](i *instance, _ api.Memory, s []uint64) (int64, error) {
	return closeHandle[T](i, s[0])
}

// special are the addresses, beside those that netip knows by a name, that no public server has.
var special = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("198.51.100.0/24"),
	netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("::/96"), netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("64:ff9b:1::/48"), netip.MustParsePrefix("100::/64"),
	netip.MustParsePrefix("2001::/23"), netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("2002::/16"), netip.MustParsePrefix("fec0::/10"),
	netip.MustParsePrefix("::ffff:0:0:0/96"), netip.MustParsePrefix("3fff::/20"), netip.MustParsePrefix("5f00::/16"),
}

// isPublic reports whether an address is one of the internet, as far as addresses tell.
func isPublic(addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("") // a prefix has no address with a zone in it
	if !addr.IsValid() || addr.IsLoopback() || addr.IsPrivate() || addr.IsLinkLocalUnicast() || addr.IsMulticast() || addr.IsUnspecified() {
		return false
	}
	for _, p := range special {
		if p.Contains(addr) {
			return false
		}
	}
	return true
}

// network is how a generation reaches others. Requests that may go to special addresses have a transport of their own, since a
// connection that is kept is used again without a look at where it leads.
type network struct {
	grants          *grants
	budget          *descriptors // of the plugin
	public, private *http.Transport
	resolve         func(ctx context.Context, host string) ([]netip.Addr, error)
}

func newNetwork(g *grants, budget *descriptors) *network {
	n := &network{grants: g, budget: budget, resolve: func(ctx context.Context, host string) ([]netip.Addr, error) {
		return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	}}
	n.public, n.private = n.transport(false), n.transport(true)
	return n
}

func (n *network) transport(private bool) *http.Transport {
	return &http.Transport{
		DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
			ctx, cancel := context.WithTimeout(ctx, httpTimeout) // a transport dials on for a request that has ended
			defer cancel()
			return n.connect(ctx, address, private)
		},
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxAnswerHeader,
		MaxIdleConns:           16,
		MaxIdleConnsPerHost:    4,
		IdleConnTimeout:        30 * time.Second,
		TLSHandshakeTimeout:    10 * time.Second,
		ExpectContinueTimeout:  time.Second,
	}
}

func (n *network) close() {
	n.public.CloseIdleConnections()
	n.private.CloseIdleConnections()
}

// connect is dial for a connection that takes one of the plugin's descriptors, from here until it is closed.
func (n *network) connect(ctx context.Context, address string, private bool) (net.Conn, error) {
	if !n.budget.take() {
		n.close() // what is kept for later makes room
		if !n.budget.take() {
			return nil, n.budget.refusal()
		}
	}
	conn, err := n.dial(ctx, address, private)
	if err != nil {
		n.budget.give()
		return nil, err
	}
	return &counted{Conn: conn, budget: n.budget}, nil
}

// counted is a connection that gives its descriptor back. A transport may close it more than once.
type counted struct {
	net.Conn
	budget *descriptors
	closed atomic.Bool
}

func (c *counted) Close() error {
	err := c.Conn.Close()
	if !c.closed.Swap(true) {
		c.budget.give()
	}
	return err
}

// dial connects to an address that is granted, to a special one only if private. The name is resolved once, and what is connected
// to is what was checked.
func (n *network) dial(ctx context.Context, address string, private bool) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, refusal(abi.ErrInvalid, "%.100q is not host:port", address)
	}
	addrs, err := n.addresses(ctx, host)
	if err != nil {
		return nil, err
	}
	var dialer net.Dialer
	var failed error
	for _, addr := range addrs {
		addr = addr.Unmap()
		if !private && !isPublic(addr) {
			failed = errors.Join(failed, refusal(abi.ErrDenied, "%s leads to %s, which is no public address, and no grant of a private one is about this: write \" private\" behind its grant, or "+
				"grant the address", host, addr))
			continue
		}
		conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(addr.String(), port))
		if err == nil {
			return conn, nil
		}
		failed = errors.Join(failed, unreachable(err))
	}
	if failed == nil {
		failed = refusal(abi.ErrUnavailable, "%s has no address", host)
	}
	return nil, failed
}

func (n *network) addresses(ctx context.Context, host string) ([]netip.Addr, error) {
	if addr, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{addr}, nil
	}
	addrs, err := n.resolve(ctx, host)
	if err != nil {
		return nil, unreachable(err)
	}
	return addrs, nil
}

// unreachable is an error of the network for the guest.
func unreachable(err error) error {
	var network net.Error
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &network) && network.Timeout():
		return refusal(abi.ErrTimeout, "%v", err)
	case errors.Is(err, context.Canceled):
		return refusal(abi.ErrClosed, "%v", err)
	}
	return refusal(abi.ErrUnavailable, "%v", err)
}

// connection is one that a guest has dialled. It lasts as long as the instance.
type connection struct{ net.Conn }

func (*connection) lasts() bool { return true }

func tcpDial(i *instance, mem api.Memory, s []uint64) (int64, error) {
	address, err := textAt(mem, s[0], s[1], maxAddress)
	if err != nil {
		return 0, err
	}
	host, port, err := net.SplitHostPort(address)
	flags := uint32(s[2])
	switch {
	case err != nil || host == "":
		return 0, refusal(abi.ErrInvalid, "%.100q is not host:port", address)
	case flags&^abi.DialTLS != 0:
		return 0, refusal(abi.ErrInvalid, "flags %#x of tcp_dial are unknown", flags)
	case !i.gen.ext.grants.tcp(host, port):
		return 0, refusal(abi.ErrDenied, "tcp://%s is not granted by plugins.modules.%s.allow.net", address, i.gen.name)
	}
	ctx, cancel := i.waitingFor(s[3], tcpTimeout)
	defer cancel()
	conn, err := i.connect(ctx, address, host, port, flags)
	if err != nil {
		return 0, err
	}
	return i.ext.handles.add(conn)
}

// connect dials what is granted.
func (i *instance) connect(ctx context.Context, address, host, port string, flags uint32) (*connection, error) {
	conn, err := i.gen.ext.network.connect(ctx, address, i.gen.ext.grants.privateTCP(host, port))
	if err != nil {
		return nil, err
	}
	if flags&abi.DialTLS == 0 {
		return &connection{conn}, nil
	}
	secure := tls.Client(conn, &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12})
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, unreachable(err)
	}
	return &connection{secure}, nil
}

// until makes conn fail when ctx ends. The result undoes that, and is to be called. After it, nothing touches the connection any
// more, which may be used by another request then.
func (c *connection) until(ctx context.Context) func() {
	deadline, _ := ctx.Deadline()
	_ = c.SetDeadline(deadline)
	failed := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		_ = c.SetDeadline(time.Unix(1, 0))
		close(failed)
	})
	return func() {
		if !stop() {
			<-failed
		}
	}
}

func tcpRead(i *instance, mem api.Memory, s []uint64) (int64, error) {
	conn, err := handleOf[*connection](&i.ext.handles, s[0])
	if err != nil {
		return 0, err
	}
	buf, err := bytesAt(mem, s[1], s[2])
	if err != nil {
		return 0, err
	}
	if len(buf) == 0 {
		return 0, refusal(abi.ErrInvalid, "a read into 0 bytes would look like the end")
	}
	ctx, cancel := i.waitingFor(s[3], tcpTimeout)
	defer cancel()
	defer conn.until(ctx)()
	for {
		n, err := conn.Read(buf)
		switch {
		case n > 0:
			return int64(n), nil
		case errors.Is(err, io.EOF):
			return 0, nil
		case err != nil:
			return 0, lost(ctx, err)
		}
	}
}

func tcpWrite(i *instance, mem api.Memory, s []uint64) (int64, error) {
	conn, err := handleOf[*connection](&i.ext.handles, s[0])
	if err != nil {
		return 0, err
	}
	b, err := bytesAt(mem, s[1], s[2])
	if err != nil || len(b) == 0 {
		return 0, err
	}
	ctx, cancel := i.waitingFor(s[3], tcpTimeout)
	defer cancel()
	defer conn.until(ctx)()
	if _, err := conn.Write(b); err != nil {
		return 0, lost(ctx, err)
	}
	return int64(len(b)), nil
}

// lost is the error of a connection that was there.
func lost(ctx context.Context, err error) error {
	var network net.Error
	if ctx.Err() != nil || errors.As(err, &network) && network.Timeout() {
		if errors.Is(ctx.Err(), context.Canceled) {
			return refusal(abi.ErrClosed, "%v", ctx.Err())
		}
		return refusal(abi.ErrTimeout, "%v", err)
	}
	return refusal(abi.ErrClosed, "%v", err)
}

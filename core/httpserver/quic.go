package httpserver

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// quicListener is the UDP side of an endpoint.
type quicListener struct {
	owner     *endpoint
	path      *quicPath
	transport *quic.Transport
	listener  http3.QUICListener
	http      *http3.Server // takes connections now
	pause     func()        // lets it take no more

	// Servers that have said goodbye wait for their connections; draining ends that.
	draining context.Context
	cut      context.CancelFunc
	leaving  sync.WaitGroup

	accepted atomic.Uint64
	open     atomic.Int64

	handshakes atomic.Int64 // not finished yet

	mu      sync.Mutex             // guards shaking
	shaking map[netip.AddrPort]int // how many handshakes a client has open
}

const (
	// trustedHandshakes is how many may be open before clients must show that they own their address: a flood of forged first
	// packets would otherwise make a connection each.
	trustedHandshakes = 128

	// quicKeepAlive is well below the idle timeouts of clients and of NAT boxes: a request that waits long for its answer
	// keeps its connection.
	quicKeepAlive = 15 * time.Second

	// goodbyeTime is what clients get to fetch the end of their last answer and to close, once no request is left. QUIC
	// forgets what has not been acknowledged when a connection closes.
	goodbyeTime = 500 * time.Millisecond

	// partingTime is for the last packet of every connection, also when a stop has no time left.
	partingTime = 250 * time.Millisecond
)

// bindQUIC opens the UDP socket of the endpoint's address with the port that its TCP socket has.
func bindQUIC(e *endpoint, port int) (*quicListener, error) {
	q := &quicListener{owner: e, shaking: map[netip.AddrPort]int{}}
	socket, err := e.server.sockets.ListenUDP(e.listenName(), func() (*net.UDPConn, error) { return e.openUDP(port) })
	if err != nil {
		return nil, err
	}
	said, file := e.server.legacy.takeQUIC(e.listenName())
	if q.path, err = newQUICPath(socket, e.server.sockets.Opened(), said, file); err != nil {
		return nil, errors.Join(err, socket.Close())
	}
	limits := e.server.cfg.Limits
	q.transport = &quic.Transport{
		Conn:                  q.path,
		ConnectionIDGenerator: q.path.ids(),
		TokenGeneratorKey:     tokenKey(said.TokenKey),
		ConnContext:           q.handshakeBegins,
		// Under suspicion a client has to prove its address first, which costs it a round trip and us no state.
		VerifySourceAddress: func(net.Addr) bool { return q.handshakes.Load() >= trustedHandshakes },
	}
	q.listener, err = q.listen(http3.ConfigureTLSConfig(e.server.tls), &quic.Config{
		HandshakeIdleTimeout: limits.ReadHeaderTimeout / 2, // quic-go allows a handshake twice this time in all
		MaxIdleTimeout:       limits.IdleTimeout,
		KeepAlivePeriod:      quicKeepAlive,
		MaxIncomingStreams:   int64(limits.Streams),
		Allow0RTT:            e.cfg.EarlyData,
	})
	if err != nil {
		return nil, errors.Join(err, q.transport.Close(), q.path.Close())
	}
	q.draining, q.cut = context.WithCancel(context.Background())
	return q, nil
}

// openUDP opens the UDP socket that belongs to the TCP socket with this port.
func (e *endpoint) openUDP(port int) (*net.UDPConn, error) {
	host, _, err := net.SplitHostPort(e.cfg.Address)
	if name, ok := strings.CutPrefix(e.cfg.Address, systemdPrefix); ok {
		return inheritedUDP(name)
	} else if err != nil {
		return nil, err
	}
	var config net.ListenConfig
	if e.cfg.ReusePort {
		config.Control = reusePort
	}
	conn, err := config.ListenPacket(context.Background(), "udp", net.JoinHostPort(host, strconv.Itoa(port)))
	if err != nil {
		return nil, err
	}
	return conn.(*net.UDPConn), nil
}

// listen takes connections when their handshake is done, or before, when early data is wanted.
func (q *quicListener) listen(secure *tls.Config, config *quic.Config) (http3.QUICListener, error) {
	if config.Allow0RTT {
		return q.transport.ListenEarly(secure, config)
	}
	return q.transport.Listen(secure, config)
}

// handshakeKey finds in a connection's context the function that ends its handshake.
type handshakeKey struct{}

// handshakeBegins counts the handshakes that are open, and refuses more than maxHandshakes.
func (q *quicListener) handshakeBegins(ctx context.Context, client *quic.ClientInfo) (context.Context, error) {
	if q.handshakes.Add(1) > maxHandshakes {
		q.handshakes.Add(-1)
		return nil, errors.New("too many handshakes are open")
	}
	q.shakes(client, 1)
	ends := sync.OnceFunc(func() {
		q.handshakes.Add(-1)
		q.shakes(client, -1)
	})
	context.AfterFunc(ctx, ends) // it failed
	return context.WithValue(ctx, handshakeKey{}, ends), nil
}

// shakes counts the handshakes of a client.
func (q *quicListener) shakes(client *quic.ClientInfo, change int) {
	udp, ok := client.RemoteAddr.(*net.UDPAddr)
	if !ok {
		return
	}
	addr := udp.AddrPort()
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.shaking[addr] += change; q.shaking[addr] <= 0 {
		delete(q.shaking, addr)
	}
}

// handshaking are the clients that have handshakes open.
func (q *quicListener) handshaking() []netip.AddrPort {
	q.mu.Lock()
	defer q.mu.Unlock()
	return slices.Collect(maps.Keys(q.shaking))
}

// tokenKey is the key of another process; without one quic-go makes its own.
func tokenKey(key []byte) *quic.TokenGeneratorKey {
	var k quic.TokenGeneratorKey
	if copy(k[:], key) != len(k) {
		rand.Read(k[:])
	}
	return &k
}

// count counts a connection whose handshake is done.
func (q *quicListener) count(ctx context.Context, conn *quic.Conn) context.Context {
	if ends, ok := ctx.Value(handshakeKey{}).(func()); ok {
		ends()
	}
	q.accepted.Add(1)
	q.open.Add(1)
	context.AfterFunc(conn.Context(), func() { q.open.Add(-1) })
	return ctx
}

func (q *quicListener) addr() net.Addr { return q.path.LocalAddr() }

// next makes the server that takes connections from now on, and returns what serves: it ends with http.ErrServerClosed after pause.
func (q *quicListener) next() (serve func() error) {
	e := q.owner
	server := &http3.Server{
		Handler:        e,
		MaxHeaderBytes: int(e.server.cfg.Limits.Header),
		IdleTimeout:    e.server.cfg.Limits.IdleTimeout,
		ConnContext:    q.count,
		Logger:         e.log,
	}
	life, pause := context.WithCancel(q.draining)
	q.http, q.pause = server, pause
	return func() error { return server.ServeListener(h3Listener{q.listener, life}) }
}

// h3Listener hands connections on until life ends. A server that is shut down while it accepts could lose one.
type h3Listener struct {
	http3.QUICListener
	life context.Context
}

// Accept waits for the next connection.
func (l h3Listener) Accept(context.Context) (*quic.Conn, error) {
	conn, err := l.QUICListener.Accept(l.life)
	if err != nil && l.life.Err() != nil {
		err = quic.ErrServerClosed
	}
	return conn, err
}

// goAway says goodbye (GOAWAY) on every connection of the server, which has paused. It does not wait for them.
func (q *quicListener) goAway() {
	server := q.http
	q.leaving.Go(func() { server.Shutdown(q.draining) }) // ends when the last handler has ended, which the connections' end makes known to it
}

// stop says goodbye and waits for the requests in flight. Idle clients may keep a connection as long as they like after that, so those are
// closed here.
func (q *quicListener) stop(ctx context.Context) error {
	defer context.AfterFunc(ctx, q.cut)()
	q.goAway()
	done := make(chan struct{})
	go func() { // ends as leaving does
		defer close(done)
		q.leaving.Wait()
	}()
	q.listener.Close()
	q.drained(ctx, done)
	q.cut()
	q.closed()
	select {
	case <-done:
	case <-ctx.Done():
	}
	q.close()
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("HTTP/3: %w", err)
	}
	return nil
}

// drained returns when the connections have closed, when there has been no request for goodbyeTime, or when ctx ends.
func (q *quicListener) drained(ctx context.Context, done <-chan struct{}) {
	const interval = 10 * time.Millisecond
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for quiet := time.Duration(0); quiet < goodbyeTime; quiet += interval {
		select {
		case <-done:
			return
		case <-ctx.Done():
			return
		case <-tick.C:
			if q.owner.streams.Load() > 0 {
				quiet = 0
			}
		}
	}
}

// closed gives the connections the moment that it takes to tell their clients of the end, which the socket must outlive:
// clients that hear nothing wait for half a minute.
func (q *quicListener) closed() {
	for deadline := time.Now().Add(partingTime); q.open.Load() > 0 && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
}

// close closes the socket.
func (q *quicListener) close() {
	q.cut()
	q.listener.Close()
	q.transport.Close()
	q.path.Close()
}

var _ http.Handler = (*endpoint)(nil)

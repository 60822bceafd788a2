package httpserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

// endpoint is one entry of http.listen: its sockets, their connections, and the first handler of their requests.
type endpoint struct {
	h1Serving

	server *Server
	cfg    Listen
	log    *slog.Logger

	tcp     *tcpListener
	proxies proxies
	secure  *tlsListener  // over tcp; nil without TLS and PROXY headers
	http    *http.Server  // HTTP/2
	told    *http.Server  // the one before: its clients have been told to go; nil before GoAway
	quic    *quicListener // nil without HTTP/3
	altSvc  []string      // the header that announces HTTP/3; nil without

	requests [4]atomic.Uint64 // by major version
	streams  atomic.Int64     // HTTP/3 requests in flight
	h2Open   atomic.Int64     // connections of HTTP/2
	dates    dateHeader       // of streams

	lingering gatherOwner

	accepting     sync.WaitGroup // the accept loop
	acceptingH2   sync.WaitGroup // net/http's
	sweeping      sync.WaitGroup
	acceptingQUIC sync.WaitGroup // quic-go's
	conns         sync.WaitGroup // connections; none is added once accepting is done
}

func newEndpoint(s *Server, index int) *endpoint {
	e := &endpoint{server: s, cfg: s.cfg.Listen[index], log: s.log.With("listen", s.cfg.Listen[index].Address)}
	e.init()
	e.lingering.wg = &e.conns
	e.proxies, _ = parseProxies(e.cfg.ProxyProtocol) // Validate has seen that they are well
	e.http = e.newH2()
	return e
}

// newH2 makes a server of HTTP/2.
func (e *endpoint) newH2() *http.Server {
	limits := e.server.cfg.Limits
	protocols := new(http.Protocols)
	protocols.SetHTTP2(e.cfg.TLS)
	protocols.SetUnencryptedHTTP2(!e.cfg.TLS && e.cfg.H2C)
	return &http.Server{
		Handler:                      e,
		Protocols:                    protocols,
		ReadHeaderTimeout:            limits.ReadHeaderTimeout,
		IdleTimeout:                  limits.IdleTimeout,
		MaxHeaderBytes:               int(limits.Header),
		HTTP2:                        &http.HTTP2Config{MaxConcurrentStreams: limits.Streams},
		DisableGeneralOptionsHandler: true, // the endpoint answers OPTIONS *, for all protocols
		ConnState:                    e.connState,
		ErrorLog:                     slog.NewLogLogger(panicHandler{e.log.Handler()}, slog.LevelDebug),
	}
}

// bind opens the sockets, all or none.
func (e *endpoint) bind(ctx context.Context) error {
	// With port 0, the port that TCP gets may be taken for UDP.
	const attempts = 10
	for attempt := 1; ; attempt++ {
		ln, err := e.server.sockets.Listen(e.listenName(), func() (net.Listener, error) { return e.cfg.open(ctx) })
		if err != nil {
			return fmt.Errorf("address: %w", explainBind(err))
		}
		e.tcp = &tcpListener{Listener: ln, timeout: e.server.cfg.Limits.WriteTimeout}
		if !e.cfg.HTTP3 {
			return nil
		}
		if e.quic, err = bindQUIC(e, e.tcp.port()); err == nil {
			e.altSvc = []string{`h3=":` + strconv.Itoa(e.tcp.port()) + `"; ma=86400`}
			return nil
		}
		e.tcp.Close()
		if !e.cfg.anyPort() || attempt == attempts {
			return fmt.Errorf("http3: %w", explainBind(err))
		}
	}
}

// listenName is what other processes know the sockets by.
func (e *endpoint) listenName() string { return "http " + e.cfg.Address }

// explainBind adds what to do to the errors that people meet.
func explainBind(err error) error {
	switch text := err.Error(); {
	case strings.Contains(text, "address already in use"):
		return fmt.Errorf("%w: another process listens there; stop it or choose another port", err)
	case strings.Contains(text, "permission denied"):
		return fmt.Errorf("%w: ports below 1024 need the capability CAP_NET_BIND_SERVICE or root", err)
	case strings.Contains(text, "cannot assign requested address"):
		return fmt.Errorf("%w: this machine has no such address", err)
	}
	return err
}

// release closes the sockets of an endpoint that does not serve.
func (e *endpoint) release() {
	e.tcp.Close()
	if e.quic != nil {
		e.quic.close()
	}
}

// serve begins to accept. The goroutines end with stop.
func (e *endpoint) serve() {
	var ln net.Listener = e.tcp
	if e.cfg.TLS || e.proxies != nil {
		config := e.server.tls
		if !e.cfg.TLS {
			config = nil
		}
		e.secure = newTLSListener(e.tcp, config, e.proxies, e.server.cfg.Limits.ReadHeaderTimeout, e.log)
		ln = e.secure
	}
	e.accepting.Go(func() {
		if err := e.acceptHTTP(ln); !e.draining.Load() {
			e.server.fail(fmt.Errorf("http: accept on %s: %w", e.tcp.Addr(), err))
		}
	})
	e.serveH2(e.http)
	e.sweeping.Go(e.sweep)
	if e.quic != nil {
		e.serveQUIC()
	}
}

// serveH2 lets a server take the connections of HTTP/2, until it is shut down.
func (e *endpoint) serveH2(server *http.Server) {
	listener := &h2Listener{e: e, ended: make(chan struct{})}
	e.acceptingH2.Go(func() { _ = server.Serve(listener) }) // says that it was closed
}

// serveQUIC lets the server of HTTP/3 take connections, until it pauses.
func (e *endpoint) serveQUIC() {
	serve := e.quic.next()
	e.acceptingQUIC.Go(func() {
		if err := serve(); !errors.Is(err, http.ErrServerClosed) {
			e.server.fail(fmt.Errorf("http: accept QUIC on %s: %w", e.tcp.Addr(), err))
		}
	})
}

// stop drains both sides at once and waits for every goroutine, or cuts off what is left when ctx ends.
func (e *endpoint) stop(ctx context.Context) error {
	quic := make(chan error, 1)
	go func() { // ends within ctx
		if e.quic == nil {
			quic <- nil
			return
		}
		e.quic.pause()
		e.acceptingQUIC.Wait()
		quic <- e.quic.stop(ctx)
	}()
	err := e.stopTCP(ctx)
	return errors.Join(err, <-quic)
}

func (e *endpoint) stopTCP(ctx context.Context) error {
	e.drainH1()
	e.closeListeners()
	e.accepting.Wait()
	e.drainH1() // those that were accepted last
	err := e.drainH2(ctx)
	if ctx.Err() == nil {
		err = errors.Join(err, e.wait(ctx))
	}
	if ctx.Err() != nil {
		e.server.hard.Store(true)
		e.closeH1()
		for _, server := range e.h2Servers() {
			server.Close()
		}
		e.lingering.close()
	}
	close(e.done)
	e.acceptingH2.Wait()
	e.sweeping.Wait()
	if e.secure != nil {
		e.secure.wait()
	}
	return err
}

// drainH2 returns when the connections of HTTP/2 have ended, or when ctx ends.
func (e *endpoint) drainH2(ctx context.Context) error {
	close(e.h2Ended)
	var wg sync.WaitGroup
	servers := e.h2Servers()
	errs := make([]error, len(servers))
	for i, server := range servers {
		wg.Go(func() { errs[i] = server.Shutdown(ctx) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (e *endpoint) h2Servers() []*http.Server {
	if e.told == nil {
		return []*http.Server{e.http}
	}
	return []*http.Server{e.told, e.http}
}

func (e *endpoint) closeListeners() {
	if e.secure != nil {
		e.secure.Close()
		return
	}
	e.tcp.Close()
}

// wait returns when all connections have ended, or when ctx ends.
func (e *endpoint) wait(ctx context.Context) error {
	ended := make(chan struct{})
	go func() { // ends with the last handler
		e.acceptingQUIC.Wait()
		e.conns.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// connState hears from net/http how a connection of HTTP/2 fares.
func (e *endpoint) connState(_ net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		e.conns.Add(1)
		e.h2Open.Add(1)
	case http.StateHijacked, http.StateClosed:
		e.h2Open.Add(-1)
		e.conns.Done()
	}
}

func (e *endpoint) refuse(why refusal) { e.server.refusedBy[why].Add(1) }

// counts are what a socket has seen.
type counts struct {
	accepted atomic.Uint64
	open     atomic.Int64
}

// addresses lists the sockets.
func (e *endpoint) addresses() []Address {
	bound := e.tcp.Addr()
	tcp := Address{Network: bound.Network(), Addr: bound.String(), URL: localURL(bound, e.cfg.TLS), Protocols: []string{"h1"}}
	switch {
	case e.cfg.TLS:
		tcp.Protocols = append(tcp.Protocols, "h2")
	case e.cfg.H2C:
		tcp.Protocols = append(tcp.Protocols, "h2c")
	}
	if e.quic == nil {
		return []Address{tcp}
	}
	return []Address{tcp, {Network: "udp", Addr: e.quic.addr().String(), URL: tcp.URL, Protocols: []string{"h3"}}}
}

// panicHandler logs what net/http reports: a handler's panic as an error, a client's misbehaviour for those who debug.
type panicHandler struct{ slog.Handler }

// Enabled lets every record through to Handle, which knows its level.
func (h panicHandler) Enabled(context.Context, slog.Level) bool { return true }

// Handle raises the level of panics.
func (h panicHandler) Handle(ctx context.Context, r slog.Record) error {
	if strings.Contains(r.Message, ": panic serving ") {
		r.Level = slog.LevelError
	}
	if !h.Handler.Enabled(ctx, r.Level) {
		return nil
	}
	return h.Handler.Handle(ctx, r)
}

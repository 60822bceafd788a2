// Package rpc is the way back: the server that PHP workers call while they serve a request.
//
// It speaks Go's net/rpc in goridge frames over a unix socket or loopback TCP. A call is one frame: the options are a sequence
// number and the length of the method's name, the payload is the name and the argument. The answer repeats sequence number and
// name. Calls of one connection run at the same time and are answered in the order in which they end.
//
//	15 08 11 00 00 00 b0 49 0c 3a 00 00  01 00 00 00  0d 00 00 00  informer.List true
//	   └ FlagJSON                        └ sequence   └ 13 bytes   └ method      └ argument
//
// A [Server] has a [Handler] per service: "kv.Has" is the method Has of the service kv. Handlers see decoded values; which codec
// the caller chose stays here. A [Methods] makes a Handler of ordinary functions.
package rpc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// Options are what a Server needs from its surroundings.
type Options struct {
	Logger *slog.Logger

	// StateDir is the folder for the socket of `listen: unix`.
	StateDir string

	// Listen returns the socket of that name, which another process may have handed over, or what open opens. Nil: it is open's.
	Listen func(name string, open func() (net.Listener, error)) (net.Listener, error)

	// WorkerSocket is the path of a unix socket for the workers of this process, which then use no other: while two processes share the
	// address of the configuration, a connection to it may reach the wrong one. Empty: there is none.
	WorkerSocket string

	// AllowUIDs are the users, beside root and the one of this process, that may connect to a unix socket.
	AllowUIDs []int

	// Version is the answer of rpc.Version.
	Version string

	// Config is the answer of rpc.Config, which must have no secrets in it. Without it there is no such method.
	Config func() ([]byte, error)
}

// Server accepts connections and calls handlers.
type Server struct {
	cfg      Config
	log      *slog.Logger
	address  address  // that of the configuration
	beside   *address // a unix socket for the workers of this machine, when the address asks for a secret or is shared
	open     func(name string, open func() (net.Listener, error)) (net.Listener, error)
	patience time.Duration // for a client to take an answer
	hurry    time.Duration // for a client to show that it knows the secret
	uids     map[int]bool  // who may connect to a unix socket
	keen     *eagerness    // of the lines
	shared   bool          // whether others than root and the user of this process may
	services map[string]Handler

	// work is the lifetime of handlers: it ends when a stop has no more time to wait for them.
	work      context.Context
	abort     context.CancelFunc
	accepting sync.WaitGroup // the accept loops
	serving   sync.WaitGroup // the connections

	mu        sync.Mutex // guards what follows
	listeners []net.Listener
	conns     map[*conn]struct{}
	strangers int // connections that have not shown yet that they know the secret
	stopping  bool
	full      bool // whether the last connection was turned away for want of room

	accepted, refused, calls, failed, broken atomic.Uint64
	inFlight                                 atomic.Int64
}

// answerPatience is how long a client may take for an answer.
const answerPatience = 30 * time.Second

// Stats is a snapshot of a Server.
type Stats struct {
	Connections int    // open now
	Accepted    uint64 // connections so far
	Refused     uint64 // connections turned away: too many, or of a user who may not
	InFlight    int64  // calls that run now
	Calls       uint64 // calls so far
	Failed      uint64 // calls that were answered with an error
	BadFrames   uint64 // connections closed because of what they sent, or did not take
}

// New returns a Server. It opens nothing; Start does.
func New(cfg Config, opts Options) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	addr, err := parseAddress(cfg.Listen, opts.StateDir)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	s := &Server{
		cfg:      cfg,
		log:      opts.Logger,
		address:  addr,
		patience: answerPatience,
		hurry:    secretPatience,
		open:     opts.Listen,
		keen:     newEagerness(),
		uids:     map[int]bool{0: true, os.Geteuid(): true},
		services: map[string]Handler{},
		conns:    map[*conn]struct{}{},
	}
	for _, uid := range opts.AllowUIDs {
		s.shared = s.shared || !s.uids[uid]
		s.uids[uid] = true
	}
	if opts.WorkerSocket != "" || addr.network == "tcp" && cfg.Secret != "" {
		at := "unix"
		if opts.WorkerSocket != "" {
			at = "unix://" + opts.WorkerSocket
		}
		beside, err := parseAddress(at, opts.StateDir)
		if err != nil {
			return nil, fmt.Errorf("listen: the socket for workers of this machine: %w", err)
		}
		s.beside = &beside
	}
	s.work, s.abort = context.WithCancel(context.Background())
	s.Register("rpc", ownMethods(opts))
	return s, nil
}

// ownMethods are those of the service rpc.
func ownMethods(opts Options) Methods {
	m := Methods{
		"Version":          Func(func(context.Context, bool) (string, error) { return opts.Version, nil }),
		methodChallenge:    Func(func(context.Context, bool) (string, error) { return newNonce(), nil }),
		methodAuthenticate: Func(func(context.Context, string) (bool, error) { return true, nil }), // who gets here is trusted
	}
	if opts.Config != nil {
		m["Config"] = Func(func(context.Context, bool) ([]byte, error) { return opts.Config() })
	}
	return m
}

// Register makes h answer the methods of service. It must be called before Start; a second handler replaces the first.
func (s *Server) Register(service string, h Handler) { s.services[service] = h }

// Addr is the address as RR_RPC of a worker wants it: unix:///run/rpc.sock or tcp://127.0.0.1:6001. It is known from New on, apart
// from the port of tcp://127.0.0.1:0, which Start chooses.
func (s *Server) Addr() string {
	if s.beside != nil {
		return s.beside.String()
	}
	return s.Public()
}

// Public is the address of the configuration. It differs from Addr where that asks for a secret.
func (s *Server) Public() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.address.network == "tcp" && len(s.listeners) > 0 {
		return "tcp://" + s.listeners[0].Addr().String()
	}
	return s.address.String()
}

// Start listens.
func (s *Server) Start(ctx context.Context) error {
	addresses := []address{s.address}
	if s.beside != nil {
		addresses = append(addresses, *s.beside)
	}
	for i, a := range addresses {
		open := func() (net.Listener, error) { return a.listen(ctx, (s.shared || s.cfg.Secret != "") && knowsPeers) }
		if s.open != nil && i == 0 { // the other one is for the workers of this process alone
			shared := open
			open = func() (net.Listener, error) { return s.open("rpc "+a.String(), shared) }
		}
		l, err := open()
		if err != nil {
			s.closeListeners()
			s.accepting.Wait()
			return fmt.Errorf("rpc: listen on %s: %w", a, err)
		}
		s.mu.Lock()
		s.listeners = append(s.listeners, l)
		s.mu.Unlock()
		s.accepting.Go(func() { s.accept(l) }) // ends when Stop closes the listener
	}
	if s.beside != nil {
		s.log.Info("rpc listens", "address", s.Public(), "workers", s.Addr())
	} else {
		s.log.Info("rpc listens", "address", s.Addr())
	}
	return nil
}

// Stop accepts no more, lets calls that run finish while ctx lasts, and closes the connections.
func (s *Server) Stop(ctx context.Context) error {
	defer s.abort()
	s.closeListeners()
	s.accepting.Wait()
	s.finishConns()

	done := make(chan struct{})
	go func() { // ends with the last connection
		s.serving.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	running := s.inFlight.Load()
	s.abort()
	s.closeConns()
	return fmt.Errorf("rpc: stop with %d calls in flight: %w", running, ctx.Err())
}

// Stats returns a snapshot.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	open := len(s.conns)
	s.mu.Unlock()
	return Stats{
		Connections: open,
		Accepted:    s.accepted.Load(),
		Refused:     s.refused.Load(),
		InFlight:    s.inFlight.Load(),
		Calls:       s.calls.Load(),
		Failed:      s.failed.Load(),
		BadFrames:   s.broken.Load(),
	}
}

func (s *Server) closeListeners() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopping = true
	for _, l := range s.listeners {
		l.Close()
	}
	s.listeners = nil
}

// finishConns makes every connection end after the calls it has.
func (s *Server) finishConns() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		c.finish()
	}
}

func (s *Server) closeConns() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		c.line.cut()
	}
}

// accept runs until the listener is closed.
func (s *Server) accept(l net.Listener) {
	var pause backoff
	for {
		nc, err := l.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			// Most likely the process is out of descriptors; they come back.
			s.log.Error("rpc accept failed", "error", err)
			pause.wait()
			continue
		}
		pause = 0
		s.admit(nc)
	}
}

// admit starts a goroutine for the connection, or closes it.
func (s *Server) admit(nc net.Conn) {
	peer, trusted, err := s.identify(nc)
	if err != nil {
		s.refused.Add(1)
		s.log.Warn("rpc connection refused", "reason", err)
		nc.Close()
		return
	}
	c := newConn(s, nc, peer, trusted)
	if !s.enter(c) {
		nc.Close()
		return
	}
	s.accepted.Add(1)
	s.serving.Go(func() { // ends when the client is gone, breaks the protocol, or Stop says so
		defer s.leave(c)
		c.serve()
	})
}

func (s *Server) enter(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping {
		return false
	}
	// Those who have not shown that they know the secret cannot keep all others out.
	if len(s.conns) >= s.cfg.Connections || !c.trusted && s.strangers >= max(1, s.cfg.Connections/4) {
		s.refused.Add(1)
		if !s.full {
			s.log.Warn("rpc connections are refused until others close", "connections", len(s.conns), "without_secret", s.strangers,
				"peer", c.peer.String())
		}
		s.full = true
		return false
	}
	s.full = false
	s.conns[c] = struct{}{}
	if !c.trusted {
		s.strangers++
	}
	return true
}

func (s *Server) leave(c *conn) {
	c.line.close()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	if !c.trusted {
		s.strangers--
	}
}

// identify says who connected, whether that is enough, and an error if they may not at all.
func (s *Server) identify(nc net.Conn) (p peer, trusted bool, err error) {
	unixConn, ok := nc.(*net.UnixConn)
	if !ok {
		return peer{remote: nc.RemoteAddr().String()}, s.cfg.Secret == "", nil
	}
	pid, uid, err := credentials(unixConn)
	if err != nil {
		return peer{}, false, fmt.Errorf("who connected to %s is unknown: %w", s.address, err)
	}
	if !s.uids[uid] && s.cfg.Secret == "" {
		return peer{}, false, fmt.Errorf("process %d of user %d may not connect to %s: only root and the users that the server and its workers run as may", pid, uid, s.address)
	}
	return peer{pid: pid}, s.uids[uid], nil
}

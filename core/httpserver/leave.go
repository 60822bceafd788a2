package httpserver

import (
	"context"
	"errors"
	"os"
	"time"
)

// Legacy is what a server hands to the one in another process that takes its place.
type Legacy struct {
	Tickets [][]byte     `json:"tickets,omitempty"` // keys of TLS sessions
	QUIC    []QUICLegacy `json:"quic,omitempty"`

	// Files has a connection for each of QUIC. They travel apart.
	Files []*os.File `json:"-"`
}

// QUICLegacy is what belongs to one UDP socket.
type QUICLegacy struct {
	Name string `json:"name"`

	// Markers begin the connection IDs of this process, and of those before it.
	Markers []uint16 `json:"markers"`

	// TokenKey is for the tokens by which clients prove their address.
	TokenKey []byte `json:"token_key"`
}

// Legacy begins to hand over. What it returns are copies: nothing changes here before Leave.
func (s *Server) Legacy() (l Legacy, err error) {
	if s.certs != nil {
		l.Tickets = s.certs.tickets.all()
	}
	for _, e := range s.endpoints {
		if e.quic == nil {
			continue
		}
		file, err := e.quic.path.prepare()
		if err != nil {
			return l, errors.Join(err, l.Close())
		}
		l.Files = append(l.Files, file)
		l.QUIC = append(l.QUIC, QUICLegacy{e.listenName(), e.quic.path.markers(), e.quic.transport.TokenGeneratorKey[:]})
	}
	return l, nil
}

// Close closes the files of this process.
func (l *Legacy) Close() error {
	var errs []error
	for _, f := range l.Files {
		errs = append(errs, f.Close())
	}
	l.Files = nil
	return errors.Join(errs...)
}

// takeQUIC returns what belongs to the UDP socket of that name, once.
func (l *Legacy) takeQUIC(name string) (q QUICLegacy, file *os.File) {
	for i, q := range l.QUIC {
		if q.Name == name && l.Files[i] != nil {
			file, l.Files[i] = l.Files[i], nil
			return q, file
		}
	}
	return q, nil
}

// goodbyePatience is how long a server that has left waits for clients to come with one more request, or to go by themselves: one that
// closes a connection at the wrong moment loses the request that is on its way.
const goodbyePatience = 5 * time.Second

// Leave is called when another process accepts at the sockets of this one, which has closed them. What is open here goes on, and clients
// are told with their next answer to connect anew. Stop is still to be called.
func (s *Server) Leave() {
	s.left.Store(time.Now().UnixNano())
	for _, e := range s.endpoints {
		e.leaving.Store(true)
		if e.quic != nil {
			e.quic.path.leave(e.quic.handshaking())
		}
	}
}

// The head start of GOAWAY. What follows it on its own connection cannot overtake it; but writing takes time where there are many, and a
// client may have other connections.
const (
	farewell     = 100 * time.Millisecond
	farewellEach = 50 * time.Microsecond // with every connection
	farewellMost = time.Second
)

// GoAway tells the clients of HTTP/2 and HTTP/3 to send what is new by another connection (GOAWAY), and those of HTTP/1 with their next answer.
// What has begun goes on. It is called before WebSockets and event streams are sent away: they come back at once, and would come by the
// connection that they have. Who connects is still served. Stop is still to be called.
func (s *Server) GoAway(ctx context.Context) error {
	s.stopping.Lock()
	defer s.stopping.Unlock()
	s.mu.Lock()
	runs := s.state == isStarted && !s.saidGoAway
	s.saidGoAway = true
	s.mu.Unlock()
	if !runs {
		return nil
	}
	var told int64
	for _, e := range s.endpoints {
		told += e.goAway()
	}
	if told == 0 {
		return nil
	}
	select {
	case <-ctx.Done():
	case <-time.After(min(farewell+time.Duration(told)*farewellEach, farewellMost)):
	}
	return nil
}

// goAway returns how many connections there were to tell. Neither net/http nor quic-go can say goodbye and go on accepting, so connections whose
// handshakes are under way, and in a stop those that come, go to new servers.
func (e *endpoint) goAway() (told int64) {
	e.leaving.Store(true)
	told = e.h2Open.Load()
	e.told, e.http = e.http, e.newH2()
	e.serveH2(e.http)
	now, cancel := context.WithCancel(context.Background())
	cancel()
	e.told.Shutdown(now) // it does not wait; connections without streams end a second later
	if e.quic != nil {
		told += e.quic.open.Load()
		e.quic.pause()
		e.acceptingQUIC.Wait()
		e.quic.goAway()
		e.serveQUIC()
	}
	return told
}

// awaitGoodbyes returns when no client is left at the streams, when they have had their time, or when ctx ends.
func (s *Server) awaitGoodbyes(ctx context.Context) {
	left := s.left.Load()
	if left == 0 {
		return
	}
	over := time.Until(time.Unix(0, left).Add(goodbyePatience))
	if deadline, ok := ctx.Deadline(); ok {
		over = min(over, time.Until(deadline)/2)
	}
	timeout := time.NewTimer(max(over, 0))
	defer timeout.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for s.openStreams() {
		select {
		case <-ctx.Done():
			return
		case <-timeout.C:
			return
		case <-tick.C:
		}
	}
}

func (s *Server) openStreams() bool {
	for _, e := range s.endpoints {
		if e.tcp.open.Load() > 0 {
			return true
		}
	}
	return false
}

// closes reports whether a connection ends with the answer that it gives now.
func (s *h1Serving) closes() bool { return s.draining.Load() || s.leaving.Load() }

package mercure

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/edge-server/edge/ws"
)

// subscriber is one stream. The goroutine of its request writes it; what is to be written waits in a bounded queue. A client that does
// not keep up is not remembered in memory: its queue is thrown away, and it reads from the history until it has caught up.
type subscriber struct {
	server    *Server
	id        string
	selectors []*selector
	grants    *grants // nil: anonymous
	ip        netip.Addr
	began     time.Time

	seen uint64 // under the lock of the registry: the last update that was looked at for it

	wake chan struct{} // has room for one
	quit chan struct{} // closed when the server sends it away

	mu      sync.Mutex // guards the following
	queue   []*update
	bytes   int
	behind  bool   // reads from the history; nothing is put into the queue
	place   uint64 // of the last update that was taken
	tooSlow bool
}

func (s *subscriber) user() string {
	if s.grants == nil {
		return ""
	}
	return s.grants.user
}

// wants reports whether an update is for this subscriber.
func (s *subscriber) wants(u *update) bool {
	return anyMatches(s.selectors, u.topics) && (!u.private || s.grants.mayRead(u.topics))
}

// offer puts an update into the queue.
func (s *subscriber) offer(u *update) {
	limits := &s.server.limits
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.behind || s.tooSlow {
		return
	}
	full := func() bool {
		return len(s.queue) >= limits.QueueMessages || len(s.queue) > 0 && s.bytes+len(u.wire) > int(limits.Queue)
	}
	if full() {
		switch {
		case s.server.history != nil:
			s.behind, s.queue, s.bytes = true, nil, 0
			s.server.stats.behind.Add(1)
			return
		case limits.Slow == ws.Disconnect:
			s.tooSlow, s.queue, s.bytes = true, nil, 0
			s.signal()
			return
		case limits.Slow == ws.DropNewest:
			s.server.stats.dropped.Add(1)
			return
		}
		for len(s.queue) > 0 && full() {
			s.bytes -= len(s.queue[0].wire)
			s.queue[0] = nil
			s.queue = s.queue[1:]
			s.server.stats.dropped.Add(1)
		}
	}
	s.queue = append(s.queue, u)
	s.bytes += len(u.wire)
	s.signal()
}

func (s *subscriber) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Why a stream ends, beside the client's going.
var (
	errTooSlow = errors.New("the client takes too little")
	errExpired = errors.New("the token has expired")
	errRotated = errors.New("the stream is as old as it may be")
	errParting = errors.New("the server stops")
)

// batchBytes is how much is written at a time.
const batchBytes = 64 << 10

// take returns what is to be written next.
func (s *subscriber) take(b []byte) (_ []byte, behind bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tooSlow {
		return b, false, errTooSlow
	}
	n := 0
	for n < len(s.queue) && (n == 0 || len(b)+len(s.queue[n].wire) <= batchBytes) {
		u := s.queue[n]
		b = append(b, u.wire...)
		s.bytes -= len(u.wire)
		s.place = u.seq
		s.queue[n] = nil
		n++
	}
	if s.queue = s.queue[n:]; len(s.queue) == 0 {
		s.queue = nil // an idle stream holds no memory
	} else {
		s.signal()
	}
	return b, s.behind, nil
}

// catchUp reads what comes next from the history, and lets the queue take over when there is nothing more.
func (s *subscriber) catchUp(b []byte) ([]byte, error) {
	r := s.server.registry
	r.mu.Lock()
	latest := r.latest
	s.mu.Lock()
	after := s.place
	if after >= latest {
		s.behind = false
	}
	s.mu.Unlock()
	r.mu.Unlock()
	if after >= latest {
		return b, nil
	}
	err := s.server.history.read(after, latest, true, func(u *update) bool {
		after = u.seq
		if s.wants(u) {
			b = append(b, u.stream()...)
		}
		return len(b) < batchBytes
	})
	s.mu.Lock()
	s.place = after
	s.mu.Unlock()
	s.signal()
	if errors.Is(err, errForgotten) {
		return b, errTooSlow
	}
	return b, err
}

// stream writes until the client goes, or something ends it.
func (s *subscriber) stream(ctx context.Context, w http.ResponseWriter) error {
	out := &eventWriter{w: w, control: http.NewResponseController(w), timeout: s.server.limits.WriteTimeout}
	if err := out.write([]byte(":\n")); err != nil { // sends the head, too
		return err
	}
	heartbeat := time.NewTimer(s.server.cfg.Heartbeat)
	defer heartbeat.Stop()
	end, why := s.deadline()
	defer end.Stop()
	buffer := make([]byte, 0, 512)
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.quit:
			return s.part(out)
		case <-end.C:
			return why
		case <-heartbeat.C:
			if err := out.write([]byte(":\n")); err != nil {
				return err
			}
			s.server.stats.heartbeats.Add(1)
		case <-s.wake:
			b, behind, err := s.take(buffer[:0])
			if err == nil && behind && len(b) == 0 {
				b, err = s.catchUp(b)
			} else if behind {
				s.signal()
			}
			if len(b) > 0 {
				if err := out.write(b); err != nil {
					return err
				}
			}
			if err != nil {
				return err
			}
			if cap(b) <= 4<<10 {
				buffer = b
			}
		}
		heartbeat.Reset(s.server.cfg.Heartbeat)
	}
}

// deadline is when the stream must end: with the token, or at its age, which is not the same for all.
func (s *subscriber) deadline() (*time.Timer, error) {
	left, why := time.Duration(1<<62), error(nil)
	if age := s.server.cfg.Lifetime; age > 0 {
		left, why = time.Duration(float64(age)*(0.9+0.2*rand.Float64())), errRotated
	}
	if s.grants != nil && !s.grants.expires.IsZero() {
		if token := s.grants.expires.Sub(s.server.now()); token < left {
			left, why = max(token, 0), errExpired
		}
	}
	return time.NewTimer(left), why
}

// part sends what waits, and tells the client when to come back.
func (s *subscriber) part(out *eventWriter) error {
	b, latest := s.takeLast()
	b = append(appendID(appendRetry(b, s.server.partingRetry()), latest), '\n')
	if err := out.write(b); err != nil {
		return err
	}
	return errParting
}

// takeLast returns what is to be written at the end, and the id at which the client stands then, if it has everything: it may never have had
// an update, and without an id it would miss those that come while it is away.
func (s *subscriber) takeLast() (b []byte, latest string) {
	r := s.server.registry
	r.mu.Lock()
	defer r.mu.Unlock()
	b, behind, err := s.take(nil)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.server.history == nil || behind || err != nil || len(s.queue) > 0 {
		return b, ""
	}
	return b, r.lastID
}

// appendRetry and appendID write lines of an event without data, which sets what they say and is not dispatched.
func appendRetry(b []byte, after time.Duration) []byte {
	return append(strconv.AppendInt(append(b, "retry: "...), after.Milliseconds(), 10), '\n')
}

func appendID(b []byte, id string) []byte {
	if id == "" {
		return b
	}
	return append(append(append(b, "id: "...), id...), '\n')
}

// eventWriter writes pieces of a stream, each of which must be taken within the timeout.
type eventWriter struct {
	w       http.ResponseWriter
	control *http.ResponseController
	timeout time.Duration
}

func (o *eventWriter) write(b []byte) error {
	deadlines := o.control.SetWriteDeadline(time.Now().Add(o.timeout)) == nil
	if _, err := o.w.Write(b); err != nil {
		return err
	}
	if err := o.control.Flush(); err != nil {
		return err
	}
	if deadlines {
		return o.control.SetWriteDeadline(time.Time{})
	}
	return nil
}

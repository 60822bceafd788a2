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

	mu      sync.Mutex // guards the following
	quit    bool       // the server sends it away
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
	limits := s.server.limits.Load()
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

// sendAway ends the stream behind one more piece of what waits. The client gets the rest when it comes back.
func (s *subscriber) sendAway() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.quit = true
	s.signal()
}

func (s *subscriber) isSentAway() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.quit
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

// take returns what is to be written next: one update as it is, which is what most find, or several in a piece of memory of their own.
func (s *subscriber) take() (b []byte, behind bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tooSlow {
		return nil, false, errTooSlow
	}
	n, size := 0, 0
	for n < len(s.queue) && (n == 0 || size+len(s.queue[n].wire) <= batchBytes) {
		size += len(s.queue[n].wire)
		n++
	}
	if n == 1 {
		b = s.queue[0].wire[:size:size] // everybody's: what is put behind it goes elsewhere
	} else if n > 1 {
		b = make([]byte, 0, size)
		for _, u := range s.queue[:n] {
			b = append(b, u.wire...)
		}
	}
	if n > 0 {
		s.place = s.queue[n-1].seq
	}
	s.bytes -= size
	clear(s.queue[:n])
	if s.queue = s.queue[n:]; len(s.queue) == 0 {
		s.queue = nil // an idle stream holds no memory
	} else {
		s.signal()
	}
	return b, s.behind, nil
}

// catchUp reads what comes next from the history, and lets the queue take over when there is nothing more.
func (s *subscriber) catchUp() (b []byte, err error) {
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
		return nil, nil
	}
	err = s.server.history.read(after, latest, true, func(u *update) bool {
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

// stream writes until the client goes, or something ends it. A timer is not touched for each update: when it ends, the stream looks what is due.
func (s *subscriber) stream(ctx context.Context, out *eventWriter) error {
	defer out.disarm()
	if err := out.write(comment); err != nil { // sends the head, too
		return err
	}
	end, why := s.deadline()
	silence := s.server.cfg.Heartbeat
	timer := time.NewTimer(min(silence, time.Until(end)))
	defer timer.Stop()
	done := ctx.Done()
	for {
		select {
		case <-done:
			return ctx.Err()
		case <-timer.C:
			now := time.Now()
			if !now.Before(end) {
				return why
			}
			if now.Sub(out.last) >= silence {
				if err := out.write(comment); err != nil {
					return err
				}
				s.server.stats.heartbeats.Add(1)
			}
			timer.Reset(min(time.Until(out.last.Add(silence)), time.Until(end)))
		case <-s.wake:
			if s.isSentAway() {
				return s.part(out)
			}
			if err := s.forward(out); err != nil {
				return err
			}
		}
	}
}

// comment is nothing to clients: it begins a stream, and shows that it is alive.
var comment = []byte(":\n")

// forward writes what waits, or the next piece of the history.
func (s *subscriber) forward(out *eventWriter) error {
	b, behind, err := s.take()
	if err == nil && behind && len(b) == 0 {
		b, err = s.catchUp()
	} else if behind {
		s.signal()
	}
	if len(b) > 0 {
		if err := out.write(b); err != nil {
			return err
		}
	}
	return err
}

// deadline is when the stream must end: with the token, or at its age, which is not the same for all.
func (s *subscriber) deadline() (at time.Time, why error) {
	left := 100 * 365 * 24 * time.Hour
	if age := s.server.cfg.Lifetime; age > 0 {
		left, why = time.Duration(float64(age)*(0.9+0.2*rand.Float64())), errRotated
	}
	if s.grants != nil && !s.grants.expires.IsZero() {
		if token := s.grants.expires.Sub(s.server.now()); token < left {
			left, why = max(token, 0), errExpired
		}
	}
	return time.Now().Add(left), why
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
	b, behind, err := s.take()
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
	last    time.Time // when the last piece was written

	// A connection of one request may keep a deadline that nobody waits for, so that it is not set for each piece: that costs as much as the
	// piece. Where streams share a connection it would end this one.
	alone bool
	armed time.Time // when the deadline was last set
}

func newEventWriter(w http.ResponseWriter, r *http.Request, timeout time.Duration) *eventWriter {
	return &eventWriter{w: w, control: http.NewResponseController(w), timeout: timeout, alone: r.ProtoMajor == 1}
}

func (o *eventWriter) write(b []byte) error {
	o.last = time.Now()
	deadlines := o.arm()
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

// arm gives the piece its deadline, and reports whether it must be taken away behind it.
func (o *eventWriter) arm() (disarm bool) {
	if !o.alone {
		return o.control.SetWriteDeadline(o.last.Add(o.timeout)) == nil
	}
	if coarse := min(time.Second, o.timeout/8); o.last.Sub(o.armed) > coarse {
		o.armed = o.last
		_ = o.control.SetWriteDeadline(o.last.Add(o.timeout + coarse)) // a writer that knows none has limits of its own
	}
	return false
}

// disarm is for the end of the answer, which goes out behind our back.
func (o *eventWriter) disarm() {
	if o.alone {
		_ = o.control.SetWriteDeadline(time.Time{})
	}
}

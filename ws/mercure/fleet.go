package mercure

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/edge-server/edge/ws"
)

// With a broker, every node is a whole hub: an update goes to all of them, and each stores it in its own history and hands it to its own streams.
// An id means the same everywhere, so a client may come back to any node that was there. A publisher gets its answer when its own node has
// stored the update.

// fleetChannel is where nodes hear of updates, in the space that the hub was given.
const fleetChannel = "updates"

// patienceForFleet is how long a node that cannot keep up holds up the broker before it loses an update.
const patienceForFleet = time.Second

// join begins to listen to the other nodes.
func (s *Server) join(ctx context.Context) error {
	if s.space == nil {
		return nil
	}
	unwatch := s.watchFleet()
	leave, err := s.space.Listen(ctx, fleetChannel, s.hear)
	if err != nil {
		unwatch()
		return err
	}
	s.leaveFleet = func() {
		leave()
		unwatch()
	}
	return nil
}

// share publishes an update to all nodes, this one included.
func (s *Server) share(ctx context.Context, p *publication) error {
	key := newID()
	if p.done != nil {
		s.sharedMu.Lock()
		s.shared[key] = p
		s.sharedMu.Unlock()
	}
	message := appendText(nil, key)
	_, err := s.space.Publish(ctx, fleetChannel, ws.Prepare(ws.Binary, append(message, p.update.encode()...)), ws.PublishOptions{})
	if err != nil {
		s.forget(key)
		return fmt.Errorf("the broker: %w", err)
	}
	if p.done == nil {
		return nil
	}
	context.AfterFunc(ctx, func() { s.forget(key) })
	return nil
}

// forget gives up waiting for an update to come back.
func (s *Server) forget(key string) *publication {
	s.sharedMu.Lock()
	defer s.sharedMu.Unlock()
	p := s.shared[key]
	delete(s.shared, key)
	return p
}

var errMessage = errors.New("a message of the broker is no update")

// decodeShared reads what share wrote. Whoever writes to the broker must not be able to break streams.
func decodeShared(message []byte) (key string, u *update, err error) {
	key, rest, ok := takeText(message)
	if !ok {
		return "", nil, errMessage
	}
	if u, err = decode(0, rest); err != nil {
		return "", nil, err
	}
	if u.id == "" || !cleanText(u.id) || !cleanText(u.event) || u.retry != "" && !validRetry(u.retry) {
		return "", nil, errMessage
	}
	return key, u, nil
}

// hear takes an update of any node.
func (s *Server) hear(m ws.Publication) {
	key, u, err := decodeShared(m.Message.Payload())
	if err != nil {
		s.stats.fleetErrors.Add(1)
		return
	}
	p := s.forget(key)
	if p == nil {
		p = &publication{}
	}
	p.update = u
	select {
	case s.incoming <- p:
		s.heard.Add(1)
		return
	default:
	}
	wait := time.NewTimer(patienceForFleet)
	defer wait.Stop()
	select {
	case s.incoming <- p:
		s.heard.Add(1)
	case <-wait.C:
		s.stats.fleetErrors.Add(1)
		s.miss()
		p.tell(errBusy)
	}
}

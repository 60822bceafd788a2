package redis

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/edge-server/edge/ws"
	"github.com/edge-server/edge/ws/fleet"
)

// inbox is the connection by which a lane gets what is published. It is used once: when it breaks, Connect makes another, since what
// was published meanwhile is missing.
type inbox struct {
	lane   *lane
	pubsub *redis.PubSub
	life   context.Context
	end    context.CancelFunc
	done   chan struct{} // nil until something is listened to
	alive  string        // what live listens to; the keeper's own

	mu      sync.Mutex
	waiting map[string][]chan struct{} // for the server's confirmation
	leaving map[string]int             // confirmations of the end to come
	failed  error
}

func newInbox(l *lane) *inbox {
	in := &inbox{lane: l, waiting: map[string][]chan struct{}{}, leaving: map[string]int{}}
	in.life, in.end = context.WithCancel(context.Background())
	return in
}

// listen returns when the server has confirmed.
func (in *inbox) listen(ctx context.Context, names []string) error {
	confirmed := make([]chan struct{}, len(names))
	in.mu.Lock()
	if in.failed != nil {
		in.mu.Unlock()
		return in.failed
	}
	for i, name := range names {
		confirmed[i] = make(chan struct{})
		in.waiting[name] = append(in.waiting[name], confirmed[i])
	}
	err := in.subscribe(ctx, names)
	in.mu.Unlock()
	if err != nil {
		in.fail(err) // go-redis may have made a new connection: who knows what was missed
		return err
	}
	for _, c := range confirmed {
		select {
		case <-c:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.failed
}

// live listens to a name until there is another one.
func (in *inbox) live(ctx context.Context, name string) error {
	before := in.alive
	if before == name {
		return nil
	}
	if err := in.listen(ctx, []string{name}); err != nil {
		return err
	}
	in.alive = name
	if before == "" {
		return nil
	}
	return in.unlisten(ctx, before)
}

// subscribe needs in.mu.
func (in *inbox) subscribe(ctx context.Context, names []string) error {
	d := in.lane.driver
	if in.pubsub != nil {
		if d.sharded {
			return in.pubsub.SSubscribe(ctx, names...)
		}
		return in.pubsub.Subscribe(ctx, names...)
	}
	if d.sharded {
		in.pubsub = d.client.SSubscribe(ctx) // asks nothing yet
		if err := in.pubsub.SSubscribe(ctx, names...); err != nil {
			return err
		}
	} else {
		in.pubsub = d.client.Subscribe(ctx)
		if err := in.pubsub.Subscribe(ctx, names...); err != nil {
			return err
		}
	}
	in.done = make(chan struct{})
	go in.receive() // ends with close, or a fault
	return nil
}

func (in *inbox) unlisten(ctx context.Context, name string) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.failed != nil || in.pubsub == nil {
		return in.failed
	}
	if !in.lane.driver.sharded {
		return in.pubsub.Unsubscribe(ctx, name)
	}
	in.leaving[name]++
	return in.pubsub.SUnsubscribe(ctx, name)
}

func (in *inbox) close() {
	in.fail(errDisconnected)
	in.mu.Lock()
	done := in.done
	in.mu.Unlock()
	if done != nil {
		<-done
	}
}

// fail ends the inbox once.
func (in *inbox) fail(err error) {
	in.mu.Lock()
	if in.failed != nil {
		in.mu.Unlock()
		return
	}
	in.failed = err
	for _, list := range in.waiting {
		for _, c := range list {
			close(c)
		}
	}
	in.waiting = nil
	pubsub := in.pubsub
	in.mu.Unlock()
	in.end()
	if pubsub != nil {
		_ = pubsub.Close()
	}
	if !errors.Is(err, errDisconnected) {
		in.lane.driver.sink.Lost(in.lane.number, err)
	}
}

var errSilent = errors.New("ws.broker.redis: the server does not answer a ping")

// receive hands on what arrives until the connection breaks.
func (in *inbox) receive() {
	defer close(in.done)
	pinged := false
	for {
		message, err := in.pubsub.ReceiveTimeout(in.life, in.lane.driver.pingEvery())
		var network net.Error
		switch {
		case err != nil && in.life.Err() == nil && errors.As(err, &network) && network.Timeout() && !pinged:
			pinged = true
			if err := in.pubsub.Ping(in.life); err != nil {
				in.fail(err)
				return
			}
			continue
		case err != nil && pinged:
			in.fail(errors.Join(errSilent, err))
			return
		case err != nil:
			in.fail(err)
			return
		}
		pinged = false
		switch m := message.(type) {
		case *redis.Subscription:
			if !in.confirm(m.Kind, m.Channel) {
				in.fail(errors.New("ws.broker.redis: the channels have moved to another server of the cluster"))
				return
			}
		case *redis.Message:
			in.deliver(m.Channel, m.Payload)
		}
	}
}

// confirm reports false when the server ends a subscription by itself.
func (in *inbox) confirm(kind, name string) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	switch kind {
	case "subscribe", "ssubscribe":
		if list := in.waiting[name]; len(list) > 0 {
			close(list[0])
			if in.waiting[name] = list[1:]; len(list) == 1 {
				delete(in.waiting, name)
			}
		}
	case "sunsubscribe":
		if in.leaving[name] == 0 {
			return false
		}
		if in.leaving[name]--; in.leaving[name] == 0 {
			delete(in.leaving, name)
		}
	}
	return true
}

func (in *inbox) deliver(name, payload string) {
	sink := in.lane.driver.sink
	rest, ok := strings.CutPrefix(name, in.lane.base)
	if !ok {
		return
	}
	if rest == "control" {
		sink.Told([]byte(payload))
		return
	}
	channel, ok := strings.CutPrefix(rest, "ch:")
	if !ok {
		return
	}
	space, channel, ok := strings.Cut(channel, "\x00")
	if !ok {
		return
	}
	log, at, message := fleet.ParseFrame([]byte(payload))
	sink.Published(ws.Address{Space: space, Channel: channel}, log, at, message)
}

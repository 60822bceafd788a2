package ws

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// listeners are parts of the server that hear what is published on a channel, as its subscribers do. Most spaces have none.
type listeners struct {
	mu   sync.RWMutex
	list map[string]func(Publication)
}

// Listen has f called with everything that is published on a channel, on any node, one at a time and in its order, until stop is called. f
// holds up what is published there, and must call nothing of this package. A channel has one listener.
func (s *Space) Listen(ctx context.Context, channel string, f func(Publication)) (stop func(), err error) {
	l := &s.listeners
	l.mu.Lock()
	if l.list[channel] != nil {
		l.mu.Unlock()
		return nil, fmt.Errorf("ws: channel %q of the space %q has a listener", channel, s.name)
	}
	if l.list == nil {
		l.list = map[string]func(Publication){}
	}
	l.list[channel] = f
	l.mu.Unlock()
	s.listening.Store(true)
	_, err = s.hub.broker.Watch(ctx, s.address(channel))
	s.hub.failed(err) // the broker tries again by itself, and meanwhile this node is alone
	return func() {
		l.mu.Lock()
		delete(l.list, channel)
		l.mu.Unlock()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), unlistenTime)
		defer cancel()
		_, err := s.hub.broker.Unwatch(ctx, s.address(channel))
		s.hub.failed(err)
	}, nil
}

// unlistenTime is how long a broker may take to be told that nobody listens any more.
const unlistenTime = 2 * time.Second

// hear calls the listener of a channel, if there is one. stop waits for it.
func (s *Space) hear(channel string, p Publication) {
	s.listeners.mu.RLock()
	defer s.listeners.mu.RUnlock()
	if f := s.listeners.list[channel]; f != nil {
		f(p)
	}
}

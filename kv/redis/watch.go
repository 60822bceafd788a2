package redis

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/edge-server/edge/kv"
)

// Watch stands on what Redis calls client tracking: a connection asks to be told of every key under a prefix that changes (BCAST),
// and hears it over the channel below. One connection for each master does it, whatever is read; what this process writes is
// told, too.
const invalidations = "__redis__:invalidate"

const (
	// heartbeat is how often a silent connection is asked whether it lives; an answer has as long to come.
	heartbeat = 2 * time.Second

	// lookAround is how often a cluster is asked for its masters.
	lookAround = 2 * time.Second

	// reconnect is the pause after a connection was lost; it doubles up to maxReconnect while none holds.
	reconnect    = 100 * time.Millisecond
	maxReconnect = 2 * time.Second
)

// Watch implements kv.Watcher. In a cluster it is ready when every master is watched.
func (s *Store) Watch(ctx context.Context, changes kv.Changes) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if !s.start(func() { // ends with Watch, or ends it
		select {
		case <-s.stop:
			cancel()
		case <-ctx.Done():
		}
	}) {
		return kv.ErrClosed
	}
	w := &watch{store: s, changes: changes, nodes: map[string]*watched{}}
	defer w.wg.Wait()
	defer cancel()
	ticker := time.NewTicker(lookAround)
	defer ticker.Stop()
	for {
		if all, err := s.masters(ctx); err == nil {
			w.follow(ctx, all)
		}
		if s.mode == kv.RedisSingle { // there is nothing to look around for
			<-ctx.Done()
		}
		select {
		case <-ctx.Done():
			if s.open() != nil {
				return kv.ErrClosed
			}
			return ctx.Err()
		case <-ticker.C:
		}
	}
}

// watch is one call of Watch.
type watch struct {
	store   *Store
	changes kv.Changes
	wg      sync.WaitGroup

	mu    sync.Mutex // protects what follows, and lets one call of changes happen at a time
	nodes map[string]*watched
	ready bool
}

type watched struct {
	cancel context.CancelFunc
	works  bool
	broke  atomic.Bool // it was said that it broke
}

// follow makes the watched servers those of all.
func (w *watch) follow(ctx context.Context, all []master) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := map[string]bool{}
	for _, m := range all {
		addr := m.client.Options().Addr
		now[addr] = true
		if w.nodes[addr] != nil {
			continue
		}
		node, cancel := context.WithCancel(ctx)
		one := &watched{cancel: cancel}
		w.nodes[addr] = one
		w.tell()
		w.wg.Go(func() { w.node(node, m.client, one) }) // ends with its context
	}
	for addr, one := range w.nodes {
		if !now[addr] {
			one.cancel()
			delete(w.nodes, addr)
			// What this one would have told is missed; its successor has not been asked yet.
			w.lost()
		}
	}
	w.tell()
}

// node keeps a connection to one server until ctx ends.
func (w *watch) node(ctx context.Context, c *redis.Client, one *watched) {
	for pause := reconnect; ctx.Err() == nil; pause = min(2*pause, maxReconnect) {
		err := w.listen(ctx, c, one)
		w.mu.Lock()
		worked := one.works
		one.works = false
		w.tell()
		w.mu.Unlock()
		if worked {
			pause = reconnect
		}
		if ctx.Err() == nil && !one.broke.Swap(true) {
			w.store.log.Warn("the stream of changes of redis broke; copies are not kept until it is back",
				"store", w.store.cfg.Name, "address", w.store.where, "error", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

// listen tells what one connection says, until it breaks.
func (w *watch) listen(ctx context.Context, c *redis.Client, one *watched) error {
	o := *c.Options()
	o.Protocol = 2 // a plain subscription
	o.PoolSize, o.MinIdleConns, o.PipelinePoolSize = 1, 0, -1
	o.OnConnect = func(ctx context.Context, cn *redis.Conn) error { return w.track(ctx, cn) }
	client := redis.NewClient(&o)
	defer client.Close()
	sub := client.Subscribe(ctx)
	defer sub.Close()
	if err := sub.Subscribe(ctx, invalidations); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { sub.Close() })
	defer stop()
	for asked := false; ; {
		message, err := sub.ReceiveTimeout(ctx, heartbeat)
		var silent interface{ Timeout() bool }
		switch {
		case errors.As(err, &silent) && silent.Timeout() && !asked && ctx.Err() == nil:
			if err := sub.Ping(ctx); err != nil {
				return err
			}
			asked = true
			continue
		case err != nil && strings.Contains(err.Error(), "unsupported pubsub message payload"):
			message = &redis.Message{} // null, which names no key: the database was emptied
		case err != nil:
			return err
		}
		asked = false
		w.heard(message, one)
	}
}

// track asks for the changes, on the connection that will hear of them.
func (w *watch) track(ctx context.Context, cn *redis.Conn) error {
	id, err := cn.ClientID(ctx).Result()
	if err != nil {
		return err
	}
	args := []any{"client", "tracking", "on", "redirect", id, "bcast"}
	if prefix := w.store.cfg.Prefix; prefix != "" {
		args = append(args, "prefix", prefix)
	}
	if err := cn.Process(ctx, redis.NewStatusCmd(ctx, args...)); err != nil {
		return fmt.Errorf("client tracking: %w", err)
	}
	return nil
}

func (w *watch) heard(message any, one *watched) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch m := message.(type) {
	case *redis.Subscription:
		one.works = true
		if one.broke.Swap(false) {
			w.store.log.Info("the stream of changes of redis is back", "store", w.store.cfg.Name, "address", w.store.where)
		}
		w.tell()
	case *redis.Message:
		if !w.ready {
			return
		}
		keys := make([]string, 0, len(m.PayloadSlice))
		for _, k := range m.PayloadSlice {
			keys = append(keys, strings.TrimPrefix(k, w.store.cfg.Prefix))
		}
		w.changes.Changed(keys) // none: the whole database was emptied
	}
}

// tell says Ready or Lost when that changed. The caller holds mu.
func (w *watch) tell() {
	works := len(w.nodes) > 0
	for _, one := range w.nodes {
		works = works && one.works
	}
	switch {
	case works && !w.ready:
		w.ready = true
		w.changes.Ready()
	case !works:
		w.lost()
	}
}

func (w *watch) lost() {
	if w.ready {
		w.ready = false
		w.changes.Lost()
	}
}

// Package redis is the kv driver for Redis and what speaks like it: one server, a cluster, or servers behind sentinels.
//
// A key of the store is a key of the server, with the store's prefix before it, and values are the bytes themselves, so that
// other programs can read them. Deadlines are absolute, in milliseconds, and the server keeps them (SET … PXAT): the clocks of the
// machines must agree. The oldest server that this works with is Redis 6.2.
//
// # How commands travel
//
// What many callers ask at the same time travels together: commands are gathered while the previous ones are on their way, and sent
// in one write over one connection (pipe.go, BenchmarkCallers). A caller that is alone, batches and large
// values go around it, over a pool of connections.
//
// # Failures
//
// Every step has a timeout. An error that another try may mend wraps kv.ErrUnavailable. go-redis' own retries are off, since they do
// not know what may be done twice; run.go tries again what is safe to. A command that is not (Increment, Add, Update's write)
// and whose connection broke before its answer came may have been done: its error says unavailable, and only the caller can look.
package redis

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/edge-server/edge/kv"
)

// Store implements kv.Store.
type Store struct {
	kv.Base

	cfg    kv.RedisConfig
	mode   string
	where  string // the addresses, for messages
	log    *slog.Logger
	client redis.UniversalClient
	pipe   *pipe // nil when autopipeline is off

	oldTTL   atomic.Bool  // the server has no PEXPIRETIME, which came with Redis 7
	locks    [64]keyLock  // of Update
	inFlight atomic.Int64 // tries that wait for the server

	mu     sync.Mutex     // protects closed, and with it that nothing joins tasks once Close waits for them
	tasks  sync.WaitGroup // watchers
	closed bool
	stop   chan struct{} // closed by Close

	hits, misses, sets, refused, unavailable, retried atomic.Uint64
}

var (
	_ kv.Store   = (*Store)(nil)
	_ kv.Watcher = (*Store)(nil)
)

// seed spreads keys over locks.
var seed = maphash.MakeSeed()

// Open connects to the server and fails when it does not answer, after cfg.Wait at the latest.
func Open(ctx context.Context, cfg kv.RedisConfig, log *slog.Logger) (*Store, error) {
	redis.SetLogger(silence{}) // what it would print is in the errors that operations return
	s := &Store{cfg: cfg, mode: cfg.EffectiveMode(), where: where(cfg), log: log, stop: make(chan struct{})}
	for i := range s.locks {
		s.locks[i] = make(keyLock, 1)
	}
	var err error
	if s.client, err = newClient(cfg); err != nil {
		return nil, fmt.Errorf("redis %s: %w", s.where, err)
	}
	if err = s.awaitServer(ctx); err == nil && cfg.AutoPipeline {
		s.pipe = newPipe(s.client)
	}
	if err != nil {
		return nil, errors.Join(err, s.client.Close())
	}
	return s, nil
}

// awaitServer asks the server for a sign of life until it gives one or cfg.Wait is over.
func (s *Store) awaitServer(ctx context.Context) error {
	end := time.Now().Add(s.cfg.Wait)
	for told := false; ; told = true {
		try, cancel := context.WithTimeout(ctx, s.cfg.DialTimeout+s.cfg.ReadTimeout)
		err := s.ping(try)
		cancel()
		if err == nil {
			return nil
		}
		if !errors.Is(err, kv.ErrUnavailable) { // it answers
			return err
		}
		if retryIn := 100 * time.Millisecond; time.Now().Add(retryIn).After(end) || ctx.Err() != nil {
			return fmt.Errorf("%w; is the server running, and the address right? To wait for it at the start, set redis.wait", err)
		}
		if !told {
			s.log.Info("waiting for redis", "address", s.where, "at most", s.cfg.Wait, "error", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (s *Store) ping(ctx context.Context) error {
	if s.mode == kv.RedisCluster {
		// A cluster that does not serve every slot would fail later, at some key.
		info, err := s.client.ClusterInfo(ctx).Result()
		if err == nil && !clusterOK(info) {
			err = redisError("CLUSTERDOWN not all slots are served")
		}
		return s.explain(ctx, "connect", err)
	}
	return s.explain(ctx, "connect", s.client.Ping(ctx).Err())
}

// Can returns what the driver can do: all of it. Whether the data survives is up to the server's configuration.
func (s *Store) Can() kv.Can {
	return kv.CanUpdate | kv.CanAdd | kv.CanIncrement | kv.CanTTL | kv.CanScan | kv.CanSorted | kv.CanShared
}

// Stats returns a snapshot.
func (s *Store) Stats() kv.Stats {
	return kv.Stats{
		Driver: "redis", Hits: s.hits.Load(), Misses: s.misses.Load(), Sets: s.sets.Load(), Refused: s.refused.Load(),
	}
}

// Connections is a snapshot of the pool and of what went wrong.
type Connections struct {
	Open, Idle  uint32
	Stale       uint32 // connections that were found dead
	Timeouts    uint32 // waits for a connection that took longer than pool_timeout
	Unavailable uint64 // operations that failed for want of the server
	Retried     uint64 // tries after the first
}

// Connections returns the snapshot.
func (s *Store) Connections() Connections {
	p := s.client.PoolStats()
	return Connections{
		Open: p.TotalConns, Idle: p.IdleConns, Stale: p.StaleConns, Timeouts: p.Timeouts,
		Unavailable: s.unavailable.Load(), Retried: s.retried.Load(),
	}
}

// Close ends connections and waits for what still uses them.
func (s *Store) Close(ctx context.Context) error {
	s.mu.Lock()
	first := !s.closed
	s.closed = true
	s.mu.Unlock()
	if !first {
		return nil
	}
	close(s.stop)
	done := make(chan error, 1)
	go func() { // ends with the last command, which its timeouts end
		if s.pipe != nil {
			s.pipe.close()
		}
		err := s.client.Close()
		s.tasks.Wait()
		done <- err
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("redis %s: close: %w", s.where, ctx.Err())
	}
}

// start runs a task that Close waits for. It reports false when the store is closed.
func (s *Store) start(task func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.tasks.Go(task)
	return true
}

// silence is go-redis' logger.
type silence struct{}

func (silence) Printf(context.Context, string, ...any) {}

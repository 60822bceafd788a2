// Package memcached is the kv driver for memcached from 1.6 on, whose meta protocol it speaks over connections of its own: it tells
// deadlines, counts in one step and takes many requests in one go.
//
// # What memcached cannot do
//
//   - Deadlines have whole seconds, and the server's clock ticks once in a second. A deadline is rounded up, so that a key never
//     ends before it; it may outlive it by up to two seconds, or by a minute when it is more than 30 days ahead. Update, which
//     writes the deadline again, moves it by a second when the clock ticks in between. TTL tells what the server knows, to about
//     a second. Deadlines after 2038-01-19 mean for ever.
//   - It drops keys when it is full, and a server that restarts forgets all of them. What may not be lost does not belong here.
//   - It cannot list its keys: there is no Scan, and Clear empties the servers. A store with a prefix refuses Clear unless the
//     configuration says clear: flush_all, since the keys of others would go, too.
//   - There are no sorted sets.
//
// # Keys
//
// A key of the store is a key of the server, with the prefix before it, when memcached can take that: at most 250 bytes, none
// of them a space or control character. Any other key becomes "sha256:" and its digest in base64, and so do keys that begin with
// these words.
//
// With several servers, a key belongs to the one with the number crc32(key) modulo their count, as gomemcache and other simple
// clients have it.
package memcached

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/edge-server/edge/kv"
)

const (
	maxKey   = 250 // bytes of a key that memcached takes
	hashed   = "sha256:"
	maxDelta = 30 * 24 * 60 * 60 // more seconds than these are an absolute time
	lastTime = 1<<31 - 1         // the last time that memcached knows, in 2038
	coarse   = 64                // seconds that deadlines more than 30 days ahead are rounded up to
)

// Store implements kv.Store.
type Store struct {
	kv.Base

	cfg     kv.MemcachedConfig
	where   string
	log     *slog.Logger
	servers []*server
	closed  atomic.Bool

	hits, misses, sets, refused, unavailable atomic.Uint64
}

var _ kv.Store = (*Store)(nil)

// Open asks every server for its version, and fails when one does not answer, after cfg.Wait at the latest, or is too old.
func Open(ctx context.Context, cfg kv.MemcachedConfig, log *slog.Logger) (*Store, error) {
	s := &Store{cfg: cfg, where: strings.Join(cfg.Addresses, ","), log: log}
	dial, err := prepare(cfg)
	if err != nil {
		return nil, fmt.Errorf("memcached %s: %w", s.where, err)
	}
	size := cfg.PoolSize
	if size == 0 {
		size = 10 * runtime.GOMAXPROCS(0)
	}
	for _, a := range cfg.Addresses {
		one := &server{
			network: "tcp", addr: a, dial: dial, dialTimeout: cfg.DialTimeout, timeout: cfg.Timeout, maxIdle: cfg.MaxIdleTime,
			maxValue: int(cfg.MaxValue), slots: make(chan struct{}, size),
		}
		if path, ok := kv.SocketPath(a); ok {
			one.network, one.addr = "unix", path
		}
		s.servers = append(s.servers, one)
	}
	for _, one := range s.servers {
		if err := s.awaitServer(ctx, one); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// Check reports what would keep a store from being opened, apart from a server that does not answer: it asks none.
func Check(cfg kv.MemcachedConfig) error {
	if _, err := prepare(cfg); err != nil {
		return fmt.Errorf("memcached %s: %w", strings.Join(cfg.Addresses, ","), err)
	}
	return nil
}

// prepare returns the way to servers of cfg.
func prepare(cfg kv.MemcachedConfig) (func(ctx context.Context, network, addr string) (net.Conn, error), error) {
	if !legal(cfg.Prefix) || len(cfg.Prefix) > maxKey-60 {
		return nil, fmt.Errorf("prefix: memcached takes no spaces and control characters in keys, and %d bytes at most here; got %q",
			maxKey-60, cfg.Prefix)
	}
	return dialer(cfg.TLS)
}

func (s *Store) awaitServer(ctx context.Context, one *server) error {
	const pause = 2 * downFor
	end := time.Now().Add(s.cfg.Wait)
	for told := false; ; told = true {
		version, err := one.command(ctx, "version")
		if err == nil {
			return checkVersion(one.addr, version)
		}
		if ctx.Err() != nil || time.Now().Add(pause).After(end) {
			return fmt.Errorf("memcached %s: connect: %w: %w; is the server running, and the address right? To wait for it at the start, "+
				"set memcached.wait", one.addr, kv.ErrUnavailable, err)
		}
		if !told {
			s.log.Info("waiting for memcached", "address", one.addr, "at most", s.cfg.Wait, "error", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}

// checkVersion wants 1.6, which brought the meta protocol.
func checkVersion(addr, answer string) error {
	var major, minor int
	if _, err := fmt.Sscanf(answer, "VERSION %d.%d", &major, &minor); err != nil {
		return fmt.Errorf("memcached %s: %w: it answers %.60q to the question for its version", addr, errProtocol, answer)
	}
	if major < 1 || major == 1 && minor < 6 {
		return fmt.Errorf("memcached %s: version %d.%d is too old: the meta protocol came with 1.6", addr, major, minor)
	}
	return nil
}

func dialer(cfg *kv.TLSConfig) (func(ctx context.Context, network, addr string) (net.Conn, error), error) {
	if cfg == nil {
		return new(net.Dialer).DialContext, nil
	}
	c, err := cfg.Load()
	if err != nil {
		return nil, err
	}
	return (&tls.Dialer{Config: c}).DialContext, nil
}

// Can returns what the driver can do.
func (s *Store) Can() kv.Can {
	return kv.CanUpdate | kv.CanAdd | kv.CanIncrement | kv.CanTTL | kv.CanShared | kv.CanEvict
}

// Stats returns a snapshot.
func (s *Store) Stats() kv.Stats {
	return kv.Stats{
		Driver: "memcached", Hits: s.hits.Load(), Misses: s.misses.Load(), Sets: s.sets.Load(), Refused: s.refused.Load(),
	}
}

// Unavailable is how many operations failed for want of a server.
func (s *Store) Unavailable() uint64 { return s.unavailable.Load() }

// Close ends the connections. Operations that are on their way end by their timeouts.
func (s *Store) Close(ctx context.Context) error {
	if s.closed.Swap(true) {
		return nil
	}
	for _, one := range s.servers {
		one.close()
	}
	for _, one := range s.servers {
		for range cap(one.slots) { // whoever uses a connection holds a slot
			select {
			case one.slots <- struct{}{}:
			case <-ctx.Done():
				return fmt.Errorf("memcached %s: close: %w", one.addr, ctx.Err())
			}
		}
	}
	return nil
}

// Clear empties the servers.
func (s *Store) Clear(ctx context.Context) error {
	if s.closed.Load() {
		return kv.ErrClosed
	}
	if s.cfg.Clear != kv.ClearFlush && s.cfg.Prefix != "" {
		return fmt.Errorf("memcached %s: clear: %w: memcached cannot list the keys that begin with %q, and emptying it would remove the keys "+
			"of others, too; write memcached.clear: flush_all to have that", s.where, kv.ErrUnsupported, s.cfg.Prefix)
	}
	for _, one := range s.servers {
		answer, err := one.command(ctx, "flush_all")
		if err == nil && answer != "OK" {
			err = fmt.Errorf("%w: %.60q", errProtocol, answer)
		}
		if err != nil {
			return s.explain(ctx, one, "clear", err)
		}
	}
	return nil
}

// key returns the server's key.
func (s *Store) key(key string) string {
	if whole := s.cfg.Prefix + key; len(whole) <= maxKey && key != "" && legal(key) && !strings.HasPrefix(key, hashed) {
		return whole
	}
	sum := sha256.Sum256([]byte(key))
	return s.cfg.Prefix + hashed + base64.RawURLEncoding.EncodeToString(sum[:])
}

// legal reports whether memcached takes the bytes of key.
func legal(key string) bool {
	for i := range len(key) {
		if key[i] <= ' ' || key[i] == 0x7f {
			return false
		}
	}
	return true
}

// pick returns the server of a server's key.
func (s *Store) pick(key string) *server {
	if len(s.servers) == 1 {
		return s.servers[0]
	}
	return s.servers[crc32.ChecksumIEEE([]byte(key))%uint32(len(s.servers))]
}

// explain says what failed where, and wraps what callers of kv decide by.
func (s *Store) explain(ctx context.Context, one *server, op string, err error) error {
	over := ctx.Err()
	if limit, ok := ctx.Deadline(); ok && over == nil && !time.Now().Before(limit) {
		over = context.DeadlineExceeded // the connection knew the deadline and was a moment faster
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, kv.ErrClosed), s.closed.Load():
		return kv.ErrClosed
	case errors.Is(err, kv.ErrLimit), errors.Is(err, kv.ErrFull), errors.Is(err, kv.ErrNumber), errors.Is(err, kv.ErrUnsupported):
		return fmt.Errorf("memcached %s: %s: %w", one.addr, op, err)
	case over != nil:
		return fmt.Errorf("memcached %s: %s: %w: %w", one.addr, op, over, err)
	}
	s.unavailable.Add(1)
	if errors.Is(err, kv.ErrUnavailable) {
		return fmt.Errorf("memcached %s: %s: %w", one.addr, op, err)
	}
	return fmt.Errorf("memcached %s: %s: %w: %w", one.addr, op, kv.ErrUnavailable, err)
}

// refusal is the error of an answer that is one, or nil.
func (s *Store) refusal(r reply) error {
	switch {
	case r.code == "SERVER_ERROR" && strings.Contains(r.text, "too large"):
		return fmt.Errorf("%w: the server says: %s; start it with a larger -I", kv.ErrLimit, r.text)
	case r.code == "SERVER_ERROR" && strings.Contains(r.text, "out of memory"):
		s.refused.Add(1)
		return fmt.Errorf("%w: the server says: %s", kv.ErrFull, r.text)
	case r.code == "CLIENT_ERROR" && strings.Contains(r.text, "non-numeric"):
		return kv.ErrNumber
	case r.code == "CLIENT_ERROR", r.code == "ERROR":
		return fmt.Errorf("%w: the server says: %s %s", errProtocol, r.code, r.text)
	case r.code == "SERVER_ERROR":
		return fmt.Errorf("%w: the server says: %s", kv.ErrUnavailable, r.text)
	}
	return nil
}

// parallel runs the work of each server, at the same time when there are several, and returns one of the errors.
func parallel(work map[*server]func() error) error {
	if len(work) == 1 {
		for _, w := range work {
			return w()
		}
	}
	errs := make(chan error, len(work))
	var wg sync.WaitGroup
	for _, w := range work {
		wg.Go(func() { errs <- w() })
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

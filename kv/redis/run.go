package redis

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/edge-server/edge/kv"
)

const (
	// maxTogether is how many commands of one operation go into the autopipeline. More are a pipeline of their own.
	maxTogether = 16

	// maxSmall is how many bytes a command carries there. Larger ones would keep the others waiting.
	maxSmall = 64 << 10

	// maxPipeline is how many commands one pipeline has: they and their answers are in memory at once.
	maxPipeline = 1000
)

// command is one to be run, and what to do with its answer.
type command = redis.Cmder

// once is a command that must not be done twice. In a cluster, go-redis tries others again by itself.
type (
	once      struct{ *redis.Cmd }
	onceFloat struct{ *redis.FloatCmd }
)

// NoRetry implements redis.Cmder.
func (once) NoRetry() bool { return true }

// NoRetry implements redis.Cmder.
func (onceFloat) NoRetry() bool { return true }

// run sends commands and waits for their answers. It calls build again for every try, and tries again what may be done twice
// and failed quickly. bytes is about how much the commands carry. The error is the first of a command; an answer of "nothing there"
// is none. Commands may be in use after an error: build makes copies of what belongs to a caller.
func (s *Store) run(ctx context.Context, op string, bytes int, build func() []command) error {
	return s.try(ctx, op, bytes, false, build)
}

// runOnce is run for what must not be done twice: it tries again only when the server certainly did nothing.
func (s *Store) runOnce(ctx context.Context, op string, bytes int, c func() *redis.Cmd) (*redis.Cmd, error) {
	var last *redis.Cmd
	err := s.try(ctx, op, bytes, true, func() []command {
		last = c()
		return []command{once{last}}
	})
	return last, err
}

func (s *Store) try(ctx context.Context, op string, bytes int, isOnce bool, build func() []command) error {
	if err := ctx.Err(); err != nil {
		return s.explain(ctx, op, err)
	}
	for attempt := 0; ; attempt++ {
		err := s.send(ctx, bytes, build())
		if err == nil {
			return nil
		}
		s.lookAround(ctx, err)
		if attempt >= s.cfg.Retries || !mayRetry(err, isOnce) || !s.pause(ctx, attempt) {
			return s.explain(ctx, op, err)
		}
		s.retried.Add(1)
	}
}

// lookAround makes a cluster's client ask who serves what now: a server that is gone does not say so, and go-redis looks only
// once in a minute by itself.
func (s *Store) lookAround(ctx context.Context, err error) {
	if cluster, ok := s.client.(*redis.ClusterClient); ok && !isReply(err) && ctx.Err() == nil {
		cluster.ReloadState(ctx)
	}
}

// pause waits before a retry, and reports false when there is none.
func (s *Store) pause(ctx context.Context, attempt int) bool {
	d := min(s.cfg.MinBackoff<<min(attempt, 20), s.cfg.MaxBackoff)
	timer := time.NewTimer(d/2 + rand.N(d/2+1))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
	case <-s.stop:
	}
	return false
}

// send makes one try and returns the first error of a command. Who is alone goes alone, in its own goroutine and over a
// connection of the pool: handing the command over would double the time of a call (BenchmarkCallers). Such a call sees the
// deadline of its context, and a cancellation without one when the server answers or read_timeout is over.
func (s *Store) send(ctx context.Context, bytes int, cmds []command) error {
	crowd := s.inFlight.Add(1)
	defer s.inFlight.Add(-1)
	if s.pipe != nil && crowd > 1 && len(cmds) <= maxTogether && bytes <= maxSmall {
		return s.sendTogether(ctx, cmds, bytes)
	}
	return s.sendAlone(ctx, cmds)
}

func (s *Store) sendTogether(ctx context.Context, cmds []command, bytes int) error {
	l, err := s.pipe.submit(cmds, bytes)
	if err != nil {
		return err
	}
	select {
	case <-l.back:
	case <-ctx.Done():
		return ctx.Err() // the commands are still on their way: nobody looks at them any more
	}
	for _, c := range cmds {
		if err := failure(c.Err()); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) sendAlone(ctx context.Context, cmds []command) error {
	if len(cmds) == 1 {
		return failure(s.client.Process(ctx, cmds[0]))
	}
	for len(cmds) > 0 {
		n := min(len(cmds), maxPipeline)
		p := s.client.Pipeline()
		for _, c := range cmds[:n] {
			_ = p.Process(ctx, c) // only queues
		}
		_, err := p.Exec(ctx)
		if failure(err) == nil { // it is the first error, be it that nothing is there
			for _, c := range cmds[:n] {
				if err = failure(c.Err()); err != nil {
					break
				}
			}
		}
		if err = failure(err); err != nil {
			return err
		}
		cmds = cmds[n:]
	}
	return nil
}

func failure(err error) error {
	if errors.Is(err, redis.Nil) {
		return nil
	}
	return err
}

// mayRetry reports whether another try may help and do no harm.
func mayRetry(err error, isOnce bool) bool {
	var network net.Error
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded), errors.Is(err, redis.ErrClosed), errors.Is(err, kv.ErrClosed):
		return false
	case errors.Is(err, redis.ErrPoolTimeout), errors.As(err, &network) && network.Timeout():
		return false // the caller has waited long enough
	case isDial(err), isPassing(err):
		return true // the server did not do anything
	case isReply(err):
		return false
	}
	return !isOnce
}

func isReply(err error) bool {
	var reply redis.Error
	return errors.As(err, &reply)
}

// passing are answers of a server that cannot serve right now, and did nothing.
var passing = []string{
	"LOADING ", "READONLY ", "MASTERDOWN ", "CLUSTERDOWN ", "TRYAGAIN ", "NOREPLICAS ", "BUSY ", "MISCONF ", "ERR max number of clients",
	"UNBLOCKED ",
}

func isPassing(err error) bool {
	if !isReply(err) {
		return false
	}
	for _, prefix := range passing {
		if redis.HasErrorPrefix(err, prefix) || strings.HasPrefix(err.Error(), prefix) {
			return true
		}
	}
	return false
}

// explain says what failed where, and wraps what callers of kv decide by.
func (s *Store) explain(ctx context.Context, op string, err error) error {
	if err == nil {
		return nil
	}
	hint, kind := s.classify(ctx, err)
	if errors.Is(kind, kv.ErrUnavailable) {
		s.unavailable.Add(1)
	}
	switch {
	case kind == nil:
		return fmt.Errorf("redis %s: %s: %w%s", s.where, op, err, hint)
	case errors.Is(err, kind):
		return fmt.Errorf("redis %s: %s: %w", s.where, op, err)
	}
	return fmt.Errorf("redis %s: %s: %w: %w%s", s.where, op, kind, err, hint)
}

func (s *Store) classify(ctx context.Context, err error) (hint string, kind error) {
	limit, limited := ctx.Deadline()
	switch text := err.Error(); {
	case ctx.Err() != nil && !isReply(err):
		return "", ctx.Err()
	case limited && !time.Now().Before(limit) && !isReply(err): // the connection knew the deadline and was a moment faster
		return "", context.DeadlineExceeded
	case errors.Is(err, redis.ErrClosed), errors.Is(err, kv.ErrClosed):
		return "", kv.ErrClosed
	case !isReply(err), isPassing(err):
		return "", kv.ErrUnavailable
	case strings.HasPrefix(text, "WRONGTYPE"):
		return "", kv.ErrKind
	case strings.HasPrefix(text, "MOVED "), strings.HasPrefix(text, "ASK "):
		return "; the server is one of a cluster: set redis.mode: cluster", nil
	case strings.HasPrefix(text, "OOM"):
		s.refused.Add(1)
		return "; raise maxmemory of the server, give keys a timeout, or choose a maxmemory-policy that evicts", kv.ErrFull
	case strings.Contains(text, "not an integer"), strings.Contains(text, "would overflow"), strings.Contains(text, "not a number"):
		return "", kv.ErrNumber
	case strings.HasPrefix(text, "NOAUTH"), strings.HasPrefix(text, "WRONGPASS"), strings.Contains(text, "AUTH <password>"):
		return "; check username and password", nil
	case strings.HasPrefix(text, "NOPERM"):
		return "; the user of the store lacks this right on the server", nil
	}
	return "", nil
}

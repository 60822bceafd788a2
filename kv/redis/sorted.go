package redis

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/edge-server/edge/kv"
)

// ZAdd sets scores of members.
func (s *Store) ZAdd(ctx context.Context, key string, members []kv.Ranked) (int64, error) {
	if len(members) == 0 {
		return 0, s.kind(ctx, key)
	}
	bytes := 0
	for _, m := range members {
		bytes += len(m.Member)
	}
	c, err := s.runOnce(ctx, "zadd", bytes, func() *redis.Cmd {
		args := make([]any, 0, 2+2*len(members))
		args = append(args, "zadd", s.key(key))
		for _, m := range members {
			args = append(args, score(m.Score), strings.Clone(m.Member))
		}
		return redis.NewCmd(ctx, args...)
	})
	if err != nil {
		return 0, err
	}
	return c.Int64()
}

// kind complains about a key that holds a value.
func (s *Store) kind(ctx context.Context, key string) error {
	_, err := s.ZCard(ctx, key)
	return err
}

// ZIncrement adds to the score of a member.
func (s *Store) ZIncrement(ctx context.Context, key, member string, delta float64) (float64, error) {
	var c *redis.FloatCmd
	err := s.try(ctx, "zincrement", len(member), true, func() []command {
		c = redis.NewFloatCmd(ctx, "zincrby", s.key(key), score(delta), strings.Clone(member))
		return []command{onceFloat{c}}
	})
	if err != nil {
		return 0, err
	}
	return c.Val(), nil
}

// ZRemove removes members.
func (s *Store) ZRemove(ctx context.Context, key string, members []string) (int64, error) {
	if len(members) == 0 {
		return 0, s.kind(ctx, key)
	}
	c, err := s.runOnce(ctx, "zremove", 0, func() *redis.Cmd {
		args := make([]any, 0, 2+len(members))
		args = append(args, "zrem", s.key(key))
		for _, m := range members {
			args = append(args, strings.Clone(m))
		}
		return redis.NewCmd(ctx, args...)
	})
	if err != nil {
		return 0, err
	}
	return c.Int64()
}

// ZRange returns the members that span describes.
func (s *Store) ZRange(ctx context.Context, key string, span kv.Span) ([]kv.Ranked, error) {
	var c *redis.ZSliceCmd
	err := s.run(ctx, "zrange", 0, func() []command {
		c = redis.NewZSliceCmd(ctx, spanArgs(s.key(key), span)...)
		return []command{c}
	})
	if err != nil {
		return nil, err
	}
	members := make([]kv.Ranked, 0, len(c.Val()))
	for _, z := range c.Val() {
		member, _ := z.Member.(string)
		members = append(members, kv.Ranked{Member: member, Score: z.Score})
	}
	return members, nil
}

func spanArgs(key string, span kv.Span) []any {
	if !span.ByScore {
		verb := "zrange"
		if span.Reverse {
			verb = "zrevrange"
		}
		return []any{verb, key, span.Start, span.Stop, "withscores"}
	}
	count := int64(-1) // all
	if span.Stop > 0 {
		count = span.Stop
	}
	verb, from, to := "zrangebyscore", span.Min, span.Max
	if span.Reverse {
		verb, from, to = "zrevrangebyscore", span.Max, span.Min
	}
	return []any{verb, key, score(from), score(to), "withscores", "limit", max(span.Start, 0), count}
}

// score is a number as the server reads it. It knows inf.
func score(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) }

// ZRank returns the place of a member.
func (s *Store) ZRank(ctx context.Context, key, member string, reverse bool) (int64, bool, error) {
	verb := "zrank"
	if reverse {
		verb = "zrevrank"
	}
	var c *redis.IntCmd
	err := s.run(ctx, "zrank", 0, func() []command {
		c = redis.NewIntCmd(ctx, verb, s.key(key), strings.Clone(member))
		return []command{c}
	})
	if err != nil || errors.Is(c.Err(), redis.Nil) {
		return 0, false, err
	}
	return c.Val(), true, nil
}

// ZScore returns the score of a member.
func (s *Store) ZScore(ctx context.Context, key, member string) (float64, bool, error) {
	var c *redis.FloatCmd
	err := s.run(ctx, "zscore", 0, func() []command {
		c = redis.NewFloatCmd(ctx, "zscore", s.key(key), strings.Clone(member))
		return []command{c}
	})
	if err != nil || errors.Is(c.Err(), redis.Nil) {
		return 0, false, err
	}
	return c.Val(), true, nil
}

// ZCard returns the number of members.
func (s *Store) ZCard(ctx context.Context, key string) (int64, error) {
	var c *redis.IntCmd
	err := s.run(ctx, "zcard", 0, func() []command {
		c = redis.NewIntCmd(ctx, "zcard", s.key(key))
		return []command{c}
	})
	if err != nil {
		return 0, err
	}
	return c.Val(), nil
}

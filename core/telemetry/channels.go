package telemetry

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// Channel is what is different for one part of the server.
type Channel struct {
	// Level is that of log.level, for this channel alone. Required.
	Level string `koanf:"level"`
}

// Sample thins out records that come again and again: of those with the same level and message, First in each second are written, and
// of the others one of Every. Errors are all written.
type Sample struct {
	// First is how many records a second of the same message are written. 0: all. Default 0.
	First int `koanf:"first"`

	// Every is of how many of the others one is written. 0: none. Default 100.
	Every int `koanf:"every"`
}

// channelHandler gives each channel its level, and samples.
type channelHandler struct {
	next     slog.Handler // takes every level
	level    slog.Leveler // of the channel of this logger
	root     slog.Leveler
	channels map[string]slog.Level
	sampler  *sampler // nil: all are written
}

// Enabled asks the channel.
func (h *channelHandler) Enabled(_ context.Context, level slog.Level) bool {
	return level >= h.level.Level()
}

// Handle writes the record, unless there were too many like it.
func (h *channelHandler) Handle(ctx context.Context, r slog.Record) error {
	if h.sampler != nil && r.Level < slog.LevelError && !h.sampler.take(r.Level, r.Message, r.Time) {
		return nil
	}
	return h.next.Handle(ctx, r)
}

// WithAttrs takes the level of the channel that the attributes name.
func (h *channelHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	next := *h
	next.next = h.next.WithAttrs(attrs)
	for _, a := range attrs {
		if a.Key != LoggerKey {
			continue
		}
		next.level = h.root
		if level, ok := h.channels[a.Value.String()]; ok {
			next.level = level
		}
	}
	return &next
}

// WithGroup passes the group on.
func (h *channelHandler) WithGroup(name string) slog.Handler {
	next := *h
	next.next = h.next.WithGroup(name)
	return &next
}

// maxSampled bounds the messages that a sampler knows; they are texts of the code, but some have names in them.
const maxSampled = 4096

// sampler counts records by level and message.
type sampler struct {
	rule Sample

	mu     sync.Mutex // protects counts
	counts map[sampled]*count
}

type sampled struct {
	level   slog.Level
	message string
}

type count struct {
	second int64
	n      int
}

func newSampler(rule Sample) *sampler {
	if rule.First == 0 {
		return nil
	}
	return &sampler{rule: rule, counts: map[sampled]*count{}}
}

// take reports whether a record is written.
func (s *sampler) take(level slog.Level, message string, at time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := sampled{level, message}
	c := s.counts[key]
	if c == nil {
		if len(s.counts) >= maxSampled {
			clear(s.counts)
		}
		c = &count{}
		s.counts[key] = c
	}
	if second := at.Unix(); second != c.second {
		c.second, c.n = second, 0
	}
	c.n++
	return c.n <= s.rule.First || s.rule.Every > 0 && (c.n-s.rule.First)%s.rule.Every == 0
}

package ws

import (
	"errors"
	"fmt"
	"time"

	"github.com/edge-server/edge/internal/bytesize"
)

// Limits bound what a client can cost. They hold for each connection of an endpoint, whatever carries it.
type Limits struct {
	// Message is the largest message that is taken from a client, after decompression. A larger one ends the connection (1009).
	// Default 64KiB.
	Message bytesize.Size `koanf:"message"`

	// Rate is how many messages and control frames a second a client may send over time; a second's worth may come at once. A client
	// that sends more is closed (1008). 0 means no limit. Default 1000.
	Rate int `koanf:"rate"`

	// Queue is how many bytes may wait to be taken by a client. Default 256KiB.
	Queue bytesize.Size `koanf:"queue"`

	// QueueMessages is how many messages may wait to be taken by a client. Default 1024.
	QueueMessages int `koanf:"queue_messages"`

	// Slow says what becomes of a publication for which a client's queue has no room: drop-oldest drops those that wait the longest,
	// drop-newest this one, disconnect ends the connection (1008). Default drop-oldest.
	Slow SlowPolicy `koanf:"slow"`

	// Connections is how many connections there may be at a time. More are refused with 503. 0 means no limit. Default 0.
	Connections int `koanf:"connections"`

	// PerIP is how many connections one address may have (of IPv6, one /64). More are refused with 429. 0 means no limit. Default 0.
	PerIP int `koanf:"per_ip"`

	// PerUser is how many connections one user may have. More are refused with 429. 0 means no limit. Default 0.
	PerUser int `koanf:"per_user"`

	// Channels is how many channels one connection may be subscribed to. Default 256.
	Channels int `koanf:"channels"`

	// PingInterval is how long a client may be silent before it is asked whether it is there. Default 30s.
	PingInterval time.Duration `koanf:"ping_interval"`

	// PongTimeout is how long the answer to that may take. Default 20s.
	PongTimeout time.Duration `koanf:"pong_timeout"`

	// WriteTimeout is how long a client may take nothing of what waits for it. Default 15s.
	WriteTimeout time.Duration `koanf:"write_timeout"`

	// ReadTimeout is how long a message may take from its first byte to its last. Default 30s.
	ReadTimeout time.Duration `koanf:"read_timeout"`

	// CloseTimeout is how long a client gets to answer a close frame. Default 3s.
	CloseTimeout time.Duration `koanf:"close_timeout"`

	// Compression negotiates permessage-deflate, without context takeover. Default true.
	Compression bool `koanf:"compression"`

	// CompressFrom is the smallest message that is sent compressed. Default 512B.
	CompressFrom bytesize.Size `koanf:"compress_from"`
}

// SlowPolicy is what becomes of publications for a client that does not take them.
type SlowPolicy string

// The policies.
const (
	DropOldest SlowPolicy = "drop-oldest"
	DropNewest SlowPolicy = "drop-newest"
	Disconnect SlowPolicy = "disconnect"
)

// DefaultLimits is where decoding starts.
func DefaultLimits() Limits {
	return Limits{
		Message:       64 * bytesize.KiB,
		Rate:          1000,
		Queue:         256 * bytesize.KiB,
		QueueMessages: 1024,
		Slow:          DropOldest,
		Channels:      256,
		PingInterval:  30 * time.Second,
		PongTimeout:   20 * time.Second,
		WriteTimeout:  15 * time.Second,
		ReadTimeout:   30 * time.Second,
		CloseTimeout:  3 * time.Second,
		Compression:   true,
		CompressFrom:  512,
	}
}

// Defaults is where decoding of limits below a name starts.
func (Limits) Defaults() any { return DefaultLimits() }

// Validate reports every problem.
func (l Limits) Validate() error {
	var errs []error
	report := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }

	if l.Message < 1 || l.Message > bytesize.GiB {
		report("message: must be between 1 byte and 1GiB, got %s", l.Message)
	}
	if l.Queue < 4*bytesize.KiB || l.Queue > bytesize.GiB {
		report("queue: must be between 4KiB and 1GiB, got %s", l.Queue)
	}
	if l.QueueMessages < 1 {
		report("queue_messages: must be at least 1, got %d", l.QueueMessages)
	}
	switch l.Slow {
	case DropOldest, DropNewest, Disconnect:
	default:
		report("slow: there is no policy %q: drop-oldest, drop-newest or disconnect", l.Slow)
	}
	if l.CompressFrom < 0 {
		report("compress_from: must not be negative, got %s", l.CompressFrom)
	}
	for _, n := range []struct {
		name  string
		value int
	}{{"rate", l.Rate}, {"connections", l.Connections}, {"per_ip", l.PerIP}, {"per_user", l.PerUser}} {
		if n.value < 0 {
			report("%s: must not be negative; 0 means no limit, got %d", n.name, n.value)
		}
	}
	if l.Channels < 1 {
		report("channels: must be at least 1, got %d", l.Channels)
	}
	for _, d := range []struct {
		name  string
		value time.Duration
	}{
		{"ping_interval", l.PingInterval}, {"pong_timeout", l.PongTimeout}, {"write_timeout", l.WriteTimeout},
		{"read_timeout", l.ReadTimeout}, {"close_timeout", l.CloseTimeout},
	} {
		if d.value < 100*time.Millisecond || d.value > 24*time.Hour {
			report("%s: must be between 100ms and 24h, got %s", d.name, d.value)
		}
	}
	return errors.Join(errs...)
}

package core

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"time"

	"github.com/edge-server/edge/ws"
	"github.com/edge-server/edge/ws/fleet"
	"github.com/edge-server/edge/ws/nats"
	"github.com/edge-server/edge/ws/redis"
)

// WSBroker joins the WebSockets of several servers: what is published at one reaches the clients of all. A text is the driver.
type WSBroker struct {
	// Driver is memory (this server alone), redis or nats. Default memory.
	Driver string `koanf:"driver"`

	// Prefix is what the keys, subjects and streams of the fleet begin with; servers with the same one are a fleet. Default edge-ws.
	Prefix string `koanf:"prefix"`

	// Lease is how long a server that died keeps its members in channels. Default 15s.
	Lease time.Duration `koanf:"lease"`

	// Timeout bounds each way to the broker and back. What takes longer is done without it. Default 2s.
	Timeout time.Duration `koanf:"timeout"`

	// Queue is how many questions to the broker may be under way; more are done without it. Default 4096.
	Queue int `koanf:"queue"`

	// Redis is read by the driver redis, NATS by the driver nats.
	Redis redis.Config `koanf:"redis"`
	NATS  nats.Config  `koanf:"nats"`
}

// Defaults is where decoding of a present ws.broker section starts.
func (WSBroker) Defaults() any {
	return WSBroker{
		Driver: "memory", Prefix: "edge-ws", Lease: 15 * time.Second, Timeout: 2 * time.Second, Queue: 4096,
		Redis: redis.Config{}.Defaults().(redis.Config), NATS: nats.Config{}.Defaults().(nats.Config),
	}
}

// UnmarshalText makes a broker of the name of its driver.
func (b *WSBroker) UnmarshalText(text []byte) error {
	*b = b.Defaults().(WSBroker)
	b.Driver = string(text)
	return nil
}

// brokerPrefix is what keys of Redis, subjects and names of streams may all begin with.
var brokerPrefix = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

func (b *WSBroker) validate() error {
	var errs []error
	complain := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	defaults := b.Defaults().(WSBroker)
	switch b.Driver {
	case "memory":
	case "redis":
		errs = append(errs, within("redis", b.Redis.Validate()))
	case "nats":
		errs = append(errs, within("nats", b.NATS.Validate()))
	default:
		complain("driver: %q is unknown; write memory, redis or nats", b.Driver)
	}
	if b.Driver != "redis" && !reflect.DeepEqual(b.Redis, defaults.Redis) {
		complain("redis: only the driver redis has it; write driver: redis, or remove the section")
	}
	if b.Driver != "nats" && !reflect.DeepEqual(b.NATS, defaults.NATS) {
		complain("nats: only the driver nats has it; write driver: nats, or remove the section")
	}
	if !brokerPrefix.MatchString(b.Prefix) {
		complain("prefix: must have 1 to 64 letters, digits, _ and -; got %q", b.Prefix)
	}
	if b.Timeout < 10*time.Millisecond || b.Timeout > time.Minute {
		complain("timeout: must be between 10ms and 1m, got %s", b.Timeout)
	}
	if b.Lease < time.Second || b.Lease > time.Hour {
		complain("lease: must be between 1s and 1h, got %s", b.Lease)
	} else if b.Lease < b.Timeout {
		complain("lease: must be longer than timeout (%s), got %s", b.Timeout, b.Lease)
	}
	if b.Queue < 1 || b.Queue > 1_000_000 {
		complain("queue: must be between 1 and 1000000, got %d", b.Queue)
	}
	return errors.Join(errs...)
}

// joins is what matters of the section: nil for a server alone, which it is without one, too.
func (b *WSBroker) joins() *WSBroker {
	if b == nil || b.Driver == "memory" {
		return nil
	}
	return b
}

// newBroker makes the broker of the hub; nil is the one of a single node.
func (e *Edge) newBroker(cfg *WSBroker) ws.Broker {
	if cfg == nil {
		return nil
	}
	var driver fleet.Driver
	switch cfg.Driver {
	case "redis":
		driver = redis.New(cfg.Redis, redis.Options{Prefix: cfg.Prefix + ":", Lease: cfg.Lease, Timeout: cfg.Timeout, Queue: cfg.Queue})
	case "nats":
		driver = nats.New(cfg.NATS, nats.Options{Prefix: cfg.Prefix, Lease: cfg.Lease, Timeout: cfg.Timeout})
	default:
		return nil
	}
	return fleet.New(driver, fleet.Options{
		Name: cfg.Driver, Logger: e.channel("ws"), Lease: cfg.Lease, Timeout: cfg.Timeout, Queue: cfg.Queue,
	})
}

// brokerProblem says what is lost, or "".
func (e *Edge) brokerProblem() string {
	if e.hub == nil {
		return ""
	}
	s := e.hub.Broker()
	if s == nil || s.Lost == 0 {
		return ""
	}
	which := s.Driver
	if s.Parts > 1 {
		which = fmt.Sprintf("%d of %d parts of %s", s.Lost, s.Parts, s.Driver)
	}
	why := strings.ReplaceAll(s.Why, "\n", "; ")
	return "ws broker: " + which + " is lost, publications and members stay on this server: " + why
}

// Package redis joins the nodes of a fleet by a Redis server, a cluster, or a master behind sentinels.
//
// What must happen at once is a script: the position of a publication, its place in the log and its way to the nodes; a member, and
// the announcement. So all nodes see one order. In a cluster the channels are divided into partitions, each in a slot of its own, and
// publications are sharded where the server can (Redis 7), so that they stay on the servers of their slot.
package redis

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/edge-server/edge/ws"
	"github.com/edge-server/edge/ws/fleet"
)

// Options are what a Driver needs beside its section.
type Options struct {
	Prefix  string // of all keys and channels
	Lease   time.Duration
	Timeout time.Duration
	Queue   int
}

// Driver is a fleet.Driver.
type Driver struct {
	cfg    Config
	opts   Options
	client redis.UniversalClient
	pipe   *redis.AutoPipeliner
	node   string
	sink   fleet.Sink

	sharded  bool // the server knows SPUBLISH
	lanes    []*lane
	inFlight atomic.Int64
}

// New makes a driver; Start connects it.
func New(cfg Config, opts Options) *Driver { return &Driver{cfg: cfg, opts: opts} }

// Start is of fleet.Driver.
func (d *Driver) Start(ctx context.Context, node string, sink fleet.Sink) (err error) {
	redis.SetLogger(silence{}) // what it would print is in the errors that operations return
	d.node, d.sink = node, sink
	if d.client, err = d.newClient(); err != nil {
		return fmt.Errorf("ws.broker.redis.%w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, 2*d.opts.Timeout)
	defer cancel()
	if err = d.look(ctx); err == nil {
		o := redis.DefaultAutoPipelineOptions()
		o.MaxQueuedCommands = d.opts.Queue
		d.pipe, err = d.client.AsyncAutoPipelineWithOptions(o)
	}
	if err != nil {
		return fmt.Errorf("ws.broker.redis: %s: %w", d.where(), errors.Join(err, d.client.Close()))
	}
	n := 1
	if d.cfg.EffectiveMode() == ModeCluster {
		n = d.cfg.Partitions
	}
	for i := range n {
		base := d.opts.Prefix
		if d.cfg.EffectiveMode() == ModeCluster {
			base += "{" + strconv.Itoa(i) + "}:"
		}
		d.lanes = append(d.lanes, &lane{driver: d, number: i, base: base})
	}
	return nil
}

// Trips is of fleet.Driver: each question is one script, which the server may not know yet.
func (d *Driver) Trips() int { return 2 }

// look asks the server what it is.
func (d *Driver) look(ctx context.Context) error {
	info, err := d.client.Info(ctx, "server", "cluster").Result()
	if err != nil {
		return err
	}
	cluster := d.cfg.EffectiveMode() == ModeCluster
	if cluster && !strings.Contains(info, "cluster_enabled:1") {
		info, err = d.client.Info(ctx, "cluster").Result() // servers before 7 take one section
		if err == nil && !strings.Contains(info, "cluster_enabled:1") {
			err = errors.New("mode is cluster, and the server is none; write mode: single")
		}
		return err
	}
	if !cluster && strings.Contains(info, "cluster_enabled:1") {
		return errors.New("the server is a cluster; write mode: cluster")
	}
	_, version, _ := strings.Cut(info, "redis_version:")
	major, _, _ := strings.Cut(version, ".")
	n, _ := strconv.Atoi(major)
	d.sharded = cluster && n >= 7
	return nil
}

func (d *Driver) where() string {
	all := strings.Join(d.cfg.Addresses, ",")
	if d.cfg.Master != "" {
		return d.cfg.Master + " of sentinels " + all
	}
	return all
}

// Stop is of fleet.Driver.
func (d *Driver) Stop(context.Context) error {
	for _, l := range d.lanes {
		l.disconnect()
	}
	return errors.Join(d.pipe.Close(), d.client.Close())
}

// Lanes is of fleet.Driver.
func (d *Driver) Lanes() []fleet.Lane {
	list := make([]fleet.Lane, len(d.lanes))
	for i, l := range d.lanes {
		list[i] = l
	}
	return list
}

// passing are answers of a server that cannot serve right now.
var passing = []string{
	"LOADING", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "NOREPLICAS", "BUSY", "MISCONF", "UNBLOCKED", "ERR max number of clients", "OOM",
	"MOVED", "ASK",
}

// Broken is of fleet.Driver.
func (d *Driver) Broken(err error) bool {
	var reply redis.Error
	var network net.Error
	switch {
	case err == nil:
		return false
	case errors.As(err, &network), errors.Is(err, io.EOF), errors.Is(err, context.DeadlineExceeded):
		return true
	case errors.As(err, &reply):
		return slices.ContainsFunc(passing, func(p string) bool { return strings.HasPrefix(err.Error(), p) })
	}
	return true
}

// run runs a script, on the server that serves the lane.
func (l *lane) run(ctx context.Context, script *script, args ...any) (any, error) {
	d := l.driver
	all := make([]any, 0, 4+len(args)+1)
	all = append(all, "evalsha", script.hash, 1, l.base, d.publishCommand())
	all = append(all, args...)
	answer, err := d.do(ctx, all)
	if redis.HasErrorPrefix(err, "NOSCRIPT") {
		all = slices.Clone(all)
		all[0], all[1] = "eval", script.text
		answer, err = d.do(ctx, all)
	}
	return answer, err
}

// do sends a command: together with others if there are any, else alone, which takes half the time. Either way within the timeout.
func (d *Driver) do(ctx context.Context, args []any) (any, error) {
	ctx, cancel := context.WithTimeout(ctx, d.opts.Timeout)
	defer cancel()
	cmd := redis.NewCmd(ctx, args...)
	crowd := d.inFlight.Add(1)
	defer d.inFlight.Add(-1)
	var err error
	if crowd > 1 {
		err = d.pipe.Submit(ctx, once{cmd}).WaitContext(ctx)
		if ctx.Err() != nil && err != nil {
			return nil, err // it is still on its way: nobody looks at it any more
		}
	} else {
		err = d.client.Process(ctx, once{cmd})
	}
	if err != nil {
		d.lookAround(ctx, err)
		return nil, err
	}
	return cmd.Val(), nil
}

// once is a command that go-redis does not try again by itself.
type once struct{ *redis.Cmd }

// NoRetry implements redis.Cmder.
func (once) NoRetry() bool { return true }

// lookAround makes a cluster's client ask who serves what now: a server that is gone does not say so.
func (d *Driver) lookAround(ctx context.Context, err error) {
	if cluster, ok := d.client.(*redis.ClusterClient); ok && d.Broken(err) {
		cluster.ReloadState(ctx)
	}
}

func (d *Driver) publishCommand() string {
	if d.sharded {
		return "SPUBLISH"
	}
	return "PUBLISH"
}

// chanOf is how a channel is called in keys.
func chanOf(a ws.Address) string { return a.Space + "\x00" + a.Channel }

// silence is go-redis' logger.
type silence struct{}

func (silence) Printf(context.Context, string, ...any) {}

func newEpoch() string {
	var b [8]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

var _ fleet.Driver = (*Driver)(nil)

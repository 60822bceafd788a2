package redis

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/edge-server/edge/kv"
)

// noRetries turns go-redis' own retries off: 0 would mean its default.
const noRetries = -1

// maxRedirects is how often a command of a cluster follows a key that moved.
const maxRedirects = 4

func newClient(cfg kv.RedisConfig) (redis.UniversalClient, error) {
	o, err := options(cfg)
	if err != nil {
		return nil, err
	}
	switch cfg.EffectiveMode() {
	case kv.RedisCluster:
		c := o.Cluster()
		// A cluster's redirects are its retries. What must not be sent twice says so itself: see once.
		c.MaxRedirects = maxRedirects
		return redis.NewClusterClient(c), nil
	case kv.RedisSentinel:
		f := o.Failover()
		f.ReplicaOnly = false
		if cfg.ReadFrom == kv.ReadMaster {
			return redis.NewFailoverClient(f), nil
		}
		return redis.NewFailoverClusterClient(f), nil
	}
	return redis.NewClient(o.Simple()), nil
}

func options(cfg kv.RedisConfig) (*redis.UniversalOptions, error) {
	encryption, err := cfg.TLS.Load()
	if err != nil {
		return nil, err
	}
	o := &redis.UniversalOptions{
		ClientName: clientName(cfg.Name),
		DB:         cfg.DB, Username: cfg.Username, Password: cfg.Password,
		SentinelUsername: cfg.SentinelUsername, SentinelPassword: cfg.SentinelPassword,
		MasterName: cfg.Master,
		MaxRetries: noRetries, DialerRetries: 1, MinRetryBackoff: cfg.MinBackoff, MaxRetryBackoff: cfg.MaxBackoff,
		DialTimeout: cfg.DialTimeout, ReadTimeout: cfg.ReadTimeout, WriteTimeout: cfg.WriteTimeout, ContextTimeoutEnabled: true,
		PoolSize: cfg.PoolSize, PoolTimeout: cfg.PoolTimeout, MinIdleConns: cfg.MinIdle,
		ConnMaxIdleTime: cfg.MaxIdleTime, ConnMaxLifetime: cfg.MaxLifetime,
		TLSConfig:                encryption,
		DisableIdentity:          true, // a round trip for nothing on servers before 7.2
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
		ReadOnly:                 cfg.ReadFrom == kv.ReadReplica,
		RouteByLatency:           cfg.ReadFrom == kv.ReadNearest,
		RouteRandomly:            cfg.ReadFrom == kv.ReadAnywhere,
	}
	if o.ConnMaxIdleTime == 0 {
		o.ConnMaxIdleTime = -1
	}
	for _, a := range cfg.Addresses {
		if path, ok := kv.SocketPath(a); ok {
			a = path
		}
		o.Addrs = append(o.Addrs, a)
	}
	return o, nil
}

// clientName is what CLIENT LIST shows. The server takes no spaces and control characters in it.
func clientName(store string) string {
	return "edge:" + strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' {
			return '_'
		}
		return r
	}, store)
}

func where(cfg kv.RedisConfig) string {
	all := strings.Join(cfg.Addresses, ",")
	if cfg.Master != "" {
		return cfg.Master + " of sentinels " + all
	}
	return all
}

func clusterOK(info string) bool { return strings.Contains(info, "cluster_state:ok") }

// master is a server that keys are written to.
type master struct {
	slot   int // the lowest that it serves
	client *redis.Client
}

// masters returns the servers that hold the keys, in the order of their lowest slots, which failovers do not change.
func (s *Store) masters(ctx context.Context) ([]master, error) {
	cluster, ok := s.client.(*redis.ClusterClient)
	if !ok {
		return []master{{client: s.client.(*redis.Client)}}, nil
	}
	if s.mode == kv.RedisSentinel { // one master and its replicas, dressed as a cluster
		one, err := cluster.MasterForKey(ctx, "")
		return []master{{client: one}}, err
	}
	cmd := redis.NewClusterSlotsCmd(ctx, "cluster", "slots") // CLUSTER SHARDS came with Redis 7
	if err := cluster.Process(ctx, cmd); err != nil {
		return nil, err
	}
	lowest := map[string]int{}
	for _, r := range cmd.Val() {
		if len(r.Nodes) == 0 {
			continue
		}
		addr := r.Nodes[0].Addr
		if slot, ok := lowest[addr]; !ok || r.Start < slot {
			lowest[addr] = r.Start
		}
	}
	var mu sync.Mutex
	var all []master
	err := cluster.ForEachMaster(ctx, func(_ context.Context, c *redis.Client) error {
		mu.Lock()
		defer mu.Unlock()
		slot, ok := lowest[c.NodeAddress()]
		if !ok {
			slot, ok = lowest[c.Options().Addr]
		}
		if ok {
			all = append(all, master{slot, c})
		}
		return nil
	})
	if err == nil && len(all) < len(lowest) {
		err = redisError("CLUSTERDOWN the cluster is changing its masters")
	}
	slices.SortFunc(all, func(a, b master) int { return a.slot - b.slot })
	return all, err
}

// redisError is an answer of a server that this driver gives itself.
type redisError string

func (e redisError) Error() string { return string(e) }
func (redisError) RedisError()     {}

var _ redis.Error = redisError("")

// isDial reports whether err is a connection that did not come about.
func isDial(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// Check reports what would keep a store from being opened, apart from a server that does not answer: it asks none.
func Check(cfg kv.RedisConfig) error {
	if _, err := options(cfg); err != nil {
		return fmt.Errorf("redis %s: %w", where(cfg), err)
	}
	return nil
}

package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

//go:embed conf/kv.yaml.tmpl
var kvTemplate string

// kvStore is a server that keeps keys and values, on a unix socket.
type kvStore struct {
	name, about string
	php         string // what php/kv-client.php calls it; "" has no client there
	launch      func(ctx context.Context, space *workspace, srv *server, socket string) error
	get         func(socket string) (getter, error) // a client in Go, one for each caller
}

// getter reads one key.
type getter func() error

const (
	edgeKV      = "edge"
	redisKV     = "redis"
	memcachedKV = "memcached"
)

var kvStores = []kvStore{
	{edgeKV, "Edge's memory driver over RPC; sdk/php without extensions, a bare connection for each caller in Go", "edge", launchEdgeKV, edgeGetter},
	{redisKV, "Redis; the extension phpredis, go-redis with a pool", "redis", launchRedis, redisGetter},
	{memcachedKV, "memcached; gomemcache", "", launchMemcached, memcachedGetter},
}

// kvLoad is one way to read.
type kvLoad struct {
	key, title, about string
	batch             int // keys of one call, by one PHP process
	callers           int // goroutines; 0: PHP
}

var kvLoads = []kvLoad{
	{"php-get", "PHP, one key at a time", "One PHP process, one `get` after the other: what a page of an application does.", 1, 0},
	{"php-batch", "PHP, 50 keys in a call", "`getMultiple` and `mGet`. CPU and rates are those of a key.", 50, 0},
	{"go-64", "Go, 64 callers", "64 goroutines, each with one `get` after the other.", 1, 64},
}

// kvSample is one run.
type kvSample struct {
	PerSec, ServerCPU, ClientCPU float64 // keys, and microseconds for a key; NaN is unknown
}

type kvResult struct {
	store   kvStore
	samples []kvSample
}

// server is the name of the store's process.
func (s kvStore) server() string { return "kv-" + s.name }

// benchKV measures every load in rounds that visit every store, short ones, so that the noise of the machine falls on all alike.
func benchKV(ctx context.Context, opts options, space *workspace, progress io.Writer) (sections []section, err error) {
	var servers []*server
	defer func() { err = errors.Join(err, stopAll(servers)) }()
	for _, store := range kvStores {
		srv := &server{target: target{Name: store.server()}}
		fmt.Fprintf(progress, "starting %s\n", srv.Name)
		servers = append(servers, srv)
		if err := store.launch(ctx, space, srv, space.path(store.name+".sock")); err != nil {
			return nil, fmt.Errorf("store %s: %w", store.name, err)
		}
		if err := awaitSocket(ctx, srv, space.path(store.name+".sock")); err != nil {
			return nil, fmt.Errorf("store %s: %w", store.name, err)
		}
	}
	machine := describeMachine(ctx, space)
	byLoad := map[string][]kvResult{}
	for round := range opts.kvRounds + 1 { // the first one warms
		for _, load := range kvLoads {
			if err := load.run(ctx, opts, space, servers, byLoad, round, progress); err != nil {
				return nil, interrupted(ctx, fmt.Errorf("%s: %w", load.key, err))
			}
		}
	}
	for _, load := range kvLoads {
		sections = append(sections, kvSection(load, byLoad[load.key], opts, machine))
	}
	duels, err := benchKVDrivers(ctx, opts, space, progress)
	if err != nil {
		return nil, err
	}
	for _, r := range duels {
		sections = append(sections, kvDriverSection(r, opts, machine))
	}
	return append([]section{kvBars(byLoad, duels)}, sections...), nil
}

func awaitSocket(ctx context.Context, srv *server, socket string) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		conn, err := net.Dial("unix", socket)
		if err == nil {
			return conn.Close()
		}
		if dead := srv.died(); dead != nil {
			return dead
		}
		select {
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("not ready: %w", err), srv.logs())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// run is one round of a load: every store that has a client for it, each round beginning with another one.
func (l kvLoad) run(
	ctx context.Context, opts options, space *workspace, servers []*server, byLoad map[string][]kvResult, round int, progress io.Writer,
) error {
	results := byLoad[l.key]
	if results == nil {
		for _, store := range kvStores {
			if l.callers > 0 || store.php != "" {
				results = append(results, kvResult{store: store})
			}
		}
		byLoad[l.key] = results
	}
	for turn := range results {
		r := &results[(round+turn)%len(results)]
		srv := servers[slices.IndexFunc(servers, func(s *server) bool { return s.Name == r.store.server() })]
		one, err := l.drive(ctx, opts, space, r.store, srv)
		if err != nil {
			return errors.Join(fmt.Errorf("%s: %w", r.store.name, err), srv.died())
		}
		if round == 0 {
			continue
		}
		r.samples = append(r.samples, one)
		fmt.Fprintf(progress, "kv %s %d/%d %-10s %9.0f keys/s  server %.1f µs/key\n", l.key, round, opts.kvRounds, r.store.name, one.PerSec, one.ServerCPU)
	}
	return nil
}

func (l kvLoad) drive(ctx context.Context, opts options, space *workspace, store kvStore, srv *server) (kvSample, error) {
	before, _, err := srv.usage()
	if err != nil {
		return kvSample{}, err
	}
	var got kvRun
	if l.callers > 0 {
		got, err = l.goClients(ctx, store, space.path(store.name+".sock"), opts.kvDuration)
	} else {
		got, err = l.phpClient(ctx, store, space, opts.kvDuration)
	}
	if err != nil {
		return kvSample{}, err
	}
	after, _, err := srv.usage()
	return kvSample{
		PerSec:    got.Keys / got.Seconds,
		ServerCPU: microseconds(after.server-before.server) / got.Keys,
		ClientCPU: got.CPU * 1e6 / got.Keys,
	}, err
}

// kvRun is what a client says about itself.
type kvRun struct{ Keys, Seconds, CPU float64 }

func (l kvLoad) phpClient(ctx context.Context, store kvStore, space *workspace, duration time.Duration) (kvRun, error) {
	args := slices.Concat(opcacheSettings, []string{filepath.Join(space.php, "kv-client.php"), store.php, space.path(store.name + ".sock"),
		strconv.Itoa(l.batch), strconv.FormatFloat(duration.Seconds(), 'f', -1, 64)})
	cmd := exec.CommandContext(ctx, space.tool["php"], args...)
	var errText strings.Builder
	cmd.Stderr = &errText
	out, err := cmd.Output()
	if err != nil {
		return kvRun{}, fmt.Errorf("php: %w\n%s%s", err, out, errText.String())
	}
	var got kvRun
	if err := json.Unmarshal(out, &got); err != nil {
		return kvRun{}, fmt.Errorf("php printed %q: %w", out, err)
	}
	return got, nil
}

func launchEdgeKV(ctx context.Context, space *workspace, srv *server, socket string) error {
	binary, err := space.edgeBinary(ctx)
	if err != nil {
		return err
	}
	address, err := freeAddress()
	if err != nil {
		return err
	}
	data := struct {
		edgeData
		Socket string
	}{edgeData{workspace: space, Address: address, StateDir: space.path("kv.state")}, "unix://" + socket}
	config, err := space.render("kv.yaml", kvTemplate, data)
	if err != nil {
		return err
	}
	return srv.run(space, "server", binary, "serve", "-c", config)
}

func launchRedis(_ context.Context, space *workspace, srv *server, socket string) error {
	return srv.run(space, "server", space.tool["redis-server"], "--port", "0", "--unixsocket", socket, "--save", "", "--appendonly", "no", "--dir", space.Dir)
}

func launchMemcached(_ context.Context, space *workspace, srv *server, socket string) error {
	args := []string{space.tool["memcached"], "-s", socket, "-t", "2"}
	if os.Geteuid() == 0 {
		args = append(args, "-u", "root")
	}
	return srv.run(space, "server", args...)
}

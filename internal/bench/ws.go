package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"time"
)

//go:embed conf/ws.yaml.tmpl
var wsTemplate string

// wsTarget is a server of WebSockets.
type wsTarget struct {
	name, about string
	launch      func(ctx context.Context, space *workspace, srv *server) error
	echo        string                                       // the path of an echo
	listen      string                                       // the path of those who listen,
	hello       string                                       // what they send first,
	publish     func(ctx context.Context, base string) error // what publishes wsPayload to them,
	frame       int                                          // and how many bytes each of them then gets
}

const (
	edgeWS    = "edge"
	gorillaWS = "gorilla"

	wsEchoes    = 64
	wsListeners = 2000
)

var wsTargets = []wsTarget{
	{
		edgeWS, "Edge: the echo by two PHP workers, the publication by the HTTP API of Pusher", launchEdgeWS,
		"/echo", "/app/key?protocol=7", `{"event":"pusher:subscribe","data":{"channel":"all"}}`, publishPusher, wsPusherFrame,
	},
	{
		gorillaWS, "net/http and gorilla/websocket with its defaults, nothing behind it: a prepared message to one connection after the other",
		launchGorilla, "/echo", "/listen", "", publishGorilla, 2 + 2 + len(wsPayload),
	},
}

// wsLoad is one thing to do.
type wsLoad struct {
	key, title, about, unit string

	// run connects, calls begin, and counts what is done until duration is over.
	run func(ctx context.Context, t wsTarget, srv *server, duration time.Duration, begin func()) (done float64, err error)
}

var wsLoads = []wsLoad{
	{"echo", "echo", fmt.Sprintf("%d connections, each with one message of 128 bytes after the other.", wsEchoes), "round trips", driveEcho},
	{
		"fan-out", "fan-out", fmt.Sprintf("A message of 128 bytes to %d connections, the next when all have it: each leaves alone.", wsListeners),
		"deliveries", driveFanOut,
	},
}

// wsSample is one run.
type wsSample struct{ PerSec, ServerCPU float64 } // microseconds for one

type wsResult struct {
	target  wsTarget
	samples []wsSample
}

func (t wsTarget) server() string { return "ws-" + t.name }

// benchWS measures in rounds that visit every server, so that the noise of the machine falls on all alike.
func benchWS(ctx context.Context, opts options, space *workspace, progress io.Writer) (sections []section, err error) {
	var servers []*server
	defer func() { err = errors.Join(err, stopAll(servers)) }()
	for _, t := range wsTargets {
		srv := &server{target: target{Name: t.server()}}
		fmt.Fprintf(progress, "starting %s\n", srv.Name)
		servers = append(servers, srv)
		if err := t.launch(ctx, space, srv); err != nil {
			return nil, fmt.Errorf("server %s: %w", t.name, err)
		}
		if err := awaitWS(ctx, srv, t); err != nil {
			return nil, fmt.Errorf("server %s: %w", t.name, err)
		}
	}
	machine := describeMachine(ctx, space)
	for _, load := range wsLoads {
		results := make([]wsResult, len(wsTargets))
		for round := range opts.wsRounds + 1 { // the first one warms
			for turn := range wsTargets {
				i := (round + turn) % len(wsTargets)
				results[i].target = wsTargets[i]
				one, err := load.sample(ctx, wsTargets[i], servers[i], opts.wsDuration)
				if err != nil {
					return nil, interrupted(ctx, errors.Join(fmt.Errorf("ws %s: %s: %w", load.key, wsTargets[i].name, err), servers[i].died()))
				}
				if round == 0 {
					continue
				}
				results[i].samples = append(results[i].samples, one)
				fmt.Fprintf(progress, "ws %s %d/%d %-10s %9.0f/s  server %.2f µs\n", load.key, round, opts.wsRounds, wsTargets[i].name, one.PerSec, one.ServerCPU)
			}
		}
		sections = append(sections, wsSection(load, results, opts, machine))
	}
	return sections, nil
}

func (l wsLoad) sample(ctx context.Context, t wsTarget, srv *server, duration time.Duration) (wsSample, error) {
	var before usage
	var began time.Time
	var failed error
	done, err := l.run(ctx, t, srv, duration, func() {
		before, _, failed = srv.usage()
		began = time.Now()
	})
	took := time.Since(began)
	after, _, last := srv.usage()
	return wsSample{done / took.Seconds(), microseconds(after.server-before.server) / done}, errors.Join(err, failed, last)
}

func awaitWS(ctx context.Context, srv *server, t wsTarget) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		conn, err := dialWS(ctx, srv.base, t.echo)
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

func launchEdgeWS(ctx context.Context, space *workspace, srv *server) error {
	binary, err := space.edgeBinary(ctx)
	if err != nil {
		return err
	}
	address, err := freeAddress()
	if err != nil {
		return err
	}
	srv.base = "http://" + address
	data := edgeData{workspace: space, Address: address, StateDir: space.path("ws.state")}
	data.Command = slices.Concat([]string{space.tool["php"]}, opcacheSettings, []string{filepath.Join(space.php, "ws-echo.php")})
	config, err := space.render("ws.yaml", wsTemplate, data)
	if err != nil {
		return err
	}
	return srv.run(space, "server", binary, "serve", "-c", config)
}

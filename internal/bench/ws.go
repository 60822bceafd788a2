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
	echo        string                                              // the path of an echo
	listen      string                                              // the path of those who listen,
	hello       string                                              // what they send first,
	publish     func(ctx context.Context, base string, n int) error // what publishes wsPayload to them, n times,
	frame       int                                                 // and how many bytes each of them gets of one
	events      eventSource
}

const (
	edgeWS    = "edge"
	gorillaWS = "gorilla"

	wsEchoes    = 64
	wsListeners = 2000
	wsBurst     = 10 // what one call of Pusher's HTTP API may have
)

var wsTargets = []wsTarget{
	{
		edgeWS, "Edge: the echo by two PHP workers, the publication by the HTTP API of Pusher", launchEdgeWS,
		"/echo", "/app/key?protocol=7", `{"event":"pusher:subscribe","data":{"channel":"all"}}`, publishPusher, wsPusherFrame, mercureEvents,
	},
	{
		gorillaWS, "net/http and gorilla/websocket with its defaults, nothing behind it: a prepared message to one connection after the other",
		launchGorilla, "/echo", "/listen", "", publishGorilla, 2 + 2 + len(wsPayload), plainSource,
	},
}

// wsLoad is one thing to do.
type wsLoad struct {
	key, title, about, unit string

	// run connects, counts what is done until duration is over, and disconnects; the watch sees what is between.
	run func(ctx context.Context, t wsTarget, srv *server, duration time.Duration, watch *wsWatch) (done float64, err error)

	figure bool // what run returns is the figure, the smaller the better, and no count
	once   bool // the first time counts, since a server that was busy before has memory to spare; there is no other
	fresh  bool // so servers must have just started
}

var wsLoads = []wsLoad{
	{
		key: "idle", title: "memory of idle connections", unit: "bytes for one", run: driveIdle, figure: true, once: true,
		about: fmt.Sprintf("%d connections that listen to one channel and get nothing, plain, in what the system counts as the server's memory.", wsCrowd),
	},
	{
		key: "echo", title: "echo", unit: "round trips", run: driveEcho, fresh: true, // the collections above are none of their own
		about: fmt.Sprintf("%d connections, each with one message of 128 bytes after the other.", wsEchoes),
	},
	{
		key: "fan-out", title: "fan-out", unit: "deliveries", run: driveFanOut,
		about: fmt.Sprintf("A message of 128 bytes to %d connections, the next when all have it: each leaves alone.", wsListeners),
	},
	{
		key: "burst", title: "fan-out of bursts", unit: "deliveries", run: driveBursts,
		about: fmt.Sprintf("%d messages of 128 bytes at once to %d connections, the next when all have them: they may leave together.", wsBurst, wsListeners),
	},
	{
		key: "broadcast", title: "broadcast", unit: "ms", run: driveBroadcast, figure: true,
		about: fmt.Sprintf("When 99 of 100 of %d connections have a message of 128 bytes.", wsCrowd),
	},
	{
		key: "idle-streams", title: "memory of idle event streams", unit: "bytes for one", run: driveIdleEvents, figure: true, once: true, fresh: true,
		about: fmt.Sprintf("%d streams of Server-Sent Events that get nothing: Edge's of Mercure, beside net/http with a channel for each.", wsCrowd),
	},
	{
		key: "events", title: "events", unit: "deliveries", run: driveEvents,
		about: fmt.Sprintf("An event with 128 bytes of data to %d streams of Server-Sent Events, the next when all have it: Edge's of Mercure without history, beside net/http with a channel for each.", wsListeners),
	},
}

func (l wsLoad) name() string { return l.key }

// wsSample is one run.
type wsSample struct {
	PerSec    float64 // or the figure
	ServerCPU float64 // microseconds for one
}

type wsResult struct {
	target  wsTarget
	samples []wsSample
}

func (t wsTarget) server() string { return "ws-" + t.name }

// benchWS measures in rounds that visit every server, so that the noise of the machine falls on all alike.
func benchWS(ctx context.Context, opts options, space *workspace, progress io.Writer) (sections []section, err error) {
	var servers []*server
	defer func() { err = errors.Join(err, stopAll(servers)) }()
	measured := map[string][]wsResult{}
	for _, load := range opts.wsLoads {
		if servers == nil || load.fresh {
			stopped := stopAll(servers)
			if servers, err = startWS(ctx, space, progress); err != nil || stopped != nil {
				return nil, errors.Join(err, stopped)
			}
		}
		results := make([]wsResult, len(wsTargets))
		rounds := opts.wsRounds + 1 // the first one warms
		if load.once {
			rounds = 1
		}
		for round := range rounds {
			for turn := range wsTargets {
				i := (round + turn) % len(wsTargets)
				results[i].target = wsTargets[i]
				one, err := load.sample(ctx, wsTargets[i], servers[i], opts.wsDuration)
				if err != nil {
					return nil, interrupted(ctx, errors.Join(fmt.Errorf("ws %s: %s: %w", load.key, wsTargets[i].name, err), servers[i].died()))
				}
				if round == 0 && !load.once {
					continue
				}
				results[i].samples = append(results[i].samples, one)
				fmt.Fprintf(progress, "ws %s %d/%d %-10s %9.0f %s\n", load.key, round, opts.wsRounds, wsTargets[i].name, one.PerSec, load.unit)
			}
		}
		sections = append(sections, wsSection(load, results, opts, describeMachine(ctx, space)))
		measured[load.key] = results
	}
	return append([]section{wsBarSection(measured)}, sections...), nil
}

// startWS starts all of them. Those that have started are in the list in any case.
func startWS(ctx context.Context, space *workspace, progress io.Writer) (servers []*server, err error) {
	for _, t := range wsTargets {
		srv := &server{target: target{Name: t.server()}}
		fmt.Fprintf(progress, "starting %s\n", srv.Name)
		servers = append(servers, srv)
		if err := t.launch(ctx, space, srv); err != nil {
			return servers, fmt.Errorf("server %s: %w", t.name, err)
		}
		if err := awaitWS(ctx, srv, t); err != nil {
			return servers, fmt.Errorf("server %s: %w", t.name, err)
		}
	}
	return servers, nil
}

func (l wsLoad) sample(ctx context.Context, t wsTarget, srv *server, duration time.Duration) (wsSample, error) {
	watch := &wsWatch{usage: srv.usage}
	done, err := l.run(ctx, t, srv, duration, watch)
	if err = errors.Join(err, watch.failed); err != nil || l.figure {
		return wsSample{PerSec: done}, err
	}
	return wsSample{done / watch.took.Seconds(), microseconds(watch.server) / done}, nil
}

// wsWatch takes the time from begin to end, and what the server computes meanwhile.
type wsWatch struct {
	usage  func() (now usage, known bool, err error)
	began  time.Time
	took   time.Duration
	server time.Duration
	failed error
}

func (w *wsWatch) begin() {
	now, _, err := w.usage()
	w.server, w.failed, w.began = -now.server, errors.Join(w.failed, err), time.Now()
}

func (w *wsWatch) end() {
	w.took = time.Since(w.began)
	now, _, err := w.usage()
	w.server, w.failed = w.server+now.server, errors.Join(w.failed, err)
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
	srv.collect, srv.socket = "http://admin/debug/pprof/heap?gc=1", filepath.Join(data.StateDir, "admin.sock")
	return srv.run(space, "server", binary, "serve", "-c", config)
}

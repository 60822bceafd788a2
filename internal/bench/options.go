package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net/url"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// peersVariable adds servers by address: name=url, comma-separated.
const peersVariable = "BENCH_PEERS"

// options is the command line.
type options struct {
	scenarios   []scenario
	targets     []target
	load        load  // but for the number of connections
	connections []int // what -connections said; nil: those of the scenarios
	runs        int
	partial     string // what -target said
	out         string // a Markdown file whose sections are replaced; "" prints only
	peers       []peer

	kvOnly     bool // the key-value stores alone
	kvRounds   int
	kvDuration time.Duration

	wsOnly     bool // WebSockets alone
	wsRounds   int
	wsDuration time.Duration
	wsLoads    []wsLoad

	wasmOnly bool // plugins alone

	filesOnly    bool // files alone
	fileRounds   int
	fileDuration time.Duration // whole seconds
}

// isAside reports whether something else than scenarios and targets is measured.
func (o options) isAside() bool { return o.kvOnly || o.wsOnly || o.wasmOnly || o.filesOnly }

func parseOptions(args []string, getenv func(string) string, usage io.Writer) (options, error) {
	var opts options
	var scenarioNames, connections, wsNames string
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(usage)
	flags.StringVar(&scenarioNames, "scenario", "", "comma-separated scenarios, of "+joinNames(scenarios)+" (default all)")
	flags.StringVar(&opts.partial, "target", "", "comma-separated targets, of "+joinNames(targets)+" (default all)")
	flags.IntVar(&opts.runs, "runs", 5, "runs per target; their median is reported")
	flags.DurationVar(&opts.load.duration, "duration", 4*time.Second, "length of one run, in whole seconds")
	flags.StringVar(&connections, "connections", "", "comma-separated numbers of keep-alive connections (default those of the scenarios)")
	flags.IntVar(&opts.load.threads, "threads", min(2, runtime.NumCPU()), "threads of wrk")
	flags.BoolVar(&opts.kvOnly, "kv", false, "only the key-value stores, which takes less than a minute")
	flags.IntVar(&opts.kvRounds, "kv-runs", 9, "runs per key-value store and load")
	flags.DurationVar(&opts.kvDuration, "kv-duration", 500*time.Millisecond, "length of one of them")
	flags.BoolVar(&opts.wsOnly, "ws", false, "only WebSockets, which takes less than a minute")
	flags.IntVar(&opts.wsRounds, "ws-runs", 5, "runs per server of WebSockets and load")
	flags.DurationVar(&opts.wsDuration, "ws-duration", 2*time.Second, "length of one of them")
	flags.StringVar(&wsNames, "ws-load", "", "comma-separated loads of WebSockets, of "+joinNames(wsLoads)+" (default all)")
	flags.BoolVar(&opts.wasmOnly, "wasm", false, "only plugins, beside http-wasm-host-go, which takes about a minute")
	flags.BoolVar(&opts.filesOnly, "files", false, "only files, beside http.FileServer and Caddy, which takes two minutes")
	flags.IntVar(&opts.fileRounds, "files-runs", 5, "runs per server of files and protocol")
	flags.DurationVar(&opts.fileDuration, "files-duration", 2*time.Second, "length of one of them, in whole seconds")
	flags.StringVar(&opts.out, "out", "", "Markdown `file` whose sections are replaced (default print only)")
	if err := flags.Parse(args); err != nil {
		return options{}, err
	}

	var errs [6]error
	opts.scenarios, errs[0] = choose("scenario", scenarios, scenarioNames)
	opts.targets, errs[1] = choose("target", targets, opts.partial)
	opts.peers, errs[2] = parsePeers(getenv(peersVariable))
	opts.connections, errs[3] = parseConnections(connections)
	opts.wsLoads, errs[5] = choose("ws-load", wsLoads, wsNames)
	for _, p := range opts.peers {
		opts.targets = append(opts.targets, p.target())
	}
	if flags.NArg() > 0 {
		errs[4] = fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if opts.partial != "" && opts.out != "" {
		return options{}, errors.New("-target and -out exclude each other: results are published of all targets or not at all")
	}
	if wsNames != "" && (!opts.wsOnly || opts.out != "") {
		return options{}, errors.New("-ws-load wants -ws, and no -out: the bars are of all loads")
	}
	return opts, errors.Join(append(errs[:], opts.validate())...)
}

func (o options) validate() error {
	var errs []error
	if o.kvRounds < 1 || o.kvDuration < 100*time.Millisecond {
		errs = append(errs, errors.New("-kv-runs must be at least 1, -kv-duration at least 100ms, since CPU is counted in ticks of 10ms"))
	}
	if o.wsRounds < 1 || o.wsDuration < 100*time.Millisecond {
		errs = append(errs, errors.New("-ws-runs must be at least 1, -ws-duration at least 100ms, since CPU is counted in ticks of 10ms"))
	}
	if o.fileRounds < 1 || o.fileDuration < time.Second || o.fileDuration%time.Second != 0 {
		errs = append(errs, errors.New("-files-runs must be at least 1, -files-duration whole seconds, which is all wrk takes"))
	}
	if o.runs < 1 {
		errs = append(errs, fmt.Errorf("-runs: must be at least 1, got %d", o.runs))
	}
	if o.load.duration < time.Second || o.load.duration%time.Second != 0 {
		errs = append(errs, fmt.Errorf("-duration: must be whole seconds, which is all wrk takes; got %s", o.load.duration))
	}
	if o.load.threads < 1 {
		errs = append(errs, fmt.Errorf("-threads: must be at least 1, got %d", o.load.threads))
	}
	for _, s := range o.scenarios {
		if !slices.ContainsFunc(o.targets, func(t target) bool { return t.peer || s.servedBy(t.Name) }) {
			errs = append(errs, fmt.Errorf("-target: none of %s serves the scenario %s", joinNames(o.targets), s.Name))
		}
	}
	return errors.Join(errs...)
}

// isPartial reports whether only some scenarios or numbers of connections are measured.
func (o options) isPartial() bool {
	return len(o.scenarios) < len(scenarios) || o.connections != nil
}

// parseConnections reads -connections.
func parseConnections(text string) ([]int, error) {
	if text == "" {
		return nil, nil
	}
	var list []int
	for item := range strings.SplitSeq(text, ",") {
		n, err := strconv.Atoi(item)
		if err != nil || n < 1 || slices.Contains(list, n) {
			return nil, fmt.Errorf("-connections: must be different numbers of at least 1, such as 1,16; got %q", text)
		}
		list = append(list, n)
	}
	return list, nil
}

// measurements is what the command line asks for, in the order of the table.
func (o options) measurements() []measurement {
	var list []measurement
	for _, s := range o.scenarios {
		numbers := o.connections
		if numbers == nil {
			numbers = append([]int{connectionsOfAll}, s.More...)
		}
		for _, n := range numbers {
			m := measurement{scenario: s, load: o.load}
			m.load.connections = n
			m.load.threads = min(o.load.threads, n)
			// Only a choice by name brings the other targets to the other numbers of connections.
			few := n != connectionsOfAll && o.partial == "" && o.connections == nil
			for _, t := range o.targets {
				if t.peer || s.servedBy(t.Name) && (!few || slices.Contains(essentials, t.Name)) {
					m.targets = append(m.targets, t.Name)
				}
			}
			list = append(list, m)
		}
	}
	return list
}

// servers returns a server for every target and application that the measurements need.
func (o options) servers() []*server {
	var list []*server
	for _, t := range o.targets {
		if t.peer {
			list = append(list, &server{target: t})
			continue
		}
		for _, a := range apps {
			needed := func(m measurement) bool { return m.scenario.App == a.name && slices.Contains(m.targets, t.Name) }
			if slices.ContainsFunc(o.measurements(), needed) {
				list = append(list, &server{target: t, app: a})
			}
		}
	}
	return list
}

// command is the command line that repeats one measurement.
func (o options) command(m measurement) string {
	var b strings.Builder
	if len(o.peers) > 0 {
		var list []string
		for _, p := range o.peers {
			list = append(list, p.name+"="+p.base.Redacted())
		}
		fmt.Fprintf(&b, "%s=%s ", peersVariable, strings.Join(list, ","))
	}
	fmt.Fprintf(&b, "go run ./internal/bench -scenario %s -runs %d -duration %s -connections %d -threads %d",
		m.scenario.Name, o.runs, o.load.duration, m.load.connections, m.load.threads)
	var own []string
	for _, name := range m.targets {
		if !slices.ContainsFunc(o.peers, func(p peer) bool { return p.name == name }) {
			own = append(own, name)
		}
	}
	if o.partial != "" || m.load.connections != connectionsOfAll {
		b.WriteString(" -target " + strings.Join(own, ","))
	}
	return b.String()
}

// named is a row of one of the tables: scenarios, targets, loads of WebSockets.
type named interface{ name() string }

// choose picks rows by name, in the order of the table; no names means all rows.
func choose[T named](kind string, all []T, names string) ([]T, error) {
	if names == "" {
		return slices.Clone(all), nil
	}
	wanted := strings.Split(names, ",")
	var chosen []T
	for _, row := range all {
		if i := slices.Index(wanted, row.name()); i >= 0 {
			chosen = append(chosen, row)
			wanted = slices.DeleteFunc(wanted, func(name string) bool { return name == row.name() })
		}
	}
	if len(wanted) > 0 {
		return nil, fmt.Errorf("-%s: no %s is called %q; there are %s", kind, kind, wanted[0], joinNames(all))
	}
	return chosen, nil
}

func joinNames[T named](rows []T) string {
	var list []string
	for _, row := range rows {
		list = append(list, row.name())
	}
	return strings.Join(list, ", ")
}

// parsePeers reads BENCH_PEERS.
func parsePeers(text string) ([]peer, error) {
	if text == "" {
		return nil, nil
	}
	var peers []peer
	for item := range strings.SplitSeq(text, ",") {
		name, address, _ := strings.Cut(strings.TrimSpace(item), "=")
		base, err := url.Parse(address)
		if err != nil || name == "" || base.Scheme != "http" || base.Host == "" || base.RawQuery != "" || base.Fragment != "" {
			return nil, fmt.Errorf("%s: %q is not of the form name=http://host:port", peersVariable, item)
		}
		if strings.ContainsAny(name, "|`<>\r\n") {
			return nil, fmt.Errorf("%s: the name %q would break a Markdown table", peersVariable, name)
		}
		taken := func(p peer) bool { return p.name == name }
		if slices.ContainsFunc(peers, taken) || slices.ContainsFunc(targets, func(t target) bool { return t.Name == name }) {
			return nil, fmt.Errorf("%s: the name %q is taken", peersVariable, name)
		}
		base.Path = strings.TrimSuffix(base.Path, "/")
		peers = append(peers, peer{name, base})
	}
	return peers, nil
}

package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"time"
)

// peersVariable adds servers by address: name=url, comma-separated.
const peersVariable = "BENCH_PEERS"

// options is the command line.
type options struct {
	scenarios []scenario
	targets   []target
	load      load
	runs      int
	partial   string // what -target said
	out       string // a Markdown file whose sections are replaced; "" prints only
	peers     []peer
}

func parseOptions(args []string, getenv func(string) string, usage io.Writer) (options, error) {
	var opts options
	var scenarioNames string
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(usage)
	flags.StringVar(&scenarioNames, "scenario", "", "comma-separated scenarios, of "+joinNames(scenarios)+" (default all)")
	flags.StringVar(&opts.partial, "target", "", "comma-separated targets, of "+joinNames(targets)+" (default all)")
	flags.IntVar(&opts.runs, "runs", 5, "runs per target; their median is reported")
	flags.DurationVar(&opts.load.duration, "duration", 5*time.Second, "length of one run, in whole seconds")
	flags.IntVar(&opts.load.connections, "connections", 16, "keep-alive connections")
	flags.IntVar(&opts.load.threads, "threads", min(2, runtime.NumCPU()), "threads of wrk")
	flags.StringVar(&opts.out, "out", "", "Markdown `file` whose sections are replaced (default print only)")
	if err := flags.Parse(args); err != nil {
		return options{}, err
	}

	var errs [4]error
	opts.scenarios, errs[0] = choose("scenario", scenarios, scenarioNames)
	opts.targets, errs[1] = choose("target", targets, opts.partial)
	opts.peers, errs[2] = parsePeers(getenv(peersVariable))
	for _, p := range opts.peers {
		opts.targets = append(opts.targets, p.target())
	}
	if flags.NArg() > 0 {
		errs[3] = fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if opts.partial != "" && opts.out != "" {
		return options{}, errors.New("-target and -out exclude each other: results are published of all targets or not at all")
	}
	return opts, errors.Join(append(errs[:], opts.validate())...)
}

func (o options) validate() error {
	var errs []error
	if o.runs < 1 {
		errs = append(errs, fmt.Errorf("-runs: must be at least 1, got %d", o.runs))
	}
	if o.load.duration < time.Second || o.load.duration%time.Second != 0 {
		errs = append(errs, fmt.Errorf("-duration: must be whole seconds, which is all wrk takes; got %s", o.load.duration))
	}
	if o.load.threads < 1 || o.load.connections < o.load.threads {
		errs = append(errs, fmt.Errorf("-threads: must be between 1 and -connections (%d), got %d", o.load.connections, o.load.threads))
	}
	return errors.Join(errs...)
}

// command is the command line that repeats the measurement of one scenario.
func (o options) command(s scenario) string {
	var b strings.Builder
	if len(o.peers) > 0 {
		var list []string
		for _, p := range o.peers {
			list = append(list, p.name+"="+p.base.Redacted())
		}
		fmt.Fprintf(&b, "%s=%s ", peersVariable, strings.Join(list, ","))
	}
	fmt.Fprintf(&b, "go run ./internal/bench -scenario %s -runs %d -duration %s -connections %d -threads %d",
		s.Name, o.runs, o.load.duration, o.load.connections, o.load.threads)
	if o.partial != "" {
		b.WriteString(" -target " + o.partial)
	}
	return b.String()
}

// named is a row of one of the two tables, scenarios and targets.
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

// peer is a server that runs already.
type peer struct {
	name string
	base *url.URL
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

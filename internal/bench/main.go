// Command bench measures Edge beside the servers that people would run instead: `make bench`.
//
// A target is a server under test: Edge in several shapes, nginx with php-fpm, bare Go net/http, and whatever BENCH_PEERS
// names by address. A scenario is one request and the answer that every target must give to it, byte for byte; it is measured
// at one or more numbers of connections. All targets run at once, one server for each application that it serves, as real
// processes on free loopback ports with their files in a temporary folder; wrk drives one at a time, in rounds that visit
// every target, so that a noisy minute of the machine falls on all of them alike. At the end, what the project promises (the
// bars) stands beside what was measured.
//
// The figures that count are ratios within one run. Nothing is left out: minimum, median and maximum of all runs are
// printed, and one wrong answer ends the run without a result.
//
// To add a scenario: one value in scenario.go and one file in php/scenarios. To add a target: one value in target.go. To add a
// framework's application: one value in app.go. To add a bar: one value in bars.go.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	// SIGHUP too: closing the terminal must not leave servers behind.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	err := run(ctx, os.Args[1:], os.Getenv, os.Stdout, os.Stderr)
	stop()
	if errors.Is(err, flag.ErrHelp) {
		os.Exit(2)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// run is the program. The report goes to stdout, progress to stderr.
func run(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) error {
	if len(args) == 3 && args[0] == bareGoCommand {
		return serveBareGo(ctx, args[1], args[2])
	}
	if len(args) == 2 && args[0] == gorillaCommand {
		return serveGorilla(ctx, args[1])
	}
	if len(args) == 6 && args[0] == filesCommand {
		return serveFiles(ctx, fileSite{folder: args[1], cert: args[2], key: args[3], plain: args[4], tls: args[5]})
	}
	opts, err := parseOptions(args, getenv, stderr)
	if err != nil {
		return err
	}
	sections, err := bench(ctx, opts, stderr)
	if err != nil {
		return err
	}
	for _, s := range sections {
		fmt.Fprintln(stdout, s.text)
	}
	if opts.out == "" {
		return nil
	}
	if opts.isPartial() && !opts.isAside() {
		sections = sections[1:] // the bars of a full run stay
	}
	return publish(opts.out, sections)
}

// bench starts every target, measures every scenario and stops what it started, whatever happens.
func bench(ctx context.Context, opts options, progress io.Writer) (sections []section, err error) {
	space, err := newWorkspace(opts.scenarios)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, space.remove()) }()

	if opts.isAside() {
		opts.targets = nil
	}
	all := !opts.isPartial() && opts.partial == "" && !opts.isAside()
	stores := opts.kvOnly || all
	if err := space.findTools(opts.targets, stores, opts.wsOnly || all, opts.wasmOnly || all, opts.filesOnly || all); err != nil {
		return nil, err
	}
	if opts.kvOnly {
		return benchKV(ctx, opts, space, progress)
	}
	if opts.wsOnly {
		return benchWS(ctx, opts, space, progress)
	}
	if opts.wasmOnly {
		return benchWasm(ctx, opts, space, progress)
	}
	if opts.filesOnly {
		return benchFiles(ctx, opts, space, progress)
	}
	opts.load.program = space.tool["wrk"]

	servers := opts.servers()
	defer func() { err = errors.Join(err, stopAll(servers)) }()
	for _, srv := range servers {
		fmt.Fprintf(progress, "starting %s\n", srv.title())
		if err := srv.start(ctx, space, progress); err != nil {
			return nil, interrupted(ctx, fmt.Errorf("target %s: %w", srv.title(), err))
		}
	}
	machine := describeMachine(ctx, space)
	var measured []measurement
	for _, m := range opts.measurements() {
		m.results, err = m.run(ctx, servers, opts.runs, progress)
		if err != nil {
			return nil, interrupted(ctx, fmt.Errorf("scenario %s: %w", m.scenario.Name, err))
		}
		measured = append(measured, m)
		sections = append(sections, newSection(m, opts, machine, time.Now()))
	}
	if all {
		for _, more := range []func(context.Context, options, *workspace, io.Writer) ([]section, error){benchKV, benchWS, benchWasm, benchFiles} {
			rows, err := more(ctx, opts, space, progress)
			if err != nil {
				return nil, err
			}
			sections = append(sections, rows...)
		}
	}
	return append([]section{barSection(measured)}, sections...), nil
}

// interrupted spares people who pressed Ctrl-C the errors that it caused.
func interrupted(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return errors.New("interrupted; no results")
	}
	return err
}

// stopAll stops in the reverse order of the starts.
func stopAll(servers []*server) error {
	var errs []error
	for i := len(servers) - 1; i >= 0; i-- {
		errs = append(errs, servers[i].stop())
	}
	return errors.Join(errs...)
}

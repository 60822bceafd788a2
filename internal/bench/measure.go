package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"time"
)

// sample is one run of wrk against one server.
type sample struct {
	wrkResult
	local     bool          // the processes are ours, so the rest is known
	serverCPU time.Duration // per run, not per request
	phpCPU    time.Duration
	rssKiB    int64  // at the end of the run
	checked   uint64 // requests that were compared meanwhile, beside those of wrk
}

// measurement is one scenario at one number of connections.
type measurement struct {
	scenario scenario
	load     load
	targets  []string // by name, those of peers too
	results  []result
}

// result is all runs of one server in one measurement.
type result struct {
	target  target
	samples []sample
}

// warmUp is the uncounted run before the first round: caches fill, heaps grow, opcache compiles.
const warmUp = 2 * time.Second

// checkPause is how long the check beside wrk waits between two requests: its own load must not count.
const checkPause = 100 * time.Millisecond

// run drives the servers of the measurement in rounds. Every round begins with another server, so that none always follows the
// same one.
func (m measurement) run(ctx context.Context, all []*server, rounds int, progress io.Writer) ([]result, error) {
	var servers []*server
	for _, srv := range all {
		if slices.Contains(m.targets, srv.Name) && srv.serves(m.scenario) {
			servers = append(servers, srv)
		}
	}
	s, l := m.scenario, m.load
	results := make([]result, len(servers))
	for i, srv := range servers {
		results[i].target = srv.target
		warm := l
		warm.duration = min(warmUp, l.duration)
		if _, err := srv.drive(ctx, s, warm); err != nil {
			return nil, fmt.Errorf("warm %s up: %w", srv.Name, err)
		}
	}
	for round := range rounds {
		for turn := range servers {
			i := (round + turn) % len(servers)
			srv := servers[i]
			one, err := srv.drive(ctx, s, l)
			if err != nil {
				return nil, fmt.Errorf("run %d of %s: %w", round+1, srv.Name, err)
			}
			results[i].samples = append(results[i].samples, one)
			fmt.Fprintf(progress, "%s c=%d %d/%d %-14s %9.0f req/s  p50 %s  p99 %s\n", s.Name, l.connections, round+1, rounds, srv.Name, one.perSec, one.p50, one.p99)
		}
	}
	return results, nil
}

// drive runs wrk once and checks that the server gives the right answer before, meanwhile and after.
func (s *server) drive(ctx context.Context, scenario scenario, l load) (sample, error) {
	if err := s.check(ctx, scenario); err != nil {
		return sample{}, errors.Join(err, s.died())
	}
	before, local, err := s.usage()
	if err != nil {
		return sample{}, err
	}
	stopChecks := s.checkMeanwhile(ctx, scenario)
	l.script = s.scripts[scenario.Name]
	outcome, err := l.wrk(ctx, s.base+scenario.Path())
	checked, wrong := stopChecks()
	if err := errors.Join(err, wrong); err != nil {
		return sample{}, errors.Join(err, s.died(), s.logs())
	}
	after, _, err := s.usage()
	if err != nil {
		return sample{}, err
	}
	if err := s.check(ctx, scenario); err != nil {
		return sample{}, errors.Join(err, s.died())
	}
	return sample{
		wrkResult: outcome,
		local:     local,
		serverCPU: after.server - before.server,
		phpCPU:    after.php - before.php,
		rssKiB:    after.serverResidentKiB,
		checked:   checked,
	}, nil
}

// checkMeanwhile compares answers while wrk drives the server. The function that it returns ends it, and says how many answers
// were compared and what was wrong with one.
func (s *server) checkMeanwhile(ctx context.Context, scenario scenario) func() (uint64, error) {
	ctx, cancel := context.WithCancel(ctx)
	var checked uint64
	result := make(chan error, 1)
	go func() { // ends with ctx, or with the first wrong answer
		for {
			select {
			case <-ctx.Done():
				result <- nil
				return
			case <-time.After(checkPause):
			}
			if err := s.check(ctx, scenario); err != nil && ctx.Err() == nil {
				result <- fmt.Errorf("under load: %w", err)
				return
			}
			checked++
		}
	}()
	return func() (uint64, error) {
		cancel()
		err := <-result
		return checked, err
	}
}

// metric is a column of the report.
type metric struct {
	title    string
	decimals int
	value    func(sample) float64 // NaN when it is not known
}

var (
	perSecond = metric{"req/s", 0, func(s sample) float64 { return s.perSec }}
	medianLat = metric{"p50 µs", 0, func(s sample) float64 { return microseconds(s.p50) }}
	tailLat   = metric{"p99 µs", 0, func(s sample) float64 { return microseconds(s.p99) }}
	serverCPU = metric{"server CPU µs/req", 1, func(s sample) float64 { return s.perRequest(s.serverCPU) }}
	phpCPU    = metric{"PHP CPU µs/req", 1, func(s sample) float64 { return s.perRequest(s.phpCPU) }}
	serverRSS = metric{"server RSS MB", 1, func(s sample) float64 { return s.ifLocal(float64(s.rssKiB) * 1024 / 1e6) }}

	metrics = []metric{perSecond, medianLat, tailLat, serverCPU, phpCPU, serverRSS}
)

func (s sample) perRequest(cpu time.Duration) float64 {
	return s.ifLocal(microseconds(cpu) / float64(s.requests+s.checked))
}

func (s sample) ifLocal(v float64) float64 {
	if !s.local {
		return math.NaN()
	}
	return v
}

func microseconds(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// spread is what all runs together say about one metric.
type spread struct{ min, median, max float64 }

// spread of the metric over all runs, of which there is at least one.
func (r result) spread(m metric) spread {
	var values []float64
	for _, s := range r.samples {
		values = append(values, m.value(s))
	}
	return spreadOf(values)
}

// spreadOf is that of some values; of none it is unknown.
func spreadOf(values []float64) spread {
	if len(values) == 0 {
		return spread{nan, nan, nan}
	}
	slices.Sort(values)
	middle := len(values) / 2
	median := values[middle]
	if len(values)%2 == 0 {
		median = (values[middle-1] + values[middle]) / 2
	}
	return spread{values[0], median, values[len(values)-1]}
}

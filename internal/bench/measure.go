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
	rssKiB    int64 // at the end of the run
}

// result is all runs of one server in one scenario.
type result struct {
	target  target
	samples []sample
}

// warmUp is the uncounted run before the first round: caches fill, heaps grow, opcache compiles.
const warmUp = 2 * time.Second

// measure drives all servers in rounds. Every round begins with another server, so that none always follows the same one.
func measure(ctx context.Context, servers []*server, s scenario, l load, rounds int, progress io.Writer) ([]result, error) {
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
			fmt.Fprintf(progress, "%s %d/%d %-14s %9.0f req/s  p50 %s  p99 %s\n", s.Name, round+1, rounds, srv.Name, one.perSec, one.p50, one.p99)
		}
	}
	return results, nil
}

// drive runs wrk once and checks that the server gives the right answer before and after.
func (s *server) drive(ctx context.Context, scenario scenario, l load) (sample, error) {
	if err := s.check(ctx, scenario); err != nil {
		return sample{}, errors.Join(err, s.died())
	}
	before, local, err := s.usage()
	if err != nil {
		return sample{}, err
	}
	outcome, err := l.wrk(ctx, s.base+scenario.Path())
	if err != nil {
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
	}, nil
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
	return s.ifLocal(microseconds(cpu) / float64(s.requests))
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
	slices.Sort(values)
	middle := len(values) / 2
	median := values[middle]
	if len(values)%2 == 0 {
		median = (values[middle-1] + values[middle]) / 2
	}
	return spread{values[0], median, values[len(values)-1]}
}

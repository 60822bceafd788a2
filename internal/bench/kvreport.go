package main

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// nan is what is not known.
var nan = math.NaN()

// kvMetric is a column of the tables about stores.
type kvMetric struct {
	title    string
	decimals int
	value    func(kvSample) float64
}

var (
	kvPerSec    = kvMetric{"keys/s", 0, func(s kvSample) float64 { return s.PerSec }}
	kvServerCPU = kvMetric{"server CPU µs/key", 2, func(s kvSample) float64 { return s.ServerCPU }}
	kvClientCPU = kvMetric{"client CPU µs/key", 2, func(s kvSample) float64 { return s.ClientCPU }}
)

// kvSection writes what one load measured.
func kvSection(l kvLoad, results []kvResult, opts options, where machine) section {
	var b strings.Builder
	fmt.Fprintf(&b, "### Key-value: %s\n\n%s Values of 256 bytes, unix sockets.\n\n", l.title, l.about)
	fmt.Fprintf(&b, "%s. %s\n\n", time.Now().Format(time.DateOnly), where)
	fmt.Fprintf(&b, "Medians of %d interleaved runs of %s; × is the ratio of medians in this run.\n\n", opts.kvRounds, opts.kvDuration)
	writeRow(&b, "store", kvPerSec.title, "× "+redisKV, "min / median / max", kvServerCPU.title, "× "+redisKV, kvClientCPU.title)
	writeRule(&b, 6)
	for _, r := range results {
		writeRow(&b, fmt.Sprintf("`%s`: %s", r.store.name, r.store.about),
			formatNumber(r.spread(kvPerSec).median, 0), formatNumber(kvRatio(results, kvPerSec, r.store.name), 2), r.spread(kvPerSec).format(0),
			formatNumber(r.spread(kvServerCPU).median, 2), formatNumber(kvRatio(results, kvServerCPU, r.store.name), 2),
			formatNumber(r.spread(kvClientCPU).median, 2))
	}
	fmt.Fprintf(&b, "\n```sh\ngo run ./internal/bench -kv\n```\n")
	return section{key: "kv " + l.key, text: b.String()}
}

// kvBars stands what is promised beside what was measured.
func kvBars(results map[string][]kvResult, duels []kvDuelResult) section {
	var b strings.Builder
	b.WriteString("### Key-value: bars\n\n")
	writeRow(&b, "what", "bar", "measured", "met")
	b.WriteString("|---|---:|---:|---|\n")
	one, many := results["php-get"], results["php-batch"]
	type promise struct {
		what string
		bar  bar
		got  float64
	}
	promises := []promise{
		{"PHP, one get after the other: Edge beside phpredis", bar{limit: 1}, kvRatio(one, kvPerSec, edgeKV)},
		{"the same: CPU of the server, Edge beside Redis", bar{limit: 1, most: true}, kvRatio(one, kvServerCPU, edgeKV)},
		{"PHP, 50 keys in a call: keys per second beside one at a time", bar{limit: 10}, kvMedian(many, kvPerSec, edgeKV) / kvMedian(one, kvPerSec, edgeKV)},
	}
	for _, r := range duels {
		promises = append(promises, promise{r.duel.what, r.duel.bar, r.ratio()})
	}
	for _, x := range promises {
		writeRow(&b, x.what, x.bar.bound(), formatNumber(x.got, 2), x.bar.verdict(x.got))
	}
	return section{key: "kv bars", text: b.String()}
}

// kvRatio is that of the medians of a store and of Redis.
func kvRatio(results []kvResult, m kvMetric, name string) float64 {
	return kvMedian(results, m, name) / kvMedian(results, m, redisKV)
}

func kvMedian(results []kvResult, m kvMetric, name string) float64 {
	i := slices.IndexFunc(results, func(r kvResult) bool { return r.store.name == name })
	if i < 0 {
		return nan
	}
	return results[i].spread(m).median
}

func (r kvResult) spread(m kvMetric) spread {
	var values []float64
	for _, s := range r.samples {
		values = append(values, m.value(s))
	}
	return spreadOf(values)
}

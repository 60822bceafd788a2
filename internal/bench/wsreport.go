package main

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// wsMetric is a column of the tables about WebSockets.
type wsMetric func(wsSample) float64

func wsPerSec(s wsSample) float64 { return s.PerSec }

func wsServerCPU(s wsSample) float64 { return s.ServerCPU }

// wsSection writes what one load measured.
func wsSection(l wsLoad, results []wsResult, opts options, where machine) section {
	var b strings.Builder
	fmt.Fprintf(&b, "### WebSocket: %s\n\n%s\n\n", l.title, l.about)
	fmt.Fprintf(&b, "%s. %s\n\n", time.Now().Format(time.DateOnly), where)
	if l.figure {
		l.figures(&b, results, opts)
		return section{key: "ws " + l.key, text: b.String()}
	}
	fmt.Fprintf(&b, "Medians of %d interleaved runs of %s, client on the same machine; × is the ratio of medians in this run.\n\n", opts.wsRounds, opts.wsDuration)
	writeRow(&b, "server", l.unit+"/s", "× "+gorillaWS, "min / median / max", "server CPU µs for one", "× "+gorillaWS)
	writeRule(&b, 5)
	for _, r := range results {
		writeRow(&b, fmt.Sprintf("`%s`: %s", r.target.name, r.target.about),
			formatNumber(r.spread(wsPerSec).median, 0), formatNumber(wsRatio(results, wsPerSec, r), 2), r.spread(wsPerSec).format(0),
			formatNumber(r.spread(wsServerCPU).median, 2), formatNumber(wsRatio(results, wsServerCPU, r), 2))
	}
	fmt.Fprintf(&b, "\n```sh\ngo run ./internal/bench -ws\n```\n")
	return section{key: "ws " + l.key, text: b.String()}
}

// figures writes the table of a load whose runs are figures.
func (l wsLoad) figures(b *strings.Builder, results []wsResult, opts options) {
	if l.once {
		b.WriteString("One run with servers that have just started, client on the same machine.\n\n")
	} else {
		fmt.Fprintf(b, "Medians of %d interleaved runs of %s, client on the same machine.\n\n", opts.wsRounds, opts.wsDuration)
	}
	writeRow(b, "server", l.unit, "× "+gorillaWS, "min / median / max")
	writeRule(b, 3)
	for _, r := range results {
		writeRow(b, fmt.Sprintf("`%s`: %s", r.target.name, r.target.about),
			formatNumber(r.spread(wsPerSec).median, 0), formatNumber(wsRatio(results, wsPerSec, r), 2), r.spread(wsPerSec).format(0))
	}
	fmt.Fprintf(b, "\n```sh\ngo run ./internal/bench -ws\n```\n")
}

// wsBar is a promise about Edge's figure of a load.
type wsBar struct {
	what  string
	load  string
	most  bool // an upper bound, not a lower one
	limit float64
}

var wsBars = []wsBar{
	{"memory of an idle connection, bytes", "idle", true, 7500},
	{"echo by PHP, round trips/s", "echo", false, 30_000},
	{"fan-out, one message after the other, deliveries/s", "fan-out", false, 150_000},
	{"fan-out of bursts, deliveries/s", "burst", false, 1_000_000},
	{"broadcast to 10,000: 99 of 100 have it, ms", "broadcast", true, 150},
}

// wsBarSection writes every bar beside what was measured.
func wsBarSection(measured map[string][]wsResult) section {
	var b strings.Builder
	b.WriteString("### WebSocket: bars\n\nWhat the project promises, and what this run measured; clients take their share of the same processors.\n\n")
	writeRow(&b, "what", "bar", "measured", gorillaWS, "met")
	b.WriteString("|---|---:|---:|---:|---|\n")
	for _, x := range wsBars {
		got, beside := math.NaN(), math.NaN()
		for _, r := range measured[x.load] {
			switch r.target.name {
			case edgeWS:
				got = r.spread(wsPerSec).median
			case gorillaWS:
				beside = r.spread(wsPerSec).median
			}
		}
		check := bar{most: x.most, limit: x.limit}
		writeRow(&b, x.what, check.bound(), formatNumber(got, 0), formatNumber(beside, 0), check.verdict(got))
	}
	return section{key: "ws bars", text: b.String()}
}

func wsRatio(results []wsResult, m wsMetric, r wsResult) float64 {
	i := slices.IndexFunc(results, func(r wsResult) bool { return r.target.name == gorillaWS })
	if i < 0 {
		return nan
	}
	return r.spread(m).median / results[i].spread(m).median
}

func (r wsResult) spread(m wsMetric) spread {
	values := make([]float64, 0, len(r.samples))
	for _, s := range r.samples {
		values = append(values, m(s))
	}
	return spreadOf(values)
}

package main

import (
	"fmt"
	"math"
	"strings"
)

// bar is a promise about one figure of one target: absolute, or as a ratio to another target in the same measurement.
type bar struct {
	what        string
	scenario    string
	connections int
	target      string
	metric      metric
	against     string // the other target; "" compares the figure itself
	most        bool   // the bar is an upper bound, not a lower one
	limit       float64
}

// bars are those of the project, in the order of the report. Whether they are met is a finding, not a failure: what a busy
// machine measures does not break a build.
var bars = []bar{
	{"hello, plain sdk/php: throughput", "hello", 16, edgePHP, perSecond, nginxFPM, false, 1.8},
	{"hello, plain sdk/php: server CPU per request", "hello", 16, edgePHP, serverCPU, bareGo, true, 2.2},
	{"hello, PSR-7: throughput", "hello", 16, edgePSR7, perSecond, nginxFPM, false, 1.3},
	{"hello, RoadRunner's protocol: server CPU per request", "hello", 16, edgeRR, serverCPU, bareGo, true, 2.6},
	{"hello, one connection: median latency", "hello", 1, edgePHP, medianLat, nginxFPM, true, 1},
	{"1 KiB of JSON: throughput", "json", 16, edgePHP, perSecond, nginxFPM, false, 1.7},
	{"64 KiB answers: throughput", "answer-64k", 16, edgePHP, perSecond, nginxFPM, false, 2},
	{"64 KiB POSTs: throughput", "post-64k", 16, edgePHP, perSecond, nginxFPM, false, 2},
	{"Symfony, JSON: throughput", "symfony", 16, edgePHP, perSecond, nginxFPM, false, 4.5},
	{"Laravel, JSON: throughput", "laravel", 16, edgePHP, perSecond, nginxFPM, false, 4},
	{"memory of the server under load, MB", "hello", 16, edgePHP, serverRSS, "", true, 30},
}

// barSection writes every bar beside what was measured.
func barSection(all []measurement) section {
	var b strings.Builder
	b.WriteString("### Bars\n\nWhat the project promises, and what this run measured: ratios of medians within one measurement.\n\n")
	writeRow(&b, "what", "target", "beside", "bar", "measured", "met")
	b.WriteString("|---|---|---|---:|---:|---|\n")
	for _, x := range bars {
		got := x.measured(all)
		writeRow(&b, fmt.Sprintf("%s (%s)", x.what, plural(x.connections, "connection")), "`"+x.target+"`", x.reference(),
			x.bound(), formatNumber(got, 2), x.verdict(got))
	}
	return section{key: "bars", text: b.String()}
}

// measured is the figure that the bar is about; NaN when this run did not measure it.
func (x bar) measured(all []measurement) float64 {
	for _, m := range all {
		if m.scenario.Name != x.scenario || m.load.connections != x.connections {
			continue
		}
		value := medianOf(m.results, x.metric, x.target)
		if x.against != "" {
			value /= medianOf(m.results, x.metric, x.against)
		}
		return value
	}
	return math.NaN()
}

func (x bar) reference() string {
	if x.against == "" {
		return "–"
	}
	return "`" + x.against + "`"
}

func (x bar) bound() string {
	if x.most {
		return "≤ " + formatNumber(x.limit, 2)
	}
	return "≥ " + formatNumber(x.limit, 2)
}

func (x bar) verdict(got float64) string {
	switch {
	case math.IsNaN(got):
		return "not measured"
	case x.most && got <= x.limit, !x.most && got >= x.limit:
		return "yes"
	}
	return "**no**"
}

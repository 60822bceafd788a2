package main

import (
	"fmt"
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

package main

import (
	"fmt"
	"strings"
	"time"
)

func (r fileResult) rateSpread() spread { return spreadOf(append([]float64(nil), r.rate...)) }

func (r fileResult) cpuSpread() spread { return spreadOf(append([]float64(nil), r.cpu...)) }

// fileSection writes what was measured over one protocol.
func fileSection(l fileLoad, results []fileResult, opts options, where machine) section {
	var b strings.Builder
	fmt.Fprintf(&b, "### A file of 1 KiB: %s\n\n%s\n\n", l.title, l.about)
	fmt.Fprintf(&b, "%s. %s\n\n", time.Now().Format(time.DateOnly), where)
	fmt.Fprintf(&b, "Medians of %d interleaved runs of %s, client on the same machine; × is the ratio of medians in this run.\n\n", opts.fileRounds, opts.fileDuration)
	writeRow(&b, "server", "answers/s", "× "+bareFiles, "min / median / max", "server CPU µs for one")
	writeRule(&b, 4)
	for _, r := range results {
		if r.rate == nil {
			continue
		}
		writeRow(&b, fmt.Sprintf("`%s`: %s", r.server.name, r.server.about), formatNumber(r.rateSpread().median, 0),
			formatNumber(fileRate(results, r.server.name)/fileRate(results, bareFiles), 2), r.rateSpread().format(0), formatNumber(r.cpuSpread().median, 1))
	}
	fmt.Fprintf(&b, "\n```sh\ngo run ./internal/bench -files\n```\n")
	return section{key: "files " + l.key, text: b.String()}
}

// fileRate is how many answers a server gave; NaN when it was not measured.
func fileRate(results []fileResult, name string) float64 {
	for _, r := range results {
		if r.server.name == name {
			return r.rateSpread().median
		}
	}
	return nan
}

// fileBar is a promise about the ratio of two servers.
type fileBar struct {
	what, load      string
	server, against string
	limit           float64
}

var fileBars = []fileBar{
	{"a file over HTTP/1.1", "h1", edgeFiles, bareFiles, 0.8},
	{"a file over HTTP/1.1", "h1", edgeFiles, caddy, 1.5},
	{"a file over HTTP/2", "h2", edgeFiles, bareFiles, 0.8},
	{"a file over HTTP/2", "h2", edgeFiles, caddy, 1.3},
	{"a file over HTTP/3", "h3", edgeFiles, bareFiles, 0.9},
	{"10,000 routes", "h1", allRoutes, fewRoutes, 0.9},
}

// fileBarSection writes every bar beside what was measured.
func fileBarSection(measured map[string][]fileResult) section {
	var b strings.Builder
	b.WriteString("### Files: bars\n\nWhat the project promises, and what this run measured: ratios of medians.\n\n")
	writeRow(&b, "what", "server", "beside", "bar", "measured", "met")
	b.WriteString("|---|---|---|---:|---:|---|\n")
	for _, x := range fileBars {
		got, check := fileRate(measured[x.load], x.server)/fileRate(measured[x.load], x.against), bar{limit: x.limit}
		writeRow(&b, x.what, "`"+x.server+"`", "`"+x.against+"`", check.bound(), formatNumber(got, 2), check.verdict(got))
	}
	return section{key: "files bars", text: b.String()}
}

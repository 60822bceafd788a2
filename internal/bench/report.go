package main

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// newSection writes what one scenario measured, as Markdown.
func newSection(m measurement, opts options, where machine, now time.Time) section {
	var b strings.Builder
	fmt.Fprintf(&b, "### %s, %s\n\n%s\n\n", m.scenario.Name, plural(m.load.connections, "connection"), m.scenario.About)
	fmt.Fprintf(&b, "%s. %s\n\n", now.Format(time.DateOnly), where)
	fmt.Fprintf(&b, "Medians of %d interleaved runs of %s. × is the ratio of medians in this run.\n\n", opts.runs, opts.load.duration)
	writeMedians(&b, m.results)
	b.WriteString("\nEvery run counts; min / median / max:\n\n")
	writeSpreads(&b, m.results)
	fmt.Fprintf(&b, "\n```sh\n%s\n# each run: wrk %s URL\n```\n", opts.command(m), strings.Join(m.load.args(), " "))
	return section{key: fmt.Sprintf("%s c=%d", m.scenario.Name, m.load.connections), text: b.String()}
}

// writeMedians writes the table to look at first, with the ratios.
func writeMedians(b *strings.Builder, results []result) {
	writeRow(b, "target", perSecond.title, "× "+nginxFPM, "× "+bareGo, medianLat.title, tailLat.title,
		serverCPU.title, "× "+bareGo, phpCPU.title, serverRSS.title)
	writeRule(b, 9)
	for _, r := range results {
		writeRow(b, r.title(),
			r.median(perSecond), r.ratio(results, perSecond, nginxFPM), r.ratio(results, perSecond, bareGo),
			r.median(medianLat), r.median(tailLat),
			r.median(serverCPU), r.ratio(results, serverCPU, bareGo), r.median(phpCPU), r.median(serverRSS))
	}
}

// writeSpreads writes the table that hides nothing.
func writeSpreads(b *strings.Builder, results []result) {
	titles := []string{"target"}
	for _, m := range metrics {
		titles = append(titles, m.title)
	}
	writeRow(b, titles...)
	writeRule(b, len(metrics))
	for _, r := range results {
		cells := []string{"`" + r.target.Name + "`"}
		for _, m := range metrics {
			cells = append(cells, r.spread(m).format(m.decimals))
		}
		writeRow(b, cells...)
	}
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.Itoa(n) + " " + what + "s"
}

func (r result) title() string { return fmt.Sprintf("`%s`: %s", r.target.Name, r.target.About) }

func (r result) median(m metric) string { return formatNumber(r.spread(m).median, m.decimals) }

// ratio of the medians of this and the named target.
func (r result) ratio(all []result, m metric, reference string) string {
	return formatNumber(r.spread(m).median/medianOf(all, m, reference), 2)
}

// medianOf is that of a target by name; NaN when it was not measured.
func medianOf(all []result, m metric, name string) float64 {
	i := slices.IndexFunc(all, func(r result) bool { return r.target.Name == name })
	if i < 0 || len(all[i].samples) == 0 {
		return math.NaN()
	}
	return all[i].spread(m).median
}

func (s spread) format(decimals int) string {
	if math.IsNaN(s.median) {
		return formatNumber(s.median, decimals)
	}
	return formatNumber(s.min, decimals) + " / " + formatNumber(s.median, decimals) + " / " + formatNumber(s.max, decimals)
}

// formatNumber writes 24600 as "24,600" and what is not known as a dash.
func formatNumber(v float64, decimals int) string {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return "–"
	}
	text := strconv.FormatFloat(v, 'f', decimals, 64)
	whole, fraction, _ := strings.Cut(text, ".")
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if fraction == "" {
		return whole
	}
	return whole + "." + fraction
}

func writeRow(b *strings.Builder, cells ...string) {
	b.WriteString("| " + strings.Join(cells, " | ") + " |\n")
}

// writeRule ends the head of a table: one column of text, then numbers.
func writeRule(b *strings.Builder, numbers int) {
	b.WriteString("|---|" + strings.Repeat("---:|", numbers) + "\n")
}

package telemetry

// traces is what became of spans.
func (m metrics) traces(s TracesStats) {
	for outcome, n := range map[string]uint64{"sent": s.Sent, "lost": s.Lost, "dropped": s.Dropped} {
		m.counter("edge_traces_spans_total", "Spans by what became of them: sent, lost by the collector, dropped because the queue was full.", n, "outcome", outcome)
	}
	m.gauge("edge_traces_queue", "Spans that wait to be sent.", float64(s.Waiting))
}

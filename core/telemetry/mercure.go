package telemetry

import "github.com/edge-server/edge/ws/mercure"

// mercure is what the hub of ws.mercure does.
func (m metrics) mercure(s *mercure.Stats) {
	m.gauge("edge_mercure_subscribers", "Event streams that are open.", float64(s.Subscribers))
	m.gauge("edge_mercure_subscriptions", "Selectors of the open streams.", float64(s.Subscriptions))
	m.gauge("edge_mercure_queued_updates", "Updates that wait for subscribers.", float64(s.Queued))
	m.gauge("edge_mercure_waiting_updates", "Updates that wait to be stored.", float64(s.Waiting))
	m.gauge("edge_mercure_history_updates", "Updates in the history.", float64(s.Kept))
	m.gauge("edge_mercure_history_bytes", "Bytes of updates in the history.", float64(s.KeptBytes))
	m.counter("edge_mercure_streams_total", "Event streams that were opened.", s.Opened)
	m.counter("edge_mercure_published_updates_total", "Updates that were published by HTTP and RPC.", s.Published)
	m.counter("edge_mercure_fan_outs_total", "Updates that were put into queues, those about subscriptions included.", s.FanOuts)
	m.seconds("edge_mercure_fan_out_seconds_total", "How long that took.", s.FanOutTime.Seconds())
	m.counter("edge_mercure_deliveries_total", "Updates times the streams that they were for.", s.Delivered)
	m.counter("edge_mercure_dropped_updates_total", "Of these, for want of room in a queue.", s.Dropped)
	m.counter("edge_mercure_behind_total", "Times that a stream went on from the history because its queue was full.", s.Behind)
	m.counter("edge_mercure_heartbeats_total", "Comments on silent streams.", s.Heartbeats)
	m.counter("edge_mercure_ended_streams_total", "Streams that the hub ended.", s.Slow, "reason", "slow")
	m.counter("edge_mercure_ended_streams_total", "Streams that the hub ended.", s.Expired, "reason", "token")
	m.counter("edge_mercure_ended_streams_total", "Streams that the hub ended.", s.Rotated, "reason", "lifetime")
	m.counter("edge_mercure_bad_tokens_total", "Tokens that were refused.", s.BadTokens)
	for reason, n := range s.Refused {
		m.counter("edge_mercure_refused_total", "Requests that were refused.", n, "reason", reason)
	}
	m.counter("edge_mercure_fleet_errors_total", "Updates of other nodes that were lost here, or could not be read.", s.FleetErrors)
	m.counter("edge_mercure_history_errors_total", "Updates or batches that could not be stored.", s.HistoryErrors)
}

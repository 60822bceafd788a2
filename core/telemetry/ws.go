package telemetry

import "github.com/edge-server/edge/ws"

// ws is what the hub of WebSockets does. A space is an application: raw/NAME of ws.raw, pusher/NAME of ws.pusher.
func (m metrics) ws(s *ws.Stats) {
	m.counter("edge_ws_broker_errors_total", "Operations that the broker has failed.", s.BrokerErrors)
	if s.Broker != nil {
		m.wsBroker(s.Broker)
	}
	for i := range s.Spaces {
		m.wsSpace(&s.Spaces[i])
	}
}

func (m metrics) wsSpace(s *ws.SpaceStats) {
	space := []string{"space", s.Name}
	m.gauge("edge_ws_connections", "Connections that are open.", float64(s.Connections), space...)
	m.gauge("edge_ws_channels", "Channels with subscribers on this node.", float64(s.Channels), space...)
	m.gauge("edge_ws_queued_messages", "Messages that wait for clients.", float64(s.Queued), space...)
	m.counter("edge_ws_opened_connections_total", "Connections that were opened.", s.Opened, space...)
	m.counter("edge_ws_messages_total", "Messages from clients.", s.Received, space...)
	m.counter("edge_ws_publications_total", "Messages that were published here.", s.Published, space...)
	m.counter("edge_ws_deliveries_total", "Publications, counted for each subscriber of this node.", s.Delivered, space...)
	m.counter("edge_ws_dropped_deliveries_total", "Deliveries for which a client's queue had no room.", s.Dropped, space...)
	m.counter("edge_ws_fan_outs_total", "Publications that were put into queues on this node.", s.FanOuts, space...)
	m.seconds("edge_ws_fan_out_seconds_total", "The time that took.", s.FanOutTime.Seconds(), space...)
	for why, n := range map[string]uint64{"slow": s.Slow, "lost": s.Lost, "flooded": s.Flooded, "malformed": s.Malformed} {
		m.counter("edge_ws_ended_connections_total", "Connections that the server has ended for what the client did.", n, append(space, "why", why)...)
	}
	for why, n := range s.Refused {
		m.counter("edge_ws_refused_handshakes_total", "Handshakes that were refused.", n, append(space, "why", why)...)
	}
}

// wsBroker is what joins the hub to those of other servers.
func (m metrics) wsBroker(b *ws.BrokerStats) {
	driver := []string{"driver", b.Driver}
	m.gauge("edge_ws_broker_parts", "Parts of the broker that are lost and healed by themselves.", float64(b.Parts), driver...)
	m.gauge("edge_ws_broker_lost_parts", "Of these, those that are lost now: their channels stay on this server.", float64(b.Lost), driver...)
	m.gauge("edge_ws_broker_peers", "Other servers of the fleet.", float64(b.Peers), driver...)
	m.gauge("edge_ws_broker_waiting", "Operations that wait for the broker.", float64(b.Waiting), driver...)
	m.counter("edge_ws_broker_operations_total", "Operations of the broker.", b.Operations, driver...)
	m.seconds("edge_ws_broker_operation_seconds_total", "The time they took.", b.OperationTime.Seconds(), driver...)
	m.counter("edge_ws_broker_failed_operations_total", "Operations that failed, tries to get the broker back included.", b.Errors, driver...)
	m.counter("edge_ws_broker_queue_full_total", "Operations for which ws.broker.queue had no room.", b.Full, driver...)
	m.counter("edge_ws_broker_received_total", "Publications that came from the broker.", b.Received, driver...)
	m.counter("edge_ws_broker_recovered_total", "Of these, those that were missed and read from what the broker keeps.", b.Recovered, driver...)
	m.counter("edge_ws_broker_gaps_total", "Times when that did not reach back far enough.", b.Gaps, driver...)
	m.counter("edge_ws_broker_duplicates_total", "Publications that came again and were not delivered.", b.Duplicates, driver...)
	m.counter("edge_ws_broker_malformed_total", "Messages that no server of this fleet can have sent.", b.Malformed, driver...)
	m.counter("edge_ws_broker_local_total", "Publications that reached the clients of this server alone, for want of the broker.", b.Local, driver...)
	m.counter("edge_ws_broker_losses_total", "Times when a part was lost.", b.Losses, driver...)
	m.counter("edge_ws_broker_heals_total", "Times when one came back.", b.Heals, driver...)
	m.counter("edge_ws_broker_partial_lists_total", "Lists of channels that lack a server that did not answer.", b.Partial, driver...)
}

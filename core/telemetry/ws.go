package telemetry

import "github.com/edge-server/edge/ws"

// ws is what the hub of WebSockets does. A space is an application: raw/NAME of ws.raw, pusher/NAME of ws.pusher.
func (m metrics) ws(s *ws.Stats) {
	m.counter("edge_ws_broker_errors_total", "Operations that the broker has failed.", s.BrokerErrors)
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

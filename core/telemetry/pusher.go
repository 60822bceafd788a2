package telemetry

import "github.com/edge-server/edge/ws/pusher"

// pusher is what the apps of ws.pusher do. What the connections cost is measured with the hub.
func (m metrics) pusher(s pusher.AppStats) {
	app := []string{"app", s.Name}
	m.gauge("edge_pusher_connections", "Connections that are open.", float64(s.Connections), app...)
	m.counter("edge_pusher_refused_connections_total", "Connections that were told a reason and closed.", s.Refused, app...)
	m.counter("edge_pusher_messages_total", "Messages from clients.", s.Messages, app...)
	m.counter("edge_pusher_errors_total", "Errors that clients were told.", s.Errors, app...)
	m.counter("edge_pusher_subscriptions_total", "Subscriptions that were allowed.", s.Subscriptions, app...)
	m.counter("edge_pusher_signed_in_total", "Connections that have signed in.", s.SignedIn, app...)
	m.counter("edge_pusher_client_events_total", "Client events that were passed on.", s.ClientEvents, app...)
	m.counter("edge_pusher_refused_client_events_total", "Client events that were refused.", s.ClientEventsRefused, app...)
	m.counter("edge_pusher_published_events_total", "Events of back ends, counted for each channel.", s.Published, app...)
	m.counter("edge_pusher_calls_total", "Calls of back ends.", s.Calls, append(app, "by", "http")...)
	m.counter("edge_pusher_calls_total", "Calls of back ends.", s.RPCCalls, append(app, "by", "rpc")...)
	m.counter("edge_pusher_failed_calls_total", "Calls of the HTTP API that were answered with an error.", s.CallsFailed, app...)
	m.counter("edge_pusher_webhook_events_total", "Events that webhooks have taken.", s.WebhooksSent, app...)
	m.counter("edge_pusher_lost_webhook_events_total", "Events that webhooks did not take, or for which a queue had no room.", s.WebhooksDropped, app...)
	m.counter("edge_pusher_failed_webhooks_total", "Requests to webhooks that failed.", s.WebhooksFailed, app...)
	m.gauge("edge_pusher_waiting_webhook_events", "Events that wait for webhooks.", float64(s.WebhooksWaiting), app...)
}

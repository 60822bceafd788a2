package pusher

import (
	"net/url"
	"sync/atomic"
)

type appStats struct {
	refused, messages, errors, subscriptions, signedIn atomic.Uint64
	clientEvents, clientEventsRefused, published       atomic.Uint64
	calls, callsFailed, rpcCalls                       atomic.Uint64
}

// AppStats is a snapshot of one app.
type AppStats struct {
	Name                string
	Connections         int64  // open now
	Refused             uint64 // connections that were closed at once
	Messages            uint64 // from clients
	Errors              uint64 // that clients were told
	Subscriptions       uint64
	SignedIn            uint64
	ClientEvents        uint64 // passed on
	ClientEventsRefused uint64
	Published           uint64 // events of back ends, times channels
	Calls               uint64 // of the HTTP API
	CallsFailed         uint64
	RPCCalls            uint64
	WebhooksSent        uint64 // events
	WebhooksDropped     uint64 // events
	WebhooksFailed      uint64 // requests
	WebhooksWaiting     int    // events
}

// Stats returns a snapshot of every app.
func (s *Server) Stats() []AppStats {
	apps := s.section.Load().apps
	list := make([]AppStats, 0, len(apps))
	for _, a := range apps {
		st := AppStats{
			Name: a.name, Connections: a.connections.Load(), Refused: a.stats.refused.Load(), Messages: a.stats.messages.Load(),
			Errors: a.stats.errors.Load(), Subscriptions: a.stats.subscriptions.Load(), SignedIn: a.stats.signedIn.Load(),
			ClientEvents: a.stats.clientEvents.Load(), ClientEventsRefused: a.stats.clientEventsRefused.Load(),
			Published: a.stats.published.Load(), Calls: a.stats.calls.Load(), CallsFailed: a.stats.callsFailed.Load(),
			RPCCalls: a.stats.rpcCalls.Load(),
		}
		for _, h := range a.rules.Load().hooks {
			st.WebhooksSent += h.sent.Load()
			st.WebhooksDropped += h.dropped.Load()
			st.WebhooksFailed += h.failed.Load()
			st.WebhooksWaiting += h.left()
		}
		list = append(list, st)
	}
	return list
}

// redactURL is a URL without the password that it may have.
func redactURL(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return "(no URL)"
	}
	return u.Redacted()
}

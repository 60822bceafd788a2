package pusher

import (
	"context"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/edge-server/edge/internal/bytesize"
	"github.com/edge-server/edge/ws"
)

// An app is an application that runs: the protocol of its connections, and what they share.
type app struct {
	name   string
	server *Server
	log    *slog.Logger
	space  *ws.Space
	rules  atomic.Pointer[rules]

	end     context.CancelFunc // of what runs beside connections; guarded by Server.mu
	retired atomic.Bool

	message     atomic.Int64 // how large one of a client may be, by the rules in force
	connections atomic.Int64
	events      meter // of the back end
	reads       meter
	counts      *counter
	patience    *patience
	caches      cacheTimes

	stats appStats
}

// rules are what a reload may change.
type rules struct {
	cfg      App
	endpoint *ws.Endpoint
	hooks    []*hook
}

// patienceForBroker is how long a client's request waits for the other nodes, beside the patience that the broker has itself.
const patienceForBroker = 5 * time.Second

func newApp(name string, cfg App, limits ws.Limits, s *Server) (*app, error) {
	a := &app{name: name, server: s, log: s.log, space: s.hub.Space("pusher/" + cfg.id(name))}
	a.counts, a.patience = newCounter(a), newPatience(a)
	r, err := a.newRules(cfg, limits)
	if err != nil {
		return nil, err
	}
	a.obey(r)
	return a, nil
}

// newRules makes what follows from a configuration. A webhook that is there already stays, by its URL: what waits keeps its order.
func (a *app) newRules(cfg App, limits ws.Limits) (*rules, error) {
	r := &rules{cfg: cfg}
	var err error
	r.endpoint, err = ws.NewEndpoint(ws.EndpointConfig{
		Space: a.space, Protocol: a, Limits: cfg.connLimits(limits), Message: &a.message, Logger: a.log,
		Origins:  []string{"*"}, // the app's own are looked at in Accept: a client that is refused there does not come again and again
		LostCode: ws.CloseCode(errNoPong.code), LostReason: errNoPong.text,
		RestartCode: ws.CloseCode(errReconnect.code), RestartReason: errReconnect.text,
	})
	if err != nil {
		return nil, err
	}
	var there []*hook
	if old := a.rules.Load(); old != nil {
		there = slices.Clone(old.hooks)
	}
	for _, w := range cfg.Webhooks {
		if i := slices.IndexFunc(there, func(h *hook) bool { return h.url == w.URL }); i >= 0 {
			r.hooks = append(r.hooks, there[i])
			there = slices.Delete(there, i, i+1)
			continue
		}
		r.hooks = append(r.hooks, newHook(w, a, a.server.client, a.log))
	}
	return r, nil
}

// obey puts rules in force. Those who are connected stay, unless the app is turned off.
func (a *app) obey(r *rules) {
	for i, h := range r.hooks {
		h.rules.Store(&r.cfg.Webhooks[i])
	}
	a.message.Store(int64(r.cfg.largestMessage()))
	a.rules.Store(r)
	a.events.setRate(r.cfg.Limits.Events)
	a.reads.setRate(r.cfg.Limits.Reads)
	a.caches.setTTL(r.cfg.CacheTTL)
	if !r.cfg.Enabled {
		for _, c := range a.space.Conns() {
			closeWith(c, errDisabled)
		}
	}
}

// idle reports whether nobody is connected, and no webhook waits.
func (a *app) idle() bool {
	return a.space.Len() == 0 && !slices.ContainsFunc(a.rules.Load().hooks, func(h *hook) bool { return h.left() > 0 })
}

// retire is the end of an app that a reload takes away: who comes by a request of before is told to come back.
func (a *app) retire() {
	a.retired.Store(true)
	for _, c := range a.space.Conns() {
		closeWith(c, errReconnect)
	}
	if a.end != nil {
		a.end()
	}
}

// NeedsRestart names the keys of the section that Change cannot bring to next: apps that go, and ids that change, while there are connections
// or webhooks that wait.
func (s *Server) NeedsRestart(next *Config) (keys []string) {
	for _, a := range s.section.Load().apps {
		c, stays := next.Apps[a.name]
		switch {
		case stays && c.id(a.name) == a.cfg().id(a.name), a.idle():
		case stays:
			keys = append(keys, "apps."+a.name+".id")
		default:
			keys = append(keys, "apps."+a.name)
		}
	}
	return keys
}

// cfg is the configuration that is in force. It does not change.
func (a *app) cfg() *App { return &a.rules.Load().cfg }

// signs has what the app signs with.
func (a *app) signs() credentials {
	cfg := a.cfg()
	return credentials{cfg.Key, cfg.Secret}
}

// connLimits are the limits of one connection. Those of the protocol are answered with an error and must come first.
func (a *App) connLimits(l ws.Limits) ws.Limits {
	l.Message = max(l.Message, a.largestMessage())
	l.Channels = mostChannels + mostWatched + 1 // the protocol counts: limits.channels and limits.watchlist may change
	l.PingInterval = a.ActivityTimeout * 3 / 2  // clients that ask by themselves are never asked
	l.PongTimeout = a.PongTimeout
	return l
}

// largestMessage has room for what the protocol's limits allow, and for what it answers.
func (a *App) largestMessage() bytesize.Size {
	l := &a.Limits
	return 2*max(l.EventData, l.MemberData) + bytesize.Size(l.Watchlist*(l.UserID+4)) + 4*bytesize.KiB
}

// A session is what the app knows about a connection. It belongs to the connection's goroutine, but for known.
type session struct {
	refused  *problem // why it is to be closed at once
	channels int      // subscriptions that the client knows of
	user     *user    // who has signed in
	events   meter    // client events

	known atomic.Bool // it has signed in, or has a subscription that the back end has signed
}

// A user is who has signed in.
type user struct {
	id   string
	info []byte // JSON; nil for none
}

// Accept lets all in whom the protocol has an answer for: browsers do not show pages why a handshake failed.
func (a *app) Accept(r *http.Request, c *ws.Conn) error {
	s := &session{}
	c.Data = s
	open, all := a.connections.Add(1), a.server.connections.Add(1)
	most, allowed := a.cfg().Limits.Connections, a.server.section.Load().cfg.Connections
	switch p := a.refuses(r); {
	case p != nil:
		s.refused = p
	case most > 0 && open > int64(most):
		s.refused = &errOverQuota
	case allowed > 0 && all > int64(allowed):
		s.refused = &errOverCapacity
	}
	if s.refused != nil {
		a.gone() // it does not keep others out while it takes its leave
	}
	return nil
}

func (a *app) refuses(r *http.Request) *problem {
	cfg := a.cfg()
	switch {
	case a.retired.Load():
		return &errReconnect
	case !cfg.Enabled:
		return &errDisabled
	case cfg.TLSOnly && r.TLS == nil:
		return &errTLSOnly
	case !originAllowed(cfg.AllowedOrigins, r.Header.Get("Origin")):
		return &errBadOrigin
	}
	return refusesProtocol(r.URL.Query().Get("protocol"))
}

// The versions of the protocol that are spoken. 5 and 6 differ in what the client does.
const oldestProtocol, newestProtocol = 5, 7

func refusesProtocol(version string) *problem {
	if version == "" {
		return &errNoProtocol
	}
	n, err := strconv.Atoi(version)
	if err != nil {
		return &errBadVersion
	}
	if n < oldestProtocol || n > newestProtocol {
		return &problem{codeUnsupported, "Unsupported protocol version " + strconv.Itoa(n) + ", this server speaks 5 to 7"}
	}
	return nil
}

// OnOpen greets.
func (a *app) OnOpen(c *ws.Conn) {
	s := c.Data.(*session)
	if s.refused != nil {
		a.stats.refused.Add(1)
		closeWith(c, *s.refused)
		return
	}
	switch { // since a moment ago
	case a.retired.Load():
		closeWith(c, errReconnect)
		return
	case !a.cfg().Enabled:
		closeWith(c, errDisabled)
		return
	}
	data := append(make([]byte, 0, 80), `{"socket_id":"`...)
	data = append(data, socketID(c.ID())...)
	data = append(data, `","activity_timeout":`...)
	data = append(strconv.AppendInt(data, int64(a.cfg().ActivityTimeout/time.Second), 10), '}')
	send(c, appendEvent(nil, eventEstablished, "", data))
	if timeout := a.cfg().SigninTimeout; timeout > 0 {
		a.patience.add(c.ID(), time.Now().Add(timeout))
	}
}

// OnMessage does what the client asks for.
func (a *app) OnMessage(c *ws.Conn, kind ws.Kind, frame []byte) {
	s := c.Data.(*session)
	if s.refused != nil {
		return
	}
	if kind != ws.Text {
		c.Close(ws.CloseUnsupported, "binary messages are not part of the protocol")
		return
	}
	a.stats.messages.Add(1)
	m, err := parseMessage(frame)
	if err != nil {
		a.fail(c, problem{codeBadMessage, "Invalid message format: " + err.Error()})
		return
	}
	switch {
	case m.event == eventPing:
		_ = c.Send(pong)
	case m.event == eventPong:
	case m.event == eventSubscribe:
		a.subscribe(c, s, m.data)
	case m.event == eventUnsubscribe:
		a.unsubscribe(c, s, m.data)
	case m.event == eventSignin:
		a.signin(c, s, m.data)
	case strings.HasPrefix(m.event, clientPrefix):
		a.clientEvent(c, s, m)
	default:
		a.fail(c, problem{0, "Unknown event " + clip(m.event) + ": clients may send events that begin with " + clientPrefix})
	}
}

// OnClose leaves everything the connection was in.
func (a *app) OnClose(c *ws.Conn, _ ws.CloseCode, _ string) {
	s := c.Data.(*session)
	for _, channel := range c.Channels() {
		a.leave(c, channel)
	}
	if s.refused == nil {
		a.gone()
	}
}

func (a *app) gone() {
	a.connections.Add(-1)
	a.server.connections.Add(-1)
}

var pong = ws.PrepareText(`{"event":"pusher:pong","data":"{}"}`)

// fail tells the client what is wrong. The connection stays.
func (a *app) fail(c *ws.Conn, p problem) {
	a.stats.errors.Add(1)
	send(c, appendProblem(nil, p))
}

func closeWith(c *ws.Conn, p problem) {
	send(c, appendProblem(nil, p))
	c.Close(ws.CloseCode(p.code), p.text)
}

// send of a connection that has just ended does nothing.
func send(c *ws.Conn, frame []byte) { _ = c.Send(ws.Prepare(ws.Text, frame)) }

func (a *app) brokerContext() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), patienceForBroker+a.server.hub.Patience())
}

// socketID is the connection's ID as this protocol has it: two numbers.
func socketID(id ws.ConnID) string {
	return strconv.FormatUint(uint64(id)>>32, 10) + "." + strconv.FormatUint(uint64(id)&(1<<32-1), 10)
}

// connID is the inverse of socketID. What is no ID of ours is 0, no connection.
func connID(socket string) ws.ConnID {
	a, b, _ := strings.Cut(socket, ".")
	high, err1 := strconv.ParseUint(a, 10, 31)
	low, err2 := strconv.ParseUint(b, 10, 32)
	if err1 != nil || err2 != nil {
		return 0
	}
	return ws.ConnID(high<<32 | low)
}

// clip shortens what a client sent for a message to it.
func clip(text string) string {
	const most = 60
	if len(text) > most {
		return strconv.Quote(strings.ToValidUTF8(text[:most], "") + "…")
	}
	return strconv.Quote(text)
}

// tell hands a happening to the webhooks that want it.
func (a *app) tell(e happening) {
	hooks := a.rules.Load().hooks
	if a.server.forward.Load() != nil && slices.ContainsFunc(hooks, func(h *hook) bool { return h.wants(e.name, e.channel) }) && a.forward("", []happening{e}) {
		return
	}
	for _, h := range hooks {
		if h.wants(e.name, e.channel) {
			h.tell(e, time.Now())
		}
	}
}

// departed tells what a server that has died cannot: that its members and subscribers have gone. One of the others hears of each, once.
func (a *app) departed(d ws.Departure) {
	channel, k := d.Channel.Channel, kindOf(d.Channel.Channel)
	if k.has(kindUser) {
		return
	}
	switch {
	case d.User != "" && d.Undone:
		a.tell(happening{name: hookMemberAdded, channel: channel, userID: d.User})
	case d.User != "":
		a.tell(happening{name: hookMemberRemoved, channel: channel, userID: d.User})
	case d.Vacated && d.Undone:
		a.tell(happening{name: hookOccupied, channel: channel})
	case d.Vacated:
		a.tell(happening{name: hookVacated, channel: channel})
	}
	if d.User == "" {
		a.counted(channel, k)
	}
}

// stillEnded reports whether what a webhook is about to tell is still so, on all nodes.
func (a *app) stillEnded(ctx context.Context, e happening) bool {
	ctx, cancel := context.WithTimeout(ctx, patienceForBroker)
	defer cancel()
	if e.name == hookVacated {
		info, err := a.space.Channel(ctx, e.channel)
		return err != nil || info.Subscribers == 0
	}
	members, err := a.space.Members(ctx, e.channel)
	for _, m := range members {
		if m.ID == e.userID {
			return err != nil
		}
	}
	return true
}

package pusher

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/edge-server/edge/ws"
)

// An event is what the back end publishes.
type event struct {
	name     string
	channels []string
	data     string
	socketID string // that does not get it
}

// What the back end is told, as errors that know their HTTP status.
type apiError struct {
	status int
	text   string
}

func (e *apiError) Error() string { return e.text }

func apiErrorf(status int, format string, args ...any) error {
	return &apiError{status, fmt.Sprintf(format, args...)}
}

// check says what is wrong with an event.
func (a *app) check(e *event) error {
	limits := &a.cfg().Limits
	switch {
	case e.name == "":
		return apiErrorf(400, "the event has no name")
	case utf8.RuneCountInString(e.name) > limits.EventName:
		return apiErrorf(400, "the name of the event is longer than %d characters", limits.EventName)
	case strings.HasPrefix(e.name, "pusher_internal:") || strings.HasPrefix(e.name, "pusher:"):
		return apiErrorf(400, "the event %q has a name of the protocol's own", e.name)
	case len(e.data) > int(limits.EventData):
		return apiErrorf(413, "the data of the event is larger than %s: limits.event_data allows no more", limits.EventData)
	case len(e.channels) == 0:
		return apiErrorf(400, "the event has no channel")
	case len(e.channels) > limits.EventChannels:
		return apiErrorf(400, "the event goes to %d channels, more than the %d that limits.event_channels allows", len(e.channels), limits.EventChannels)
	case e.socketID != "" && !validSocketID(e.socketID):
		return apiErrorf(400, "socket_id %q is not one", e.socketID)
	}
	encrypted := false
	for _, channel := range e.channels {
		if len(channel) > limits.ChannelName {
			return apiErrorf(400, "the name of a channel is longer than %d characters", limits.ChannelName)
		}
		if !validChannel(channel) {
			return apiErrorf(400, "channel %q: names are made of letters, digits and _-=@,.;", channel)
		}
		encrypted = encrypted || kindOf(channel).has(kindEncrypted)
	}
	if encrypted && len(e.channels) > 1 {
		return apiErrorf(400, "an event of an encrypted channel goes to that channel alone: each has a key of its own")
	}
	return nil
}

// publish checks and sends events, all or none. They count against limits.events.
func (a *app) publish(ctx context.Context, events []event) error {
	if !a.cfg().Enabled {
		return apiErrorf(403, "the app is disabled")
	}
	n := 0
	for i := range events {
		if err := a.check(&events[i]); err != nil {
			if len(events) > 1 {
				return fmt.Errorf("batch[%d]: %w", i, err)
			}
			return err
		}
		if len(events[i].channels) > 1 {
			events[i].channels = distinct(events[i].channels)
		}
		n += len(events[i].channels)
	}
	if most := a.cfg().Limits.Events; most > 0 && n > most { // it would be refused for ever
		return apiErrorf(413, "this is %d events, one for each channel, more than the %d a second that limits.events allows: publish to fewer at a time", n, most)
	}
	if !a.events.take(n, time.Now()) {
		return apiErrorf(429, "the app publishes more than the %d events a second that limits.events allows", a.cfg().Limits.Events)
	}
	return a.send(ctx, events, n)
}

// send publishes events that are to n channels in all.
func (a *app) send(ctx context.Context, events []event, n int) error {
	list := make([]ws.Outgoing, 0, n)
	var frame []byte
	for i := range events {
		e := &events[i]
		except := connID(e.socketID)
		for _, channel := range e.channels {
			opts := ws.PublishOptions{Except: except}
			if kindOf(channel).has(kindCache) {
				opts.Keep = ws.Keep{Size: 1, TTL: a.cfg().CacheTTL}
				a.caches.note(channel, time.Now())
			}
			frame = appendPublished(frame[:0], e.name, channel, e.data, "")
			list = append(list, ws.Outgoing{PublishOptions: opts, Channel: channel, Message: ws.Prepare(ws.Text, frame)})
		}
	}
	err := a.space.PublishAll(ctx, list)
	a.stats.published.Add(uint64(n))
	return err
}

// clientEvent passes an event of a client on to the others of its channel.
func (a *app) clientEvent(c *ws.Conn, s *session, m message) {
	member, text, p := a.checkClientEvent(c, s, &m)
	if p != nil {
		a.stats.clientEventsRefused.Add(1)
		a.fail(c, *p)
		return
	}
	var userID string
	if member != nil {
		userID = member.ID
	}
	ctx, cancel := a.brokerContext()
	defer cancel()
	frame := ws.Prepare(ws.Text, appendPublished(nil, m.event, m.channel, text, userID))
	if _, err := a.space.Publish(ctx, m.channel, frame, ws.PublishOptions{Except: c.ID()}); err != nil {
		a.fail(c, problem{0, unavailable.text})
		return
	}
	a.stats.clientEvents.Add(1)
	if len(a.rules.Load().hooks) > 0 {
		a.tell(happening{name: hookClientEvent, channel: m.channel, userID: userID, event: m.event, data: text, socket: socketID(c.ID())})
	}
}

func (a *app) checkClientEvent(c *ws.Conn, s *session, m *message) (member *ws.Member, text string, p *problem) {
	limits := &a.cfg().Limits
	no := func(format string, args ...any) (*ws.Member, string, *problem) {
		return nil, "", &problem{codeClientEvent, "Client event rejected - " + fmt.Sprintf(format, args...)}
	}
	k := kindOf(m.channel)
	switch {
	case a.cfg().ClientEvents == clientEventsOff:
		return no("this app does not allow client events")
	case k.has(kindUser):
		return no("nobody but the back end sends on channels of users")
	case k.has(kindEncrypted): // libraries of clients do not encrypt events, so this would be readable
		return no("not supported on encrypted channels")
	case a.cfg().ClientEvents == clientEventsPrivate && !k.has(kindPrivate):
		return no("only supported on private and presence channels")
	case utf8.RuneCountInString(m.event) > limits.EventName:
		return no("the name of the event is longer than %d characters", limits.EventName)
	case !s.events.takeAt(limits.ClientEvents, 1, time.Now()):
		return no("you have exceeded the rate limit of %d events a second", limits.ClientEvents)
	}
	member, subscribed := c.Subscribed(m.channel)
	if !subscribed {
		return no("this connection is not subscribed to channel %s", clip(m.channel))
	}
	if text = textOf(m.data); len(text) > int(limits.EventData) {
		return no("its data is larger than %s", limits.EventData)
	}
	return member, text, nil
}

// cached is the last event of a cache channel, and for how long it is kept.
func (a *app) cached(ctx context.Context, channel string) (data string, ttl time.Duration, ok bool, err error) {
	past, err := a.space.History(ctx, channel, ws.Position{}, 1)
	if err != nil || len(past.Publications) == 0 {
		return "", 0, false, err
	}
	m, err := parseMessage(past.Publications[0].Message.Payload())
	if err != nil {
		return "", 0, false, fmt.Errorf("what is kept of %s: %w", channel, err)
	}
	return textOf(m.data), a.caches.left(channel, time.Now()), true, nil
}

// cacheTimes knows until when the last events of cache channels are kept that this node has published, for the API. It forgets what has expired.
type cacheTimes struct {
	mu    sync.Mutex // guards what follows
	ttl   time.Duration
	until map[string]time.Time
	swept time.Time
}

func (t *cacheTimes) setTTL(ttl time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ttl = ttl
}

func (t *cacheTimes) note(channel string, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.until == nil {
		t.until = map[string]time.Time{}
	}
	t.until[channel] = now.Add(t.ttl)
	if now.Sub(t.swept) > t.ttl {
		for name, until := range t.until {
			if until.Before(now) {
				delete(t.until, name)
			}
		}
		t.swept = now
	}
}

// left is what another node published as if it had done so now.
func (t *cacheTimes) left(channel string, now time.Time) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	if until, ok := t.until[channel]; ok {
		return max(0, until.Sub(now))
	}
	return t.ttl
}

package pusher

import (
	"errors"
	"fmt"
	"strconv"
	"unicode/utf8"

	"github.com/edge-server/edge/ws"
)

// A denial is why a subscription is refused, in the words of pusher:subscription_error.
type denial struct {
	kind   string
	status int
	text   string
}

func denied(format string, args ...any) *denial {
	return &denial{"AuthError", 401, fmt.Sprintf(format, args...)}
}

func invalid(format string, args ...any) *denial {
	return &denial{"InvalidSubscription", 400, fmt.Sprintf(format, args...)}
}

func exceeded(format string, args ...any) *denial {
	return &denial{"LimitReached", 403, fmt.Sprintf(format, args...)}
}

// deny tells the client twice: by pusher:error, which the protocol has, and by pusher:subscription_error, which reaches the
// handlers of the channel.
func (a *app) deny(c *ws.Conn, channel string, d *denial) {
	code := 0
	if d.status == 401 {
		code = codeUnauthorized
	}
	a.fail(c, problem{code, d.text})
	data := appendText([]byte(`{"type":`), d.kind)
	data = appendText(append(data, `,"error":`...), d.text)
	data = strconv.AppendInt(append(data, `,"status":`...), int64(d.status), 10)
	send(c, appendEvent(nil, eventSubError, channel, append(data, '}')))
}

// A subscription is what a client asks for.
type subscription struct {
	channel string
	kind    kind
	member  *ws.Member // of presence channels
}

func (a *app) subscribe(c *ws.Conn, s *session, data []byte) {
	var channel, auth, channelData string
	err := fields(data, map[string]*string{"channel": &channel, "auth": &auth, "channel_data": &channelData})
	if err != nil {
		a.fail(c, problem{codeBadMessage, "Invalid message format: " + eventSubscribe + " needs data with a channel: " + err.Error()})
		return
	}
	if _, already := c.Subscribed(channel); already && validChannel(channel) {
		// Pusher, too, says this by pusher:error alone: the subscription holds, so no handler of the channel may hear that it failed.
		a.fail(c, problem{0, "Existing subscription to channel " + channel})
		return
	}
	sub := subscription{channel: channel, kind: kindOf(channel)}
	if d := a.checkSubscription(c, s, &sub, auth, channelData); d != nil {
		a.deny(c, channel, d)
		return
	}
	if d := a.join(c, s, &sub); d != nil {
		a.deny(c, channel, d)
		return
	}
	s.channels++
	if sub.kind.has(kindPrivate) {
		s.known.Store(true)
	}
}

// checkSubscription says why the client may not subscribe, and finds out as whom it does.
func (a *app) checkSubscription(c *ws.Conn, s *session, sub *subscription, auth, channelData string) *denial {
	limits := &a.cfg().Limits
	switch {
	case len(sub.channel) > limits.ChannelName:
		return invalid("Invalid channel: its name is longer than %d characters", limits.ChannelName)
	case !validChannel(sub.channel):
		return invalid("Invalid channel %s: names are made of letters, digits and _-=@,.;", clip(sub.channel))
	case s.channels >= limits.Channels:
		return exceeded("This connection may be subscribed to %d channels, and is to %d", limits.Channels, s.channels)
	}
	switch {
	case sub.kind.has(kindUser):
		if s.user == nil || sub.channel != userPrefix+s.user.id {
			return denied("Channel %s is of a user as whom this connection has not signed in", clip(sub.channel))
		}
	case sub.kind.has(kindPrivate):
		if err := a.signs().checkChannel(auth, socketID(c.ID()), sub.channel, channelData); err != nil {
			return denied("Not allowed to subscribe to %s: %v", sub.channel, err)
		}
	}
	if sub.kind.has(kindPresence) {
		return a.checkMember(s, sub, channelData)
	}
	return nil
}

// checkMember finds out who joins a presence channel: channel_data says so, or the sign-in did.
func (a *app) checkMember(s *session, sub *subscription, channelData string) *denial {
	limits := &a.cfg().Limits
	switch {
	case channelData != "":
		if len(channelData) > int(limits.MemberData) {
			return exceeded("channel_data is larger than %s", limits.MemberData)
		}
		m, err := parseMember([]byte(channelData), "user_id")
		if err != nil {
			return invalid("Invalid channel_data: %v", err)
		}
		sub.member = &ws.Member{ID: m.id, Info: m.info}
	case s.user != nil:
		sub.member = &ws.Member{ID: s.user.id, Info: s.user.info}
	default:
		return invalid("Invalid channel_data: a presence channel needs it, with a user_id, unless the user has signed in")
	}
	if utf8.RuneCountInString(sub.member.ID) > limits.UserID {
		return exceeded("user_id is longer than %d characters", limits.UserID)
	}
	ctx, cancel := a.brokerContext()
	defer cancel()
	members, err := a.space.Members(ctx, sub.channel)
	if err != nil {
		return unavailable
	}
	if len(members) < limits.Members {
		return nil
	}
	for i := range members {
		if members[i].ID == sub.member.ID {
			return nil
		}
	}
	return a.tooMany(sub)
}

func (a *app) tooMany(sub *subscription) *denial {
	return exceeded("Channel %s has %d members, as many as it may have", sub.channel, a.cfg().Limits.Members)
}

var unavailable = &denial{"ServerError", 503, "The other servers cannot be reached, try again"}

// join subscribes.
func (a *app) join(c *ws.Conn, s *session, sub *subscription) *denial {
	full := false
	opts := ws.SubscribeOptions{Member: sub.member, Reply: func(r ws.Subscribed) *ws.Prepared {
		// Others may have joined since checkMember looked: who finds himself beyond the limit goes again.
		if full = r.Membership.Changed && len(r.Membership.Members) > a.cfg().Limits.Members; full {
			return nil
		}
		return ws.Prepare(ws.Text, appendSubscribed(nil, sub, r.Membership.Members))
	}}
	if sub.member != nil {
		opts.Announce = memberFrame(eventMemberAdded, sub.channel, *sub.member)
		sub.member.Farewell = departure(sub.channel, *sub.member)
	}
	if sub.kind.has(kindCache) {
		opts.Recover, opts.RecoverLimit = &ws.Position{}, 1
	}
	ctx, cancel := a.brokerContext()
	defer cancel()
	r, err := a.space.Subscribe(ctx, c, sub.channel, opts)
	switch {
	case errors.Is(err, ws.ErrClosed):
		return nil
	case errors.Is(err, ws.ErrChannels):
		return exceeded("%v", err)
	case err != nil:
		return unavailable
	case full:
		_, _ = a.space.Unsubscribe(ctx, c, sub.channel, ws.UnsubscribeOptions{Announce: func(m ws.Member) *ws.Prepared {
			return departure(sub.channel, m)
		}})
		return a.tooMany(sub)
	}
	a.stats.subscriptions.Add(1)
	if sub.kind.has(kindCache) && len(r.Past.Publications) == 0 {
		send(c, appendEvent(nil, eventCacheMiss, sub.channel, nil))
		defer a.tell(happening{name: hookCacheMiss, channel: sub.channel}) // behind the others
	}
	if sub.kind.has(kindUser) {
		return nil
	}
	if r.Occupied {
		a.tell(happening{name: hookOccupied, channel: sub.channel})
	}
	if sub.member != nil && r.Membership.Changed {
		a.tell(happening{name: hookMemberAdded, channel: sub.channel, userID: sub.member.ID})
	}
	a.counted(sub.channel, sub.kind)
	return nil
}

func (a *app) unsubscribe(c *ws.Conn, s *session, data []byte) {
	var channel string
	if err := fields(data, map[string]*string{"channel": &channel}); err != nil {
		a.fail(c, problem{codeBadMessage, "Invalid message format: " + eventUnsubscribe + " needs data with a channel: " + err.Error()})
		return
	}
	if validChannel(channel) && a.leave(c, channel) {
		s.channels--
	}
}

// leave ends a subscription, and reports whether there was one.
func (a *app) leave(c *ws.Conn, channel string) bool {
	ctx, cancel := a.brokerContext()
	defer cancel()
	r, _ := a.space.Unsubscribe(ctx, c, channel, ws.UnsubscribeOptions{Announce: func(m ws.Member) *ws.Prepared {
		return departure(channel, m)
	}})
	k := kindOf(channel)
	if !r.Was || k.has(kindUser) {
		return r.Was
	}
	if r.Member != nil && r.Membership.Changed {
		a.tell(happening{name: hookMemberRemoved, channel: channel, userID: r.Member.ID})
	}
	if r.Vacated {
		a.tell(happening{name: hookVacated, channel: channel})
	}
	a.counted(channel, k)
	return true
}

func (a *app) counted(channel string, k kind) {
	if a.cfg().SubscriptionCount && !k.has(kindPresence) {
		a.counts.changed(channel)
	}
}

package ws

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// SubscribeOptions are what a subscription does beside letting the connection listen.
type SubscribeOptions struct {
	// Member makes the connection's user a member of the channel.
	Member *Member

	// Announce is published to the others when the user was not a member before.
	Announce *Prepared

	// Reply makes what the subscriber gets first, before anything that is published on the channel. Nil, or a nil message: nothing.
	Reply func(Subscribed) *Prepared

	// Recover has the subscriber get what was published after this position, behind Reply and without a gap before what comes next;
	// RecoverLimit is how much of that, the latest. 0 means all.
	Recover      *Position
	RecoverLimit int
}

// Subscribed is what came of it.
type Subscribed struct {
	Already     bool // the connection was subscribed: nothing has changed, nothing was sent
	Occupied    bool // the first subscriber of the fleet
	Subscribers int  // of this node, this one included
	Membership  Membership
	Past        Past // with Recover
}

// UnsubscribeOptions are what the end of a subscription does.
type UnsubscribeOptions struct {
	// Announce makes what is published to the others if the connection was the user's last one in the channel.
	Announce func(Member) *Prepared
}

// farewell announces what the member itself has to say: for ends that no protocol has asked for.
var farewell = UnsubscribeOptions{Announce: func(m Member) *Prepared { return m.Farewell }}

// Unsubscribed is what came of it.
type Unsubscribed struct {
	Was        bool // the connection was subscribed
	Vacated    bool // it was the last subscriber of the fleet
	Member     *Member
	Membership Membership
}

// ErrChannels says that the connection is subscribed to as many channels as it may be.
var ErrChannels = errors.New("ws: the connection is subscribed to as many channels as limits.channels allows")

type channelShard struct {
	mu       sync.RWMutex // guards channels
	channels map[string]*channel
}

// channel has at least one subscriber, but for moments.
type channel struct {
	name string

	mu       sync.Mutex // guards what follows; held while a publication is put into queues, which is what orders them
	subs     []*subscription
	gone     bool      // not in the shard any more
	watched  bool      // the broker delivers; changes with life
	watching *watching // under way

	life sync.Mutex // held while the broker hears of the first or last subscriber; taken before mu
}

// watching is the question that has the broker deliver. It is the channel's: no subscriber who gives up ends it for the others.
type watching struct {
	done     chan struct{} // closed when there is an answer, which is what follows
	occupied bool
	err      error

	told atomic.Bool // somebody has occupied
}

func (ch *channel) len() int {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	return len(ch.subs)
}

// subscription joins a connection and a channel. The channel's lock guards it.
type subscription struct {
	conn    *Conn
	channel *channel
	index   int
	member  *Member
	known   *snapshot // nil: nothing of what it was told can come again
	settled bool      // Reply has been sent: what is published may follow
	joined  bool      // the broker knows the member
	gone    bool      // ended, perhaps by another goroutine while Subscribe waits for the broker
	held    []Publication
}

func (s *Space) shard(name string) *channelShard {
	return &s.shards[maphash.String(s.seed, name)%channelShards]
}

func (s *Space) find(name string) *channel {
	shard := s.shard(name)
	shard.mu.RLock()
	defer shard.mu.RUnlock()
	return shard.channels[name]
}

func (s *Space) localSubscribers(name string) int {
	if ch := s.find(name); ch != nil {
		return ch.len()
	}
	return 0
}

// deliver puts a publication into the queues of this node's subscribers.
func (s *Space) deliver(name string, p Publication) {
	if s.listening.Load() {
		s.hear(name, p)
	}
	ch := s.find(name)
	if ch == nil {
		return
	}
	began := s.hub.wheel.clock.now()
	writers := &s.hub.writers
	var few line
	woken, most := p.woken, math.MaxInt
	if woken == nil {
		woken, most = &few, handfulSize
	}
	p.woken = nil
	placed := p.Position.Offset > 0 || p.Change.Offset > 0
	ch.mu.Lock()
	n := len(ch.subs)
	for _, sub := range ch.subs {
		if sub.conn.id == p.Except || p.ExceptUser != "" && sub.member != nil && sub.member.ID == p.ExceptUser {
			continue
		}
		if !sub.settled {
			sub.hold(p)
			continue
		}
		if placed && sub.known != nil && !sub.takes(&p) {
			continue
		}
		if wake, _ := sub.conn.put(p.Message, true); wake {
			if woken.push(sub.conn); woken.n >= most {
				writers.addAll(woken)
			}
		}
	}
	ch.mu.Unlock()
	writers.addAll(&few)
	s.counters.fannedOut(n, s.hub.wheel.clock.now().Sub(began))
}

// Subscribe lets a connection get what is published on a channel.
func (s *Space) Subscribe(ctx context.Context, c *Conn, name string, opts SubscribeOptions) (Subscribed, error) {
	var result Subscribed
	if c.space() != s {
		return result, fmt.Errorf("ws: connection %s does not belong to the space %q", c.id, s.name)
	}
	waits := opts.Member != nil || opts.Reply != nil || opts.Recover != nil
	sub, err := s.attach(c, name, !waits, &result)
	if sub == nil {
		return result, err
	}
	sub.channel.mu.Lock()
	if sub.member = opts.Member; sub.member != nil {
		m := *opts.Member
		m.Conn = c.id
		sub.member = &m
	}
	sub.channel.mu.Unlock()
	// Nobody is told that he is subscribed, or who else is, before this node hears what is published next.
	began := time.Now()
	result.Occupied, err = s.watch(ctx, sub.channel)
	ctx, cancel := patientAgain(ctx, began)
	defer cancel()
	if err == nil && sub.member != nil {
		result.Membership, err = s.join(ctx, sub, opts.Announce)
	}
	if err == nil && opts.Recover != nil {
		result.Past, err = s.hub.broker.History(ctx, s.address(name), *opts.Recover, opts.RecoverLimit)
		s.hub.failed(err)
	}
	if err != nil {
		s.giveUp(context.WithoutCancel(ctx), sub)
		return result, fmt.Errorf("subscribe to %q: %w", name, err)
	}
	if waits {
		sub.settle(result, opts.Reply, s.hub.broker.Patience() > 0)
	}
	return result, nil
}

// join makes the subscriber a member. A subscription that has ended meanwhile leaves nothing behind: whoever ended it saw no member.
func (s *Space) join(ctx context.Context, sub *subscription, announce *Prepared) (Membership, error) {
	to := s.address(sub.channel.name)
	membership, err := s.hub.broker.Join(ctx, to, *sub.member, announce)
	s.hub.failed(err)
	if err != nil {
		return membership, err
	}
	sub.channel.mu.Lock()
	gone := sub.gone
	sub.joined = !gone
	sub.channel.mu.Unlock()
	if gone {
		_, err = s.hub.broker.Leave(context.WithoutCancel(ctx), to, *sub.member, sub.member.Farewell)
		s.hub.failed(err)
		return Membership{}, ErrClosed
	}
	return membership, nil
}

// attach adds the subscription to both sides. It returns nil if that is refused, or was done before.
func (s *Space) attach(c *Conn, name string, settled bool, result *Subscribed) (sub *subscription, err error) {
	c.subMu.Lock()
	defer c.subMu.Unlock()
	switch {
	case c.left:
		return nil, ErrClosed
	case c.subscription(name) != nil:
		result.Already = true
		return nil, nil
	case len(c.subs) >= c.endpoint.limits.Channels:
		return nil, ErrChannels
	}
	sub = &subscription{conn: c, settled: settled}
	for {
		ch := s.channelOf(name)
		ch.mu.Lock()
		if ch.gone {
			ch.mu.Unlock()
			continue
		}
		sub.channel, sub.index = ch, len(ch.subs)
		ch.subs = append(ch.subs, sub)
		result.Subscribers = len(ch.subs)
		ch.mu.Unlock()
		break
	}
	c.subs = append(c.subs, sub)
	return sub, nil
}

// channelOf finds a channel, or makes it.
func (s *Space) channelOf(name string) *channel {
	if ch := s.find(name); ch != nil {
		return ch
	}
	shard := s.shard(name)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	ch := shard.channels[name]
	if ch == nil {
		ch = &channel{name: name}
		shard.channels[name] = ch
		s.counters.channels.Add(1)
	}
	return ch
}

// Unsubscribe ends a subscription, also one of a connection that has ended.
func (s *Space) Unsubscribe(ctx context.Context, c *Conn, name string, opts UnsubscribeOptions) (Unsubscribed, error) {
	c.subMu.Lock()
	sub := c.subscription(name)
	if sub != nil {
		c.forget(sub)
	}
	c.subMu.Unlock()
	if sub == nil {
		return Unsubscribed{}, nil
	}
	return s.detach(ctx, sub, opts)
}

// giveUp ends a subscription that has failed, unless somebody else has: then another one may be in its place.
func (s *Space) giveUp(ctx context.Context, sub *subscription) {
	c := sub.conn
	c.subMu.Lock()
	mine := c.forget(sub)
	c.subMu.Unlock()
	if mine {
		_, _ = s.detach(ctx, sub, farewell)
	}
}

// detach is the channel's side of Unsubscribe.
func (s *Space) detach(ctx context.Context, sub *subscription, opts UnsubscribeOptions) (Unsubscribed, error) {
	ch := sub.channel
	ch.mu.Lock()
	last := len(ch.subs) - 1
	ch.subs[sub.index] = ch.subs[last]
	ch.subs[sub.index].index = sub.index
	ch.subs[last] = nil
	ch.subs = ch.subs[:last]
	result := Unsubscribed{Was: true, Member: sub.member}
	sub.gone = true
	joined := sub.joined
	ch.mu.Unlock()

	var err error
	if joined {
		var announce *Prepared
		if opts.Announce != nil {
			announce = opts.Announce(*sub.member)
		}
		result.Membership, err = s.hub.broker.Leave(ctx, s.address(ch.name), *sub.member, announce)
		s.hub.failed(err)
	}
	if last == 0 {
		result.Vacated = s.unwatch(ch)
	}
	return result, err
}

// watch has the broker deliver what is published on the channel, and returns when it does, or ctx ends. One subscriber is told that the
// channel is occupied.
func (s *Space) watch(ctx context.Context, ch *channel) (occupied bool, err error) {
	ch.mu.Lock()
	if ch.watched || len(ch.subs) == 0 {
		ch.mu.Unlock()
		return false, nil
	}
	w, begins := ch.watching, ch.watching == nil
	if begins {
		w = &watching{done: make(chan struct{})}
		ch.watching = w
	}
	ch.mu.Unlock()
	switch {
	case !begins:
	case s.hub.broker.Patience() > 0:
		go s.beginWatch(ch, w) // ends with the broker's answer
	default:
		s.beginWatch(ch, w)
	}
	select {
	case <-w.done:
		return w.err == nil && w.occupied && w.told.CompareAndSwap(false, true), w.err
	case <-ctx.Done():
		return false, ctx.Err()
	}
}

func (s *Space) beginWatch(ch *channel, w *watching) {
	ch.life.Lock()
	defer ch.life.Unlock()
	ch.mu.Lock()
	wanted := len(ch.subs) > 0
	if !wanted {
		ch.watching = nil // nobody waits for it, and who comes now asks anew
	}
	ch.mu.Unlock()
	if wanted {
		s.askToWatch(ch, w)
	}
	close(w.done)
	s.endWatch(ch)
}

func (s *Space) askToWatch(ch *channel, w *watching) {
	of := s.address(ch.name)
	w.occupied, w.err = s.hub.broker.Watch(context.Background(), of)
	if w.err != nil {
		s.hub.failed(w.err)
		_, undone := s.hub.broker.Unwatch(context.Background(), of) // the next subscriber tries again
		s.hub.failed(undone)
	}
	ch.mu.Lock()
	defer ch.mu.Unlock()
	ch.watched, ch.watching = w.err == nil, nil
	if len(ch.subs) == 0 {
		w.occupied = false // nor is anybody told that it was vacated
	}
}

// unwatch ends that and removes the channel, unless somebody has come meanwhile. Where the broker is still being asked to deliver,
// beginWatch does so.
func (s *Space) unwatch(ch *channel) (vacated bool) {
	ch.mu.Lock()
	asked := ch.watching != nil
	ch.mu.Unlock()
	if asked {
		return false
	}
	ch.life.Lock()
	defer ch.life.Unlock()
	return s.endWatch(ch)
}

// endWatch is unwatch with the lock life.
func (s *Space) endWatch(ch *channel) (vacated bool) {
	ch.mu.Lock()
	if len(ch.subs) > 0 || ch.watching != nil || ch.gone {
		ch.mu.Unlock()
		return false
	}
	watched := ch.watched
	ch.watched = false
	ch.mu.Unlock()
	if watched {
		var err error
		vacated, err = s.hub.broker.Unwatch(context.Background(), s.address(ch.name))
		s.hub.failed(err)
	}
	s.remove(ch)
	return vacated
}

// moment is what makes no difference to somebody's patience.
const moment = 10 * time.Millisecond

// patientAgain gives what is asked next as much time as ctx had when something else was begun, which may have taken nearly all of it. Who
// cancels ctx ends it.
func patientAgain(ctx context.Context, began time.Time) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok || time.Since(began) < moment {
		return ctx, func() {}
	}
	again, cancel := context.WithTimeout(context.WithoutCancel(ctx), deadline.Sub(began))
	stop := context.AfterFunc(ctx, func() {
		if errors.Is(ctx.Err(), context.Canceled) {
			cancel()
		}
	})
	return again, func() {
		stop()
		cancel()
	}
}

// remove forgets a channel that is still empty.
func (s *Space) remove(ch *channel) {
	shard := s.shard(ch.name)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	ch.mu.Lock()
	defer ch.mu.Unlock()
	if len(ch.subs) > 0 || ch.watching != nil || ch.gone {
		return
	}
	ch.gone = true
	delete(shard.channels, ch.name)
	s.counters.channels.Add(-1)
}

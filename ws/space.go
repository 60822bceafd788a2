package ws

import (
	"context"
	"errors"
	"hash/maphash"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Space is a world of its own: the connections, users and channels of one application.
type Space struct {
	hub  *Hub
	name string

	mu     sync.RWMutex // guards the following
	conns  map[ConnID]*Conn
	asking map[ConnID]*Conn // those whose handshake is not done
	users  map[string]map[*Conn]struct{}
	ips    map[netip.Addr]int // open and pending connections of each address; only with a limit
	count  int                // open and pending connections

	seed   maphash.Seed
	shards [channelShards]channelShard

	listening atomic.Bool // there is, or was, a listener
	listeners listeners
	handlers  atomic.Pointer[Handlers]

	counters counters
}

const channelShards = 32

func newSpace(h *Hub, name string) *Space {
	s := &Space{hub: h, name: name, conns: map[ConnID]*Conn{}, asking: map[ConnID]*Conn{}, users: map[string]map[*Conn]struct{}{}, ips: map[netip.Addr]int{}, seed: maphash.MakeSeed()}
	for i := range s.shards {
		s.shards[i].channels = map[string]*channel{}
	}
	return s
}

// Name is what Hub.Space was called with.
func (s *Space) Name() string { return s.name }

// Hub is the hub that the space belongs to.
func (s *Space) Hub() *Hub { return s.hub }

// PublishOptions say who gets a publication, and whether it is remembered.
type PublishOptions struct {
	Except     ConnID // this connection does not get it
	ExceptUser string // connections that are members of the channel under this name do not get it
	Keep       Keep
}

// Publish sends m to every subscriber of the channel, on all nodes.
func (s *Space) Publish(ctx context.Context, channel string, m *Prepared, opts PublishOptions) (Position, error) {
	return s.publish(ctx, channel, Publication{Message: m, Except: opts.Except, ExceptUser: opts.ExceptUser}, opts.Keep)
}

func (s *Space) publish(ctx context.Context, channel string, p Publication, keep Keep) (Position, error) {
	s.counters.published.Add(1)
	pos, err := s.hub.broker.Publish(ctx, s.address(channel), p, keep)
	s.hub.failed(err)
	return pos, err
}

// Outgoing is one of several publications.
type Outgoing struct {
	PublishOptions
	Channel string
	Message *Prepared
}

// PublishAll sends one after the other, each as Publish does, and joins the errors. A connection that gets several of them is written to
// when all are in its queue, so that they leave together.
func (s *Space) PublishAll(ctx context.Context, list []Outgoing) error {
	var woken *line
	if _, ours := s.hub.broker.(*Memory); ours && len(list) > 1 { // others deliver later, by goroutines of their own
		woken = new(line)
		defer s.hub.writers.addAll(woken)
	}
	var errs []error
	began := s.hub.wheel.clock.now()
	for i := range list {
		o := &list[i]
		p := Publication{Message: o.Message, Except: o.Except, ExceptUser: o.ExceptUser, woken: woken}
		if _, err := s.publish(ctx, o.Channel, p, o.Keep); err != nil {
			errs = append(errs, err)
		}
		if now := s.hub.wheel.clock.now(); woken != nil && now.Sub(began) > together {
			s.hub.writers.addAll(woken)
			began = now
		}
	}
	return errors.Join(errs...)
}

// together is how long PublishAll lets those wait whom it has woken. It fills the queues of 2000 connections about ten times in that time.
const together = 25 * time.Millisecond

// History returns what was published on a channel after a position: the zero position is the beginning. limit 0 means all.
func (s *Space) History(ctx context.Context, channel string, after Position, limit int) (Past, error) {
	past, err := s.hub.broker.History(ctx, s.address(channel), after, limit)
	s.hub.failed(err)
	return past, err
}

// Members lists the users that are in a channel, each once, on all nodes.
func (s *Space) Members(ctx context.Context, channel string) ([]Member, error) {
	list, err := s.hub.broker.Members(ctx, s.address(channel))
	s.hub.failed(err)
	return list, err
}

// Channels lists the occupied channels whose names begin with prefix, on all nodes.
func (s *Space) Channels(ctx context.Context, prefix string) ([]ChannelInfo, error) {
	list, err := s.hub.broker.Channels(ctx, s.name, prefix)
	s.hub.failed(err)
	return list, err
}

// channelFinder is a broker that finds one channel without looking at all of them.
type channelFinder interface {
	Channel(ctx context.Context, channel Address) (ChannelInfo, error)
}

// Channel tells about one channel, on all nodes. An empty one has no subscribers.
func (s *Space) Channel(ctx context.Context, channel string) (ChannelInfo, error) {
	if finder, ok := s.hub.broker.(channelFinder); ok {
		info, err := finder.Channel(ctx, s.address(channel))
		s.hub.failed(err)
		return info, err
	}
	list, err := s.Channels(ctx, channel)
	for _, info := range list {
		if info.Name == channel {
			return info, nil
		}
	}
	return ChannelInfo{Name: channel}, err
}

// Tell sends to connections, or closes them, wherever in the fleet they are.
func (s *Space) Tell(ctx context.Context, c Command) error {
	err := s.hub.broker.Tell(ctx, s.name, c)
	s.hub.failed(err)
	return err
}

// Conn finds a connection of this node, or returns nil.
func (s *Space) Conn(id ConnID) *Conn {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.conns[id]
}

// Find is Conn that also knows connections whose Protocol.Accept has not returned: the application may send to one and subscribe it before
// its client is there.
func (s *Space) Find(id ConnID) *Conn {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if c := s.conns[id]; c != nil {
		return c
	}
	return s.asking[id]
}

// Conns lists the connections of this node, in no order.
func (s *Space) Conns() []*Conn {
	s.mu.RLock()
	defer s.mu.RUnlock()
	list := make([]*Conn, 0, len(s.conns))
	for _, c := range s.conns {
		list = append(list, c)
	}
	return list
}

// UserConns lists the connections of a user on this node, in no order.
func (s *Space) UserConns(user string) []*Conn {
	s.mu.RLock()
	defer s.mu.RUnlock()
	list := make([]*Conn, 0, len(s.users[user]))
	for c := range s.users[user] {
		list = append(list, c)
	}
	return list
}

// Len counts the connections of this node.
func (s *Space) Len() int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return len(s.conns)
}

func (s *Space) address(channel string) Address { return Address{s.name, channel} }

// do carries out a command on this node.
func (s *Space) do(c Command) int {
	var list []*Conn
	switch {
	case c.Conn != 0:
		if conn := s.Conn(c.Conn); conn != nil {
			list = []*Conn{conn}
		}
	case c.User != "":
		list = s.UserConns(c.User)
	case c.All:
		list = s.Conns()
	}
	for _, conn := range list {
		if c.Send != nil {
			_ = conn.Send(c.Send) // of one that has just ended: as if the command had come later
		}
		if c.Code != 0 {
			conn.Close(c.Code, c.Reason)
		}
	}
	return len(list)
}

// reserve counts a connection that asks to come in, or says why it may not.
func (s *Space) reserve(c *Conn, l *Limits) *Refusal {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case l.Connections > 0 && s.count >= l.Connections:
		s.counters.refusedFull.Add(1)
		return &Refusal{Status: 503, Text: "503 too many connections"}
	case l.PerIP > 0 && s.ips[ipKey(c.remote)] >= l.PerIP:
		s.counters.refusedIP.Add(1)
		return &Refusal{Status: 429, Text: "429 too many connections from this address"}
	}
	if l.PerIP > 0 {
		s.ips[ipKey(c.remote)]++
		c.countsIP = true
	}
	s.count++
	s.asking[c.id] = c
	return nil
}

// admit counts the user of a connection that was reserved and accepted, and makes it known.
func (s *Space) admit(c *Conn, l *Limits) *Refusal {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.PerUser > 0 && c.user != "" && len(s.users[c.user]) >= l.PerUser {
		s.counters.refusedUser.Add(1)
		return &Refusal{Status: 429, Text: "429 too many connections of this user"}
	}
	delete(s.asking, c.id)
	s.conns[c.id] = c
	c.known = true
	s.addUser(c)
	return nil
}

// release undoes reserve and admit.
func (s *Space) release(c *Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count--
	delete(s.asking, c.id)
	if c.countsIP {
		if s.ips[ipKey(c.remote)]--; s.ips[ipKey(c.remote)] == 0 {
			delete(s.ips, ipKey(c.remote))
		}
	}
	if c.known {
		c.known = false
		delete(s.conns, c.id)
		s.removeUser(c)
	}
}

func (s *Space) addUser(c *Conn) {
	if c.user == "" {
		return
	}
	set := s.users[c.user]
	if set == nil {
		set = map[*Conn]struct{}{}
		s.users[c.user] = set
	}
	set[c] = struct{}{}
}

func (s *Space) removeUser(c *Conn) {
	if c.user == "" {
		return
	}
	if delete(s.users[c.user], c); len(s.users[c.user]) == 0 {
		delete(s.users, c.user)
	}
}

// occupied lists the channels of this node.
func (s *Space) occupied(prefix string) []ChannelInfo {
	var list []ChannelInfo
	for i := range s.shards {
		shard := &s.shards[i]
		shard.mu.RLock()
		for name, ch := range shard.channels {
			if strings.HasPrefix(name, prefix) {
				if n := ch.len(); n > 0 {
					list = append(list, ChannelInfo{Name: name, Subscribers: n})
				}
			}
		}
		shard.mu.RUnlock()
	}
	return list
}

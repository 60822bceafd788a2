package ws

import (
	"context"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Conn is a connection of one client. There may be a hundred thousand of them: what is rarely there is behind a pointer.
type Conn struct {
	// Data is the protocol's own; see the package's documentation for who may use it.
	Data any

	id ConnID

	// What a message needs on its way is in a row: with thousands of connections each of these lines comes from far away.
	endpoint *Endpoint
	raw      syscall.RawConn // lets a writer try without waiting; nil when there is something between us and the socket
	mu       sync.Mutex      // guards what follows, the writing side; taken after the lock of a channel
	queue    queue
	writing  bool        // a writer has the connection, or will
	broken   bool        // nothing can be written any more
	ending   bool        // a close frame is in the queue or was sent: nothing follows it
	deflate  deflateMode // of the handshake, not guarded
	code     CloseCode
	reason   string
	flushed  chan struct{} // closed when the queue is empty, or will never be; nil when nobody waits
	attrs    map[string]string

	remote      netip.Addr
	opened      int64 // Unix time in milliseconds
	conn        net.Conn
	stalls      bool // conn gives up by itself on a client that takes nothing
	subprotocol string

	// Of the space, guarded by its lock.
	user     string
	known    bool // in Space.conns
	countsIP bool

	subMu sync.Mutex // guards what follows; taken before the lock of a channel
	left  bool       // no new subscriptions
	subs  []*subscription

	dropped atomic.Uint32
	deaf    atomic.Bool // messages are not handed on any more

	beat // of the wheel
}

func (c *Conn) space() *Space { return c.endpoint.space }

// ID names the connection in the whole fleet.
func (c *Conn) ID() ConnID { return c.id }

// Space is where the connection belongs.
func (c *Conn) Space() *Space { return c.endpoint.space }

// Remote is the address of the client, as far as the server knows it.
func (c *Conn) Remote() netip.Addr { return c.remote }

// Opened is when the client asked for the connection.
func (c *Conn) Opened() time.Time { return time.UnixMilli(c.opened) }

// Subprotocol is the one that was agreed on, or empty.
func (c *Conn) Subprotocol() string { return c.subprotocol }

// SetSubprotocol chooses the subprotocol. For Accept: it must be one that the client offers.
func (c *Conn) SetSubprotocol(name string) { c.subprotocol = name }

// Ending reports whether the connection was told to close, or is broken: nothing that is done with it arrives any more.
func (c *Conn) Ending() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ending || c.broken
}

// Dropped is how many publications the connection did not get because its queue was full.
func (c *Conn) Dropped() int { return int(c.dropped.Load()) }

// MaxChannels is how many channels the connection may be subscribed to.
func (c *Conn) MaxChannels() int { return c.endpoint.limits.Channels }

// Queued is how many messages wait for the client.
func (c *Conn) Queued() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.queue.len()
}

// User is who the connection belongs to, or empty.
func (c *Conn) User() string {
	s := c.space()
	s.mu.RLock()
	defer s.mu.RUnlock()
	return c.user
}

// SetUser says who the connection belongs to, once that is proved. It reports false if that user has as many connections as limits.per_user
// allows; then nothing has changed. In Accept it always reports true: the limit is looked at when Accept has returned.
func (c *Conn) SetUser(user string) bool {
	s := c.space()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !c.known {
		c.user = user
		return true
	}
	limit := c.endpoint.limits.PerUser
	if user != c.user && user != "" && limit > 0 && len(s.users[user]) >= limit {
		s.counters.refusedUser.Add(1)
		return false
	}
	s.removeUser(c)
	c.user = user
	s.addUser(c)
	return true
}

// Set gives the connection an attribute; an empty value takes it away.
func (c *Conn) Set(name, value string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if value == "" {
		delete(c.attrs, name)
		return
	}
	if c.attrs == nil {
		c.attrs = map[string]string{}
	}
	c.attrs[name] = value
}

// Get returns an attribute, or "".
func (c *Conn) Get(name string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.attrs[name]
}

// Attributes returns a copy of all attributes, nil when there is none.
func (c *Conn) Attributes() map[string]string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.attrs)
}

// Channels lists what the connection is subscribed to, in no order.
func (c *Conn) Channels() []string {
	c.subMu.Lock()
	defer c.subMu.Unlock()
	names := make([]string, len(c.subs))
	for i, sub := range c.subs {
		names[i] = sub.channel.name
	}
	return names
}

// Subscribed reports whether the connection is subscribed to a channel, and as which member.
func (c *Conn) Subscribed(channel string) (*Member, bool) {
	c.subMu.Lock()
	defer c.subMu.Unlock()
	if sub := c.subscription(channel); sub != nil {
		sub.channel.mu.Lock()
		defer sub.channel.mu.Unlock()
		return sub.member, true
	}
	return nil, false
}

// subscription needs c.subMu.
func (c *Conn) subscription(channel string) *subscription {
	for _, sub := range c.subs {
		if sub.channel.name == channel {
			return sub
		}
	}
	return nil
}

// forget takes a subscription off the list, and reports whether it was there. It needs c.subMu.
func (c *Conn) forget(sub *subscription) bool {
	i := slices.Index(c.subs, sub)
	if i < 0 {
		return false
	}
	last := len(c.subs) - 1
	c.subs[i], c.subs[last] = c.subs[last], nil
	if c.subs = c.subs[:last]; last == 0 {
		c.subs = nil
	}
	return true
}

// Send puts a message into the queue. A client that lets twice limits.queue pile up is disconnected. The error is ErrClosed.
func (c *Conn) Send(m *Prepared) error { return c.enqueue(m, false) }

// Publish puts a message into the queue that may be dropped by limits.slow, as publications are.
func (c *Conn) Publish(m *Prepared) error { return c.enqueue(m, true) }

// Close sends what is in the queue and a close frame, and ends the connection when the client has answered or limits.close_timeout is
// over. The first call counts. A reason longer than 123 bytes is cut.
func (c *Conn) Close(code CloseCode, reason string) { c.startClose(code, reason) }

// leave ends all subscriptions that the protocol has left.
func (c *Conn) leave() {
	c.subMu.Lock()
	c.left = true
	subs := c.subs
	c.subs = nil
	c.subMu.Unlock()
	for _, sub := range subs {
		_, _ = c.space().detach(context.Background(), sub, farewell)
	}
}

// ipKey is what connections of one client network have in common.
func ipKey(ip netip.Addr) netip.Addr {
	if ip.Is6() && !ip.Is4In6() {
		if p, err := ip.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return ip.Unmap()
}

package ws

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// Memory is the broker of a single node.
type Memory struct {
	node  atomic.Pointer[Node]
	epoch string // what the epochs of all logs begin with

	changes atomic.Uint64 // of members, in all channels

	keeping sync.RWMutex         // read while something is added to a history; Hold waits for that
	away    atomic.Pointer[away] // not nil: an upgrade moves, or has moved, the channels
	older   atomic.Pointer[Peer] // the process that had them, while it has clients

	mu     sync.Mutex // guards what follows; never held while something is delivered
	begun  uint64     // logs so far
	logs   map[Address]*channelLog
	groups map[Address]*group
	swept  time.Time
}

// NewMemory makes a broker that keeps everything in this process.
func NewMemory() *Memory {
	var b [8]byte
	rand.Read(b[:])
	return &Memory{epoch: hex.EncodeToString(b[:]), logs: map[Address]*channelLog{}, groups: map[Address]*group{}}
}

// channelLog is the history of a channel.
type channelLog struct {
	mu      sync.Mutex // held through a delivery: it is what makes the order of offsets that of the queues
	epoch   string
	offset  uint64
	kept    []Publication // the latest, oldest first
	expires time.Time     // zero: never
	gone    bool          // not in Memory.logs any more
}

// group is the members of a channel.
type group struct {
	mu      sync.Mutex // held through an announcement
	members []groupMember
	byID    map[string]int // index of members
	gone    bool           // not in Memory.groups any more
}

type groupMember struct {
	Member
	conns int
}

// Start is of Broker.
func (m *Memory) Start(_ context.Context, node Node) error {
	m.node.Store(&node)
	return nil
}

// Stop is of Broker.
func (m *Memory) Stop(context.Context) error {
	m.node.Store(nil)
	return nil
}

func (m *Memory) deliver(to Address, p Publication) {
	if node := m.node.Load(); node != nil {
		(*node).Deliver(to, p)
	}
}

// Patience is of Broker.
func (m *Memory) Patience() time.Duration { return 0 }

// Publish is of Broker.
func (m *Memory) Publish(ctx context.Context, to Address, p Publication, keep Keep) (Position, error) {
	return m.publish(ctx, to, p, keep, m.older.Load())
}

// publish is Publish, with who else is to hear it.
func (m *Memory) publish(ctx context.Context, to Address, p Publication, keep Keep, older *Peer) (Position, error) {
	if away, err := m.peer(ctx); away != nil || err != nil {
		if err != nil {
			return Position{}, err
		}
		return away.publish(ctx, m, to, p, keep)
	}
	if keep.Size <= 0 {
		m.deliver(to, p)
		if older != nil {
			m.tellOlder(ctx, older, deliverRequest(to, p))
		}
		return Position{}, nil
	}
	m.keeping.RLock()
	if m.away.Load() != nil { // since a moment ago
		m.keeping.RUnlock()
		return m.publish(ctx, to, p, keep, older)
	}
	defer m.keeping.RUnlock()
	log := m.lockLog(to)
	defer log.mu.Unlock()
	log.offset++
	p.Position = Position{log.epoch, log.offset}
	kept := p
	kept.woken = nil
	log.kept = append(log.kept, kept)
	if n := len(log.kept) - keep.Size; n > 0 {
		log.kept = slices.Delete(log.kept, 0, n)
	}
	log.expires = time.Time{}
	if keep.TTL > 0 {
		log.expires = time.Now().Add(keep.TTL)
	}
	m.deliver(to, p)
	if older != nil {
		m.tellOlder(ctx, older, deliverRequest(to, p))
	}
	return p.Position, nil
}

// lockLog finds the history of a channel, or begins one.
func (m *Memory) lockLog(of Address) *channelLog {
	for {
		m.mu.Lock()
		log := m.logs[of]
		if log == nil {
			m.sweep()
			m.begun++
			log = &channelLog{epoch: m.epoch + strconv.FormatUint(m.begun, 36)}
			m.logs[of] = log
		}
		m.mu.Unlock()
		log.mu.Lock()
		if !log.gone {
			return log
		}
		log.mu.Unlock()
	}
}

const sweepLogs = 10 * time.Second

// sweep forgets the histories that have expired. A new one of the same channel has another epoch: who comes back sees that
// something is missing.
func (m *Memory) sweep() {
	now := time.Now()
	if now.Sub(m.swept) < sweepLogs {
		return
	}
	m.swept = now
	for of, log := range m.logs {
		if !log.mu.TryLock() {
			continue // it is being used
		}
		if log.expired(now) {
			log.gone = true
			delete(m.logs, of)
		}
		log.mu.Unlock()
	}
}

func (l *channelLog) expired(now time.Time) bool { return !l.expires.IsZero() && now.After(l.expires) }

// History is of Broker.
func (m *Memory) History(ctx context.Context, of Address, after Position, limit int) (Past, error) {
	if away, err := m.peer(ctx); away != nil || err != nil {
		if err != nil {
			return Past{}, err
		}
		return away.history(ctx, of, after, limit)
	}
	m.mu.Lock()
	log := m.logs[of]
	m.mu.Unlock()
	if log == nil {
		return Past{Whole: after == Position{}}, nil
	}
	log.mu.Lock()
	defer log.mu.Unlock()
	if log.gone || log.expired(time.Now()) {
		return Past{Whole: after == Position{}}, nil
	}
	past := Past{Now: Position{log.epoch, log.offset}}
	switch {
	case after == Position{}:
		past.Whole = uint64(len(log.kept)) == log.offset
	case after.Epoch != log.epoch:
		after.Offset = 0
	default:
		past.Whole = after.Offset <= log.offset && log.offset-after.Offset <= uint64(len(log.kept))
	}
	list := log.kept
	for len(list) > 0 && list[0].Position.Offset <= after.Offset {
		list = list[1:]
	}
	if limit > 0 && len(list) > limit {
		list, past.Whole = list[len(list)-limit:], false
	}
	past.Publications = slices.Clone(list)
	return past, nil
}

// Watch is of Broker: the node is the fleet.
func (m *Memory) Watch(context.Context, Address) (bool, error) { return true, nil }

// Unwatch is of Broker.
func (m *Memory) Unwatch(context.Context, Address) (bool, error) { return true, nil }

// Join is of Broker.
func (m *Memory) Join(_ context.Context, to Address, who Member, announce *Prepared) (Membership, error) {
	g := m.lockGroup(to)
	defer g.mu.Unlock()
	var result Membership
	if i, there := g.byID[who.ID]; there {
		g.members[i].conns++
	} else {
		result.Changed = true
		m.changes.Add(1)
		g.byID[who.ID] = len(g.members)
		g.members = append(g.members, groupMember{Member{ID: who.ID, Info: who.Info}, 1})
	}
	result.Members, result.At = g.list(), Position{m.epoch, m.changes.Load()}
	if result.Changed && announce != nil {
		m.deliver(to, Publication{Message: announce, Change: result.At, Except: who.Conn, ExceptUser: who.ID})
	}
	return result, nil
}

// lockGroup finds the members of a channel, or begins them.
func (m *Memory) lockGroup(of Address) *group {
	for {
		m.mu.Lock()
		g := m.groups[of]
		if g == nil {
			g = &group{byID: map[string]int{}}
			m.groups[of] = g
		}
		m.mu.Unlock()
		g.mu.Lock()
		if !g.gone {
			return g
		}
		g.mu.Unlock()
	}
}

func (g *group) list() []Member {
	list := make([]Member, len(g.members))
	for i := range g.members {
		list[i] = g.members[i].Member
	}
	return list
}

// Leave is of Broker.
func (m *Memory) Leave(_ context.Context, from Address, who Member, announce *Prepared) (Membership, error) {
	g := m.lockGroup(from)
	defer g.mu.Unlock()
	if i, there := g.byID[who.ID]; there {
		if g.members[i].conns--; g.members[i].conns > 0 {
			return Membership{}, nil
		}
		g.remove(i)
	}
	if len(g.members) == 0 {
		m.mu.Lock()
		g.gone = true
		delete(m.groups, from)
		m.mu.Unlock()
	}
	if announce != nil {
		change := Position{m.epoch, m.changes.Add(1)}
		m.deliver(from, Publication{Message: announce, Change: change, Except: who.Conn, ExceptUser: who.ID})
	}
	return Membership{Changed: true}, nil
}

// remove keeps the order of arrival.
func (g *group) remove(i int) {
	delete(g.byID, g.members[i].ID)
	g.members = slices.Delete(g.members, i, i+1)
	for ; i < len(g.members); i++ {
		g.byID[g.members[i].ID] = i
	}
}

// Members is of Broker.
func (m *Memory) Members(ctx context.Context, of Address) ([]Member, error) {
	here := m.membersHere(of)
	away, err := m.peer(ctx)
	if away == nil || err != nil {
		return here, err
	}
	return away.members(ctx, of, here)
}

func (m *Memory) membersHere(of Address) []Member {
	m.mu.Lock()
	g := m.groups[of]
	m.mu.Unlock()
	if g == nil {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.list()
}

// Channels is of Broker.
func (m *Memory) Channels(ctx context.Context, space, prefix string) ([]ChannelInfo, error) {
	away, err := m.peer(ctx)
	if err != nil {
		return nil, err
	}
	node := m.node.Load()
	switch {
	case node == nil && away == nil:
		return nil, ErrClosed
	case node == nil: // a stop is under way
		return away.channels(ctx, space, prefix, nil)
	}
	list := (*node).Occupied(space, prefix)
	m.mu.Lock()
	groups := make([]*group, len(list))
	for i := range list {
		groups[i] = m.groups[Address{space, list[i].Name}]
	}
	m.mu.Unlock()
	for i, g := range groups {
		if g != nil {
			g.mu.Lock()
			list[i].Users = len(g.members)
			g.mu.Unlock()
		}
	}
	if away == nil {
		return list, nil
	}
	return away.channels(ctx, space, prefix, list)
}

// Channel finds one channel: a node may have a hundred thousand of them.
func (m *Memory) Channel(ctx context.Context, of Address) (ChannelInfo, error) {
	if m.away.Load() != nil {
		list, err := m.Channels(ctx, of.Space, of.Channel)
		for _, info := range list {
			if info.Name == of.Channel {
				return info, err
			}
		}
		return ChannelInfo{Name: of.Channel}, err
	}
	info := ChannelInfo{Name: of.Channel}
	node := m.node.Load()
	if node == nil {
		return info, ErrClosed
	}
	if info.Subscribers = (*node).Subscribers(of); info.Subscribers == 0 {
		return info, nil
	}
	m.mu.Lock()
	g := m.groups[of]
	m.mu.Unlock()
	if g != nil {
		g.mu.Lock()
		info.Users = len(g.members)
		g.mu.Unlock()
	}
	return info, nil
}

// Tell is of Broker.
func (m *Memory) Tell(ctx context.Context, space string, c Command) error {
	if node := m.node.Load(); node != nil {
		(*node).Do(space, c)
	}
	if older := m.older.Load(); older != nil {
		m.tellOlder(ctx, older, request{Op: opDo, Of: Address{Space: space}, Command: moveCommand(c), Message: carry(c.Send)})
	}
	away, err := m.peer(ctx)
	if away == nil || err != nil {
		return err
	}
	return away.tell(ctx, space, c)
}

// Ask is of Broker: there are no other nodes, but for the process that has taken the place of this one.
func (m *Memory) Ask(ctx context.Context, space string, c Command, request []byte) ([]byte, error) {
	away, err := m.peer(ctx)
	switch {
	case err != nil:
		return nil, err
	case away == nil:
		return nil, ErrClosed
	}
	return away.askThere(ctx, space, c, request)
}

var _ Broker = (*Memory)(nil)

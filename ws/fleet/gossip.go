package fleet

import (
	"context"
	"errors"
	"hash/fnv"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/edge-server/edge/ws"
)

// peers are the other nodes, and what was asked of them.
type peers struct {
	mu      sync.Mutex
	seen    map[string]time.Time
	asked   uint64
	answers map[uint64]chan *note

	questions chan question // of other nodes, for answerAll
}

const (
	// maxPeers bounds what nodes that say anything may take.
	maxPeers = 1024

	// maxQuestions is how many questions of others wait here, maxAsking how many of ours wait there.
	maxQuestions = 256
	maxAsking    = 256

	// partBytes is about how long a part of an answer gets: servers do not take messages of any size.
	partBytes = 128 << 10

	// maxParts is how many parts of answers wait for who asked.
	maxParts = 1024
)

func (p *peers) init() {
	p.seen, p.answers, p.questions = map[string]time.Time{}, map[uint64]chan *note{}, make(chan question, maxQuestions)
}

// question is what another node asks, and when it came.
type question struct {
	*note
	at time.Time
}

// alive lists the others, and forgets who was silent for a lease.
func (p *peers) alive(lease time.Duration) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var list []string
	for name, at := range p.seen {
		if time.Since(at) > lease {
			delete(p.seen, name)
			continue
		}
		list = append(list, name)
	}
	return list
}

// gossip says that this node lives until the broker stops.
func (b *Broker) gossip() {
	tick := time.NewTicker(b.opts.Lease / 3)
	defer tick.Stop()
	for kind := noteHello; ; kind = noteBeat {
		_ = b.tell(b.life, &note{Type: kind})
		select {
		case <-b.life.Done():
			return
		case <-tick.C:
		}
	}
}

var errNobody = errors.New("ws.broker: the server is lost, other nodes do not hear of it")

// tell sends a note by the first lane that takes it.
func (b *Broker) tell(ctx context.Context, n *note) error {
	n.From = b.node.ID()
	message := n.encode()
	err := errNobody
	for _, l := range b.lanes {
		if !l.online.Load() {
			continue
		}
		if err = b.ask(ctx, func(ctx context.Context) error { return l.driver.Tell(ctx, message) }); err == nil {
			return nil
		}
		if !l.degrades(ctx, err) {
			return err
		}
	}
	return err
}

// told is what another node says. It must not wait.
func (b *Broker) told(message []byte) {
	n, err := decodeNote(message)
	if err != nil {
		b.stats.malformed.Add(1)
		return
	}
	if n.From == b.node.ID() {
		return
	}
	b.hear(n)
	switch n.Type {
	case noteHello:
		b.peers.question(n) // answered by a beat
	case noteTell:
		if n.Command == nil {
			b.stats.malformed.Add(1)
			return
		}
		c, err := n.Command.decode()
		if err != nil {
			b.stats.malformed.Add(1)
			return
		}
		b.node.Do(n.Space, c)
	case noteAsk:
		b.peers.question(n)
	case noteCall:
		switch {
		case n.Command == nil:
			b.stats.malformed.Add(1)
		case n.Command.Conn.Of(b.node.ID()): // another node's, else
			b.peers.question(n)
		}
	case noteAnswer:
		if n.To == b.node.ID() {
			b.peers.answer(n)
		}
	}
}

func (b *Broker) hear(n *note) {
	p := &b.peers
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, known := p.seen[n.From]; n.Type == noteBye {
		delete(p.seen, n.From)
	} else if known || len(p.seen) < maxPeers {
		p.seen[n.From] = time.Now()
	}
}

// question takes what must be answered; one too many is not.
func (p *peers) question(n *note) {
	select {
	case p.questions <- question{n, time.Now()}:
	default:
	}
}

func (p *peers) answer(n *note) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if to := p.answers[n.Ask]; to != nil {
		select {
		case to <- n:
		default: // more than anybody waits for
		}
	}
}

// answerAll answers the questions of other nodes until the broker stops.
func (b *Broker) answerAll() {
	for {
		select {
		case <-b.life.Done():
			return
		case q := <-b.peers.questions:
			switch {
			case q.Type == noteHello:
				_ = b.tell(b.life, &note{Type: noteBeat})
			case time.Since(q.at) > b.opts.Timeout: // nobody waits any more
			case q.Type == noteCall:
				b.answerCall(q.note)
			default:
				b.reply(q.note)
			}
		}
	}
}

func (b *Broker) reply(n *note) {
	list := b.census(n.Space, n.Prefix)
	for {
		part, size := 0, 0
		for part < len(list) && size < partBytes {
			size += len(list[part].Name) + 40 + 21*len(list[part].Users)
			part++
		}
		more := part < len(list)
		if b.tell(b.life, &note{Type: noteAnswer, To: n.From, Ask: n.Ask, Channels: list[:part], More: more}) != nil || !more {
			return
		}
		list = list[part:]
	}
}

// census lists the channels of this node.
func (b *Broker) census(space, prefix string) []census {
	var list []census
	for _, info := range b.node.Occupied(space, prefix) {
		of := ws.Address{Space: space, Channel: info.Name}
		list = append(list, census{Name: info.Name, Subscribers: info.Subscribers, Users: b.lane(of).localUsers(of)})
	}
	return list
}

func hash(text string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(text))
	return h.Sum64()
}

// Channels is of ws.Broker: it asks all nodes. One that does not answer in time is left out, and counted.
func (b *Broker) Channels(ctx context.Context, space, prefix string) ([]ws.ChannelInfo, error) {
	var sum tally
	sum.add(b.census(space, prefix))
	others := b.peers.alive(b.opts.Lease)
	if len(others) == 0 {
		return sum.list(), nil
	}
	id, answers, done, err := b.peers.register()
	if err != nil {
		return sum.list(), err
	}
	defer done()
	if err := b.tell(ctx, &note{Type: noteAsk, Ask: id, Space: space, Prefix: prefix}); err != nil {
		b.stats.partial.Add(1)
		return sum.list(), ctx.Err() // a lost broker degrades to this node
	}
	timer := time.NewTimer(b.opts.Timeout)
	defer timer.Stop()
	for len(others) > 0 {
		select {
		case n := <-answers:
			if i := slices.Index(others, n.From); i >= 0 {
				sum.add(n.Channels)
				if !n.More {
					others = slices.Delete(others, i, i+1)
				}
			}
		case <-timer.C:
			b.stats.partial.Add(1)
			return sum.list(), nil
		case <-ctx.Done():
			return sum.list(), ctx.Err()
		}
	}
	return sum.list(), nil
}

// tally adds up what the nodes have.
type tally struct {
	index map[string]int
	infos []ws.ChannelInfo
	users []map[uint64]struct{}
}

func (t *tally) add(list []census) {
	if t.index == nil {
		t.index = map[string]int{}
	}
	for _, c := range list {
		i, there := t.index[c.Name]
		if !there {
			i = len(t.infos)
			t.index[strings.Clone(c.Name)] = i
			t.infos, t.users = append(t.infos, ws.ChannelInfo{Name: c.Name}), append(t.users, nil)
		}
		t.infos[i].Subscribers += max(c.Subscribers, 0)
		for _, u := range c.Users {
			if t.users[i] == nil {
				t.users[i] = map[uint64]struct{}{}
			}
			t.users[i][u] = struct{}{}
		}
	}
}

func (t *tally) list() []ws.ChannelInfo {
	for i := range t.infos {
		t.infos[i].Users = len(t.users[i])
	}
	return t.infos
}

// Tell is of ws.Broker. This node does it in any case; the error says that others may not have heard of it.
func (b *Broker) Tell(ctx context.Context, space string, c ws.Command) error {
	if n := b.node.Do(space, c); n > 0 && c.Conn != 0 {
		return nil // there is no other connection of that ID
	}
	return b.tell(ctx, &note{Type: noteTell, Space: space, Command: encodeCommand(c)})
}

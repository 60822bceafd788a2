package ws

import (
	"bytes"
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// In an upgrade what a node shares with nobody moves to another process, while both serve:
//
//	            older process                           newer process
//	it starts   the histories
//	it moves    Hold: who publishes waits; Give sends   takes the histories
//	it serves   GoTo: what is published goes to the     Follow: what is published goes
//	            newer process and to the clients that   to its clients and to those
//	            are still here                          that are still there
//
// So who talks to the older process for a while longer (a request under way, a kept connection, a worker) reaches the clients, wherever
// they are by now.

// Peer has another process serve a request of Memory, by Hub.Serve.
type Peer func(ctx context.Context, request []byte) (answer []byte, err error)

// away is where a Memory has gone.
type away struct {
	settled chan struct{} // closed when it is known where to
	peer    Peer          // nil: it has stayed

	mu sync.Mutex // held while something is published, for the order of those who are still here
}

// request is an operation of a Broker for another process, or a history that moves.
type request struct {
	Op         operation
	Of         Address
	Message    *carried
	Except     ConnID
	ExceptUser string
	Keep       Keep
	After      Position
	Limit      int
	Command    movedCommand // what it sends is Message
	Asks       bool
	Request    []byte
	Logs       []movedLog
}

type operation string

const (
	opTake     operation = "take"
	opPublish  operation = "publish"
	opHistory  operation = "history"
	opMembers  operation = "members"
	opChannels operation = "channels"
	opTell     operation = "tell"
	opAsk      operation = "ask"

	// What the newer process asks of the older one.
	opDeliver operation = "deliver"
	opDo      operation = "do"
)

// reply is the answer to a request.
type reply struct {
	Closed   bool // ErrClosed
	Position Position
	Past     movedPast
	Members  []movedMember
	Channels []ChannelInfo
	Answer   []byte
}

// carried is a Prepared on its way.
type carried struct {
	Kind    Kind
	Payload []byte
}

func carry(m *Prepared) *carried {
	if m == nil {
		return nil
	}
	return &carried{m.Kind(), m.Payload()}
}

func (c *carried) prepared() *Prepared {
	if c == nil {
		return nil
	}
	return Prepare(c.Kind, c.Payload)
}

type movedCommand struct {
	Conn   ConnID
	User   string
	All    bool
	Code   CloseCode
	Reason string
}

func (c movedCommand) command(m *carried) Command {
	return Command{Conn: c.Conn, User: c.User, All: c.All, Send: m.prepared(), Code: c.Code, Reason: c.Reason}
}

func moveCommand(c Command) movedCommand {
	return movedCommand{c.Conn, c.User, c.All, c.Code, c.Reason}
}

type movedMember struct {
	ID   string
	Info []byte
}

type movedPublication struct {
	Message    carried
	Position   Position
	Except     ConnID
	ExceptUser string
}

type movedPast struct {
	Publications []movedPublication
	Now          Position
	Whole        bool
}

// movedLog is the history of a channel.
type movedLog struct {
	Of      Address
	Epoch   string
	Offset  uint64
	Kept    []movedPublication
	Expires time.Time
}

func movePublications(list []Publication) []movedPublication {
	moved := make([]movedPublication, len(list))
	for i, p := range list {
		moved[i] = movedPublication{*carry(p.Message), p.Position, p.Except, p.ExceptUser}
	}
	return moved
}

func publicationsOf(moved []movedPublication) []Publication {
	list := make([]Publication, len(moved))
	for i, p := range moved {
		list[i] = Publication{Message: p.Message.prepared(), Position: p.Position, Except: p.Except, ExceptUser: p.ExceptUser}
	}
	return list
}

// Memory returns the broker of a single node, or nil if the hub has another.
func (h *Hub) Memory() *Memory {
	m, _ := h.broker.(*Memory)
	return m
}

// Serve carries out what the other process of an upgrade asks for.
func (h *Hub) Serve(ctx context.Context, encoded []byte) ([]byte, error) {
	var r request
	if err := gob.NewDecoder(bytes.NewReader(encoded)).Decode(&r); err != nil {
		return nil, fmt.Errorf("ws: a request of the older process: %w", err)
	}
	var a reply
	err := h.carryOut(ctx, &r, &a)
	if errors.Is(err, ErrClosed) {
		a.Closed, err = true, nil
	}
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = gob.NewEncoder(&b).Encode(&a)
	return b.Bytes(), err
}

func (h *Hub) carryOut(ctx context.Context, r *request, a *reply) (err error) {
	switch r.Op {
	case opTake:
		if m := h.Memory(); m != nil {
			m.take(r.Logs)
		}
	case opPublish:
		p := Publication{Message: r.Message.prepared(), Except: r.Except, ExceptUser: r.ExceptUser}
		if m := h.Memory(); m != nil {
			a.Position, err = m.publish(ctx, r.Of, p, r.Keep, nil) // who asks has told its clients
		} else {
			a.Position, err = h.broker.Publish(ctx, r.Of, p, r.Keep)
		}
	case opDeliver:
		h.Deliver(r.Of, Publication{Message: r.Message.prepared(), Position: r.After, Except: r.Except, ExceptUser: r.ExceptUser})
	case opDo:
		h.Do(r.Of.Space, r.Command.command(r.Message))
	case opHistory:
		var past Past
		past, err = h.broker.History(ctx, r.Of, r.After, r.Limit)
		a.Past = movedPast{movePublications(past.Publications), past.Now, past.Whole}
	case opMembers:
		var list []Member
		list, err = h.broker.Members(ctx, r.Of)
		for _, m := range list {
			a.Members = append(a.Members, movedMember{m.ID, m.Info})
		}
	case opChannels:
		a.Channels, err = h.broker.Channels(ctx, r.Of.Space, r.Of.Channel)
	case opTell:
		err = h.broker.Tell(ctx, r.Of.Space, r.Command.command(r.Message))
	case opAsk:
		c := r.Command.command(r.Message)
		var asked []byte
		if r.Asks {
			asked = append([]byte{}, r.Request...)
		}
		if a.Answer, err = h.Answer(ctx, r.Of.Space, c, asked); errors.Is(err, ErrClosed) {
			a.Answer, err = h.broker.Ask(ctx, r.Of.Space, c, asked)
		}
	default:
		err = fmt.Errorf("ws: the older process asks for %q", r.Op)
	}
	return err
}

// ask has the other process carry out a request.
func (p Peer) ask(ctx context.Context, r request) (a reply, err error) {
	var b bytes.Buffer
	if err := gob.NewEncoder(&b).Encode(&r); err != nil {
		return a, err
	}
	answer, err := p(ctx, b.Bytes())
	if err != nil {
		return a, fmt.Errorf("ws: ask the newer process: %w", err)
	}
	if err := gob.NewDecoder(bytes.NewReader(answer)).Decode(&a); err != nil {
		return a, fmt.Errorf("ws: the answer of the newer process: %w", err)
	}
	if a.Closed {
		err = ErrClosed
	}
	return a, err
}

// Hold makes who publishes, or asks, wait for GoTo or Resume.
func (m *Memory) Hold() {
	m.keeping.Lock()
	defer m.keeping.Unlock()
	m.away.Store(&away{settled: make(chan struct{})})
}

// GoTo ends Hold: the other process is asked from now on.
func (m *Memory) GoTo(peer Peer) {
	if held := m.away.Load(); held != nil {
		held.peer = peer
		close(held.settled)
	}
}

// Follow tells of the process whose place this one has taken: it has clients for a while yet. Nil: it has ended.
func (m *Memory) Follow(older Peer) {
	if older == nil {
		m.older.Store(nil)
		return
	}
	m.older.Store(&older)
}

// olderPatience is how long a publication waits for the older process. One that takes longer is not asked again: it is stuck, and its clients
// will come back.
const olderPatience = time.Second

// tellOlder has the older process do something for its clients. When it has gone, so have they.
func (m *Memory) tellOlder(ctx context.Context, older *Peer, r request) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), olderPatience)
	defer cancel()
	if _, err := older.ask(ctx, r); err != nil {
		m.older.CompareAndSwap(older, nil)
	}
}

func deliverRequest(to Address, p Publication) request {
	return request{Op: opDeliver, Of: to, Message: carry(p.Message), After: p.Position, Except: p.Except, ExceptUser: p.ExceptUser}
}

// Resume ends Hold: everything is as before.
func (m *Memory) Resume() {
	if held := m.away.Swap(nil); held != nil {
		close(held.settled)
	}
}

// peer waits until it is known where the channels are. Nil: here.
func (m *Memory) peer(ctx context.Context) (*away, error) {
	held := m.away.Load()
	if held == nil {
		return nil, nil
	}
	select {
	case <-held.settled:
	case <-ctx.Done():
		return nil, fmt.Errorf("ws: the channels move to another process: %w", context.Cause(ctx))
	}
	if held.peer == nil {
		return nil, nil
	}
	return held, nil
}

// logsAtOnce is how many histories one request has; bytesAtOnce how many bytes, about.
const logsAtOnce, bytesAtOnce = 256, 1 << 20

// Give sends all histories to the other process, after Hold.
func (m *Memory) Give(ctx context.Context, peer Peer) error {
	m.mu.Lock()
	all := make(map[Address]*channelLog, len(m.logs))
	for of, log := range m.logs {
		all[of] = log
	}
	m.mu.Unlock()
	var logs []movedLog
	size := 0
	flush := func() error {
		_, err := peer.ask(ctx, request{Op: opTake, Logs: logs})
		logs, size = nil, 0
		return err
	}
	for of, log := range all {
		log.mu.Lock()
		moved := movedLog{of, log.epoch, log.offset, movePublications(log.kept), log.expires}
		skip := log.gone || log.expired(time.Now())
		log.mu.Unlock()
		if skip {
			continue
		}
		logs = append(logs, moved)
		for _, p := range moved.Kept {
			size += len(p.Message.Payload)
		}
		if len(logs) >= logsAtOnce || size >= bytesAtOnce {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush() // an empty one, too: it tells whether there is somebody who takes it
}

// take makes histories of another process those of this one, which has none of these channels yet.
func (m *Memory) take(logs []movedLog) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, l := range logs {
		m.logs[l.Of] = &channelLog{epoch: l.Epoch, offset: l.Offset, kept: publicationsOf(l.Kept), expires: l.Expires}
	}
}

// publish is Publish when the channels are in another process. Those who are still here hear it, too.
func (a *away) publish(ctx context.Context, m *Memory, to Address, p Publication, keep Keep) (Position, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	answer, err := a.peer.ask(ctx, request{
		Op: opPublish, Of: to, Message: carry(p.Message), Except: p.Except, ExceptUser: p.ExceptUser, Keep: keep,
	})
	p.Position = answer.Position
	m.deliver(to, p)
	return answer.Position, err
}

func (a *away) history(ctx context.Context, of Address, after Position, limit int) (Past, error) {
	answer, err := a.peer.ask(ctx, request{Op: opHistory, Of: of, After: after, Limit: limit})
	return Past{publicationsOf(answer.Past.Publications), answer.Past.Now, answer.Past.Whole}, err
}

// members adds those of the other process to those who are still here.
func (a *away) members(ctx context.Context, of Address, here []Member) ([]Member, error) {
	answer, err := a.peer.ask(ctx, request{Op: opMembers, Of: of})
	for _, m := range answer.Members {
		if !slices.ContainsFunc(here, func(h Member) bool { return h.ID == m.ID }) {
			here = append(here, Member{ID: m.ID, Info: m.Info})
		}
	}
	return here, err
}

// channels adds those of the other process to those that are still occupied here. Users that are in both count once, as far as that can be told.
func (a *away) channels(ctx context.Context, space, prefix string, here []ChannelInfo) ([]ChannelInfo, error) {
	answer, err := a.peer.ask(ctx, request{Op: opChannels, Of: Address{space, prefix}})
	for _, c := range answer.Channels {
		i := slices.IndexFunc(here, func(h ChannelInfo) bool { return h.Name == c.Name })
		if i < 0 {
			here = append(here, c)
			continue
		}
		here[i].Subscribers += c.Subscribers
		here[i].Users = max(here[i].Users, c.Users)
	}
	return here, err
}

func (a *away) tell(ctx context.Context, space string, c Command) error {
	_, err := a.peer.ask(ctx, request{Op: opTell, Of: Address{Space: space}, Command: moveCommand(c), Message: carry(c.Send)})
	return err
}

func (a *away) askThere(ctx context.Context, space string, c Command, asked []byte) ([]byte, error) {
	answer, err := a.peer.ask(ctx, request{
		Op: opAsk, Of: Address{Space: space}, Command: moveCommand(c), Message: carry(c.Send), Asks: asked != nil, Request: asked,
	})
	if asked != nil && answer.Answer == nil && err == nil {
		answer.Answer = []byte{}
	}
	return answer.Answer, err
}

package fleet

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/edge-server/edge/ws"
)

// answerers is how many questions of other nodes are answered at a time: an answer may wait for the server.
const answerers = 8

// register makes a place for the answers to a question.
func (p *peers) register() (id uint64, answers chan *note, done func(), err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.answers) >= maxAsking {
		return 0, nil, nil, ErrQueue
	}
	p.asked++
	id, answers = p.asked, make(chan *note, maxParts)
	p.answers[id] = answers
	return id, answers, func() {
		p.mu.Lock()
		delete(p.answers, id)
		p.mu.Unlock()
	}, nil
}

// Ask is of ws.Broker. All nodes that may have given out the connection's ID are asked; nearly always that is one.
func (b *Broker) Ask(ctx context.Context, space string, c ws.Command, request []byte) ([]byte, error) {
	var holders []string
	for _, name := range b.peers.alive(b.opts.Lease) {
		if c.Conn.Of(name) {
			holders = append(holders, name)
		}
	}
	if len(holders) == 0 {
		return nil, ws.ErrClosed // it has gone with its node
	}
	id, answers, done, err := b.peers.register()
	if err != nil {
		return nil, err
	}
	defer done()
	if err := b.tell(ctx, &note{Type: noteCall, Ask: id, Space: space, Command: encodeCommand(c), Request: request}); err != nil {
		return nil, err
	}
	timer := time.NewTimer(b.opts.Timeout)
	defer timer.Stop()
	for waiting := len(holders); waiting > 0; {
		select {
		case n := <-answers:
			switch {
			case n.Gone:
				waiting--
			case n.Error != "":
				return nil, errors.New(n.Error)
			default:
				return n.Request, nil
			}
		case <-timer.C:
			b.stats.partial.Add(1)
			return nil, fmt.Errorf("ws.broker: the node that holds the connection %s did not answer within %s", c.Conn, b.opts.Timeout)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return nil, ws.ErrClosed
}

// answerCall does what another node asks for.
func (b *Broker) answerCall(n *note) {
	answer := &note{Type: noteAnswer, To: n.From, Ask: n.Ask}
	defer func() { _ = b.tell(b.life, answer) }() // who has asked waits no longer than its timeout
	command, err := n.Command.decode()
	if err != nil {
		b.stats.malformed.Add(1)
		answer.Error = err.Error()
		return
	}
	ctx, cancel := context.WithTimeout(b.life, b.opts.Timeout)
	defer cancel()
	answer.Request, err = b.node.Answer(ctx, n.Space, command, n.Request)
	switch {
	case errors.Is(err, ws.ErrClosed):
		answer.Gone = true
	case err != nil:
		answer.Error = err.Error()
	}
}

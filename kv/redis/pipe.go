package redis

import (
	"context"
	"errors"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/edge-server/edge/kv"
)

// pipe gathers what many callers ask at the same time, and sends it together: a lot is one pipeline of go-redis, which knows clusters
// and redirects. While one is on its way the next is gathered. A second one leaves before the first is back when it has become as large
// as is worth a connection, so that the callers of one are at work while the server is at the other.
//
// go-redis has such a thing itself. It does more, and costs more than half of what it saves; see RATIONALE.md.
type pipe struct {
	client redis.UniversalClient

	mu     sync.Mutex
	queue  []*lot // those that gather; all but the last are full
	queued int    // commands in them
	away   int    // lots on their way
	closed bool
	flying sync.WaitGroup // those who send
}

// lot is the commands that travel together.
type lot struct {
	cmds  []command
	bytes int
	back  chan struct{} // closed when their answers are there
}

const (
	// maxQueued bounds the commands that wait.
	maxQueued = 1 << 16

	// maxLot and maxLotBytes are when a lot is full: the first answer comes when the last command was written.
	maxLot      = 256
	maxLotBytes = 128 << 10

	// maxAway is how many lots are on their way at most, and worthIt how many commands the second one has at least.
	maxAway = 2
	worthIt = 16
)

var errCrowded = errors.New("too many commands wait for the server")

func newPipe(client redis.UniversalClient) *pipe { return &pipe{client: client} }

// submit puts commands into a lot. They have their answers, and errors, once it is back.
func (p *pipe) submit(cmds []command, bytes int) (*lot, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, kv.ErrClosed
	}
	if p.queued+len(cmds) > maxQueued {
		return nil, errCrowded
	}
	l := p.last()
	if l == nil || len(l.cmds)+len(cmds) > maxLot || l.bytes+bytes > maxLotBytes {
		l = &lot{cmds: make([]command, 0, worthIt), back: make(chan struct{})}
		p.queue = append(p.queue, l)
	}
	l.cmds = append(l.cmds, cmds...)
	l.bytes += bytes
	p.queued += len(cmds)
	if p.ready() {
		p.away++
		p.flying.Go(p.fly) // ends when there is nothing more to send
	}
	return l, nil
}

func (p *pipe) last() *lot {
	if len(p.queue) == 0 {
		return nil
	}
	return p.queue[len(p.queue)-1]
}

// ready reports whether another lot may leave.
func (p *pipe) ready() bool {
	return p.away == 0 && p.queued > 0 || p.away < maxAway && p.queued >= worthIt
}

// fly sends one lot after the other while there are any.
func (p *pipe) fly() {
	for l := p.take(); l != nil; l = p.take() {
		send := p.client.Pipeline()
		_ = send.BatchProcess(context.Background(), l.cmds...) // only queues
		_, _ = send.Exec(context.Background())                 // every command has its error
		close(l.back)
	}
}

// take returns the lot to be sent next, for one that is on its way, or nil: the way is over.
func (p *pipe) take() *lot {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.away--
	if !p.ready() {
		return nil
	}
	p.away++
	l := p.queue[0]
	p.queue = p.queue[1:]
	p.queued -= len(l.cmds)
	return l
}

// close lets what was submitted arrive.
func (p *pipe) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.flying.Wait()
}

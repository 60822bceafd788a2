package fleet

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/edge-server/edge/ws"
)

// Options are what a Broker needs beside its driver.
type Options struct {
	Name   string // of the driver, for people
	Logger *slog.Logger

	// Lease is how long a node that is silent keeps its members.
	Lease time.Duration

	// Timeout bounds every way to the server and back.
	Timeout time.Duration

	// Queue is how many questions may be under way; more fail at once.
	Queue int
}

// Broker is a ws.Broker over a driver.
type Broker struct {
	opts     Options
	driver   Driver
	log      *slog.Logger
	lanes    []*lane
	slots    chan struct{} // one for each question under way
	patience time.Duration // for a question

	number uint64 // of this node, in the IDs of messages; chosen anew at each start
	count  atomic.Uint64
	own    ownMessages
	peers  peers
	stats  counters

	node    ws.Node
	life    context.Context // ends with Stop
	end     context.CancelFunc
	running sync.WaitGroup
}

// ErrQueue says that more is asked of the server than it can answer.
var ErrQueue = errors.New("ws.broker: as many operations wait for the server as broker.queue allows")

// errUnasked says that the caller's time was over before the server was asked.
var errUnasked = errors.New("ws.broker: the time was over before the server was asked")

// New makes a broker; Start connects it.
func New(driver Driver, opts Options) *Broker {
	b := &Broker{opts: opts, driver: driver, log: opts.Logger, slots: make(chan struct{}, opts.Queue)}
	var random [8]byte
	rand.Read(random[:])
	b.number = binary.BigEndian.Uint64(random[:])
	b.own.init()
	b.peers.init()
	return b
}

// Start is of ws.Broker. A server that is not there, or refuses, is an error; one that is lost later is not.
func (b *Broker) Start(ctx context.Context, node ws.Node) error {
	b.node = node
	b.patience = b.opts.Timeout * time.Duration(b.driver.Trips())
	b.life, b.end = context.WithCancel(context.Background())
	if err := b.driver.Start(ctx, node.ID(), sink{b}); err != nil {
		b.end()
		return err
	}
	for i, d := range b.driver.Lanes() {
		b.lanes = append(b.lanes, newLane(b, i, d))
	}
	for _, l := range b.lanes {
		if err := l.heal(ctx, true); err != nil {
			b.end()
			return errors.Join(err, b.driver.Stop(ctx))
		}
	}
	for _, l := range b.lanes {
		b.running.Go(l.keep)
	}
	b.running.Go(b.gossip)
	for range answerers {
		b.running.Go(b.answerAll)
	}
	return nil
}

// Stop is of ws.Broker. The connections have ended, and their members have left.
func (b *Broker) Stop(ctx context.Context) error {
	if b.end == nil || b.life.Err() != nil {
		return nil
	}
	b.end()
	b.running.Wait()
	// Also when there is no time left: the others would wait for a lease, and for answers.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), b.opts.Timeout)
	defer cancel()
	for _, l := range b.lanes {
		if l.online.Load() {
			if err := l.driver.Resign(ctx); err != nil {
				b.stats.failed(err)
			}
		}
	}
	_ = b.tell(ctx, &note{Type: noteBye})
	return b.driver.Stop(ctx)
}

// Patience is of ws.Broker. Watch asks for two things.
func (b *Broker) Patience() time.Duration {
	return 2 * b.opts.Timeout * time.Duration(b.driver.Trips())
}

// lane finds where a channel belongs. The server's share is computed by hash, so that all nodes agree.
func (b *Broker) lane(of ws.Address) *lane { return b.lanes[LaneOf(of, len(b.lanes))] }

// LaneOf is the number of the lane of a channel.
func LaneOf(of ws.Address, lanes int) int {
	if lanes == 1 {
		return 0
	}
	h := fnv.New32a()
	h.Write([]byte(of.Space))
	h.Write([]byte{0})
	h.Write([]byte(of.Channel))
	return int(h.Sum32() % uint32(lanes))
}

// ask runs a question to the server within the limits.
func (b *Broker) ask(ctx context.Context, question func(ctx context.Context) error) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%w: %w", errUnasked, err)
	}
	select {
	case b.slots <- struct{}{}:
		defer func() { <-b.slots }()
	default:
		b.stats.full.Add(1)
		return ErrQueue
	}
	ctx, cancel := context.WithTimeout(ctx, b.patience)
	defer cancel()
	began := time.Now()
	err := question(ctx)
	b.stats.asked.Add(1)
	b.stats.askedTime.Add(int64(time.Since(began)))
	b.stats.failed(err)
	return err
}

// Publish is of ws.Broker.
func (b *Broker) Publish(ctx context.Context, to ws.Address, p ws.Publication, keep ws.Keep) (at ws.Position, err error) {
	l := b.lane(to)
	id := b.nextID()
	if l.online.Load() {
		b.own.send(id)
		err = b.ask(ctx, func(ctx context.Context) (err error) {
			at, err = l.driver.Publish(ctx, to, encode(id, p), keep)
			return err
		})
		if err == nil {
			b.own.forget(id)
			return at, nil
		}
		if !l.degrades(ctx, err) {
			b.own.forget(id)
			return at, err
		}
	}
	l.deliverLocally(to, id, p)
	return ws.Position{}, nil
}

func (b *Broker) nextID() messageID { return messageID{b.number, b.count.Add(1)} }

// Watch is of ws.Broker.
func (b *Broker) Watch(ctx context.Context, channel ws.Address) (bool, error) {
	return b.lane(channel).watch(ctx, channel)
}

// Unwatch is of ws.Broker.
func (b *Broker) Unwatch(ctx context.Context, channel ws.Address) (bool, error) {
	return b.lane(channel).unwatch(ctx, channel)
}

// History is of ws.Broker. Of a lost server nothing is known.
func (b *Broker) History(ctx context.Context, channel ws.Address, after ws.Position, limit int) (ws.Past, error) {
	l := b.lane(channel)
	if !l.online.Load() {
		return ws.Past{}, nil
	}
	var found Past
	err := b.ask(ctx, func(ctx context.Context) (err error) {
		found, err = l.driver.Past(ctx, History, channel, after, limit)
		return err
	})
	if err != nil {
		if l.degrades(ctx, err) {
			err = nil
		}
		return ws.Past{}, err
	}
	past := ws.Past{Now: found.Now.Position, Whole: found.Whole}
	for _, e := range found.Entries {
		_, p, err := decode(e.Message)
		if err != nil {
			b.stats.malformed.Add(1)
			past.Whole = false
			continue
		}
		p.Position = e.At
		past.Publications = append(past.Publications, p)
	}
	return past, nil
}

// Join is of ws.Broker.
func (b *Broker) Join(ctx context.Context, channel ws.Address, m ws.Member, announce *ws.Prepared) (ws.Membership, error) {
	return b.lane(channel).join(ctx, channel, m, announce)
}

// Leave is of ws.Broker.
func (b *Broker) Leave(ctx context.Context, channel ws.Address, m ws.Member, announce *ws.Prepared) (ws.Membership, error) {
	return b.lane(channel).leave(ctx, channel, m, announce)
}

// Members is of ws.Broker.
func (b *Broker) Members(ctx context.Context, channel ws.Address) ([]ws.Member, error) {
	return b.lane(channel).members(ctx, channel)
}

// sink is the Broker as its driver sees it.
type sink struct{ b *Broker }

func (s sink) Published(of ws.Address, log Log, at ws.Position, message []byte) {
	s.b.lane(of).published(of, log, at, message)
}

func (s sink) Told(message []byte) { s.b.told(message) }

func (s sink) Departed(d ws.Departure) { s.b.node.Departed(d) }

func (s sink) Lost(i int, err error) {
	if i < len(s.b.lanes) {
		s.b.lanes[i].lose(err)
	}
}

// ownMessages knows which messages of this node must not be delivered when they come back: those that were delivered without the
// server, whose fate is unknown.
type ownMessages struct {
	mu   sync.Mutex
	sent map[uint64]bool // under way; true: came back
	here map[uint64]struct{}
	ring []uint64 // of here, oldest at next
	next int
}

// ownRemembered is how many of those are remembered. They come back within moments, or never.
const ownRemembered = 1 << 15

func (o *ownMessages) init() {
	o.sent, o.here, o.ring = map[uint64]bool{}, map[uint64]struct{}{}, nil
}

// send notes that a message is under way; forget that its fate is known.
func (o *ownMessages) send(id messageID) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.sent[id.count] = false
}

func (o *ownMessages) forget(id messageID) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.sent, id.count)
}

// came reports whether a message that came back is to be delivered.
func (o *ownMessages) came(id messageID) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, done := o.here[id.count]; done {
		return false
	}
	if _, under := o.sent[id.count]; under {
		o.sent[id.count] = true
	}
	return true
}

// takeOver reports whether a message is to be delivered without the server, and remembers that it was.
func (o *ownMessages) takeOver(id messageID) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	came := o.sent[id.count]
	delete(o.sent, id.count)
	if came {
		return false
	}
	if len(o.ring) < ownRemembered {
		o.ring = append(o.ring, id.count)
	} else {
		delete(o.here, o.ring[o.next])
		o.ring[o.next] = id.count
		o.next = (o.next + 1) % ownRemembered
	}
	o.here[id.count] = struct{}{}
	return true
}

var _ ws.Broker = (*Broker)(nil)

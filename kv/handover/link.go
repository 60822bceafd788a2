package handover

import (
	"bufio"
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/edge-server/edge/kv"
)

// Link is a connection between two processes over which each may use the stores of the other. What comes is trusted: both run the same
// program for the same user.
type Link struct {
	conn  net.Conn
	find  func(name string) *Store
	ended chan struct{}
	slots chan struct{} // bounds the calls that run at a time

	sending sync.Mutex // guards the next two
	buffer  *bufio.Writer
	encoder *gob.Encoder

	mu      sync.Mutex // guards what follows
	last    uint64
	waiting map[uint64]chan *frame // by the number of a call: of this side, or of the other
	looking map[uint64]chan *frame

	wg sync.WaitGroup
}

// frame is what travels.
type frame struct {
	Kind  kind
	ID    uint64 // of the call, as its sender counts
	Store string
	Op    op

	Items   []kv.Item
	Item    kv.Item
	Key     string
	Text    string
	Number  int64
	Score   float64
	Time    time.Time
	Members []kv.Ranked
	Names   []string
	Span    kv.Span
	Flag    bool
	Code    int
}

type kind uint8

const (
	isCall   kind = iota
	isAnswer      // to a call
	isLook        // the other side's Update shows what is there
	isChange      // what is to be there
)

type op uint8

const (
	opHas op = iota
	opGet
	opTTL
	opSet
	opExpire
	opDelete
	opAdd
	opClear
	opUpdate
	opIncrement
	opScan
	opZAdd
	opZIncrement
	opZRemove
	opZRange
	opZRank
	opZScore
	opZCard
)

const (
	// callTime bounds a call of the other process.
	callTime = 30 * time.Second

	// changeTime is how long the other process may take to say what is to become of a key, which is locked meanwhile.
	changeTime = 5 * time.Second

	maxCalls = 4096
)

// NewLink begins to serve the stores that find finds, and owns conn.
func NewLink(conn net.Conn, find func(name string) *Store) *Link {
	l := &Link{
		conn: conn, find: find, ended: make(chan struct{}), slots: make(chan struct{}, maxCalls), buffer: bufio.NewWriter(conn),
		waiting: map[uint64]chan *frame{}, looking: map[uint64]chan *frame{},
	}
	l.encoder = gob.NewEncoder(l.buffer)
	l.wg.Go(l.receive)
	return l
}

// Close ends the link, if it has not ended, and waits for the calls of the other side that are under way.
func (l *Link) Close() error {
	err := l.conn.Close()
	l.wg.Wait()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// receive ends with the connection.
func (l *Link) receive() {
	defer close(l.ended)
	decoder := gob.NewDecoder(bufio.NewReader(l.conn))
	for {
		f := &frame{}
		if decoder.Decode(f) != nil {
			return
		}
		switch f.Kind {
		case isCall:
			l.wg.Go(func() { l.serve(f) }) // ends within callTime
		case isAnswer, isLook:
			l.pass(l.waiting, f)
		case isChange:
			l.pass(l.looking, f)
		}
	}
}

// pass hands a frame to who waits for it; nobody may any more.
func (l *Link) pass(to map[uint64]chan *frame, f *frame) {
	l.mu.Lock()
	c := to[f.ID]
	l.mu.Unlock()
	if c == nil {
		return
	}
	select {
	case c <- f:
	case <-l.ended:
	default: // it has more than it waits for
	}
}

func (l *Link) send(f *frame) error {
	l.sending.Lock()
	defer l.sending.Unlock()
	l.conn.SetWriteDeadline(time.Now().Add(callTime))
	err := l.encoder.Encode(f)
	if err == nil {
		err = l.buffer.Flush()
	}
	return err
}

func (l *Link) join(to map[uint64]chan *frame, id uint64) chan *frame {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := make(chan *frame, 4) // a look, an answer, and what nobody asked for
	to[id] = c
	return c
}

func (l *Link) part(from map[uint64]chan *frame, id uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(from, id)
}

// errGone means that the process which has the store does not answer.
var errGone = fmt.Errorf("%w: the process that has it has gone", kv.ErrUnavailable)

// call runs an operation at the other side. change is for opUpdate.
func (l *Link) call(ctx context.Context, f *frame, change func(kv.Item) (kv.Item, error)) (*frame, error) {
	l.mu.Lock()
	l.last++
	f.ID = l.last
	l.mu.Unlock()
	answers := l.join(l.waiting, f.ID)
	defer l.part(l.waiting, f.ID)
	if err := l.send(f); err != nil {
		return nil, errors.Join(errGone, err)
	}
	var changed error
	for {
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-l.ended:
			return nil, errGone
		case a := <-answers:
			if a.Kind == isAnswer {
				if changed != nil {
					return nil, changed
				}
				return a, a.err()
			}
			var next kv.Item
			next, changed = change(a.Item)
			if err := l.send(&frame{Kind: isChange, ID: f.ID, Item: next, Flag: changed != nil}); err != nil {
				return nil, errors.Join(errGone, err)
			}
		}
	}
}

// serve runs an operation for the other side.
func (l *Link) serve(f *frame) {
	ctx, cancel := context.WithTimeout(context.Background(), callTime)
	defer cancel()
	a := &frame{Kind: isAnswer, ID: f.ID}
	select {
	case l.slots <- struct{}{}: // not in receive, which answers come by, too
		defer func() { <-l.slots }()
		if store := l.find(f.Store); store != nil {
			a.fail(l.run(ctx, store, f, a))
		} else {
			a.fail(fmt.Errorf("%w: %w", kv.ErrUnavailable, errNoStore))
		}
	default:
		a.fail(fmt.Errorf("%w: too many calls at once", kv.ErrUnavailable))
	}
	_ = l.send(a) // an error means that the other process has gone
}

func (l *Link) run(ctx context.Context, s *Store, f, a *frame) (err error) {
	switch f.Op {
	case opHas, opGet, opTTL, opSet, opExpire, opDelete, opAdd:
		err = batches[f.Op](s, ctx, f.Items)
		if a.Items = f.Items; f.Op >= opSet { // the caller has the values
			for i := range a.Items {
				a.Items[i].Value = nil
			}
		}
	case opClear:
		err = s.Clear(ctx)
	case opUpdate:
		err = s.Update(ctx, f.Key, func(there kv.Item) (kv.Item, error) { return l.ask(f.ID, there) })
	case opIncrement:
		a.Number, err = s.Increment(ctx, f.Key, f.Number, f.Time)
	case opScan:
		a.Names, a.Text, err = s.Scan(ctx, f.Key, f.Text, int(f.Number))
	case opZAdd:
		a.Number, err = s.ZAdd(ctx, f.Key, f.Members)
	case opZIncrement:
		a.Score, err = s.ZIncrement(ctx, f.Key, f.Text, f.Score)
	case opZRemove:
		a.Number, err = s.ZRemove(ctx, f.Key, f.Names)
	case opZRange:
		a.Members, err = s.ZRange(ctx, f.Key, f.Span)
	case opZRank:
		a.Number, a.Flag, err = s.ZRank(ctx, f.Key, f.Text, f.Flag)
	case opZScore:
		a.Score, a.Flag, err = s.ZScore(ctx, f.Key, f.Text)
	case opZCard:
		a.Number, err = s.ZCard(ctx, f.Key)
	default:
		err = kv.ErrUnsupported
	}
	return err
}

var batches = [...]func(*Store, context.Context, []kv.Item) error{
	opHas: (*Store).Has, opGet: (*Store).Get, opTTL: (*Store).TTL, opSet: (*Store).Set, opExpire: (*Store).Expire, opDelete: (*Store).Delete, opAdd: (*Store).Add,
}

// errNotChanged stops an update whose caller does not want it.
var errNotChanged = errors.New("the caller changes nothing")

// ask shows the other side what is there and returns what it wants to be there.
func (l *Link) ask(id uint64, there kv.Item) (kv.Item, error) {
	changes := l.join(l.looking, id)
	defer l.part(l.looking, id)
	if err := l.send(&frame{Kind: isLook, ID: id, Item: there}); err != nil {
		return there, errGone
	}
	select {
	case c := <-changes:
		if c.Flag {
			return there, errNotChanged
		}
		return c.Item, nil
	case <-l.ended:
		return there, errGone
	case <-time.After(changeTime):
		return there, fmt.Errorf("%w: the process that changes the key does not answer", kv.ErrUnavailable)
	}
}

// sentinels travel by their place.
var sentinels = []error{
	kv.ErrFull, kv.ErrUnsupported, kv.ErrClosed, kv.ErrUnavailable, kv.ErrBusy, kv.ErrLimit, kv.ErrNumber, kv.ErrKind,
}

func (f *frame) fail(err error) {
	if err == nil {
		return
	}
	f.Text, f.Code = err.Error(), -1
	for i, s := range sentinels {
		if errors.Is(err, s) {
			f.Code = i + 1
			return
		}
	}
}

func (f *frame) err() error {
	switch {
	case f.Code == 0:
		return nil
	case f.Code < 0 || f.Code > len(sentinels):
		return errors.New(f.Text)
	}
	return &farError{f.Text, sentinels[f.Code-1]}
}

// farError is an error of the other process.
type farError struct {
	text string
	is   error
}

func (e *farError) Error() string { return e.text }
func (e *farError) Unwrap() error { return e.is }

package fleet

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/edge-server/edge/ws"
)

// lane is a part of the channels, which is lost and healed by itself.
type lane struct {
	broker *Broker
	number int
	driver Lane

	online atomic.Bool
	wake   chan struct{} // the keeper has something to look at

	listening sync.Mutex // held while it is found out that a channel is not watched and listening to it ends; taken before mu

	mu        sync.Mutex // guards what follows; not held while the server is asked
	broken    bool       // the connection for what arrives must be made anew
	why       error      // what the lane was lost by
	since     time.Time  // it is online, or lost
	watches   map[ws.Address]*watch
	rooms     map[ws.Address]*room
	unsynced  map[*watch]struct{}
	unsettled map[*room]struct{}
	unwatched map[ws.Address]struct{} // the server still thinks that this node has subscribers
	ghosts    bool                    // the server may think that this node has what it has not
	later     map[*room]struct{}      // whose subscribers are told who is there once the server knows all

	changes atomic.Uint64 // of members, that were announced on this node alone
	whole   atomic.Int64  // when the other nodes have told a server everything that had forgotten it, in Unix nanoseconds
}

// watch is a channel that this node has subscribers of.
type watch struct {
	of ws.Address

	mu    sync.Mutex // held through a delivery: it is what makes the order
	known bool       // now is where the subscribers are
	dead  bool       // the others were told that this node's subscribers have gone
	gap   bool       // what follows now could not be had: it comes with the keeper, and what is behind it, too
	now   [logs]Head // behind what was delivered last
}

// seen is where the subscribers are.
func (w *watch) seen() (at [logs]ws.Position) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for log, head := range w.now {
		at[log] = head.Position
	}
	return at
}

const (
	healFirst = 50 * time.Millisecond
	healLast  = 2 * time.Second

	// healWorkers is how many channels and members are told to the server at a time.
	healWorkers = 16

	// connectTrips times the timeout, and some for every channel, is what Connect may take. renewTrips times the timeout is what Renew may, in
	// which it takes the members of dead nodes away, one question after another; what it does not get done the next one does.
	connectTrips, renewTrips = 3, 100

	// maxUnwatched bounds what is remembered to be told to a server that is lost.
	maxUnwatched = 100_000
)

func newLane(b *Broker, number int, driver Lane) *lane {
	return &lane{
		broker: b, number: number, driver: driver, wake: make(chan struct{}, 1), broken: true, since: time.Now(),
		watches: map[ws.Address]*watch{}, rooms: map[ws.Address]*room{},
		unsynced: map[*watch]struct{}{}, unsettled: map[*room]struct{}{}, unwatched: map[ws.Address]struct{}{}, later: map[*room]struct{}{},
	}
}

// degrades reports whether an operation that failed by err is to be done without the server. It has the keeper look at it.
func (l *lane) degrades(ctx context.Context, err error) bool {
	switch {
	case errors.Is(err, ErrQueue):
		return true
	case errors.Is(err, errUnasked):
		return false // the server had no chance
	case errors.Is(ctx.Err(), context.Canceled):
		return false // the caller has gone; one whose time is over has waited for the server
	case !l.broker.driver.Broken(err):
		return false // an answer
	}
	l.poke()
	return true
}

// lose says that the connection for what arrives has ended.
func (l *lane) lose(err error) {
	l.mu.Lock()
	l.broken = true
	l.offline(err)
	l.mu.Unlock()
	l.poke()
}

// offline needs l.mu.
func (l *lane) offline(err error) {
	if l.online.CompareAndSwap(true, false) {
		l.why, l.since = err, time.Now()
		l.broker.stats.losses.Add(1)
		l.broker.log.Warn("the broker is lost: publications and members stay on this node until it is back",
			"broker", l.broker.opts.Name, "part", l.number, "error", err)
	}
}

func (l *lane) poke() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// keep looks after the lane until the broker stops.
func (l *lane) keep() {
	ctx := l.broker.life
	renew := time.NewTicker(RenewEvery(l.broker.opts.Lease))
	defer renew.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-renew.C:
		case <-l.wake:
		}
		for pause := healFirst; ; pause = min(2*pause, healLast) {
			err := l.check(ctx)
			if err == nil || ctx.Err() != nil {
				break
			}
			l.broker.stats.failed(err)
			timer := time.NewTimer(pause/2 + rand.N(pause/2))
			select {
			case <-ctx.Done():
			case <-timer.C:
			}
			timer.Stop()
		}
	}
}

// check renews the lease and heals what is not as it should be.
func (l *lane) check(ctx context.Context) error {
	if !l.online.Load() {
		return l.heal(ctx, false)
	}
	lease, err := l.renew(ctx)
	if err != nil {
		l.mu.Lock()
		l.broken = true
		l.offline(err)
		l.mu.Unlock()
		return err
	}
	if lease != Kept {
		return l.restore(ctx, lease, false)
	}
	l.mu.Lock()
	if len(l.later) > 0 && !l.forgetful() {
		maps.Copy(l.unsettled, l.later)
		clear(l.later)
	}
	work := len(l.unsynced) > 0 || len(l.unsettled) > 0 || len(l.unwatched) > 0 || l.ghosts
	l.mu.Unlock()
	if work {
		return l.sync(ctx)
	}
	return nil
}

func (l *lane) renew(ctx context.Context) (lease Lease, err error) {
	ctx, cancel := context.WithTimeout(ctx, renewTrips*l.broker.opts.Timeout)
	defer cancel()
	l.mu.Lock()
	// After an outage of the server every lease is over: the others get the time to say that they live.
	reap := l.online.Load() && time.Since(l.since) > l.broker.opts.Lease
	l.mu.Unlock()
	return l.driver.Renew(ctx, reap)
}

// heal brings a lost lane back.
func (l *lane) heal(ctx context.Context, first bool) error {
	l.mu.Lock()
	broken, since := l.broken, l.since
	l.broken = false
	var channels []ws.Address
	for of, w := range l.watches {
		channels = append(channels, of)
		l.unsynced[w] = struct{}{}
	}
	l.mu.Unlock()
	for _, of := range channels { // by the keeper, who also says that it is over
		l.broker.node.Interrupted(of, true)
	}
	if broken {
		if err := l.connect(ctx, channels); err != nil {
			l.mu.Lock()
			l.broken, l.why = true, err
			l.mu.Unlock()
			return err
		}
	}
	lease, err := l.renew(ctx)
	if err == nil {
		err = l.restore(ctx, lease, first)
	}
	if err != nil {
		return err
	}
	if !first {
		l.broker.log.Info("the broker is back", "broker", l.broker.opts.Name, "part", l.number, "after", time.Since(since).Round(time.Millisecond))
		l.broker.stats.heals.Add(1)
		_ = l.broker.tell(ctx, &note{Type: noteHello})
	}
	return nil
}

func (l *lane) connect(ctx context.Context, channels []ws.Address) error {
	ctx, cancel := context.WithTimeout(ctx, connectTrips*l.broker.opts.Timeout+time.Duration(len(channels))*time.Millisecond)
	defer cancel()
	return l.driver.Connect(ctx, channels)
}

// restore tells the server everything, if it has forgotten this node, and what has changed meanwhile.
func (l *lane) restore(ctx context.Context, lease Lease, first bool) error {
	if !first && (lease == Forgotten || lease == Doubted) {
		l.whole.Store(time.Now().Add(l.broker.opts.Lease).UnixNano())
	}
	if lease != Kept {
		if lease == Doubted {
			l.broker.log.Warn("the broker has another server, which may not know of the latest: it is told everything again",
				"broker", l.broker.opts.Name, "part", l.number)
		}
		l.mu.Lock()
		l.ghosts = true
		watches := make([]*watch, 0, len(l.watches))
		for _, w := range l.watches {
			l.unsynced[w] = struct{}{}
			watches = append(watches, w)
		}
		rooms := make([]*room, 0, len(l.rooms))
		for _, r := range l.rooms {
			rooms = append(rooms, r)
		}
		l.mu.Unlock()
		for _, w := range watches {
			w.mu.Lock()
			w.dead = w.dead || lease == Ended
			w.mu.Unlock()
		}
		for _, r := range rooms {
			r.mu.Lock()
			r.forgotten(lease == Ended)
			if !r.gone {
				l.unsettle(r)
			}
			r.mu.Unlock()
		}
	}
	return l.sync(ctx)
}

// exorcise has the server told of what it thinks this node has, and it has not: a server in the past has not heard that it went. The others
// have, so nothing is announced.
func (l *lane) exorcise(ctx context.Context) error {
	l.mu.Lock()
	wanted := l.ghosts
	l.mu.Unlock()
	if !wanted {
		return nil
	}
	var list []Held
	err := l.patient(ctx, func(ctx context.Context) (err error) {
		list, err = l.driver.Held(ctx)
		return err
	})
	if err != nil && l.broker.driver.Broken(err) {
		return err
	}
	l.broker.stats.failed(err)
	for _, h := range list {
		l.mu.Lock()
		if h.Watched && l.watches[h.Channel] == nil {
			l.remember(h.Channel)
		}
		l.mu.Unlock()
		if len(h.Users) > 0 {
			l.exorciseRoom(h)
		}
	}
	l.mu.Lock()
	l.ghosts = false
	l.mu.Unlock()
	return nil
}

// sync tells the server what it does not know yet, until there is nothing: then the lane is online.
func (l *lane) sync(ctx context.Context) error {
	if err := l.exorcise(ctx); err != nil {
		return err
	}
	for {
		l.mu.Lock()
		watches := keys(l.unsynced)
		rooms := keys(l.unsettled)
		unwatched := keys(l.unwatched)
		if len(watches)+len(rooms)+len(unwatched) == 0 {
			if !l.broken {
				if l.why = nil; !l.online.Load() {
					l.since = time.Now()
				}
				l.online.Store(true)
			}
			broken := l.broken
			l.mu.Unlock()
			if broken {
				return errors.New("the connection was lost again")
			}
			return nil
		}
		l.mu.Unlock()
		err := each(unwatched, func(of ws.Address) error { return l.syncUnwatched(ctx, of) })
		if err == nil {
			err = each(watches, func(w *watch) error { return l.syncWatch(ctx, w) })
		}
		if err == nil {
			err = each(rooms, func(r *room) error { return l.syncRoom(ctx, r) })
		}
		if err != nil {
			return err
		}
	}
}

func keys[K comparable](m map[K]struct{}) []K {
	list := make([]K, 0, len(m))
	for k := range m {
		list = append(list, k)
	}
	return list
}

// each runs do for everything, some at a time, until one fails.
func each[T any](list []T, do func(T) error) error {
	var (
		next  atomic.Int64
		wg    sync.WaitGroup
		mu    sync.Mutex
		first error
	)
	for range min(healWorkers, len(list)) {
		wg.Go(func() { // ends with the list, or the first error
			for {
				i := int(next.Add(1)) - 1
				if i >= len(list) {
					return
				}
				if err := do(list[i]); err != nil {
					mu.Lock()
					first = err
					mu.Unlock()
					next.Add(int64(len(list)))
					return
				}
			}
		})
	}
	wg.Wait()
	return first
}

// patient is ask without a place in the queue: the keeper has few questions, and must get through. As ask, it is for one call of the driver.
func (l *lane) patient(ctx context.Context, question func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, l.broker.patience)
	defer cancel()
	return question(ctx)
}

func (l *lane) syncUnwatched(ctx context.Context, of ws.Address) error {
	l.mu.Lock()
	_, again := l.watches[of]
	l.mu.Unlock()
	if !again {
		err := l.patient(ctx, func(ctx context.Context) error {
			if err := l.unlisten(ctx, of); err != nil {
				return err
			}
			_, err := l.driver.Unwatch(ctx, of)
			return err
		})
		if err != nil && l.broker.driver.Broken(err) {
			return err
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.unwatched, of)
	if w := l.watches[of]; w != nil && !again {
		l.unsynced[w] = struct{}{} // came back meanwhile
	}
	return nil
}

// unlisten ends what Listen has begun, unless the channel is watched again: then Listen is still to come.
func (l *lane) unlisten(ctx context.Context, of ws.Address) error {
	l.listening.Lock()
	defer l.listening.Unlock()
	if l.find(of) != nil {
		return nil
	}
	return l.driver.Unlisten(ctx, of)
}

// syncWatch tells the server that this node watches a channel, and gets for its subscribers what they have missed.
func (l *lane) syncWatch(ctx context.Context, w *watch) error {
	defer l.leftMeanwhile(w)
	err := l.patient(ctx, func(ctx context.Context) error { return l.driver.Listen(ctx, w.of) })
	if err == nil {
		var first bool
		if first, err = l.watchAndRecover(ctx, w, l.patient); err == nil {
			l.revive(w, first)
		}
	}
	if err != nil && l.broker.driver.Broken(err) {
		return err
	}
	l.broker.stats.failed(err)
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil {
		w.gap = false // the server has nothing to fill it with
	}
	if !w.gap { // else there is one more since
		l.mu.Lock()
		delete(l.unsynced, w)
		l.mu.Unlock()
		l.broker.node.Interrupted(w.of, false)
	}
	return nil
}

// leftMeanwhile has a channel left once more that was left while the server was told of it, perhaps before it heard.
func (l *lane) leftMeanwhile(w *watch) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.watches[w.of] == nil {
		l.remember(w.of)
	}
}

// revive tells this node of a channel that was vacated without it, as the others said meanwhile.
func (l *lane) revive(w *watch, first bool) {
	w.mu.Lock()
	undone := w.dead && first
	w.dead = false
	w.mu.Unlock()
	if undone {
		l.broker.node.Departed(ws.Departure{Channel: w.of, Vacated: true, Undone: true})
	}
}

func (l *lane) watchAndRecover(ctx context.Context, w *watch, ask func(context.Context, func(context.Context) error) error) (first bool, err error) {
	var now [logs]Head
	err = ask(ctx, func(ctx context.Context) (err error) {
		first, now, err = l.driver.Watch(ctx, w.of, w.seen())
		return err
	})
	if err != nil {
		return false, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.known {
		for log, head := range now {
			if !w.now[log].covers(head.Position) {
				w.now[log] = head
			}
		}
		w.known = true
		return first, nil
	}
	for log, head := range now {
		if head.Position == w.now[log].Position {
			if Log(log) == Presence && head.Offset == 0 && !l.brief() {
				l.missed(w) // there may have been a log meanwhile
			}
			continue
		}
		if here, _, ok := head.from(w.now[log].Position); ok && here.Epoch != w.now[log].Epoch && here.Offset == head.Offset {
			w.now[log] = head // nothing has followed the fork
			continue
		}
		// Also when the server has less: it may have been read before the latest came, or be in the past.
		if err := l.recover(ctx, w, Log(log)); err != nil {
			return first, err
		}
	}
	w.gap = false
	return first, nil
}

// watch is Broker.Watch. A channel that the server was not told of is told by the keeper.
func (l *lane) watch(ctx context.Context, of ws.Address) (occupied bool, err error) {
	w := &watch{of: of}
	l.listening.Lock()
	l.mu.Lock()
	l.watches[of] = w
	online := l.online.Load()
	if !online {
		l.unsynced[w] = struct{}{}
	}
	l.mu.Unlock()
	l.listening.Unlock()
	if !online {
		l.poke()
		return true, nil
	}
	err = l.broker.ask(ctx, func(ctx context.Context) error { return l.driver.Listen(ctx, of) })
	if err == nil {
		occupied, err = l.watchAndRecover(ctx, w, l.broker.ask)
	}
	if err == nil {
		return occupied, nil
	}
	l.mu.Lock()
	if l.watches[of] == w {
		l.unsynced[w] = struct{}{}
	}
	l.mu.Unlock()
	l.poke()
	if l.degrades(ctx, err) {
		err = nil
	}
	return true, err
}

// unwatch is Broker.Unwatch.
func (l *lane) unwatch(ctx context.Context, of ws.Address) (vacated bool, err error) {
	l.mu.Lock()
	w := l.watches[of]
	if w == nil {
		l.mu.Unlock()
		return false, nil
	}
	delete(l.watches, of)
	delete(l.unsynced, w)
	online := l.online.Load()
	if !online {
		l.remember(of)
	}
	l.mu.Unlock()
	if !online {
		return true, nil
	}
	err = l.broker.ask(ctx, func(ctx context.Context) error {
		if err := l.driver.Unlisten(ctx, of); err != nil {
			return err
		}
		vacated, err = l.driver.Unwatch(ctx, of)
		return err
	})
	if err == nil {
		return vacated, nil
	}
	l.mu.Lock()
	l.remember(of)
	l.mu.Unlock()
	l.poke()
	return true, err
}

// remember has the keeper tell the server that a channel is not watched any more. It needs l.mu.
func (l *lane) remember(of ws.Address) {
	if len(l.unwatched) < maxUnwatched {
		l.unwatched[of] = struct{}{}
	}
}

func (l *lane) find(of ws.Address) *watch {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.watches[of]
}

// published hands on what came from the server, unless the subscribers have it already, and gets what is missing before it.
func (l *lane) published(of ws.Address, log Log, at ws.Position, message []byte) {
	w := l.find(of)
	if w == nil || log >= logs {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if at.Offset > 0 && !l.isNext(w, log, at) {
		return
	}
	l.hand(w, log, at, w.now[log].before(), message)
}

// isNext reports whether a message is to be handed on, once what is missing before it was. The watch's lock is held.
func (l *lane) isNext(w *watch, log Log, at ws.Position) bool {
	now := &w.now[log]
	if now.covers(at) {
		l.broker.stats.duplicates.Add(1)
		return false
	}
	if w.gap {
		return false
	}
	if w.known && at.Offset != 1 && (now.Epoch != at.Epoch || at.Offset > now.Offset+1) {
		err := l.recover(l.broker.life, w, log)
		l.broker.stats.failed(err)
		if now.covers(at) {
			return false
		}
		if err != nil && l.broker.driver.Broken(err) {
			l.leaveGap(w)
			return false
		}
	}
	if now.Epoch != at.Epoch {
		now.Forks = nil
	}
	now.Position = at
	return true
}

// leaveGap has the keeper get what could not be had now. The watch's lock is held.
func (l *lane) leaveGap(w *watch) {
	w.gap = true
	l.mu.Lock()
	if l.watches[w.of] == w {
		l.unsynced[w] = struct{}{}
	}
	l.mu.Unlock()
	l.poke()
}

// recover delivers what a log has behind the position of the watch, whose lock is held.
func (l *lane) recover(ctx context.Context, w *watch, log Log) error {
	var past Past
	err := l.patient(ctx, func(ctx context.Context) (err error) {
		past, err = l.driver.Past(ctx, log, w.of, w.now[log].Position, 0)
		return err
	})
	if err != nil || l.find(w.of) != w { // what comes next is for others
		return err
	}
	if log == Presence {
		past.Whole = l.wholePresence(w, &past)
	}
	if !past.Whole {
		l.broker.stats.gaps.Add(1)
		if log == Presence {
			l.missed(w)
		}
	}
	here, known := w.now[log].behind(past.Now)
	before := past.Now.before()
	for _, e := range past.Entries {
		if known && e.At.Offset <= here.Offset {
			continue
		}
		l.broker.stats.recovered.Add(1)
		l.hand(w, log, e.At, before, e.Message)
	}
	w.now[log] = past.Now
	return nil
}

// hand delivers a message. The watch's lock is held.
func (l *lane) hand(w *watch, log Log, at ws.Position, before []ws.Position, message []byte) {
	b := l.broker
	id, p, err := decode(message)
	if err != nil {
		b.stats.malformed.Add(1)
		return
	}
	if id.node == b.number && !b.own.came(id) {
		b.stats.duplicates.Add(1)
		return
	}
	if log == History {
		p.Position = at
	} else {
		p.Change = at
	}
	p.Before = before
	b.stats.received.Add(1)
	b.node.Deliver(w.of, p)
}

// deliverLocally is what becomes of a publication without the server.
func (l *lane) deliverLocally(of ws.Address, id messageID, p ws.Publication) {
	b := l.broker
	b.stats.local.Add(1)
	w := l.find(of)
	if w == nil {
		b.own.takeOver(id)
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if b.own.takeOver(id) {
		b.node.Deliver(of, p)
	}
}

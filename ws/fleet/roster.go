package fleet

import (
	"context"
	"time"

	"github.com/edge-server/edge/ws"
)

// Who subscribes while the server is lost is told of the members of this node. When it is back, he is told of all: who was on the others
// all the time is announced by nobody.

// membersHere is all that is known without the server. The room's lock is held.
func (l *lane) membersHere(r *room) ws.Membership {
	m := ws.Membership{Members: r.list(), At: ws.Position{Offset: l.changes.Load()}}
	l.lacks(r, &m)
	return m
}

// lacks notes that members are missing. The room's lock is held.
func (l *lane) lacks(r *room, m *ws.Membership) {
	m.Partial, r.partial = true, true
	l.unsettle(r)
}

// membersOf is members of a room whose lock is held, and which a has come to before.
func (l *lane) membersOf(ctx context.Context, r *room, a *attendee) (now ws.Membership, err error) {
	if l.online.Load() && !a.unknown {
		err = l.broker.ask(ctx, func(ctx context.Context) (err error) {
			now, err = l.driver.Members(ctx, r.of)
			return err
		})
		switch {
		case err == nil:
			if l.forgetful() {
				l.lacks(r, &now)
			}
			return now, nil
		case !l.degrades(ctx, err):
			return now, err
		}
	}
	return l.membersHere(r), nil
}

// forgetful reports whether other nodes may have members that the server has lost, and that they do not announce again.
func (l *lane) forgetful() bool { return time.Now().UnixNano() < l.whole.Load() }

// briefLoss is less than PresenceLasts, because a loss begins before it is noticed.
const briefLoss = PresenceLasts - time.Minute

// brief reports whether a log of changes that the server had while it was lost would still be there.
func (l *lane) brief() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.online.Load() || time.Since(l.since) < briefLoss
}

// wholePresence reports whether all changes since those that the watch has are in past. The log is forgotten when it is quiet, and begins
// anew: that is no hole if it was quiet before the loss. The lock of the watch is held.
func (l *lane) wholePresence(w *watch, past *Past) bool {
	seen := w.now[Presence].Position
	switch _, known := w.now[Presence].behind(past.Now); {
	case !l.brief():
		return past.Whole && seen.Offset > 0
	case past.Whole || known:
		return past.Whole
	}
	return uint64(len(past.Entries)) == past.Now.Offset && len(past.Now.Forks) == 0 && !w.dead && !l.forgetful()
}

// missed says that the log of changes has a hole. The lock of the watch is held.
func (l *lane) missed(w *watch) {
	l.mu.Lock()
	if r := l.rooms[w.of]; r != nil {
		r.holed.Store(true)
		l.unsettled[r] = struct{}{}
	}
	l.mu.Unlock()
	l.poke()
}

// syncRoster ends syncRoom: the server knows the members, and those who lack some are told of all. The room's lock is held.
func (l *lane) syncRoster(ctx context.Context, r *room) error {
	l.mu.Lock()
	w := l.watches[r.of]
	holed := r.holed.Load()
	wanted := w != nil && len(r.users) > 0 && (r.partial || holed)
	_, deaf := l.unsynced[w]
	if wanted && deaf {
		l.mu.Unlock()
		return nil // the watch comes first: sync comes back
	}
	delete(l.unsettled, r)
	if wanted && l.forgetful() {
		l.later[r] = struct{}{}
		wanted = false
	}
	l.mu.Unlock()
	if !wanted {
		return nil
	}
	now, err := l.roster(ctx, w)
	defer w.mu.Unlock()
	switch {
	case err == nil:
		l.broker.node.Roster(r.of, now, holed)
	case l.broker.driver.Broken(err):
		l.unsettle(r)
		return err
	default: // an answer, but none that tells who is there: the next renewal of the lease asks again
		l.broker.stats.failed(err)
		l.mu.Lock()
		l.later[r] = struct{}{}
		l.mu.Unlock()
		return nil
	}
	r.partial = false
	r.holed.CompareAndSwap(holed, false)
	return nil
}

// rosterTries is how often the members are asked for without holding up what is delivered on the channel.
const rosterTries = 3

// roster returns the members with the lock of the watch, nothing having been delivered that they do not contain.
func (l *lane) roster(ctx context.Context, w *watch) (now ws.Membership, err error) {
	for try := 1; ; try++ {
		w.mu.Lock()
		before := w.now[Presence].Position
		if try <= rosterTries {
			w.mu.Unlock()
		}
		err = l.patient(ctx, func(ctx context.Context) (err error) {
			now, err = l.driver.Members(ctx, w.of)
			return err
		})
		if try > rosterTries {
			return now, err
		}
		w.mu.Lock()
		if at := w.now[Presence].Position; err != nil || at == before || at.Epoch == now.At.Epoch && at.Offset <= now.At.Offset {
			return now, err
		}
		w.mu.Unlock()
	}
}

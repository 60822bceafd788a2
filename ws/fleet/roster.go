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

// syncRoster ends syncRoom: the server knows the members, and those who lack some are told of all. Nothing is delivered on the channel
// meanwhile, so that nothing is older than what was delivered. The room's lock is held.
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
	w.mu.Lock()
	defer w.mu.Unlock()
	var now ws.Membership
	err := l.patient(ctx, func(ctx context.Context) (err error) {
		now, err = l.driver.Members(ctx, r.of)
		return err
	})
	switch {
	case err == nil:
		l.broker.node.Roster(r.of, now, holed)
	case l.broker.driver.Broken(err):
		l.unsettle(r)
		return err
	}
	l.broker.stats.failed(err)
	r.partial = false
	r.holed.CompareAndSwap(holed, false)
	return nil
}

package fleet

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/edge-server/edge/ws"
)

// room is the members that a channel has on this node. A room that is empty and settled is forgotten.
type room struct {
	of ws.Address

	mu    sync.Mutex // held while the server is asked: it orders what happens to the room
	users []*attendee
	left  map[string]announcement // users that the server may still have
	gone  bool

	partial bool        // there are subscribers who were told of the members of this node alone, or too few
	holed   atomic.Bool // changes are missing that all subscribers should have heard of
}

// attendee is a user of this node in a room.
type attendee struct {
	member  ws.Member // Conn is 0
	conns   int
	hello   announcement
	unsaid  bool // the other nodes have not heard hello
	unknown bool // to the server
	dead    bool // the others were told that the user has gone
}

// announcement is what is published when a user comes or goes. What was published on this node already has an ID, by which it is
// recognised when it comes back.
type announcement struct {
	id messageID
	ws.Publication
	forgotten bool // the server knows nothing of the user any more
}

func announces(message *ws.Prepared, m ws.Member) announcement {
	return announcement{Publication: ws.Publication{Message: message, Except: m.Conn, ExceptUser: m.ID}}
}

// encoded is nil when there is nothing to say.
func (b *Broker) encoded(a *announcement) []byte {
	if a.Message == nil {
		return nil
	}
	if a.id == (messageID{}) {
		a.id = b.nextID()
	}
	return encode(a.id, a.Publication)
}

// sent is encoded for what the server is asked to announce, whose answer may be lost: came and takeOver see to it that it is heard once.
func (b *Broker) sent(a *announcement) []byte {
	message := b.encoded(a)
	if message != nil {
		b.own.send(a.id)
	}
	return message
}

func (r *room) find(user string) *attendee {
	for _, a := range r.users {
		if a.member.ID == user {
			return a
		}
	}
	return nil
}

func (r *room) remove(a *attendee) {
	for i := range r.users {
		if r.users[i] == a {
			r.users = append(r.users[:i], r.users[i+1:]...)
			return
		}
	}
}

func (r *room) list() []ws.Member {
	list := make([]ws.Member, len(r.users))
	for i, a := range r.users {
		list[i] = a.member
	}
	return list
}

// forgotten says that the server does not know the members. said: the others were told that they have gone.
func (r *room) forgotten(said bool) {
	for user, goodbye := range r.left {
		goodbye.forgotten = !said
		r.left[user] = goodbye
	}
	for _, a := range r.users {
		a.unknown = true
		a.dead = a.dead || said && !a.unsaid
		if said && !a.unsaid && a.member.Farewell != nil {
			a.unsaid, a.hello.id = true, messageID{}
		}
	}
}

// exorciseRoom has those leave whom the server thinks to be here. Who comes or goes just now says so itself.
func (l *lane) exorciseRoom(h Held) {
	r := l.lockRoom(h.Channel)
	defer l.unlockRoom(r)
	for _, user := range h.Users {
		if _, leaves := r.left[user]; !leaves && r.find(user) == nil {
			r.left[user] = announcement{}
			l.unsettle(r)
		}
	}
}

// lockRoom finds a room, or makes it.
func (l *lane) lockRoom(of ws.Address) *room {
	for {
		l.mu.Lock()
		r := l.rooms[of]
		if r == nil {
			r = &room{of: of, left: map[string]announcement{}}
			l.rooms[of] = r
		}
		l.mu.Unlock()
		r.mu.Lock()
		if !r.gone {
			return r
		}
		r.mu.Unlock()
	}
}

// unlockRoom forgets a room in which nothing is left.
func (l *lane) unlockRoom(r *room) {
	if len(r.users) == 0 && len(r.left) == 0 {
		l.mu.Lock()
		r.gone = true
		if l.rooms[r.of] == r {
			delete(l.rooms, r.of)
		}
		delete(l.unsettled, r)
		delete(l.later, r)
		l.mu.Unlock()
	}
	r.mu.Unlock()
}

func (l *lane) unsettle(r *room) {
	l.mu.Lock()
	l.unsettled[r] = struct{}{}
	l.mu.Unlock()
	l.poke()
}

// join is Broker.Join.
func (l *lane) join(ctx context.Context, of ws.Address, m ws.Member, announce *ws.Prepared) (ws.Membership, error) {
	r := l.lockRoom(of)
	defer l.unlockRoom(r)
	if a := r.find(m.ID); a != nil {
		membership, err := l.membersOf(ctx, r, a)
		if err == nil {
			a.conns++
		}
		return membership, err
	}
	a := &attendee{member: ws.Member{ID: m.ID, Info: m.Info, Farewell: m.Farewell}, conns: 1, hello: announces(announce, m)}
	if l.online.Load() {
		membership, err := l.tellJoin(ctx, of, a, l.broker.sent(&a.hello))
		if err == nil {
			l.broker.own.forget(a.hello.id)
			r.users = append(r.users, a)
			delete(r.left, m.ID)
			if l.forgetful() {
				l.lacks(r, &membership)
			}
			return membership, nil
		}
		if !l.degrades(ctx, err) {
			l.broker.own.forget(a.hello.id)
			r.left[m.ID] = announces(m.Farewell, m) // the server may have done it
			l.unsettle(r)
			return ws.Membership{}, err
		}
	}
	a.unknown, a.unsaid = true, true
	r.users = append(r.users, a)
	l.announceLocally(of, &a.hello)
	membership := l.membersHere(r)
	membership.Changed = true
	return membership, nil
}

// tellJoin asks the server. The room's lock is held.
func (l *lane) tellJoin(ctx context.Context, of ws.Address, a *attendee, announce []byte) (membership ws.Membership, err error) {
	goodbye := announces(a.member.Farewell, a.member)
	farewell := l.broker.encoded(&goodbye)
	err = l.broker.ask(ctx, func(ctx context.Context) (err error) {
		membership, err = l.driver.Join(ctx, of, a.member, announce, farewell)
		return err
	})
	return membership, err
}

// leave is Broker.Leave.
func (l *lane) leave(ctx context.Context, of ws.Address, m ws.Member, announce *ws.Prepared) (result ws.Membership, err error) {
	r := l.lockRoom(of)
	defer l.unlockRoom(r)
	a := r.find(m.ID)
	if a == nil {
		return ws.Membership{}, nil
	}
	if a.conns--; a.conns > 0 {
		return ws.Membership{}, nil
	}
	r.remove(a)
	goodbye := announces(announce, m)
	if l.online.Load() {
		message := l.broker.sent(&goodbye)
		err = l.broker.ask(ctx, func(ctx context.Context) (err error) {
			result.Changed, err = l.driver.Leave(ctx, of, m.ID, message)
			return err
		})
		if err == nil {
			l.broker.own.forget(goodbye.id)
			return result, nil
		}
		l.degrades(context.WithoutCancel(ctx), err)
	}
	l.announceLocally(of, &goodbye)
	r.left[m.ID] = goodbye
	l.unsettle(r)
	return ws.Membership{Changed: true}, nil
}

func (l *lane) announceLocally(of ws.Address, a *announcement) {
	if a.Message == nil {
		return
	}
	if a.id == (messageID{}) {
		a.id = l.broker.nextID()
	}
	p := a.Publication
	p.Change = ws.Position{Offset: l.changes.Add(1)}
	l.deliverLocally(of, a.id, p)
}

// members is Broker.Members.
func (l *lane) members(ctx context.Context, of ws.Address) ([]ws.Member, error) {
	if l.online.Load() {
		var now ws.Membership
		err := l.broker.ask(ctx, func(ctx context.Context) (err error) {
			now, err = l.driver.Members(ctx, of)
			return err
		})
		if err == nil || !l.degrades(ctx, err) {
			return now.Members, err
		}
	}
	l.mu.Lock()
	r := l.rooms[of]
	l.mu.Unlock()
	if r == nil {
		return nil, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.list(), nil
}

// syncRoom tells the server what it does not know of a room.
func (l *lane) syncRoom(ctx context.Context, r *room) error {
	r.mu.Lock()
	if r.gone {
		r.mu.Unlock()
		return nil
	}
	defer l.unlockRoom(r)
	for user, goodbye := range r.left {
		if r.find(user) != nil { // came back meanwhile
			delete(r.left, user)
			continue
		}
		var err error
		if goodbye.forgotten { // only who is there can go, and be announced
			err = l.patient(ctx, func(ctx context.Context) error {
				_, err := l.driver.Join(ctx, r.of, ws.Member{ID: user}, nil, nil)
				return err
			})
		}
		if err == nil {
			err = l.patient(ctx, func(ctx context.Context) error {
				_, err := l.driver.Leave(ctx, r.of, user, l.said(&goodbye))
				return err
			})
		}
		if err != nil && l.broker.driver.Broken(err) {
			return err
		}
		l.broker.stats.failed(err)
		delete(r.left, user)
	}
	for _, a := range r.users {
		if !a.unknown {
			continue
		}
		var announce []byte
		if a.unsaid {
			announce = l.said(&a.hello)
		}
		goodbye, undone := announces(a.member.Farewell, a.member), false
		err := l.patient(ctx, func(ctx context.Context) error {
			now, err := l.driver.Join(ctx, r.of, a.member, announce, l.broker.encoded(&goodbye))
			undone = undone || err == nil && now.Changed && a.dead
			return err
		})
		if err != nil && l.broker.driver.Broken(err) {
			return err
		}
		l.broker.stats.failed(err)
		a.unknown, a.unsaid, a.dead = false, false, false
		if undone {
			l.broker.node.Departed(ws.Departure{Channel: r.of, User: a.member.ID, Undone: true})
		}
	}
	return l.syncRoster(ctx, r)
}

// said encodes an announcement that this node's subscribers may have had, and makes sure that they do not get it twice.
func (l *lane) said(a *announcement) []byte {
	if a.Message != nil && a.id != (messageID{}) {
		l.broker.own.takeOver(a.id)
	}
	return l.broker.encoded(a)
}

// localUsers lists the users that each of the channels has on this node, as hashes.
func (l *lane) localUsers(of ws.Address) []uint64 {
	l.mu.Lock()
	r := l.rooms[of]
	l.mu.Unlock()
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	list := make([]uint64, len(r.users))
	for i, a := range r.users {
		list[i] = hash(a.member.ID)
	}
	return list
}

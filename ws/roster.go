package ws

import "slices"

// snapshot is what a subscriber was told when it came. A broker delivers by another way than it answers: what was published before
// the answer may arrive after it, and must not be told twice.
type snapshot struct {
	past    Position // the latest publication that came by Recover
	members Position // the latest change that the members contain
	partial bool     // the members were those of this node alone
}

// takes reports whether a publication is new to the subscriber, as are then those behind it. What only this node has heard has positions of
// its own, without an epoch: it says nothing of those of the broker, nor they of it.
func (k *snapshot) takes(p *Publication) bool {
	switch {
	case k.past.knows(p.Position, p.Before) || k.members.knows(p.Change, p.Before):
		return false
	case p.Position.Offset > 0:
		k.past = Position{}
	case p.Change.Offset > 0 && (p.Change.Epoch == "") == (k.members.Epoch == ""):
		k.members = Position{}
	}
	return true
}

// takes is that of what the subscriber knows, until there is nothing.
func (sub *subscription) takes(p *Publication) bool {
	is := sub.known.takes(p)
	if *sub.known == (snapshot{}) {
		sub.known = nil
	}
	return is
}

// refresh reports whether a roster is for this subscriber, and has it known.
func (k *snapshot) refresh(p *Publication) bool {
	if !k.partial && (p.roster != rosterForAll || k.members.contains(p.Change)) {
		return false
	}
	k.members, k.partial = p.Change, false
	return true
}

// contains reports whether a position is at or before this one. Zero is nowhere.
func (at Position) contains(p Position) bool {
	return p.Offset > 0 && p.Offset <= at.Offset && p.Epoch == at.Epoch
}

// knows is contains of a position whose epoch has followed others.
func (at Position) knows(p Position, before []Position) bool {
	for _, b := range before {
		if p.Epoch == at.Epoch || at.Offset == 0 {
			break
		}
		if at.Offset = min(at.Offset, b.Offset); b.Epoch == at.Epoch {
			at.Epoch = p.Epoch
		}
	}
	return at.contains(p)
}

// The kinds of publications that are a roster.
const (
	noRoster uint8 = iota
	rosterForPartial
	rosterForAll
)

// Roster is of Node.
func (h *Hub) Roster(channel Address, now Membership, all bool) {
	s := h.existing(channel.Space)
	if s == nil {
		return
	}
	handlers, ch := s.handlers.Load(), s.find(channel.Channel)
	if ch == nil || handlers == nil || handlers.Roster == nil {
		return
	}
	message := handlers.Roster(channel.Channel, now.Members)
	if message == nil {
		return
	}
	p := Publication{Message: message, Change: now.At, roster: rosterForPartial}
	if all {
		p.roster = rosterForAll
	}
	ch.mu.Lock()
	defer ch.mu.Unlock()
	for _, sub := range ch.subs {
		switch {
		case sub.member == nil:
		case !sub.settled:
			sub.hold(p)
		case all && sub.known == nil:
			sub.known = &snapshot{members: now.At}
			_ = sub.conn.enqueue(message, false)
		case sub.known != nil && sub.known.refresh(&p):
			_ = sub.conn.enqueue(message, false)
			if *sub.known == (snapshot{}) {
				sub.known = nil
			}
		}
	}
}

// hold keeps a publication until the subscription is settled. A roster is never dropped: it takes the place of an older one.
func (sub *subscription) hold(p Publication) {
	full := len(sub.held) >= sub.conn.endpoint.limits.QueueMessages
	if p.roster != noRoster {
		if i := slices.IndexFunc(sub.held, func(h Publication) bool { return h.roster != noRoster }); full && i >= 0 {
			p.roster = max(p.roster, sub.held[i].roster)
			sub.held = slices.Delete(sub.held, i, i+1)
		}
		sub.held = append(sub.held, p)
		return
	}
	if !full {
		sub.held = append(sub.held, p)
	} else {
		sub.conn.drop()
	}
}

// settle sends the reply and then what was published meanwhile. late: what the reply contains may be delivered later still.
func (sub *subscription) settle(result Subscribed, reply func(Subscribed) *Prepared, late bool) {
	sub.channel.mu.Lock()
	defer sub.channel.mu.Unlock()
	if sub.gone {
		return
	}
	if reply != nil {
		if m := reply(result); m != nil {
			_ = sub.conn.enqueue(m, false)
		}
	}
	for _, p := range result.Past.Publications {
		_ = sub.conn.enqueue(p.Message, true)
	}
	known := snapshot{result.Past.Now, result.Membership.At, result.Membership.Partial}
	for i := range sub.held {
		p := &sub.held[i]
		if p.roster == noRoster && known.takes(p) || p.roster != noRoster && known.refresh(p) {
			_ = sub.conn.enqueue(p.Message, p.roster == noRoster)
		}
	}
	if late && known != (snapshot{}) {
		sub.known = &snapshot{known.past, known.members, known.partial}
	}
	sub.settled, sub.held = true, nil
}

package redis

import (
	"context"
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/edge-server/edge/ws"
	"github.com/edge-server/edge/ws/fleet"
)

// lane is a fleet.Lane: everything, or one partition of a cluster.
type lane struct {
	driver *Driver
	number int
	base   string

	lease string // what the server calls this node's; the keeper's own

	mu   sync.Mutex // guards mail
	mail *inbox
}

var errAnswer = errors.New("ws.broker.redis: an answer of the server cannot be understood; something else may use the keys under broker.prefix")

// Publish is of fleet.Lane.
func (l *lane) Publish(ctx context.Context, to ws.Address, message []byte, keep ws.Keep) (ws.Position, error) {
	if keep.Size <= 0 {
		_, err := l.driver.do(ctx, []any{l.driver.publishCommand(), l.base + "ch:" + chanOf(to), fleet.AppendFrame(fleet.History, ws.Position{}, message)})
		return ws.Position{}, err
	}
	answer, err := l.run(ctx, publishScript, chanOf(to), keep.Size, keep.TTL.Milliseconds(), newEpoch(), message)
	if err != nil {
		return ws.Position{}, err
	}
	list, ok := answer.([]any)
	if !ok || len(list) != 2 {
		return ws.Position{}, errAnswer
	}
	return position(list[0], list[1])
}

func position(epoch, offset any) (ws.Position, error) {
	e, ok := epoch.(string)
	text, ok2 := offset.(string)
	n, err := strconv.ParseUint(text, 10, 64)
	if !ok || !ok2 || err != nil {
		return ws.Position{}, errAnswer
	}
	if e == "" {
		return ws.Position{}, nil
	}
	return ws.Position{Epoch: e, Offset: n}, nil
}

var letters = [...]string{fleet.History: "h", fleet.Presence: "p"}

// head reads an epoch, an offset and forks.
func head(epoch, offset, forks any) (h fleet.Head, err error) {
	h.Position, err = position(epoch, offset)
	text, ok := forks.(string)
	list, ok2 := fleet.ParseForks(text)
	if err == nil && (!ok || !ok2) {
		err = errAnswer
	}
	h.Forks = list
	return h, err
}

// Past is of fleet.Lane. One entry more than the limit shows whether there is more.
func (l *lane) Past(ctx context.Context, log fleet.Log, of ws.Address, after ws.Position, limit int) (fleet.Past, error) {
	count, first := 0, "-"
	if limit > 0 {
		count = limit + 1
	}
	if after.Offset < math.MaxInt64 { // no more than the server counts to
		first = strconv.FormatUint(after.Offset+1, 10)
	}
	answer, err := l.run(ctx, pastScript, letters[log], chanOf(of), count, newEpoch(), after.Epoch, first)
	if err != nil {
		return fleet.Past{}, err
	}
	return parsePast(answer, after, limit)
}

func parsePast(answer any, after ws.Position, limit int) (fleet.Past, error) {
	list, ok := answer.([]any)
	if !ok || len(list) != 5 {
		return fleet.Past{}, errAnswer
	}
	now, err := head(list[0], list[1], list[2])
	kept, ok := list[3].(int64)
	raw, ok2 := list[4].([]any)
	if err != nil || !ok || !ok2 || kept < 0 {
		return fleet.Past{}, errAnswer
	}
	entries := make([]fleet.Entry, 0, len(raw))
	for _, r := range slices.Backward(raw) {
		e, err := parseEntry(r, now.Epoch)
		if err != nil {
			return fleet.Past{}, err
		}
		entries = append(entries, e)
	}
	return fleet.NewPast(entries, uint64(kept), now, after, limit), nil
}

// parseEntry reads [OFFSET-0 [d MESSAGE]].
func parseEntry(r any, epoch string) (fleet.Entry, error) {
	pair, ok := r.([]any)
	if !ok || len(pair) != 2 {
		return fleet.Entry{}, errAnswer
	}
	id, ok := pair[0].(string)
	fields, ok2 := pair[1].([]any)
	if !ok || !ok2 || len(fields) != 2 {
		return fleet.Entry{}, errAnswer
	}
	number, _, _ := strings.Cut(id, "-")
	offset, err := strconv.ParseUint(number, 10, 64)
	message, ok := fields[1].(string)
	if err != nil || !ok {
		return fleet.Entry{}, errAnswer
	}
	return fleet.Entry{At: ws.Position{Epoch: epoch, Offset: offset}, Message: []byte(message)}, nil
}

// Watch is of fleet.Lane.
func (l *lane) Watch(ctx context.Context, channel ws.Address, seen [2]ws.Position) (first bool, now [2]fleet.Head, err error) {
	h, p := seen[fleet.History], seen[fleet.Presence]
	answer, err := l.run(ctx, watchScript, l.driver.node, chanOf(channel), newEpoch(), h.Epoch, h.Offset, p.Epoch, p.Offset)
	if err != nil {
		return false, now, err
	}
	list, ok := answer.([]any)
	if !ok || len(list) != 7 {
		return false, now, errAnswer
	}
	if now[fleet.History], err = head(list[1], list[2], list[3]); err == nil {
		now[fleet.Presence], err = head(list[4], list[5], list[6])
	}
	return list[0] == int64(1), now, err
}

// Unwatch is of fleet.Lane.
func (l *lane) Unwatch(ctx context.Context, channel ws.Address) (last bool, err error) {
	answer, err := l.run(ctx, unwatchScript, l.driver.node, chanOf(channel))
	return answer == int64(1), err
}

// Join is of fleet.Lane.
func (l *lane) Join(ctx context.Context, channel ws.Address, m ws.Member, announce, farewell []byte) (ws.Membership, error) {
	return parseMembership(l.run(ctx, joinScript, l.driver.node, chanOf(channel), m.ID, m.Info, announce, farewell, newEpoch()))
}

// parseMembership reads [CHANGED USERS EPOCH OFFSET].
func parseMembership(answer any, err error) (m ws.Membership, _ error) {
	if err != nil {
		return m, err
	}
	list, ok := answer.([]any)
	if !ok || len(list) != 4 {
		return m, errAnswer
	}
	m.Changed = list[0] == int64(1)
	if m.Members, err = parseMembers(list[1]); err != nil {
		return ws.Membership{}, err
	}
	m.At, err = position(list[2], list[3])
	return m, err
}

// parseMembers reads a hash of users, TIME:INFO, in the order of their arrival.
func parseMembers(answer any) ([]ws.Member, error) {
	type arrival struct {
		ws.Member
		at string
	}
	var arrivals []arrival
	add := func(key, value any) bool {
		user, ok := key.(string)
		text, ok2 := value.(string)
		at, info, found := strings.Cut(text, ":")
		if !ok || !ok2 || !found {
			return false
		}
		a := arrival{ws.Member{ID: user}, at}
		if info != "" {
			a.Info = []byte(info)
		}
		arrivals = append(arrivals, a)
		return true
	}
	switch answer := answer.(type) {
	case []any: // RESP2, and what scripts return
		for i := 0; i+1 < len(answer); i += 2 {
			if !add(answer[i], answer[i+1]) {
				return nil, errAnswer
			}
		}
	case map[any]any:
		for key, value := range answer {
			if !add(key, value) {
				return nil, errAnswer
			}
		}
	default:
		return nil, errAnswer
	}
	slices.SortFunc(arrivals, func(a, b arrival) int {
		if d := len(a.at) - len(b.at); d != 0 {
			return d
		}
		if d := strings.Compare(a.at, b.at); d != 0 {
			return d
		}
		return strings.Compare(a.ID, b.ID)
	})
	members := make([]ws.Member, len(arrivals))
	for i := range arrivals {
		members[i] = arrivals[i].Member
	}
	return members, nil
}

// Leave is of fleet.Lane.
func (l *lane) Leave(ctx context.Context, channel ws.Address, user string, announce []byte) (bool, error) {
	answer, err := l.run(ctx, leaveScript, l.driver.node, chanOf(channel), user, announce, newEpoch())
	return answer == int64(1), err
}

// Members is of fleet.Lane.
func (l *lane) Members(ctx context.Context, channel ws.Address) (ws.Membership, error) {
	return parseMembership(l.run(ctx, membersScript, chanOf(channel), newEpoch()))
}

// Renew is of fleet.Lane. It takes away a hundred channels of a dead node at a time, so that the server can do other things
// between.
func (l *lane) Renew(ctx context.Context, reap bool) (fleet.Lease, error) {
	found, lease := fleet.Kept, l.lease
	for {
		answer, err := l.run(ctx, renewScript, l.driver.node, fleet.LeaseTime(l.driver.opts.Lease).Milliseconds(), newEpoch(), reap, lease, newEpoch())
		if err != nil {
			return found, err
		}
		list, ok := answer.([]any)
		if !ok || len(list) != 4 {
			return found, errAnswer
		}
		departures, err := parseDepartures(list[2])
		name, ok := list[3].(string)
		if err != nil || !ok {
			return found, errAnswer
		}
		lease = name
		for _, d := range departures {
			l.driver.sink.Departed(d)
		}
		switch list[0] {
		case int64(1):
			found = fleet.Forgotten
		case int64(2):
			found = fleet.Ended
		case int64(3):
			if found == fleet.Kept {
				found = fleet.Doubted
			}
		}
		if list[1] == int64(1) {
			continue
		}
		if err := l.live(ctx, lease); err != nil {
			return found, err
		}
		l.lease = lease // now the server knows that this node has heard of it
		return found, nil
	}
}

// live listens to the ID of the server, which is in front of the name of the lease.
func (l *lane) live(ctx context.Context, lease string) error {
	id, _, _ := strings.Cut(lease, "/")
	in, err := l.inbox()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, l.driver.opts.Timeout)
	defer cancel()
	return in.live(ctx, l.base+"life:"+id)
}

// Held is of fleet.Lane.
func (l *lane) Held(ctx context.Context) ([]fleet.Held, error) {
	var all []fleet.Held
	for cursor := "0"; ; {
		answer, err := l.run(ctx, heldScript, l.driver.node, cursor)
		if err != nil {
			return nil, err
		}
		list, ok := answer.([]any)
		if !ok || len(list) != 2 {
			return nil, errAnswer
		}
		held, err := parseHeld(list[1])
		if err != nil {
			return nil, err
		}
		all = append(all, held...)
		if cursor, ok = list[0].(string); !ok {
			return nil, errAnswer
		}
		if cursor == "0" {
			return all, nil
		}
	}
}

// parseHeld reads [[wCHAN []] [mCHAN [USER …]] …].
func parseHeld(answer any) ([]fleet.Held, error) {
	raw, ok := answer.([]any)
	if !ok {
		return nil, errAnswer
	}
	list := make([]fleet.Held, 0, len(raw))
	for _, r := range raw {
		pair, ok := r.([]any)
		if !ok || len(pair) != 2 {
			return nil, errAnswer
		}
		entry, ok := pair[0].(string)
		users, ok2 := pair[1].([]any)
		space, channel, found := strings.Cut(entry, "\x00")
		if !ok || !ok2 || !found || space == "" {
			return nil, errAnswer
		}
		h := fleet.Held{Channel: ws.Address{Space: space[1:], Channel: channel}, Watched: space[0] == 'w'}
		for _, u := range users {
			user, ok := u.(string)
			if !ok {
				return nil, errAnswer
			}
			h.Users = append(h.Users, user)
		}
		list = append(list, h)
	}
	return list, nil
}

// parseDepartures reads [[CHAN USER VACATED] …].
func parseDepartures(answer any) ([]ws.Departure, error) {
	raw, ok := answer.([]any)
	if !ok {
		return nil, errAnswer
	}
	list := make([]ws.Departure, 0, len(raw))
	for _, r := range raw {
		triple, ok := r.([]any)
		if !ok || len(triple) != 3 {
			return nil, errAnswer
		}
		name, ok := triple[0].(string)
		user, ok2 := triple[1].(string)
		space, channel, found := strings.Cut(name, "\x00")
		if !ok || !ok2 || !found {
			return nil, errAnswer
		}
		list = append(list, ws.Departure{Channel: ws.Address{Space: space, Channel: channel}, User: user, Vacated: triple[2] == int64(1)})
	}
	return list, nil
}

// Resign is of fleet.Lane.
func (l *lane) Resign(ctx context.Context) error {
	_, err := l.run(ctx, resignScript, l.driver.node)
	return err
}

// Tell is of fleet.Lane.
func (l *lane) Tell(ctx context.Context, message []byte) error {
	_, err := l.driver.do(ctx, []any{l.driver.publishCommand(), l.base + "control", message})
	return err
}

// Connect is of fleet.Lane.
func (l *lane) Connect(ctx context.Context, channels []ws.Address) error {
	l.disconnect()
	names := make([]string, 1, 1+len(channels))
	names[0] = l.base + "control"
	for _, c := range channels {
		names = append(names, l.base+"ch:"+chanOf(c))
	}
	in := newInbox(l)
	l.mu.Lock()
	l.mail = in
	l.mu.Unlock()
	for chunk := range slices.Chunk(names, 500) {
		if err := in.listen(ctx, chunk); err != nil {
			l.driver.lookAround(context.WithoutCancel(ctx), err)
			return err
		}
	}
	return nil
}

func (l *lane) disconnect() {
	l.mu.Lock()
	in := l.mail
	l.mail = nil
	l.mu.Unlock()
	if in != nil {
		in.close()
	}
}

var errDisconnected = errors.New("ws.broker.redis: there is no connection for what arrives")

func (l *lane) inbox() (*inbox, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mail == nil {
		return nil, errDisconnected
	}
	return l.mail, nil
}

// Listen is of fleet.Lane.
func (l *lane) Listen(ctx context.Context, channel ws.Address) error {
	in, err := l.inbox()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, l.driver.opts.Timeout)
	defer cancel()
	return in.listen(ctx, []string{l.base + "ch:" + chanOf(channel)})
}

// Unlisten is of fleet.Lane.
func (l *lane) Unlisten(ctx context.Context, channel ws.Address) error {
	in, err := l.inbox()
	if err != nil {
		return err
	}
	return in.unlisten(ctx, l.base+"ch:"+chanOf(channel))
}

// pingEvery is the silence after which the connection for what arrives is asked for a sign of life.
func (d *Driver) pingEvery() time.Duration { return min(d.opts.Timeout, d.opts.Lease/3) }

package nats

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/edge-server/edge/ws"
	"github.com/edge-server/edge/ws/fleet"
)

// record is what the nodes know of a channel together.
type record struct {
	Watchers []string          `json:"w,omitempty"` // nodes with subscribers
	Members  map[string]member `json:"m,omitempty"`
	Arrivals uint64            `json:"a,omitempty"`

	// The log Presence.
	Epoch         string         `json:"e,omitempty"`
	Offset        uint64         `json:"o,omitempty"`
	Announcements []announcement `json:"p,omitempty"`
}

type member struct {
	Arrival uint64            `json:"a"`
	Info    []byte            `json:"i,omitempty"`
	Nodes   map[string][]byte `json:"n"` // with the farewells
}

type announcement struct {
	Offset  uint64 `json:"o"`
	Message []byte `json:"m"`
}

func parseRecord(b []byte) (*record, error) {
	r := &record{}
	if err := json.Unmarshal(b, r); err != nil {
		return nil, errRecord
	}
	last := uint64(0)
	for _, a := range r.Announcements {
		if a.Offset <= last || a.Offset > r.Offset {
			return nil, errRecord
		}
		last = a.Offset
	}
	return r, nil
}

func (r *record) empty() bool { return len(r.Watchers) == 0 && len(r.Members) == 0 }

func (r *record) now() ws.Position {
	if r.Offset == 0 {
		return ws.Position{}
	}
	return ws.Position{Epoch: r.Epoch, Offset: r.Offset}
}

func (r *record) past(after ws.Position, limit int) fleet.Past {
	entries := make([]fleet.Entry, len(r.Announcements))
	for i, a := range r.Announcements {
		entries[i] = fleet.Entry{At: ws.Position{Epoch: r.Epoch, Offset: a.Offset}, Message: a.Message}
	}
	return fleet.NewPast(entries, uint64(len(entries)), fleet.Head{Position: r.now()}, after, limit)
}

func (r *record) announce(message []byte) {
	if len(message) == 0 {
		return
	}
	if r.Epoch == "" {
		r.Epoch = newEpoch()
	}
	r.Offset++
	r.Announcements = append(r.Announcements, announcement{r.Offset, message})
	if n := len(r.Announcements) - fleet.PresenceKept; n > 0 {
		r.Announcements = slices.Delete(r.Announcements, 0, n)
	}
}

// leave reports whether the user is in no node any more.
func (r *record) leave(node, user string, message []byte) bool {
	m, there := r.Members[user]
	if _, here := m.Nodes[node]; !there || !here {
		return false
	}
	delete(m.Nodes, node)
	if len(m.Nodes) > 0 {
		return false
	}
	delete(r.Members, user)
	r.announce(message)
	return true
}

func (r *record) list() []ws.Member {
	users := make([]string, 0, len(r.Members))
	for user := range r.Members {
		users = append(users, user)
	}
	slices.SortFunc(users, func(a, b string) int {
		if r.Members[a].Arrival < r.Members[b].Arrival {
			return -1
		}
		return 1
	})
	list := make([]ws.Member, len(users))
	for i, user := range users {
		list[i] = ws.Member{ID: user, Info: r.Members[user].Info}
	}
	return list
}

func newEpoch() string {
	var b [8]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// record reads the record of a channel, and its place in the stream; an empty one if there is none.
func (k *link) record(ctx context.Context, of ws.Address) (*record, uint64, error) {
	m, err := k.latest(ctx, k.channels, k.driver.opts.Prefix+".r."+token(of))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return &record{}, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	r, err := parseRecord(m.Data)
	return r, m.Sequence, err
}

// change lets edit change a record, again when another node was faster, and publishes what it has announced. edit reports whether it
// has changed anything.
func (k *link) change(ctx context.Context, of ws.Address, edit func(*record) bool) (*record, error) {
	defer k.driver.records.lock(of)()
	for range maxTries {
		r, seen, err := k.record(ctx, of)
		if err != nil {
			return nil, err
		}
		before := r.Offset
		if !edit(r) {
			return r, nil
		}
		err = k.store(ctx, of, r, seen)
		if err == nil {
			return r, k.publish(ctx, of, r, before)
		}
		if !isConflict(err) && !errors.Is(err, jetstream.ErrMsgNotFound) {
			return nil, err
		}
		if err := k.step(ctx); err != nil {
			return nil, err
		}
	}
	return nil, errCrowded
}

// store replaces a record if it is still the one that was seen. One that is empty is deleted by its place, which it has not any more
// if it was changed.
func (k *link) store(ctx context.Context, of ws.Address, r *record, seen uint64) error {
	if r.empty() {
		if seen == 0 {
			return nil
		}
		err := k.within(ctx, func(ctx context.Context) error { return k.channels.DeleteMsg(ctx, seen) })
		var api jetstream.JetStreamError
		if errors.As(err, &api) && api.APIError() != nil && api.APIError().Code < 500 {
			return jetstream.ErrMsgNotFound
		}
		return err
	}
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return k.put(ctx, k.driver.opts.Prefix+".r."+token(of), b, jetstream.WithExpectLastSequencePerSubject(seen),
		jetstream.WithRetryAttempts(1), jetstream.WithRetryWait(streamWait))
}

func (k *link) publish(ctx context.Context, of ws.Address, r *record, before uint64) error {
	sent := false
	for _, a := range r.Announcements {
		if a.Offset <= before {
			continue
		}
		frame := fleet.AppendFrame(fleet.Presence, ws.Position{Epoch: r.Epoch, Offset: a.Offset}, a.Message)
		if err := k.conn.Publish(k.driver.opts.Prefix+".c."+token(of), frame); err != nil {
			return err
		}
		sent = true
	}
	if !sent {
		return nil
	}
	return k.flush(ctx)
}

// Watch is of fleet.Lane.
func (d *Driver) Watch(ctx context.Context, channel ws.Address, _ [2]ws.Position) (first bool, now [2]fleet.Head, err error) {
	k, err := d.current()
	if err != nil {
		return false, now, err
	}
	r, err := k.change(ctx, channel, func(r *record) bool {
		if slices.Contains(r.Watchers, d.node) {
			first = false
			return false
		}
		first = len(r.Watchers) == 0
		r.Watchers = append(r.Watchers, d.node)
		return true
	})
	if err != nil {
		return false, now, err
	}
	now[fleet.Presence].Position = r.now()
	e, err := k.last(ctx, channel)
	if err == nil && e != nil && !e.expired() {
		now[fleet.History].Position = e.at
	}
	return first, now, err
}

// Unwatch is of fleet.Lane.
func (d *Driver) Unwatch(ctx context.Context, channel ws.Address) (last bool, err error) {
	k, err := d.current()
	if err != nil {
		return false, err
	}
	_, err = k.change(ctx, channel, func(r *record) bool {
		was := r.unwatch(d.node)
		last = was && len(r.Watchers) == 0
		return was
	})
	return last, err
}

func (r *record) unwatch(node string) bool {
	i := slices.Index(r.Watchers, node)
	if i >= 0 {
		r.Watchers = slices.Delete(r.Watchers, i, i+1)
	}
	return i >= 0
}

// Join is of fleet.Lane.
func (d *Driver) Join(ctx context.Context, channel ws.Address, m ws.Member, announce, farewell []byte) (ws.Membership, error) {
	k, err := d.current()
	if err != nil {
		return ws.Membership{}, err
	}
	changed := false
	r, err := k.change(ctx, channel, func(r *record) bool {
		known, there := r.Members[m.ID]
		changed = !there
		if _, here := known.Nodes[d.node]; here {
			return false
		}
		if !there {
			r.Arrivals++
			known = member{Arrival: r.Arrivals, Info: m.Info, Nodes: map[string][]byte{}}
			r.announce(announce)
		}
		if known.Nodes == nil {
			known.Nodes = map[string][]byte{}
		}
		known.Nodes[d.node] = farewell
		if r.Members == nil {
			r.Members = map[string]member{}
		}
		r.Members[m.ID] = known
		return true
	})
	if err != nil {
		return ws.Membership{}, err
	}
	return ws.Membership{Changed: changed, Members: r.list(), At: r.now()}, nil
}

// Leave is of fleet.Lane.
func (d *Driver) Leave(ctx context.Context, channel ws.Address, user string, announce []byte) (changed bool, err error) {
	k, err := d.current()
	if err != nil {
		return false, err
	}
	_, err = k.change(ctx, channel, func(r *record) bool {
		_, here := r.Members[user].Nodes[d.node]
		changed = r.leave(d.node, user, announce)
		return here
	})
	return changed, err
}

// Members is of fleet.Lane.
func (d *Driver) Members(ctx context.Context, channel ws.Address) (ws.Membership, error) {
	k, err := d.current()
	if err != nil {
		return ws.Membership{}, err
	}
	r, _, err := k.record(ctx, channel)
	if err != nil {
		return ws.Membership{}, err
	}
	return ws.Membership{Members: r.list(), At: r.now()}, nil
}

// Renew is of fleet.Lane.
func (d *Driver) Renew(ctx context.Context, reap bool) (fleet.Lease, error) {
	k, err := d.current()
	if err != nil {
		return fleet.Kept, err
	}
	d.mu.Lock()
	fresh := d.fresh
	d.mu.Unlock()
	subject := d.opts.Prefix + ".n." + d.node
	_, err = k.latest(ctx, k.nodes, subject)
	switch {
	case fresh:
		d.owed = fleet.Forgotten
	case errors.Is(err, jetstream.ErrMsgNotFound):
		d.owed = fleet.Ended
	}
	if err != nil && !errors.Is(err, jetstream.ErrMsgNotFound) {
		return fleet.Kept, err
	}
	// The servers of a cluster hear of a stream a moment after it was made.
	if err := k.put(ctx, subject, nil, jetstream.WithRetryAttempts(20), jetstream.WithRetryWait(streamWait)); err != nil {
		return fleet.Kept, err // the server may have it: the next one finds nothing missing
	}
	if reap {
		if err := k.reap(ctx); err != nil {
			return fleet.Kept, err
		}
	}
	d.mu.Lock()
	d.fresh = false
	d.mu.Unlock()
	lease := d.owed
	d.owed = fleet.Kept
	return lease, nil
}

// Held is of fleet.Lane. Records are in memory: with the servers that hold them they are lost as a whole, and know no past.
func (d *Driver) Held(context.Context) ([]fleet.Held, error) { return nil, nil }

// reap takes the members of nodes away that have no lease.
func (k *link) reap(ctx context.Context) error {
	d := k.driver
	info, err := k.info(ctx, k.nodes, jetstream.WithSubjectFilter(d.opts.Prefix+".n.>"))
	if err != nil {
		return err
	}
	alive := map[string]bool{d.node: true}
	for subject := range info.State.Subjects {
		alive[strings.TrimPrefix(subject, d.opts.Prefix+".n.")] = true
	}
	gone := k.reaped == nil
	for node := range k.reaped {
		gone = gone || !alive[node]
	}
	if !gone {
		k.reaped = alive
		return nil
	}
	if info, err = k.info(ctx, k.channels, jetstream.WithSubjectFilter(d.opts.Prefix+".r.>")); err != nil {
		return err
	}
	subjects := make(chan string)
	errs := make([]error, reapers)
	var wg sync.WaitGroup
	for i := range reapers {
		wg.Go(func() { // ends with the subjects
			for subject := range subjects {
				if of, ok := address(strings.TrimPrefix(subject, d.opts.Prefix+".r.")); ok && errs[i] == nil {
					errs[i] = k.bury(ctx, of, alive)
				}
			}
		})
	}
	for subject := range info.State.Subjects {
		subjects <- subject
	}
	close(subjects)
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	k.reaped = alive
	return nil
}

// reapers is how many channels are looked at at a time.
const reapers = 8

// bury takes dead nodes out of a record.
func (k *link) bury(ctx context.Context, of ws.Address, alive map[string]bool) error {
	var gone []ws.Departure
	r, err := k.change(ctx, of, func(r *record) (changed bool) {
		gone = nil // it may be tried again
		for _, node := range slices.Clone(r.Watchers) {
			if !alive[node] && r.unwatch(node) {
				gone = append(gone, ws.Departure{Channel: of, Vacated: len(r.Watchers) == 0})
				changed = true
			}
		}
		for user, m := range r.Members {
			for node, farewell := range m.Nodes {
				if alive[node] {
					continue
				}
				if r.leave(node, user, farewell) {
					gone = append(gone, ws.Departure{Channel: of, User: user})
				}
				changed = true
			}
		}
		return changed
	})
	if r == nil {
		return err
	}
	for _, d := range gone {
		k.driver.sink.Departed(d)
	}
	return err
}

// streamWait is the pause before a stream that nobody seems to have is asked again.
const streamWait = 50 * time.Millisecond

// Resign is of fleet.Lane.
func (d *Driver) Resign(ctx context.Context) error {
	k, err := d.current()
	if err != nil {
		return err
	}
	return k.nodes.Purge(ctx, jetstream.WithPurgeSubject(d.opts.Prefix+".n."+d.node))
}

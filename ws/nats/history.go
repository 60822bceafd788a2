package nats

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/edge-server/edge/ws"
	"github.com/edge-server/edge/ws/fleet"
)

// maxTries is how often a change is tried that other nodes were faster with.
const maxTries = 100

var errCrowded = errors.New("ws.broker.nats: other nodes change this channel all the time, give up")

// entry is a message of the history stream: EPOCH:OFFSET:PREVIOUS:SIZE:TTL:MESSAGE. PREVIOUS is the place of the one before in
// the stream, so that a log can be read backwards, as far as it is wanted.
type entry struct {
	at       ws.Position
	previous uint64
	keep     ws.Keep
	message  []byte

	seq  uint64 // in the stream
	time time.Time
}

func (e *entry) encode() []byte {
	b := append([]byte(e.at.Epoch), ':')
	b = append(strconv.AppendUint(b, e.at.Offset, 10), ':')
	b = append(strconv.AppendUint(b, e.previous, 10), ':')
	b = append(strconv.AppendInt(b, int64(e.keep.Size), 10), ':')
	b = append(strconv.AppendInt(b, e.keep.TTL.Milliseconds(), 10), ':')
	return append(b, e.message...)
}

func parseEntry(b []byte) (*entry, error) {
	parts := bytes.SplitN(b, []byte{':'}, 6)
	if len(parts) != 6 || len(parts[0]) == 0 {
		return nil, errRecord
	}
	offset, err := strconv.ParseUint(string(parts[1]), 10, 64)
	previous, err2 := strconv.ParseUint(string(parts[2]), 10, 64)
	size, err3 := strconv.ParseUint(string(parts[3]), 10, 31)
	ttl, err4 := strconv.ParseUint(string(parts[4]), 10, 40)
	if errors.Join(err, err2, err3, err4) != nil || offset == 0 || size == 0 {
		return nil, errRecord
	}
	return &entry{
		at: ws.Position{Epoch: string(parts[0]), Offset: offset}, previous: previous,
		keep: ws.Keep{Size: int(size), TTL: time.Duration(ttl) * time.Millisecond}, message: parts[5],
	}, nil
}

func (e *entry) expired() bool { return e.keep.TTL > 0 && time.Since(e.time) > e.keep.TTL }

// last reads the latest entry of a channel. An expired one still tells the place in the stream.
func (k *link) last(ctx context.Context, of ws.Address) (*entry, error) {
	m, err := k.latest(ctx, k.history, k.driver.opts.Prefix+".h."+token(of))
	return read(m, err)
}

func read(m *jetstream.RawStreamMsg, err error) (*entry, error) {
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	e, err := parseEntry(m.Data)
	if err == nil {
		e.seq, e.time = m.Sequence, m.Time
	}
	return e, err
}

// Publish is of fleet.Lane.
func (d *Driver) Publish(ctx context.Context, to ws.Address, message []byte, keep ws.Keep) (ws.Position, error) {
	k, err := d.current()
	if err != nil {
		return ws.Position{}, err
	}
	subject := d.opts.Prefix + ".c." + token(to)
	if keep.Size <= 0 {
		return ws.Position{}, k.send(ctx, subject, fleet.AppendFrame(fleet.History, ws.Position{}, message))
	}
	at, err := k.append(ctx, to, message, keep)
	if err != nil {
		return ws.Position{}, err
	}
	return at, k.send(ctx, subject, fleet.AppendFrame(fleet.History, at, message))
}

func (k *link) append(ctx context.Context, to ws.Address, message []byte, keep ws.Keep) (ws.Position, error) {
	defer k.driver.heads.lock(to)()
	subject := k.driver.opts.Prefix + ".h." + token(to)
	for range maxTries {
		before, err := k.last(ctx, to)
		if err != nil {
			return ws.Position{}, err
		}
		e := &entry{keep: keep, message: message}
		var seen uint64
		switch {
		case before == nil:
			e.at = ws.Position{Epoch: newEpoch(), Offset: 1}
		case before.expired():
			e.at, seen = ws.Position{Epoch: newEpoch(), Offset: 1}, before.seq
		default:
			e.at, seen = ws.Position{Epoch: before.at.Epoch, Offset: before.at.Offset + 1}, before.seq
			e.previous = before.seq
		}
		err = k.put(ctx, subject, e.encode(), jetstream.WithExpectLastSequencePerSubject(seen),
			jetstream.WithRetryAttempts(1), jetstream.WithRetryWait(streamWait))
		if err == nil {
			return e.at, nil
		}
		if !isConflict(err) {
			return ws.Position{}, err
		}
		if err := k.step(ctx); err != nil {
			return ws.Position{}, err
		}
	}
	return ws.Position{}, errCrowded
}

func isConflict(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) &&
		(api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence || api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant)
}

// step lets others go first.
func (k *link) step(ctx context.Context) error {
	timer := time.NewTimer(rand.N(3 * time.Millisecond))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// Past is of fleet.Lane. It reads backwards, no further than it must.
func (d *Driver) Past(ctx context.Context, log fleet.Log, of ws.Address, after ws.Position, limit int) (fleet.Past, error) {
	k, err := d.current()
	if err != nil {
		return fleet.Past{}, err
	}
	if log == fleet.Presence {
		r, _, err := k.record(ctx, of)
		if err != nil {
			return fleet.Past{}, err
		}
		return r.past(after, limit), nil
	}
	e, err := k.last(ctx, of)
	if err != nil {
		return fleet.Past{}, err
	}
	if e == nil || e.expired() {
		return fleet.NewPast(nil, 0, fleet.Head{}, after, limit), nil
	}
	now, size := e.at, min(e.keep.Size, d.cfg.HistorySize)
	var entries []fleet.Entry
	kept := uint64(0)
	for {
		entries = append(entries, fleet.Entry{At: e.at, Message: e.message})
		kept++
		if len(entries) >= size || e.previous == 0 || limit > 0 && len(entries) > limit {
			break
		}
		if after.Epoch == now.Epoch && e.at.Offset <= after.Offset+1 {
			kept = max(kept, now.Offset-min(after.Offset, now.Offset))
			break
		}
		before, err := read(k.message(ctx, k.history, e.previous))
		if err != nil {
			return fleet.Past{}, err
		}
		if before == nil || before.at.Epoch != now.Epoch || before.at.Offset != e.at.Offset-1 {
			break // it was forgotten
		}
		e = before
	}
	for i, j := 0, len(entries)-1; i < j; i, j = i+1, j-1 {
		entries[i], entries[j] = entries[j], entries[i]
	}
	return fleet.NewPast(entries, kept, fleet.Head{Position: now}, after, limit), nil
}

package pusher

import (
	"context"
	"strconv"
	"sync"
	"time"

	"github.com/edge-server/edge/ws"
)

const (
	// countPause is the least time between two rounds of counts, so that a thousand clients that come at once cost a few rounds.
	countPause = 50 * time.Millisecond

	// A channel with more than manySubscribers is told of changes every manyPause only.
	manySubscribers = 100
	manyPause       = 5 * time.Second
)

// A counter tells subscribers how many they are, when that has changed.
type counter struct {
	app  *app
	wake chan struct{} // holds one

	mu    sync.Mutex           // guards dirty
	dirty map[string]time.Time // channels that have changed, and when to look at them
	next  map[string]time.Time // of channels with many subscribers: not before; belongs to run
}

func newCounter(a *app) *counter {
	return &counter{app: a, wake: make(chan struct{}, 1), dirty: map[string]time.Time{}, next: map[string]time.Time{}}
}

// changed notes that a channel has gained or lost a subscriber.
func (n *counter) changed(channel string) {
	n.mu.Lock()
	if _, noted := n.dirty[channel]; !noted {
		n.dirty[channel] = time.Time{}
	}
	n.mu.Unlock()
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

// run works until ctx ends.
func (n *counter) run(ctx context.Context) {
	for {
		select {
		case <-n.wake:
		case <-ctx.Done():
			return
		}
		for {
			pause, more := n.round(ctx, time.Now())
			if !more {
				break
			}
			if !sleep(ctx, pause) {
				return
			}
		}
	}
}

// round counts the channels that are due, and says when there is something to do again.
func (n *counter) round(ctx context.Context, now time.Time) (pause time.Duration, more bool) {
	due, pause, more := n.take(now)
	counts := n.count(ctx, due)
	for _, channel := range due {
		count := counts[channel]
		n.tell(ctx, channel, count)
		if count > manySubscribers {
			n.next[channel] = now.Add(manyPause)
		}
	}
	for channel, at := range n.next {
		if !at.After(now) {
			delete(n.next, channel)
		}
	}
	return max(pause, countPause), more || len(due) > 0
}

// take removes the channels that are due.
func (n *counter) take(now time.Time) (due []string, pause time.Duration, more bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	pause = manyPause
	for channel := range n.dirty {
		if left := n.next[channel].Sub(now); left > 0 {
			pause, more = min(pause, left), true
			continue
		}
		due = append(due, channel)
		delete(n.dirty, channel)
	}
	if len(due) > 0 {
		pause = countPause
	}
	return due, pause, more
}

// count asks for one channel, or for all when there are several.
func (n *counter) count(ctx context.Context, channels []string) map[string]int {
	counts := map[string]int{}
	ctx, cancel := context.WithTimeout(ctx, patienceForBroker)
	defer cancel()
	var list []ws.ChannelInfo
	switch len(channels) {
	case 0:
	case 1:
		info, _ := n.app.space.Channel(ctx, channels[0])
		list = []ws.ChannelInfo{info}
	default:
		list, _ = n.app.space.Channels(ctx, "")
	}
	for _, info := range list {
		counts[info.Name] = info.Subscribers
	}
	return counts
}

func (n *counter) tell(ctx context.Context, channel string, count int) {
	ctx, cancel := context.WithTimeout(ctx, patienceForBroker)
	defer cancel()
	data := append(strconv.AppendInt([]byte(`{"subscription_count":`), int64(count), 10), '}')
	m := ws.Prepare(ws.Text, appendEvent(nil, eventCount, channel, data))
	_, _ = n.app.space.Publish(ctx, channel, m, ws.PublishOptions{}) // the hub counts errors
	n.app.tell(happening{name: hookCount, channel: channel, count: count})
}

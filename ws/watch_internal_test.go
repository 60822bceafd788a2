package ws

import (
	"context"
	"errors"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edge-server/edge/internal/testenv"
)

// distant is a broker that is asked in the background.
type distant struct {
	*Memory
	watched atomic.Int32
}

func (d *distant) Patience() time.Duration { return time.Second }

func (d *distant) Watch(context.Context, Address) (bool, error) {
	d.watched.Add(1)
	return true, nil
}

func (d *distant) Unwatch(context.Context, Address) (bool, error) {
	d.watched.Add(-1)
	return true, nil
}

func (ch *channel) hears() bool {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	return ch.watched
}

// TestComingAndGoing: a subscriber hears what is published, also when the one whose question has the broker deliver has just gone.
func TestComingAndGoing(t *testing.T) {
	t.Parallel()
	d := &distant{Memory: NewMemory()}
	hub := NewHub(Options{Broker: d})
	space := hub.Space("s")
	end := &Endpoint{hub: hub, space: space, limits: DefaultLimits()}
	var wg sync.WaitGroup
	until := time.Now().Add(testenv.Duration(500*time.Millisecond, 30*time.Second))
	for i := range 3 {
		c := &Conn{id: ConnID(i + 1), endpoint: end, broken: true}
		wg.Go(func() {
			for time.Now().Before(until) {
				ctx, cancel := context.WithCancel(t.Context())
				if i > 0 {
					cancel() // it goes at once
				}
				_, err := space.Subscribe(ctx, c, "c", SubscribeOptions{})
				cancel()
				ch := space.find("c")
				if err == nil && !ch.hears() {
					t.Error("a subscriber does not hear")
					return
				}
				if _, err := space.Unsubscribe(t.Context(), c, "c", UnsubscribeOptions{}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	testenv.Eventually(t, "nothing is left", func() bool { return d.watched.Load() == 0 && space.Stats().Channels == 0 })
}

// moody is a broker that takes its time, and fails now and then.
type moody struct{ *distant }

var errMoody = errors.New("not now")

func (m moody) mood() error {
	if rand.IntN(4) == 0 {
		time.Sleep(rand.N(200 * time.Microsecond))
	}
	if rand.IntN(8) == 0 {
		return errMoody
	}
	return nil
}

func (m moody) Watch(ctx context.Context, of Address) (bool, error) {
	if err := m.mood(); err != nil {
		m.watched.Add(1) // Unwatch ends the attempt
		return false, err
	}
	return m.distant.Watch(ctx, of)
}

func (m moody) Join(ctx context.Context, to Address, who Member, announce *Prepared) (Membership, error) {
	if err := m.mood(); err != nil {
		return Membership{}, err
	}
	return m.Memory.Join(ctx, to, who, announce)
}

func (m moody) History(ctx context.Context, of Address, after Position, limit int) (Past, error) {
	if err := m.mood(); err != nil {
		return Past{}, err
	}
	return m.Memory.History(ctx, of, after, limit)
}

// TestNothingIsLeft of connections that come and go, on which several subscribe and unsubscribe at once, and end in the middle of it.
func TestNothingIsLeft(t *testing.T) {
	t.Parallel()
	m := moody{&distant{Memory: NewMemory()}}
	hub := NewHub(Options{Broker: m})
	space := hub.Space("s")
	if err := m.Start(t.Context(), hub); err != nil {
		t.Fatal(err)
	}
	end := &Endpoint{hub: hub, space: space, limits: DefaultLimits()}
	until := time.Now().Add(testenv.Duration(500*time.Millisecond, 30*time.Second))
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for n := 0; time.Now().Before(until); n++ {
				c := &Conn{id: ConnID(1 + i + 8*n), endpoint: end, broken: true}
				var busy sync.WaitGroup
				for range 3 {
					busy.Go(func() {
						for range 5 {
							room := strconv.Itoa(rand.IntN(3))
							ctx, cancel := context.WithTimeout(t.Context(), rand.N(2*time.Millisecond))
							_, err := space.Subscribe(ctx, c, room, SubscribeOptions{
								Member: &Member{ID: strconv.Itoa(i % 3)}, Announce: PrepareText("+"), Recover: &Position{},
								Reply: func(Subscribed) *Prepared { return nil },
							})
							cancel()
							if err == nil && rand.IntN(2) == 0 {
								_, _ = space.Unsubscribe(t.Context(), c, room, UnsubscribeOptions{})
							}
						}
					})
				}
				time.Sleep(rand.N(time.Millisecond))
				c.leave()
				busy.Wait()
				if names := c.Channels(); len(names) > 0 {
					t.Errorf("a connection that has left is in %q", names)
				}
			}
		})
	}
	wg.Wait()
	testenv.Eventually(t, "nothing is left", func() bool {
		m.mu.Lock()
		defer m.mu.Unlock()
		return len(m.groups) == 0 && m.watched.Load() == 0 && space.Stats().Channels == 0
	})
}

package ws

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Stop tells every client to come back, a few at a time: they would otherwise all knock at once where they go next. It takes new
// connections no more, and returns when the last one has ended; those that are left when ctx ends are cut off.
func (h *Hub) Stop(ctx context.Context) (err error) {
	h.gate.Lock()
	h.stopping = true
	h.gate.Unlock()
	h.sendAway(ctx)
	gone := make(chan struct{})
	go func() { // ends with the last connection
		h.serving.Wait()
		close(gone)
	}()
	select {
	case <-gone:
	case <-ctx.Done():
		err = ctx.Err()
		h.cut()
		select {
		case <-gone:
		case <-time.After(cutTime):
			err = fmt.Errorf("%w: connections wait for their application", err)
		}
	}
	h.wheel.stop()
	return errors.Join(err, h.broker.Stop(ctx))
}

// cutTime is how long a stop that has run out of time waits for protocols that are in the middle of something.
const cutTime = time.Second

const (
	// partingSteps and partingTime spread the goodbyes: so many groups in at most so much time, less when there are few connections.
	partingSteps = 50
	partingTime  = 5 * time.Second
	partingGroup = 100
)

func (h *Hub) sendAway(ctx context.Context) {
	var all []*Conn
	for _, s := range h.Spaces() {
		all = append(all, s.Conns()...)
	}
	total := partingTime
	if deadline, ok := ctx.Deadline(); ok {
		total = min(total, time.Until(deadline)/3)
	}
	group := max(partingGroup, (len(all)+partingSteps-1)/partingSteps)
	pause := max(total/partingSteps, time.Millisecond)
	for len(all) > 0 {
		n := min(group, len(all))
		for _, c := range all[:n] {
			c.Close(c.endpoint.restart.code, c.endpoint.restart.reason)
		}
		if all = all[n:]; len(all) == 0 {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// cut ends what is left the hard way.
func (h *Hub) cut() {
	for _, s := range h.Spaces() {
		for _, c := range s.Conns() {
			c.fail()
		}
	}
}

package pusher

import (
	"bytes"
	"context"
	"encoding/gob"
	"fmt"
	"slices"
	"time"
)

// In an upgrade the newer process tells the webhooks: it knows who has come back. The older one hands on what waits, and what happens to
// those who are still there. See package ws for the channels.

// Forward sends what happens to the process that has taken the place of this one, for Accept.
type Forward func(ctx context.Context, news []byte) error

// news are happenings on their way to another process.
type news struct {
	App     string
	URL     string // of the one webhook that they are for; "" for all that want them
	Waiting []movedHappening
}

type movedHappening struct {
	Name, Channel, UserID, Event, Data, Socket string
	Count                                      int
}

// forward reports whether the other process has taken it.
func (a *app) forward(url string, list []happening) bool {
	to := a.server.forward.Load()
	if to == nil {
		return false
	}
	n := news{App: a.name, URL: url}
	for _, h := range list {
		n.Waiting = append(n.Waiting, movedHappening{h.name, h.channel, h.userID, h.event, h.data, h.socket, h.count})
	}
	var b bytes.Buffer
	ctx, cancel := context.WithTimeout(context.Background(), patienceForBroker)
	defer cancel()
	return gob.NewEncoder(&b).Encode(&n) == nil && (*to)(ctx, b.Bytes()) == nil
}

// Leave makes another process the one that tells webhooks what happens, and hands over what waits.
func (s *Server) Leave(to Forward) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forward.Store(&to)
	for _, h := range s.section.Load().hooks() {
		h.stop()
	}
}

// Accept takes what another process has forwarded. What this one has no app or webhook for is dropped.
func (s *Server) Accept(_ context.Context, encoded []byte) error {
	var n news
	if err := gob.NewDecoder(bytes.NewReader(encoded)).Decode(&n); err != nil {
		return fmt.Errorf("pusher: news of another process: %w", err)
	}
	a := s.section.Load().app(n.App)
	if a == nil {
		return nil
	}
	hooks := a.rules.Load().hooks
	for _, m := range n.Waiting {
		e := happening{m.Name, m.Channel, m.UserID, m.Event, m.Data, m.Socket, m.Count}
		if n.URL == "" {
			a.tell(e)
			continue
		}
		if i := slices.IndexFunc(hooks, func(h *hook) bool { return h.url == n.URL }); i >= 0 {
			hooks[i].tell(e, time.Now())
		}
	}
	return nil
}

// handOver gives what waits to the other process, which looks itself whether endings are still ones. It reports whether there is one.
func (h *hook) handOver() bool {
	if h.app.server.forward.Load() == nil {
		return false
	}
	h.mu.Lock()
	defer h.mu.Unlock() // what comes meanwhile stands behind
	over := make([]ending, 0, len(h.endings))
	for _, e := range h.endings {
		over = append(over, e)
	}
	slices.SortFunc(over, func(a, b ending) int { return a.seq - b.seq })
	list := slices.Clone(h.waiting)
	for _, e := range over {
		list = append(list, e.happening)
	}
	if len(list) > 0 && !h.app.forward(h.url, list) {
		return false
	}
	h.waiting = nil
	clear(h.endings)
	return true
}

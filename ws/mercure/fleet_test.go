package mercure_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/ws"
	"github.com/edge-server/edge/ws/fleet"
	"github.com/edge-server/edge/ws/mercure"
	"github.com/edge-server/edge/ws/redis"
)

// node is a hub of a fleet over Redis.
func node(t *testing.T, addr string) *hub {
	t.Helper()
	cfg := redis.Config{}.Defaults().(redis.Config)
	cfg.Addresses = []string{addr}
	log := slog.New(slog.DiscardHandler)
	driver := redis.New(cfg, redis.Options{Prefix: "edge-ws:", Lease: 2 * time.Second, Timeout: time.Second, Queue: 4096})
	nodes := ws.NewHub(ws.Options{Logger: log, Broker: fleet.New(driver, fleet.Options{Name: "redis", Logger: log, Lease: 2 * time.Second, Timeout: time.Second, Queue: 4096})})
	check(t, nodes.Start(context.Background()))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		check(t, nodes.Stop(ctx))
	})
	return start(t, func(h *hub) { h.space = nodes.Space("mercure"); h.cfg.Subscriptions = true })
}

// TestFleet has three nodes: an update of one reaches the streams of all once, ids and histories mean the same everywhere, and a broker that
// is killed leaves each node working alone until it comes back.
func TestFleet(t *testing.T) {
	t.Parallel()
	server := testenv.Redis(t)
	nodes := []*hub{node(t, server.Addr), node(t, server.Addr), node(t, server.Addr)}
	const space = hubPath + "/subscriptions{/topic}{/subscriber}"
	watcher := nodes[0].subscribe(reader(t, space), "topic", space)
	watcher.next()
	streams := make([]*stream, len(nodes))
	for i, n := range nodes {
		streams[i] = n.subscribe("", "topic", "a/{n}", "topic", "all")
		watcher.next()
		watcher.next()
	}
	var list []string
	for i := range 30 {
		list = append(list, nodes[i%3].publish("topic", fmt.Sprint("a/", i), "data", fmt.Sprint(i)))
	}
	for i, s := range streams {
		for n, id := range list {
			if e := s.want(fmt.Sprint(n)); e.id != id {
				t.Fatalf("node %d, update %d: %+v", i, n, e)
			}
		}
	}
	for _, n := range nodes { // a client may come back anywhere
		s := n.subscribe("", "topic", "a/{n}", "lastEventID", list[20])
		if e := s.next(); e.id != list[21] || s.resp.Header.Get("Last-Event-ID") != list[20] {
			t.Errorf("%+v", e)
		}
	}
	streams[1].close()
	for range 2 {
		for e := watcher.next(); !strings.Contains(e.data, `"active":false`); e = watcher.next() {
		}
	}

	server.Kill()
	id := nodes[0].publish("topic", "all", "data", "alone")
	if e := streams[0].want("alone"); e.id != id {
		t.Errorf("%+v", e)
	}
	server.Start()
	testenv.Eventually(t, "the fleet is together again", func() bool {
		nodes[0].publish("topic", "all", "data", "again")
		select {
		case e, open := <-streams[2].events:
			if !open { // sent away, for what it may have missed
				streams[2] = nodes[2].subscribe("", "topic", "all")
			}
			return e.data == "again"
		case <-time.After(200 * time.Millisecond):
			return false
		}
	})
}

func TestBadMessagesOfABroker(t *testing.T) {
	t.Parallel()
	nodes := ws.NewHub(ws.Options{Logger: slog.New(slog.DiscardHandler)})
	check(t, nodes.Start(t.Context()))
	t.Cleanup(func() { check(t, nodes.Stop(context.Background())) })
	space := nodes.Space("mercure")
	h := start(t, func(h *hub) { h.space = space })
	for _, message := range []string{"", "x", "\x00", "\x01k\x01\x00\x00\x00\x00\x00\x01\x01a\x00"} {
		_, err := space.Publish(t.Context(), "updates", ws.Prepare(ws.Binary, []byte(message)), ws.PublishOptions{})
		check(t, err)
	}
	s := h.subscribe("", "topic", "*")
	h.publish("topic", "a", "data", "good")
	s.want("good")
	if st := h.Stats(); st.FleetErrors != 4 || st.Kept != 1 {
		t.Errorf("%+v", st)
	}
	if _, err := mercure.New(h.cfg, mercure.Options{Space: space}); err != nil {
		t.Error(err)
	}
}

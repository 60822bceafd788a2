package main

import (
	"bufio"
	"context"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/rpc"
)

// listener is an EventSource: it comes back to where it was.
type listener struct {
	opened chan struct{} // closed when the first stream is open

	mu   sync.Mutex
	got  []string
	id   string // of the last event, with data or without
	once sync.Once
}

// listen ends with ctx.
func (l *listener) listen(ctx context.Context, url string) {
	for ctx.Err() == nil {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return
		}
		l.mu.Lock()
		if l.id != "" {
			req.Header.Set("Last-Event-ID", l.id)
		}
		l.mu.Unlock()
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			continue
		}
		if res.StatusCode == http.StatusOK {
			l.once.Do(func() { close(l.opened) })
		}
		for lines := bufio.NewScanner(res.Body); lines.Scan(); {
			l.mu.Lock()
			if id, ok := strings.CutPrefix(lines.Text(), "id: "); ok {
				l.id = id
			}
			if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
				l.got = append(l.got, data)
			}
			l.mu.Unlock()
		}
		res.Body.Close()
	}
}

func (l *listener) has() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.got)
}

// TestUpgradeKeepsUpdates: those who listen to the Mercure hub miss nothing when the hub moves to another process: neither what is published
// while it moves, nor what the older process is told to publish afterwards, and not before they had their first update either.
func TestUpgradeKeepsUpdates(t *testing.T) {
	t.Parallel()
	u := startUpgradable(t, `
http: {routes: [{respond: {body: hello}}]}
rpc: {}
ws: {mercure: {publisher: {secret: "0123456789012345678901234567890123456789"}, anonymous: true}}
`)
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	url := "http://" + u.plain + "/.well-known/mercure?topic=news"
	all, waiting := &listener{opened: make(chan struct{})}, &listener{opened: make(chan struct{})}
	wg.Go(func() { all.listen(ctx, url) })
	wg.Go(func() { waiting.listen(ctx, "http://"+u.plain+"/.well-known/mercure?topic=late") })
	<-all.opened
	<-waiting.opened

	address := "unix://" + filepath.Join(u.dir, "state", "rpc.sock")
	publish := func(c *rpc.Client, topic, data string) error {
		var id string
		return c.Call(ctx, "mercure.Publish", map[string]any{"topics": []string{topic}, "data": data}, &id)
	}
	first, err := rpc.Dial(ctx, address) // a worker of the first process keeps its connection
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	if err := publish(first, "news", "begin"); err != nil {
		t.Fatal(err)
	}
	end := make(chan struct{})
	var sure []string // acknowledged, in this order
	var publishing sync.WaitGroup
	publishing.Go(func() { // ends when end is closed
		var c *rpc.Client
		for n := 0; ; n++ {
			select {
			case <-end:
				if c != nil {
					c.Close()
				}
				return
			default:
			}
			if c == nil {
				if c, err = rpc.Dial(ctx, address); err != nil {
					t.Errorf("dial: %v", err)
					return
				}
			}
			if err := publish(c, "news", strconv.Itoa(n)); err != nil { // the older process has gone
				c.Close()
				c = nil
				continue
			}
			sure = append(sure, strconv.Itoa(n))
		}
	})
	for i := range testenv.Count(2, 20) {
		before := len(all.has())
		u.upgrade(t)
		testenv.Eventually(t, "updates go on", func() bool { return len(all.has()) > before+20 })
		if i == 0 {
			c, err := rpc.Dial(ctx, address)
			if err != nil {
				t.Fatal(err)
			}
			if err := publish(c, "late", "one"); err != nil {
				t.Error(err)
			}
			c.Close()
			testenv.Eventually(t, "the first update of a stream that has moved", func() bool { return slices.Equal(waiting.has(), []string{"one"}) })
		}
	}
	close(end)
	publishing.Wait()
	last := sure[len(sure)-1]
	testenv.Eventually(t, "the last update", func() bool { return slices.Contains(all.has(), last) })
	got := all.has()
	seen := map[string]int{}
	for _, data := range got {
		seen[data]++
	}
	missed := 0
	for _, data := range sure {
		if seen[data] != 1 {
			if missed++; missed < 5 {
				t.Errorf("update %s came %d times", data, seen[data])
			}
		}
	}
	if !slices.IsSortedFunc(slices.DeleteFunc(slices.Clone(got), func(s string) bool { return s == "begin" }), byNumber) {
		t.Error("updates came out of order")
	}
	t.Logf("%d updates were acknowledged, %d came", len(sure), len(got))
}

func byNumber(a, b string) int {
	x, _ := strconv.Atoi(a)
	y, _ := strconv.Atoi(b)
	return x - y
}

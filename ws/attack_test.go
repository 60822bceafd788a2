package ws_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/ws"
)

// TestStopWhileConnecting: a client whose handshake has begun when the server begins to stop is told to come back as all others are,
// and nobody waits for it until the time of the stop is over.
func TestStopWhileConnecting(t *testing.T) {
	t.Parallel()
	for _, carrier := range carriers {
		t.Run(carrier.name, func(t *testing.T) {
			t.Parallel()
			asked, go_on := make(chan struct{}), make(chan struct{})
			w := start(t, &echo{accept: func(*http.Request, *ws.Conn) error {
				close(asked)
				<-go_on
				return nil
			}})
			opened := make(chan *link, 1)
			go func() { opened <- carrier.open(w, nil) }() // ends with the handshake
			<-asked
			stopped := make(chan error, 1)
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			go func() { stopped <- w.hub.Stop(ctx) }()           // ends with the connection
			testenv.Eventually(t, "the hub stops", func() bool { // it refuses others
				l := w.openH1(nil)
				defer l.close()
				return l.res.StatusCode == 503
			})
			close(go_on)
			l := <-opened
			f, err := l.next()
			if err != nil || f.first != fin|shut || !strings.Contains(string(f.payload), "the server restarts") {
				t.Fatalf("got %s, %v", f, err)
			}
			l.Write(closing(1012, ""))
			l.ended()
			if err := <-stopped; err != nil {
				t.Errorf("the stop: %v", err)
			}
		})
	}
}

// TestCutWhileConnecting: a stop without time leaves nothing of a connection whose protocol cannot make up its mind.
func TestCutWhileConnecting(t *testing.T) {
	t.Parallel()
	asked, go_on := make(chan struct{}), make(chan struct{})
	w := start(t, &echo{accept: func(*http.Request, *ws.Conn) error {
		close(asked)
		<-go_on
		return nil
	}})
	opened := make(chan *link, 1)
	go func() { opened <- w.openH1(nil) }() // ends with the handshake
	<-asked
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := w.hub.Stop(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("the stop: %v", err)
	}
	close(go_on)
	(<-opened).ended()
	testenv.Eventually(t, "it is gone", func() bool { return w.space.Len() == 0 })
}

// TestStopsOverlap: whoever stops second waits as well, and neither breaks anything.
func TestStopsOverlap(t *testing.T) {
	t.Parallel()
	w := start(t, &echo{})
	for range 20 {
		w.dial()
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			if err := w.hub.Stop(ctx); err != nil {
				t.Error(err)
			}
			if n := w.space.Len(); n > 0 {
				t.Errorf("%d connections are left", n)
			}
		})
	}
	wg.Wait()
}

// slowJoin is a broker whose Join takes until it is let go.
type slowJoin struct {
	*ws.Memory
	joining, letGo chan struct{}
}

func (b *slowJoin) Join(ctx context.Context, to ws.Address, m ws.Member, announce *ws.Prepared) (ws.Membership, error) {
	close(b.joining)
	<-b.letGo
	return b.Memory.Join(ctx, to, m, announce)
}

// TestNoGhosts: a subscription that somebody ends while the broker is asked leaves no member behind.
func TestNoGhosts(t *testing.T) {
	t.Parallel()
	broker := &slowJoin{ws.NewMemory(), make(chan struct{}), make(chan struct{})}
	w := startWith(t, ws.Options{Broker: broker}, &echo{})
	w.dial()
	testenv.Eventually(t, "it is there", func() bool { return w.space.Len() == 1 })
	c := w.space.Conns()[0]
	subscribed := make(chan error, 1)
	go func() { // ends with Join
		_, err := w.space.Subscribe(t.Context(), c, "room", ws.SubscribeOptions{Member: &ws.Member{ID: "anna"}})
		subscribed <- err
	}()
	<-broker.joining
	if r, err := w.space.Unsubscribe(t.Context(), c, "room", ws.UnsubscribeOptions{}); !r.Was || err != nil {
		t.Fatalf("unsubscribe: %+v, %v", r, err)
	}
	close(broker.letGo)
	if err := <-subscribed; !errors.Is(err, ws.ErrClosed) {
		t.Errorf("subscribe: %v", err)
	}
	if members, _ := w.space.Members(t.Context(), "room"); len(members) > 0 {
		t.Errorf("%+v is a member without a connection", members)
	}
	if n := w.space.Stats().Channels; n != 0 {
		t.Errorf("%d channels are left", n)
	}
}

// TestOrderUnderConcurrency: many publish on one channel, some with a history, while subscribers come and go. All subscribers see the
// same order, and who comes late gets what he missed without a gap.
func TestOrderUnderConcurrency(t *testing.T) {
	t.Parallel()
	w := start(t, &echo{message: func(c *ws.Conn, _ ws.Kind, _ []byte) {
		_, err := c.Space().Subscribe(t.Context(), c, "all", ws.SubscribeOptions{Recover: &ws.Position{}})
		if err != nil {
			t.Error(err)
		}
	}}, func(c *ws.EndpointConfig) { c.Limits.QueueMessages, c.Limits.Queue = 1<<20, 64<<20 })
	publishers, each := 4, testenv.Count(200, 5000)
	all := publishers * each
	var wg sync.WaitGroup
	for p := range publishers {
		wg.Go(func() {
			for i := range each {
				m := ws.PrepareText(fmt.Sprintf("%d %d", p, i))
				if _, err := w.space.Publish(t.Context(), "all", m, ws.PublishOptions{Keep: ws.Keep{Size: all}}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	const listeners = 6
	var heard [listeners][]string
	for i := range listeners {
		wg.Go(func() {
			c := w.dial()
			c.WriteMessage(1, []byte("subscribe"))
			for range all {
				heard[i] = append(heard[i], read(t, c))
			}
		})
	}
	wg.Wait()
	for i := range heard {
		next := map[int]int{}
		for k, text := range heard[i] {
			if text != heard[0][k] {
				t.Fatalf("publication %d is %q for one subscriber and %q for another", k, heard[0][k], text)
			}
			var p, n int
			fmt.Sscan(text, &p, &n)
			if n != next[p] {
				t.Fatalf("publisher %d: %d came where %d was due", p, n, next[p])
			}
			next[p]++
		}
	}
}

// TestManyChannels: one connection with thousands of subscriptions costs no more than their number.
func TestManyChannels(t *testing.T) {
	t.Parallel()
	n := testenv.Count(2000, 20000)
	if raceDetector {
		n = 300
	}
	done := make(chan *ws.Conn, 1)
	w := start(t, &echo{message: func(c *ws.Conn, _ ws.Kind, _ []byte) {
		for i := range n {
			if _, err := c.Space().Subscribe(t.Context(), c, fmt.Sprint("channel-", i), ws.SubscribeOptions{}); err != nil {
				t.Error(err)
			}
		}
		_, err := c.Space().Subscribe(t.Context(), c, "one too many", ws.SubscribeOptions{})
		if !errors.Is(err, ws.ErrChannels) {
			t.Errorf("one more: %v", err)
		}
		done <- c
	}}, func(c *ws.EndpointConfig) { c.Limits.Channels, c.Limits.QueueMessages, c.Limits.Queue = n, n, 64<<20 })
	c := w.dial()
	c.WriteMessage(1, []byte("subscribe"))
	conn := <-done
	if got := w.space.Stats().Channels; got != n || len(conn.Channels()) != n {
		t.Fatalf("%d channels, %d subscriptions, want %d", got, len(conn.Channels()), n)
	}
	for i := range n {
		w.space.Publish(t.Context(), fmt.Sprint("channel-", i), ws.PrepareText(fmt.Sprint(i)), ws.PublishOptions{})
	}
	for i := range n {
		if got := read(t, c); got != fmt.Sprint(i) {
			t.Fatalf("publication %d arrived as %q", i, got)
		}
	}
	info, err := w.space.Channel(t.Context(), "channel-1")
	if err != nil || info.Subscribers != 1 {
		t.Errorf("a channel: %+v, %v", info, err)
	}
	c.Close()
	testenv.Eventually(t, "all channels are forgotten", func() bool { return w.space.Stats().Channels == 0 })
}

// TestResets: clients that break off anywhere, with an RST, in handshakes and in messages.
func TestResets(t *testing.T) {
	t.Parallel()
	w := start(t, &echo{open: func(c *ws.Conn) {
		c.Space().Subscribe(t.Context(), c, "all", ws.SubscribeOptions{})
	}})
	good := w.dial()
	big := ws.Prepare(ws.Binary, make([]byte, 60<<10))
	for i := range testenv.Count(60, 3000) {
		l := w.openH1(nil)
		message := frame(fin|bin, make([]byte, 30<<10))
		l.Write(message[:1+i*97%len(message)])
		w.space.Publish(t.Context(), "all", big, ws.PublishOptions{})
		l.reset()
		if _, b, err := good.ReadMessage(); err != nil || len(b) != 60<<10 {
			t.Fatalf("the one who behaves got %d bytes, %v", len(b), err)
		}
	}
	testenv.Eventually(t, "they are gone", func() bool { return w.space.Len() == 1 })
}

// TestNothingIsLeft connects and disconnects in every way, and looks for goroutines, descriptors and memory that stay.
func TestNothingIsLeft(t *testing.T) { // not parallel: it counts what the process has
	w := start(t, &echo{open: func(c *ws.Conn) {
		c.SetUser("user")
		c.Space().Subscribe(context.Background(), c, "all", ws.SubscribeOptions{Member: &ws.Member{ID: c.ID().String()}})
	}})
	cycle := func(n int) {
		var wg sync.WaitGroup
		var next atomic.Int64
		for range 4 {
			wg.Go(func() {
				for i := next.Add(1); i <= int64(n); i = next.Add(1) {
					l := w.openH1(nil)
					switch i % 4 {
					case 0:
						l.Write(closing(1000, ""))
						l.ended()
					case 1:
						l.Write(frame(whole, []byte("hello")))
						l.next()
						l.reset()
					case 2:
						l.Write(frame(text, make([]byte, 5000))) // the beginning of a message
					case 3:
						l.Write([]byte{0xff, 0xff})
						l.ended()
					}
					l.close()
				}
			})
		}
		wg.Wait()
		testenv.Eventually(t, "all are gone", func() bool { return w.space.Len() == 0 && w.space.Stats().Channels == 0 })
	}
	cycle(200) // what there is once
	goroutines, files, heap := runtime.NumGoroutine(), descriptors(t), heapInUse()
	cycle(testenv.Count(800, 50000))
	testenv.Eventually(t, "no goroutine and no descriptor is left", func() bool {
		return runtime.NumGoroutine() <= goroutines+5 && descriptors(t) <= files+5
	})
	if now := heapInUse(); now > heap+8<<20 {
		t.Errorf("the heap has grown from %d to %d bytes", heap, now)
	}
}

func descriptors(t testing.TB) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func heapInUse() int {
	for range 3 { // pools hold on for two
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

package ws_test

import (
	"slices"
	"testing"
	"time"

	"github.com/edge-server/edge/internal/testenv"
)

// affordable is how many connections of n one process may have: each is a descriptor here and one in the server.
func affordable(t testing.TB, n int) int {
	t.Helper()
	if most := raiseFiles() - 500; n > most {
		t.Logf("%d connections in place of %d: this machine allows a process no more descriptors", most, n)
		return most
	}
	return n
}

// TestSoakIdle holds a crowd that does nothing but answer pings.
func TestSoakIdle(t *testing.T) {
	soak := testenv.Count(0, 1) == 1
	n, ping, hold := affordable(t, testenv.Count(500, 100000)), "500ms", testenv.Duration(2*time.Second, 10*time.Minute)
	if soak {
		ping = "60s"
	}
	server := startServer(t, "", childPing+"="+ping)
	before, began := server.number("rss"), time.Now()
	clients, err := pour(n, server.plain, 5*time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(clients.close)
	testenv.Eventually(t, "all are in", func() bool { return server.number("conns") == n })
	came, peak := time.Since(began), server.number("peak")
	each := (server.number("rss") - before) / n
	used := server.number("cpu")
	began = time.Now()
	timer := time.NewTimer(hold)
	<-timer.C // what a soak is
	cores := float64(server.number("cpu")-used) / float64(time.Since(began))
	t.Logf("%d connections, there after %s, for %s: %d bytes each (%d MiB at most while they came), %.4f cores, %d pings",
		n, came.Round(time.Millisecond), hold, each, peak>>20, cores, clients.pings.Load())
	if left := server.number("conns"); left != n || clients.ended.Load() > 0 {
		t.Errorf("%d of %d connections are left, %d were ended", left, n, clients.ended.Load())
	}
	if clients.pings.Load() < int64(n) && hold > time.Minute/2*3 || clients.pings.Load() == 0 {
		t.Errorf("%d clients were pinged %d times", n, clients.pings.Load())
	}
	if most := 0.2 * float64(n) / 100000; cores > most && soak {
		t.Errorf("holding them takes %.4f cores, the bar of 0.2 for 100,000 is %.4f for them", cores, most)
	}
	everyoneHears(t, server, clients, n)
}

// everyoneHears tells a crowd something: that a connection is open on the server's side does not say that it is on the client's.
func everyoneHears(t *testing.T, server *child, clients *drinkers, n int) {
	t.Helper()
	const frame = 132
	before := clients.received.Load()
	server.ask("publish 1 0")
	clients.await(t, before+int64(n)*frame)
}

// TestSoakReconnect restarts the server under a crowd that comes back at once.
func TestSoakReconnect(t *testing.T) {
	n := affordable(t, testenv.Count(500, 50000))
	first := startChild(t)
	address := first.plain
	before, err := pour(n, address, 5*time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	steady := first.number("rss")
	stopped := make(chan struct{})
	go func() { // ends with the server
		first.stop()
		close(stopped)
	}()
	testenv.Eventually(t, "all have lost the server", func() bool { return before.ended.Load() == int64(n) })
	before.close()
	<-stopped

	began := time.Now()
	type crowd struct {
		*drinkers
		err error
	}
	back := make(chan crowd, 1)
	go func() { // knocks before the door is there; ends within the time
		d, err := pour(n, address, time.Minute)
		back <- crowd{d, err}
	}()
	second := startServer(t, "", childAddress+"="+address)
	after := <-back
	if after.err != nil {
		t.Fatalf("after the restart: %v", after.err)
	}
	t.Cleanup(after.close)
	took := time.Since(began)
	testenv.Eventually(t, "all are in", func() bool { return second.number("conns") == n })
	peak, settled := second.number("peak"), second.number("rss")
	t.Logf("%d clients are back %s after the restart, %d attempts were turned away; %d MiB at most and %d then, %d before the restart",
		n, took.Round(time.Millisecond), after.turnedAway, peak>>20, settled>>20, steady>>20)
	if most := 2*steady + 64<<20; peak > most {
		t.Errorf("the server takes up to %d MiB in the storm, %d before", peak>>20, steady>>20)
	}
	everyoneHears(t, second, after.drinkers, n)
	if after.ended.Load() > 0 {
		t.Errorf("%d healthy clients were dropped", after.ended.Load())
	}
}

// TestBroadcastLatency publishes to a crowd, one message at a time, and looks when all but the last hundredth of it have it. A bare loop of
// system calls does the same in the same minute: it says what the machine has left for us.
func TestBroadcastLatency(t *testing.T) {
	n := affordable(t, testenv.Count(500, 10000))
	bare, _ := broadcast(t, n, "loop")
	median, worst := broadcast(t, n, "")
	t.Logf("99 of 100 of %d subscribers have a message after %s (median; worst %s); a bare loop takes %s", n, median, worst, bare)
	if testenv.Count(0, 1) == 1 && median > 150*time.Millisecond {
		t.Errorf("p99 of a broadcast to %d is %s, the bar is 150ms", n, median)
	}
}

func broadcast(t *testing.T, n int, kind string) (median, worst time.Duration) {
	t.Helper()
	server := startServer(t, kind)
	defer server.stop()
	clients, err := pour(n, server.plain, patience)
	if err != nil {
		t.Fatal(err)
	}
	defer clients.close()
	testenv.Eventually(t, "all are in", func() bool { return server.number("conns") == n })
	const frame = 132
	var took []time.Duration
	for range testenv.Count(5, 50) {
		before := clients.received.Load()
		began := time.Now()
		server.ask("publish 1 0")
		clients.await(t, before+int64(n*99/100*frame))
		took = append(took, time.Since(began))
		clients.await(t, before+int64(n*frame))
	}
	slices.Sort(took)
	return took[len(took)/2], took[len(took)-1]
}

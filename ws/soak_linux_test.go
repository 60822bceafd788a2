package ws_test

import (
	"slices"
	"sync"
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

// cell is a server and its clients, each in a process of its own.
type cell struct {
	n               int
	server, clients *child
}

// cells opens n connections in as few cells as the limit of descriptors allows: one where n are allowed. Their servers share nothing, so what
// they use together is no less than what one server would use.
func cells(t testing.TB, n int, env ...string) []cell {
	t.Helper()
	room := raiseFiles() - 500
	all := make([]cell, (n+room-1)/room)
	for i := range all {
		all[i] = cell{n*(i+1)/len(all) - n*i/len(all), startServer(t, "", env...), startServer(t, "clients")}
	}
	if len(all) > 1 {
		t.Logf("%d servers share %d connections: this machine allows a process %d descriptors", len(all), n, room+500)
	}
	return all
}

// total adds up what the servers of some cells say.
func total(cells []cell, command string) (n int) {
	for _, c := range cells {
		n += c.server.number(command)
	}
	return n
}

// TestSoakIdle holds a crowd that does nothing but answer pings.
func TestSoakIdle(t *testing.T) {
	soak := testenv.Count(0, 1) == 1
	n, ping, hold := testenv.Count(500, 100000), "500ms", testenv.Duration(2*time.Second, 10*time.Minute)
	if soak {
		ping = "60s"
	}
	all := cells(t, n, childPing+"="+ping)
	before, began := total(all, "rss"), time.Now()
	for _, c := range all {
		if answer := c.clients.ask("pour %d %s", c.n, c.server.plain); answer != "ok" {
			t.Fatal(answer)
		}
	}
	testenv.Eventually(t, "all are in", func() bool { return total(all, "conns") == n })
	came, peak := time.Since(began), total(all, "peak")
	each := (total(all, "rss") - before) / n
	used := total(all, "cpu")
	began = time.Now()
	timer := time.NewTimer(hold)
	<-timer.C // what a soak is
	cores := float64(total(all, "cpu")-used) / float64(time.Since(began))
	pings, ended := 0, 0
	for _, c := range all {
		pings += c.clients.number("pings")
		ended += c.clients.number("ended")
	}
	t.Logf("%d connections, there after %s, for %s: %d bytes each (%d MiB at most while they came), %.4f cores, %d pings",
		n, came.Round(time.Millisecond), hold, each, peak>>20, cores, pings)
	if left := total(all, "conns"); left != n || ended > 0 {
		t.Errorf("%d of %d connections are left, %d were ended", left, n, ended)
	}
	if pings < n && hold > time.Minute/2*3 || pings == 0 {
		t.Errorf("%d clients were pinged %d times", n, pings)
	}
	if most := 0.2 * float64(n) / 100000; cores > most && soak {
		t.Errorf("holding them takes %.4f cores, the bar of 0.2 for 100,000 is %.4f for them", cores, most)
	}
	everyoneHears(t, all)
}

// everyoneHears tells crowds something: that a connection is open on the server's side does not say that it is on the client's.
func everyoneHears(t *testing.T, all []cell) {
	t.Helper()
	const frame = 132
	for _, c := range all {
		goal := c.clients.number("received") + c.n*frame
		c.server.ask("publish 1 0")
		testenv.Eventually(t, "everyone hears", func() bool { return c.clients.number("received") >= goal })
	}
}

// TestSoakReconnect restarts the server under a crowd that comes back at once.
func TestSoakReconnect(t *testing.T) {
	n := testenv.Count(500, 50000)
	all := cells(t, n)
	for _, c := range all {
		if answer := c.clients.ask("pour %d %s", c.n, c.server.plain); answer != "ok" {
			t.Fatal(answer)
		}
	}
	steady := total(all, "rss")
	var stopping sync.WaitGroup
	for _, c := range all {
		stopping.Go(c.server.stop)
	}
	for _, c := range all {
		testenv.Eventually(t, "all have lost the server", func() bool { return c.clients.number("ended") == c.n })
		c.clients.ask("leave")
	}
	stopping.Wait()

	began := time.Now()
	for _, c := range all { // they knock before the door is there
		c.clients.tell("pour %d %s", c.n, c.server.plain)
	}
	for i, c := range all {
		all[i].server = startServer(t, "", childAddress+"="+c.server.plain)
	}
	ended, turnedAway := 0, 0
	for _, c := range all {
		if answer := c.clients.line(); answer != "ok" {
			t.Fatalf("after the restart: %v", answer)
		}
		turnedAway += c.clients.number("away")
	}
	took := time.Since(began)
	if took > time.Minute {
		t.Errorf("it takes %s until %d clients are back, the bar is a minute", took, n)
	}
	testenv.Eventually(t, "all are in", func() bool { return total(all, "conns") == n })
	peak, settled := total(all, "peak"), total(all, "rss")
	t.Logf("%d clients are back %s after the restart, %d attempts were turned away; %d MiB at most and %d then, %d before the restart",
		n, took.Round(time.Millisecond), turnedAway, peak>>20, settled>>20, steady>>20)
	if most := 2*steady + len(all)*64<<20; peak > most {
		t.Errorf("the server takes up to %d MiB in the storm, %d before", peak>>20, steady>>20)
	}
	everyoneHears(t, all)
	for _, c := range all {
		ended += c.clients.number("ended")
	}
	if ended > 0 {
		t.Errorf("%d healthy clients were dropped", ended)
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

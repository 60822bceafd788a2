package redis_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/ws"
	"github.com/edge-server/edge/ws/brokertest"
)

// do sends a command and expects an answer that is no error.
func do(t testing.TB, s *testenv.Server, args ...string) string {
	t.Helper()
	answer, err := testenv.RedisDo(s.Addr, args...)
	if err != nil || strings.HasPrefix(answer, "ERR") {
		t.Fatalf("%s: %v: %s, %v", s.Addr, args, answer, err)
	}
	return answer
}

// TestRestartInThePast: a server is killed and starts with the file that it wrote a while ago, twice.
func TestRestartInThePast(t *testing.T) {
	t.Parallel()
	s := testenv.Redis(t)
	brokertest.RunPast(t, brokertest.Forgetful{
		New: through(config(s.Addr)), Again: true,
		Save:    func() { do(t, s, "SAVE") },
		Replace: func() { s.Kill(); s.Start() },
	})
}

// TestFailoverInThePast: a replica that did not get the latest takes over.
func TestFailoverInThePast(t *testing.T) {
	t.Parallel()
	master := testenv.Redis(t)
	replica := testenv.Redis(t, "--replicaof", "127.0.0.1 "+fmt.Sprint(master.Port()))
	inStep := func() {
		t.Helper()
		testenv.Eventually(t, "the replica in step", func() bool {
			offset := func(s *testenv.Server, name string) string {
				_, rest, _ := strings.Cut(do(t, s, "INFO", "replication"), name+":")
				value, _, _ := strings.Cut(rest, "\r")
				return value
			}
			at := offset(replica, "slave_repl_offset")
			return offset(replica, "master_link_status") == "up" && at != "" && at == offset(master, "master_repl_offset")
		})
	}
	inStep()
	p := testenv.StartToxiproxy(t).Proxy(master.Addr)
	brokertest.RunPast(t, brokertest.Forgetful{
		New: through(config(p.Addr)),
		Save: func() {
			inStep()
			do(t, replica, "REPLICAOF", "NO", "ONE")
		},
		Replace: func() { master.Kill(); p.Upstream(replica.Addr) },
	})
}

// infos counts how often the servers were asked what they are.
func infos(t testing.TB, servers ...*testenv.Server) (n int) {
	t.Helper()
	for _, s := range servers {
		if _, rest, found := strings.Cut(do(t, s, "INFO", "commandstats"), "cmdstat_info:calls="); found {
			count, _, _ := strings.Cut(rest, ",")
			calls, err := strconv.Atoi(count)
			if err != nil {
				t.Fatal(err)
			}
			n += calls
		}
	}
	return n
}

// keptCostsNoInfo publishes what is kept: as long as a node listens where it found its server, no publication asks which one it is.
func keptCostsNoInfo(t *testing.T, n *brokertest.Node, servers ...*testenv.Server) {
	t.Helper()
	before := infos(t, servers...)
	for i := range 300 {
		n.Say(ws.Address{Space: "s", Channel: fmt.Sprint("kept", i%20)}, "x", ws.Keep{Size: 5})
	}
	if asked := infos(t, servers...) - before; asked > 150 { // leases are renewed meanwhile
		t.Errorf("300 publications asked %d times", asked)
	}
}

func TestKeptCostsNoInfo(t *testing.T) {
	t.Parallel()
	s := testenv.Redis(t)
	keptCostsNoInfo(t, brokertest.Start(t, through(config(s.Addr))(t), "a"), s)
}

package core_test

import (
	"fmt"
	"net"
	"net/http"
	netrpc "net/rpc"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	goridge "github.com/roadrunner-server/goridge/v3/pkg/rpc"

	"github.com/edge-server/edge/core/edgetest"
	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/rpc"
)

// TestServicesOverGob: Go programs such as RoadRunner's own command line send gob, whose fields have Go's names.
func TestServicesOverGob(t *testing.T) {
	t.Parallel()
	s, _ := twoPools(t, "")
	nc, err := net.Dial("unix", filepath.Join(s.Dir, "rpc.sock"))
	if err != nil {
		t.Fatal(err)
	}
	client := netrpc.NewClientWithCodec(goridge.NewClientCodec(nc))
	defer client.Close()

	var names []string
	if err := client.Call("informer.List", true, &names); err != nil || strings.Join(names, " ") != "api app" {
		t.Errorf("informer.List: %q, %v", names, err)
	}
	// The types of RoadRunner's informer, by the fields that its clients read.
	type state struct {
		Pid, Status, Created  int64
		NumExecs, MemoryUsage uint64
		CPUPercent            float64
		Command, StatusStr    string
	}
	var list struct{ Workers []*state }
	if err := client.Call("informer.Workers", "app", &list); err != nil || len(list.Workers) != 2 || list.Workers[0].Pid < 2 || list.Workers[0].StatusStr == "" {
		t.Errorf("informer.Workers: %+v, %v", list, err)
	}
	var pipelines []struct{ Pipeline string }
	if err := client.Call("informer.Jobs", "app", &pipelines); err != nil || len(pipelines) != 0 {
		t.Errorf("informer.Jobs: %v, %v", pipelines, err)
	}
	var config []byte
	if err := client.Call("rpc.Config", true, &config); err != nil || !strings.HasPrefix(string(config), `{"admin"`) {
		t.Errorf("rpc.Config: %.100s, %v", config, err)
	}
	type metric struct {
		Name   string
		Value  float64
		Labels []string
	}
	var done bool
	if err := client.Call("metrics.Add", metric{"nope", 1, nil}, &done); err == nil || err.Error() != "undefined collector nope, try first Declare the desired collector" {
		t.Errorf("metrics.Add: %v", err)
	}
	for _, absent := range []string{"jobs.Push", "centrifuge.Publish", "service.List", "tcp.Close"} {
		if err := client.Call(absent, "x", &done); err == nil || err.Error() != "rpc: can't find service "+absent {
			t.Errorf("%s: %v", absent, err)
		}
	}
}

// TestReadyWhileBusy: workers that are all at work are no reason to take the server out of service.
func TestReadyWhileBusy(t *testing.T) {
	t.Parallel()
	sdk, err := filepath.Abs("../sdk/php")
	if err != nil {
		t.Fatal(err)
	}
	app, err := filepath.Abs("testdata/app.php")
	if err != nil {
		t.Fatal(err)
	}
	s := edgetest.Start(t, fmt.Sprintf(`
http: {routes: [{php: app}]}
php: {app: {command: [%s, %s], user: %s, workers: {min: 1, max: 1}, env: {EDGE_TEST_SDK: %s}}}
kv: {counters: {driver: memory}}
rpc: {}
telemetry: {health: {listen: "127.0.0.1:%s"}}
`, testenv.PHP(t), app, currentUser(t), sdk, freePort(t)))
	client, err := rpc.Dial(t.Context(), "unix://"+filepath.Join(s.Dir, ".edge", "rpc.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()

	var wg sync.WaitGroup
	wg.Go(func() {
		res, err := http.Get(s.HTTP + "/slow")
		if err != nil || res.StatusCode != 200 {
			t.Errorf("the slow request: %v, %v", res, err)
			return
		}
		res.Body.Close()
	})
	testenv.Eventually(t, "the only worker is busy", func() bool { return busy(s) == 1 })
	for _, method := range []string{"status.Status", "status.Ready"} {
		for _, plugin := range []string{"app", "http"} {
			var answer struct {
				Code    int
				Message string
			}
			if err := client.Call(t.Context(), method, map[string]string{"plugin": plugin}, &answer); err != nil || answer.Code != 200 {
				t.Errorf("%s of %s: %+v, %v", method, plugin, answer, err)
			}
		}
	}
	res, err := http.Get("http://" + s.Config().Telemetry.Health.Listen + "/ready?plugin=app")
	if err != nil || res.StatusCode != 200 {
		t.Errorf("/ready: %v, %v", res, err)
	} else {
		res.Body.Close()
	}
	if busy(s) != 1 {
		t.Log("the worker was done before the last question")
	}
	wg.Wait()
	http.DefaultClient.CloseIdleConnections()
}

// TestSharedLocks are in a store, and locks in a store that cannot keep them refuse the start.
func TestSharedLocks(t *testing.T) {
	t.Parallel()
	s := edgetest.Start(t, "kv: {fleet: {driver: memory}}\nrpc: {}\nlock: {store: fleet}\nhttp: {routes: [{respond: x}]}\n")
	client, err := rpc.Dial(t.Context(), "unix://"+filepath.Join(s.Dir, ".edge", "rpc.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	var answer struct {
		OK    bool
		Token int64
	}
	lock := map[string]any{"resource": "r", "id": "a", "ttl": 60_000_000}
	began := time.Now().UnixMicro() // which no token is below: they do not begin anew with an empty store
	if err := client.Call(t.Context(), "lock.Lock", lock, &answer); err != nil || !answer.OK || answer.Token < began {
		t.Errorf("lock.Lock: %+v, %v", answer, err)
	}
	var found struct{ Items []struct{ Key string } }
	if err := client.Call(t.Context(), "kv.Has", map[string]any{"storage": "fleet", "items": []map[string]string{{"key": "edge:lock:r"}}}, &found); err != nil || len(found.Items) != 1 {
		t.Errorf("the store has %+v, %v", found, err)
	}
	if _, err := edgetest.TryStart(t, "rpc: {}\nlock: {store: nope}\n"); err == nil || !strings.Contains(err.Error(), `lock.store: there is no store "nope"`) {
		t.Errorf("a store that is not there: %v", err)
	}
}

// TestWaitEndsWithItsClient: a worker that dies while it waits for a lock does not get it afterwards, of lock.* and of kv.*.
func TestWaitEndsWithItsClient(t *testing.T) {
	t.Parallel()
	s := edgetest.Start(t, "kv: {main: {driver: memory}}\nrpc: {}\nhttp: {routes: [{respond: x}]}\n")
	connect := func() *rpc.Client {
		client, err := rpc.Dial(t.Context(), "unix://"+filepath.Join(s.Dir, ".edge", "rpc.sock"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { client.Close() })
		return client
	}
	holder := connect()
	for _, c := range []struct {
		take, give string
		arg        map[string]any
		wait       map[string]any
	}{
		{"lock.Lock", "lock.Release", map[string]any{"resource": "r", "id": "a"}, map[string]any{"resource": "r", "id": "b", "wait": 60_000_000}},
		{"kv.Lock", "kv.Unlock", map[string]any{"storage": "main", "key": "r"}, map[string]any{"storage": "main", "key": "r", "wait": 60_000}},
	} {
		var got struct {
			OK    bool
			Token any
		}
		if err := holder.Call(t.Context(), c.take, c.arg, &got); err != nil || !got.OK {
			t.Fatalf("%s: %+v, %v", c.take, got, err)
		}
		dying := connect()
		ended := make(chan struct{})
		go func() { // ends when its connection is closed
			defer close(ended)
			_ = dying.Call(t.Context(), c.take, c.wait, new(any))
		}()
		testenv.Eventually(t, "it waits", func() bool { return s.RPCStats().InFlight == 1 })
		dying.Close()
		<-ended
		testenv.Eventually(t, "it has stopped waiting", func() bool { return s.RPCStats().InFlight == 0 })
		c.arg["token"] = got.Token
		if err := holder.Call(t.Context(), c.give, c.arg, &got); err != nil || !got.OK {
			t.Errorf("%s: %+v, %v", c.give, got, err)
		}
		delete(c.arg, "token")
		if err := holder.Call(t.Context(), c.take, c.arg, &got); err != nil || !got.OK {
			t.Errorf("%s after its client died: %+v, %v", c.take, got, err)
		}
	}
}

// TestOffLoopbackNeedsASecret: the error names the key, the address and the way out.
func TestOffLoopbackNeedsASecret(t *testing.T) {
	t.Parallel()
	for config, want := range map[string]string{
		`rpc: {listen: "tcp://0.0.0.0:6001"}`:                  "rpc.listen: tcp://0.0.0.0:6001 can be reached from elsewhere, and there is no rpc.secret: set one of at least 16 characters, or listen on tcp://127.0.0.1:6001 or unix",
		`rpc: {listen: "tcp://0.0.0.0:6001", secret: "short"}`: "rpc.secret: needs at least 16 characters, got 5",
	} {
		if _, err := edgetest.TryStart(t, config); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v\nwant %s", config, err, want)
		}
	}
}

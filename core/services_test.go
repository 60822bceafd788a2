package core_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net"
	netrpc "net/rpc"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	goridge "github.com/roadrunner-server/goridge/v3/pkg/rpc"

	"github.com/edge-server/edge/core/edgetest"
	"github.com/edge-server/edge/core/services"
	"github.com/edge-server/edge/internal/testenv"
)

// TestServices runs services of edge.yaml and of RPC, reloads, and stops them with the server.
func TestServices(t *testing.T) {
	t.Parallel()
	dir := testenv.Dir(t)
	config := func(command string) string {
		return fmt.Sprintf(`
rpc: {listen: "unix://%s/rpc.sock"}
services:
  stays: {command: [sleep, "1000"], processes: 2, user: %s}
  changes: {command: %q, user: %[2]s}
`, dir, me(), command)
	}
	s := edgetest.Start(t, config("sleep 1000"), func(dir string) {
		if err := os.Chmod(dir, 0o755); err != nil { // what RPC creates runs as www-data when root runs the tests
			t.Fatal(err)
		}
	})
	nc, err := net.Dial("unix", filepath.Join(dir, "rpc.sock"))
	if err != nil {
		t.Fatal(err)
	}
	client := netrpc.NewClientWithCodec(goridge.NewClientCodec(nc))
	defer client.Close()
	pids := func(name string) []int32 {
		var list []int32
		var out services.Statuses
		if err := client.Call("service.Statuses", &services.Named{Name: name}, &out); err != nil {
			return nil
		}
		for _, one := range out.Status {
			if one.PID != 0 {
				list = append(list, one.PID)
			}
		}
		return list
	}
	running := func(name string, n int) []int32 {
		t.Helper()
		testenv.Eventually(t, fmt.Sprintf("%d of %s run", n, name), func() bool { return len(pids(name)) == n })
		return pids(name)
	}
	stays, changes := running("stays", 2), running("changes", 1)

	var answer services.Response
	create := services.CreateRequest{Name: "made", Command: "sleep 1000", ProcessNum: 1, RestartSec: 1}
	if err := client.Call("service.Create", &create, &answer); err != nil || !answer.OK {
		t.Fatal(err)
	}
	made := running("made", 1)
	if err := client.Call("service.Create", &create, &answer); err == nil || err.Error() != "the service with made name already exists" {
		t.Error(err)
	}

	// A reload that cannot start one of them changes nothing; another replaces what has changed and leaves the rest alone.
	next := *s.Config()
	next.Services = maps.Clone(next.Services)
	next.Services["changes"] = changed(next.Services["changes"], "no-such-program-of-edge")
	if err := s.Reload(t.Context(), &next); err == nil || !strings.Contains(err.Error(), "services.changes.command: there is no program") {
		t.Errorf("a reload with a service that cannot start: %v", err)
	}
	if got := running("changes", 1); got[0] != changes[0] {
		t.Error("the reload that failed has touched a service")
	}
	next.Services["changes"] = changed(next.Services["changes"], "sleep", "1001")
	if err := s.Reload(t.Context(), &next); err != nil {
		t.Fatal(err)
	}
	if got := running("stays", 2); got[0] != stays[0] || got[1] != stays[1] {
		t.Errorf("stays was %d and is %d", stays, got)
	}
	if got := running("changes", 1); got[0] == changes[0] {
		t.Error("changes was not replaced")
	}
	if got := running("made", 1); got[0] != made[0] {
		t.Error("the reload has touched what RPC made")
	}

	var public []byte
	if err := client.Call("rpc.Config", true, &public); err != nil || !json.Valid(public) || !strings.Contains(string(public), `"services"`) {
		t.Errorf("rpc.Config: %v", err)
	}
	all := append(append(running("stays", 2), running("changes", 1)...), made...)
	client.Close()
	if err := s.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	for _, pid := range all {
		if syscall.Kill(int(pid), 0) == nil {
			t.Errorf("process %d outlives the server", pid)
		}
	}
}

func changed(c services.Config, command ...string) services.Config {
	c.Command = command
	return c
}

func me() string {
	if os.Geteuid() == 0 {
		return "root"
	}
	return `""`
}

// TestServicesOffByDefault: who has no services section has not asked for programs to be run.
func TestServicesOffByDefault(t *testing.T) {
	t.Parallel()
	for section, want := range map[string]string{"": "can't find service", "services: {}": ""} {
		dir := testenv.Dir(t)
		edgetest.Start(t, fmt.Sprintf("rpc: {listen: \"unix://%s/rpc.sock\"}\n%s", dir, section))
		nc, err := net.Dial("unix", filepath.Join(dir, "rpc.sock"))
		if err != nil {
			t.Fatal(err)
		}
		client := netrpc.NewClientWithCodec(goridge.NewClientCodec(nc))
		var list services.List
		err = client.Call("service.List", &services.Named{}, &list)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v", section, err)
		}
		client.Close()
	}
}

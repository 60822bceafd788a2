package pusher_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/edge-server/edge/core/edgetest"
	"github.com/edge-server/edge/internal/testenv"
)

// TestHardDays: unmodified clients with sizes at the edges, floods, crowds and two apps, while the server reloads.
func TestHardDays(t *testing.T) {
	t.Parallel()
	s := edgetest.Start(t, fmt.Sprintf(`
http: {routes: [{respond: the application}]}
ws:
  pusher:
    apps:
      one: {id: "1", key: key-one, secret: %[1]s, limits: {members: 5000}}
      two: {id: "2", key: key-two, secret: another-%[1]s}
`, secret))
	ctx, cancel := context.WithTimeout(t.Context(), testenv.Duration(3*time.Minute, 10*time.Minute))
	defer cancel()
	cmd := exec.CommandContext(ctx, testenv.Node(t), "attack.mjs")
	cmd.Dir = testenv.PusherClients(t)
	cmd.Env = append(os.Environ(), "EDGE_URL="+s.HTTP, fmt.Sprint("MEMBERS=", testenv.Count(60, 2000)),
		fmt.Sprintf(`APPS=[{"appId":"1","key":"key-one","secret":%q},{"appId":"2","key":"key-two","secret":%q}]`, secret, "another-"+secret))
	var problems strings.Builder
	cmd.Stderr = &problems
	in, err := cmd.StdinPipe()
	check(t, err)
	out, err := cmd.StdoutPipe()
	check(t, err)
	check(t, cmd.Start())
	reloads := 0
	for lines := bufio.NewScanner(out); lines.Scan(); {
		t.Log(lines.Text())
		if lines.Text() != "RELOAD" {
			continue
		}
		for range 3 {
			check(t, s.ReloadFile(t.Context()))
			reloads++
		}
		fmt.Fprintln(in, "reloaded")
	}
	if err := cmd.Wait(); err != nil || reloads != 3 {
		t.Errorf("%v after %d reloads\n%s", err, reloads, &problems)
	}
}

package pusher_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/edge-server/edge/core/edgetest"
	"github.com/edge-server/edge/internal/testenv"
)

// What front ends and back ends run, unmodified, against a whole server: pusher-js, laravel-echo and the server library of Pusher
// from npm.
func TestUnmodifiedClients(t *testing.T) {
	t.Parallel()
	for _, scheme := range []string{"ws", "wss"} {
		t.Run(scheme, func(t *testing.T) {
			t.Parallel()
			port := testenv.FreePort(t)
			var rest http.Server // takes the webhooks that are under way when the clients have all they want
			t.Cleanup(func() { rest.Close() })
			s := edgetest.Start(t, fmt.Sprintf(`
http: {routes: [{respond: the application}]}
ws:
  pusher:
    apps:
      main:
        id: "1"
        key: %s
        secret: %s
        subscription_count: true
        webhooks: [{url: "http://127.0.0.1:%d/webhook"}]
`, key, secret, port))
			env := []string{"EDGE_URL=" + s.HTTP}
			if scheme == "wss" {
				env = []string{"EDGE_URL=" + s.HTTPS, "NODE_EXTRA_CA_CERTS=" + filepath.Join(s.Dir, ".edge", "ca", "ca.crt")}
			}
			runClients(t, "clients.mjs", append(env, fmt.Sprintf("PORT=%d", port)))
			l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
			check(t, err)
			rest.Handler = http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
			go rest.Serve(l) // ends with the test
		})
	}
}

func runClients(t *testing.T, script string, env []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, testenv.Node(t), script)
	cmd.Dir = testenv.PusherClients(t)
	cmd.Env = append(append(os.Environ(), "APP_ID=1", "APP_KEY="+key, "APP_SECRET="+secret), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
}

func TestOverHTTP2(t *testing.T) {
	t.Parallel()
	s := edgetest.Start(t, "http: {routes: [{respond: the application}]}\n"+section(secret))
	runClients(t, "h2.mjs", []string{"EDGE_URL=" + s.HTTPS, "NODE_EXTRA_CA_CERTS=" + filepath.Join(s.Dir, ".edge", "ca", "ca.crt")})
}

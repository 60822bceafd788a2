package pusher_test

import (
	"context"
	"encoding/pem"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/edge-server/edge/internal/testenv"
	"github.com/edge-server/edge/ws/pusher"
)

// What front ends and back ends run, unmodified: pusher-js, laravel-echo and the server library of Pusher from npm.
func TestUnmodifiedClients(t *testing.T) {
	t.Parallel()
	for _, tls := range []bool{false, true} {
		t.Run(map[bool]string{false: "ws", true: "wss"}[tls], func(t *testing.T) {
			t.Parallel()
			port := testenv.FreePort(t)
			w := start(t, app(func(a *pusher.App) {
				a.SubscriptionCount = true
				a.Webhooks = []pusher.Webhook{webhook(fmt.Sprintf("http://127.0.0.1:%d/webhook", port))}
			}))
			server := w.http
			if tls {
				server = httptest.NewTLSServer(w.Server)
				t.Cleanup(server.Close)
			}
			runClients(t, server, port)
		})
	}
}

func runClients(t *testing.T, server *httptest.Server, port int) {
	t.Helper()
	dir := testenv.PusherClients(t)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, testenv.Node(t), "clients.mjs")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "EDGE_URL="+server.URL, "APP_ID=1", "APP_KEY="+key, "APP_SECRET="+secret, fmt.Sprintf("PORT=%d", port))
	if cert := server.Certificate(); cert != nil {
		ca := filepath.Join(dir, "ca.pem")
		check(t, os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}), 0o600))
		cmd.Env = append(cmd.Env, "NODE_EXTRA_CA_CERTS="+ca)
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
}

package phpsdk_test

import (
	"fmt"
	"os/user"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edge-server/edge/core/edgetest"
	"github.com/edge-server/edge/internal/testenv"
)

// TestWebSocket runs Edge\WebSocket and Edge\WebSocket\Handler against a whole server.
func TestWebSocket(t *testing.T) {
	t.Parallel()
	phpunit := testenv.Tool(t, "phpunit", "apt-get install phpunit")
	worker, err := filepath.Abs("tests/workers/websocket.php")
	check(t, err)
	u, err := user.Current()
	check(t, err)
	s := edgetest.Start(t, fmt.Sprintf(`
http: {routes: [{match: {path: [/chat]}, ws: chat}, {php: app}]}
php: {app: {command: [%s, %s], user: %s, workers: {min: 2, max: 2}}}
ws: {raw: {chat: {php: app}}}
rpc: {}
`, testenv.PHP(t), worker, u.Username))
	out, err := runPHP(t, s, "", "env", "EDGE_TEST_HTTP="+strings.TrimPrefix(s.HTTP, "http://"), phpunit, "--fail-on-skipped", "tests/WebSocket")
	if err != nil || !strings.Contains(out, "OK (") {
		t.Fatalf("phpunit: %v\n%s", err, out)
	}
	if !strings.Contains(s.Log.String(), "this message is lost") {
		t.Error("the log does not have what the handler threw")
	}
}
